"""Data of two classes, Gaussian each, in the plane: all that guidance puts together is known in closed form.

The formulas take arrays of NumPy or of JAX: NumPy's give the truth, in float64 and without compiling anything.
"""

from types import ModuleType
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.schedules import Denoiser, NoiseLevel
from artifex.schedules.arrays import HostArray, T

MEANS: Final = np.array([[-1.0, 0.3], [0.8, -0.5]])
SHARES: Final = np.array([0.35, 0.65])
SPREAD: Final = 0.5
NULL: Final = 2
"""The label of no class: the mixture of both."""

X: Final = np.random.default_rng(0).normal(size=(4, 2))
LABELS: Final = np.array([0, 1, 1, 0])
ALPHA: Final = 0.8
SIGMA: Final = 0.6
HERE: Final[NoiseLevel[HostArray]] = NoiseLevel(*(np.full(4, v) for v in (7.0, ALPHA, SIGMA)))


def on_device(level: NoiseLevel[HostArray] = HERE) -> NoiseLevel[Array]:
    """A level in JAX's precision."""
    moved: NoiseLevel[Array] = jax.tree.map(jnp.asarray, level)
    return moved


def numbers(x: T) -> ModuleType:
    """The module that ``x`` is an array of."""
    array: object = x
    return jnp if isinstance(array, jax.Array) else np


def logits(x_t: T, level: NoiseLevel[T]) -> T:
    """log p(x_t, y) for either class, up to what they share."""
    xp = numbers(x_t)
    noisy = (level.alpha * SPREAD) ** 2 + level.sigma**2
    off = x_t[:, None] - level.alpha[:, None, None] * xp.asarray(MEANS[None], x_t.dtype)
    out: T = xp.log(xp.asarray(SHARES[None], x_t.dtype)) - xp.sum(off**2, axis=-1) / (2 * noisy[:, None])
    return out


def classify(x_t: Array, t: Array) -> Array:
    """The classifier at the level ``HERE``."""
    return logits(x_t, NoiseLevel(t, jnp.full_like(t, ALPHA), jnp.full_like(t, SIGMA)))


def denoise(x_t: T, level: NoiseLevel[T], cond: T | None) -> T:
    """E[x0 | x_t] of a class, or of the mixture."""
    xp = numbers(x_t)
    labels = xp.full(x_t.shape[0], NULL) if cond is None else cond
    alpha, sigma = level.alpha[:, None], level.sigma[:, None]
    gain = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
    means = xp.asarray(MEANS[None], x_t.dtype)
    classes = means + gain[..., None] * (x_t[:, None] - alpha[..., None] * means)
    scores = logits(x_t, level)
    shares = xp.exp(scores - xp.max(scores, axis=1, keepdims=True))
    shares = shares / xp.sum(shares, axis=1, keepdims=True)
    own = xp.asarray(labels[:, None] == xp.arange(2)[None], x_t.dtype)
    out: T = xp.sum(xp.where(labels[:, None] == NULL, shares, own)[..., None] * classes, axis=1)
    return out


def eps(x0: HostArray, level: NoiseLevel[HostArray] = HERE, x_t: HostArray = X) -> HostArray:
    """The noise that an x0 means."""
    return np.asarray((x_t - level.alpha[:, None] * x0) / level.sigma[:, None])


def clean(noise: HostArray, level: NoiseLevel[HostArray] = HERE, x_t: HostArray = X) -> HostArray:
    """The x0 that a noise means."""
    return np.asarray((x_t - level.sigma[:, None] * noise) / level.alpha[:, None])


@jax.jit
def _call(guided: Denoiser, x_t: Float[Array, "b d"], level: NoiseLevel[Array]) -> Float[Array, "b ..."]:
    return guided(x_t, level)


def call(guided: Denoiser, level: NoiseLevel[HostArray] = HERE, x_t: HostArray = X) -> HostArray:
    """The result of a guided denoiser in JAX's precision; compiled once per structure."""
    return np.asarray(_call(guided, jnp.asarray(x_t), on_device(level)), np.float64)


def with_variance(x_t: T, level: NoiseLevel[T], cond: T | None) -> T:
    """A denoiser with a learned variance."""
    xp = numbers(x_t)
    x0 = denoise(x_t, level, cond)
    out: T = xp.concatenate([x0, xp.tanh(x0)], axis=-1)
    return out


class Counted:
    """``denoise`` that records the size of every batch that it runs, traced or not."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, x_t: Array, level: NoiseLevel[Array], cond: Array | None) -> Array:
        jax.debug.callback(lambda _: self.batches.append(x_t.shape[0]), x_t[0, 0])
        return denoise(x_t, level, cond)
