r"""The exact denoiser of Gaussian data, and the moments of its samples, in closed form from the papers alone.

Data are Gaussian, independent in every element: $x_0 \sim \mathcal N(m, s^2)$. Then $\mathbb E[x_0 \mid x_t]$ is affine
in $x_t$, so sampling maps Gaussians to Gaussians, and mean and variance of the samples follow by recursion.
Nothing here is computed by the packages under test.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.generative_models.models.diffusion import ModelConfig

HostArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
X = Float[Array, "b *d"]

MEAN, STD = 0.2, 0.3
LABEL_MEANS = (-0.4, 0.5)
"""Means of class 0 and class 1; all classes have ``STD``."""
SHAPE = (4, 4, 2)
COUNT = 1024
Z = 4.5
"""Standard errors that an estimate may be off: chance does that once in 150,000 estimates."""


def linear_abar(steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> HostArray:
    r"""$\bar\alpha_t = \prod (1 - \beta)$ of the linear chain."""
    out: HostArray = np.cumprod(1 - np.linspace(first, last, steps), dtype=np.float64)
    return out


class ExactNoise(nnx.Module):
    """E[eps | x_t] where x0 ~ N(mean, STD^2), the mean that of the label, if any."""

    def __init__(self, abar: HostArray, mean: float = MEAN, std: float = STD) -> None:
        self.table = nnx.Variable(jnp.asarray(abar, jnp.float32))
        self.unused = nnx.Param(jnp.zeros(()))
        self.mean, self.std = mean, std

    def __call__(self, x: X, t: Float[Array, " b"], cond: Array | None = None, *, deterministic: bool = True) -> X:
        column = (x.shape[0],) + (1,) * (x.ndim - 1)
        abar = self.table[...][t.astype(jnp.int32)].reshape(column)
        mean = self.mean if cond is None else jnp.asarray((*LABEL_MEANS, self.mean))[cond].reshape(column)
        return jnp.sqrt(1 - abar) * (x - jnp.sqrt(abar) * mean) / (abar * self.std**2 + 1 - abar)


def exact(model_config: ModelConfig, *, rngs: nnx.Rngs) -> ExactNoise:
    """A ``backbone_fn`` for models on a linear chain."""
    given: dict[str, Any] = {"noise_steps": 1000, "beta_start": 1e-4, "beta_end": 0.02, **model_config.parameters}
    return ExactNoise(linear_abar(given["noise_steps"], given["beta_start"], given["beta_end"]))


def config(model_class: str, **parameters: object) -> ModelConfig:
    return ModelConfig(name="exact", model_class=model_class, input_dim=SHAPE, parameters=parameters)


def moments(
    abar: HostArray, nodes: Sequence[int], eta: float, mean: float = MEAN, std: float = STD
) -> tuple[float, float]:
    r"""Mean and standard deviation of samples, by the recursion of Song et al. 2021, equation 12.

    $$x_s = \sqrt{\bar\alpha_s}\, \hat x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\, \hat\epsilon + \sigma z,\quad
      \sigma = \eta \sqrt{(1 - \bar\alpha_s) / (1 - \bar\alpha_t)} \sqrt{1 - \bar\alpha_t / \bar\alpha_s}$$

    With ``eta = 1`` it is DDPM, on the kept nodes.

    Args:
        abar: of the whole chain.
        nodes: timesteps of the network calls, descending; sampling ends at clean data.
        eta: factor of the fresh noise.
        mean: of the data.
        std: of the data.
    """
    m, v = 0.0, 1.0
    places = np.append(abar[np.asarray(nodes)], 1.0)
    for a, b in pairwise(places):
        fresh = eta * np.sqrt((1 - b) / (1 - a)) * np.sqrt(1 - a / b)
        gain = np.sqrt(a) * std**2 / (a * std**2 + 1 - a)  # x0_hat = mean + gain (x - sqrt(a) mean)
        from_eps = np.sqrt(1 - b - fresh**2)
        slope = np.sqrt(b) * gain + from_eps * (1 - np.sqrt(a) * gain) / np.sqrt(1 - a)
        x0_at_m = mean + gain * (m - np.sqrt(a) * mean)
        m = np.sqrt(b) * x0_at_m + from_eps * (m - np.sqrt(a) * x0_at_m) / np.sqrt(1 - a)
        v = slope**2 * v + fresh**2
    return float(m), float(np.sqrt(v))


def trailing(steps: int, kept: int) -> list[int]:
    """The documented nodes: 999, 979 ... 19 for 50 of 1000."""
    return [round(steps - i * steps / kept) - 1 for i in range(kept)]


def assert_moments(samples: Array, mean: float, std: float, z: float = Z) -> None:
    """Assert mean and standard deviation of independent normal elements within ``z`` standard errors."""
    values = np.asarray(samples, np.float64)
    off_mean = (values.mean() - mean) / (std / np.sqrt(values.size))
    off_std = (values.std() - std) / (std / np.sqrt(2 * values.size))
    assert abs(off_mean) < z, f"mean {values.mean():.5f}, expected {mean:.5f}: {off_mean:+.1f} standard errors"
    assert abs(off_std) < z, f"std {values.std():.5f}, expected {std:.5f}: {off_std:+.1f} standard errors"


def traced(call: Callable[[nnx.Rngs], Array]) -> jax.ShapeDtypeStruct:
    """Shape and dtype of the result of ``call``, traced and not compiled."""
    out: jax.ShapeDtypeStruct = jax.eval_shape(lambda key: call(nnx.Rngs(key)), jax.random.key(0))
    return out
