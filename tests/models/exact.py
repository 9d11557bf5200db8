"""A backbone that knows the answer: the noise expected in Gaussian data, in closed form."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.generative_models.models.diffusion import ModelConfig
from artifex.samplers import Tableau
from artifex.schedules import Host

MEAN, STD = 0.2, 0.3
LABEL_MEANS = (-0.4, 0.5)
"""Means of class 0 and class 1; all classes have ``STD``. Label 2 is the null label."""

X = Float[Array, "b *d"]


class ExactNoise(nnx.Module):
    """E[eps | x_t] where x0 ~ N(mean, STD^2), the mean that of the label where there is one."""

    def __init__(self, alphas_cumprod: Host, rngs: nnx.Rngs) -> None:
        self.table = nnx.Variable(jnp.asarray(alphas_cumprod, jnp.float32))
        self.unused = nnx.Param(jnp.zeros(()))
        self.calls = 0

    def __call__(self, x: X, t: Float[Array, " b"], cond: Array | None = None, *, deterministic: bool = True) -> X:
        column = (x.shape[0],) + (1,) * (x.ndim - 1)
        abar = self.table[...][t.astype(jnp.int32)].reshape(column)
        mean = MEAN if cond is None else jnp.asarray((*LABEL_MEANS, MEAN))[cond].reshape(column)
        return jnp.sqrt(1 - abar) * (x - jnp.sqrt(abar) * mean) / (abar * STD**2 + 1 - abar)


def exact_noise(x: X, alphas_cumprod: Host, mean: Host | float) -> Host:
    """What ``ExactNoise`` says, in float64; one of ``alphas_cumprod`` a sample."""
    abar = alphas_cumprod.reshape((x.shape[0],) + (1,) * (x.ndim - 1))
    out: Host = np.sqrt(1 - abar) * (np.asarray(x, np.float64) - np.sqrt(abar) * mean) / (abar * STD**2 + 1 - abar)
    return out


def config(model_class: str, **parameters: object) -> ModelConfig:
    return ModelConfig(name="exact", model_class=model_class, input_dim=(4, 4, 2), parameters=parameters)


def moments(tableau: Tableau[Host], mean: float = MEAN, std: float = STD) -> tuple[float, float]:
    """Mean and standard deviation of the walk's samples under the exact denoiser, by its linear recursion."""
    level = tableau.level
    m, v = 0.0, float(level.sigma[0] ** 2)
    for i in range(tableau.rows):
        alpha, sigma = level.alpha[i], level.sigma[i]
        gain = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        keep, clean = tableau.evaluate[i, 0], tableau.evaluate[i, 2]
        m = keep * m + clean * (mean + gain * (m - alpha * mean))
        v = (keep + clean * gain) ** 2 * v + tableau.noise[i] ** 2
    return float(m), float(np.sqrt(v))


class ExactScoreNoise(nnx.Module):
    """E[eps | x_t] on a variance-exploding path, told 999 t."""

    def __init__(self, sigma_min: float, sigma_max: float) -> None:
        self.unused = nnx.Param(jnp.zeros(()))
        self.sigmas = (sigma_min, sigma_max)

    def __call__(self, x: X, t: Float[Array, " b"], cond: Array | None = None, *, deterministic: bool = True) -> X:
        low, high = self.sigmas
        sigma = (low * (high / low) ** (t / 999)).reshape((x.shape[0],) + (1,) * (x.ndim - 1))
        return sigma * (x - MEAN) / (STD**2 + sigma**2)
