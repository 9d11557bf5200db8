"""EDM's preconditioning, generalized to any path."""

from dataclasses import dataclass
from typing import Final

import jax
import jax.numpy as jnp
from jaxtyping import Array

from artifex.kernels.ranges import check_positive
from artifex.schedules.level import NoiseLevel
from artifex.schedules.prediction import Prediction, combine, scale
from artifex.schedules.shapes import Time, X

EXTREME: Final = 80.0
"""The largest absolute log-SNR in a model time; replaces an infinite one."""


@dataclass(frozen=True)
class EDMPreconditioned(Prediction):
    r"""EDM's $F$, with which $x_0 = c_\mathrm{skip} x_t + c_\mathrm{out} F$.

    The model input is $c_\mathrm{in} x_t$, the model time $c_\mathrm{noise}$. With the variance of $x_t$,
    $q = \sigma^2 + \alpha^2 \sigma_\mathrm{data}^2$:

    $$c_\mathrm{skip} = \frac{\alpha \sigma_\mathrm{data}^2}{q},\quad
      c_\mathrm{out} = \frac{\sigma\, \sigma_\mathrm{data}}{\sqrt q},\quad c_\mathrm{in} = \frac{1}{\sqrt q},\quad
      c_\mathrm{noise} = \frac14 \log\frac\sigma\alpha,\qquad
      F = \frac{\sigma x_0 / \sigma_\mathrm{data} - \alpha \sigma_\mathrm{data}\, \epsilon}{\sqrt q}$$

    For $\alpha = 1$ these are the paper's; any other path is rescaled to $\alpha = 1$ first. On a variance-preserving
    path with ``sigma_data = 1``, $F = -v$.

    Attributes:
        sigma_data: standard deviation of the data, positive.

    Raises:
        ValueError: if ``sigma_data`` is not positive.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        check_positive("sigma_data", self.sigma_data)

    def c_skip(self, level: NoiseLevel[jax.Array]) -> Array:
        r"""$\alpha \sigma_\mathrm{data}^2 / q$."""
        return level.alpha * (self.sigma_data * self.c_in(level)) ** 2

    def c_out(self, level: NoiseLevel[jax.Array]) -> Array:
        r"""$\sigma\, \sigma_\mathrm{data} / \sqrt q$."""
        return level.sigma * self.sigma_data * self.c_in(level)

    def c_in(self, level: NoiseLevel[jax.Array]) -> Array:
        r"""$1 / \sqrt q$."""
        return 1 / jnp.hypot(level.sigma, level.alpha * self.sigma_data)

    def c_noise(self, level: NoiseLevel[jax.Array]) -> Array:
        r"""$\log(\sigma / \alpha) / 4$, with the log-SNR clipped to ``EXTREME``."""
        return -jnp.clip(level.logsnr, -EXTREME, EXTREME) / 8

    def inputs(self, x_t: X, level: NoiseLevel[jax.Array]) -> tuple[X, Time]:
        r"""$c_\mathrm{in} x_t$ and $c_\mathrm{noise}$."""
        return scale(self.c_in(level), x_t), jnp.broadcast_to(self.c_noise(level), x_t.shape[:1])

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(\sigma x_0 / \sigma_\mathrm{data} - \alpha \sigma_\mathrm{data}\, \epsilon) / \sqrt q$."""
        c_in = self.c_in(level)
        return combine(level.sigma / self.sigma_data * c_in, x0, -level.alpha * self.sigma_data * c_in, eps)

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$c_\mathrm{skip} x_t + c_\mathrm{out}\, \mathrm{out}$."""
        return combine(self.c_skip(level), x_t, self.c_out(level), out)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\sigma x_t / q - \alpha \sigma_\mathrm{data}\, \mathrm{out} / \sqrt q$."""
        c_in = self.c_in(level)
        return combine(level.sigma * c_in**2, x_t, -level.alpha * self.sigma_data * c_in, out)
