"""The loss of a model that predicts noise."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.schedules import Epsilon, NoiseLevel, vlb_term

X = Float[Array, "b *d"]


def predicted_noise(outputs: Array | Mapping[str, Array]) -> X:
    """The predicted noise in a model's outputs.

    Raises:
        ValueError: if there is none.
    """
    if not isinstance(outputs, Mapping):
        return outputs
    if "predicted_noise" not in outputs:
        raise ValueError(f"a model's outputs must hold 'predicted_noise', got {sorted(outputs)}")
    return outputs["predicted_noise"]


def noise_mse(noise: X, predicted: X) -> Float[Array, ""]:
    r"""Mean of $\|\epsilon - \epsilon_\theta\|^2$ over all elements.

    Raises:
        ValueError: if the shapes differ.
    """
    if noise.shape != predicted.shape:
        raise ValueError(f"the noise must be of the shape of the predicted one, {predicted.shape}, got {noise.shape}")
    return jnp.mean(jnp.square(predicted - noise))


def variational_bound(
    noise: X,
    outputs: Mapping[str, Array],
    level: NoiseLevel[Array],
    previous: NoiseLevel[Array],
    noise_steps: int,
) -> Float[Array, ""]:
    """The variational bound of the whole chain without its end terms, in bits per element.

    Args:
        noise: the true noise in ``x_t``.
        outputs: with ``x_t``, ``predicted_noise`` and ``predicted_variance``.
        level: that of ``x_t``.
        previous: the level one step closer to clean data.
        noise_steps: length of the chain.

    References: Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672
    """
    x_t, predicted = outputs["x_t"], outputs["predicted_noise"]
    x0, estimate = (Epsilon().to_x0(eps, x_t, level) for eps in (noise, predicted))
    terms = vlb_term(x0, estimate, outputs["predicted_variance"], level, previous)
    return noise_steps * jnp.mean(terms) / math.log(2)
