"""Data of two classes, Gaussian each, in the plane: all that guidance puts together is known in closed form."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from artifex.schedules import Host, NoiseLevel, expand

MEANS: Final = np.array([[-1.0, 0.3], [0.8, -0.5]])
SHARES: Final = np.array([0.35, 0.65])
SPREAD: Final = 0.5
NULL: Final = 2
"""The label of no class: the mixture of both."""

X: Final = np.random.default_rng(0).normal(size=(4, 2))
LABELS: Final = np.array([0, 1, 1, 0])


def level_of(batch: int = 4, alpha: float = 0.8, sigma: float = 0.6) -> NoiseLevel[Array]:
    """One level for all samples, in JAX's own precision."""
    return NoiseLevel(*(jnp.full(batch, v) for v in (7.0, alpha, sigma)))


def logits(x_t: Float[Array, "b 2"], level: NoiseLevel[Array]) -> Float[Array, "b 2"]:
    """log p(x_t, y) for either class, up to what they share."""
    noisy = (level.alpha * SPREAD) ** 2 + level.sigma**2
    off = x_t[:, None] - expand(level.alpha, x_t)[..., None] * jnp.asarray(MEANS)
    return jnp.log(jnp.asarray(SHARES)) - jnp.sum(off**2, axis=-1) / (2 * noisy[:, None])


def classify(x_t: Float[Array, "b 2"], t: Float[Array, " b"]) -> Float[Array, "b 2"]:
    """The classifier at the one level of ``level_of()``."""
    return logits(x_t, NoiseLevel(t, jnp.full_like(t, 0.8), jnp.full_like(t, 0.6)))


def denoise(x_t: Float[Array, "b 2"], level: NoiseLevel[Array], cond: Int[Array, " b"] | None) -> Float[Array, "b 2"]:
    """E[x0 | x_t] of a class, or of the mixture."""
    cond = jnp.full(x_t.shape[0], NULL) if cond is None else cond
    alpha, sigma = expand(level.alpha, x_t), expand(level.sigma, x_t)
    gain = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
    means = jnp.asarray(MEANS)
    classes = means + gain[..., None] * (x_t[:, None] - alpha[..., None] * means)
    weights = jnp.where((cond == NULL)[:, None], jax.nn.softmax(logits(x_t, level)), jax.nn.one_hot(cond, 2))
    return jnp.sum(weights[..., None] * classes, axis=1)


def eps(x0: Host, level: NoiseLevel[Array], x_t: Host) -> Host:
    """The noise that an x0 means, in float64."""
    return np.asarray((x_t - np.asarray(level.alpha)[:, None] * x0) / np.asarray(level.sigma)[:, None])


def clean(noise: Host, level: NoiseLevel[Array], x_t: Host) -> Host:
    """The x0 that a noise means, in float64."""
    return np.asarray((x_t - np.asarray(level.sigma)[:, None] * noise) / np.asarray(level.alpha)[:, None])
