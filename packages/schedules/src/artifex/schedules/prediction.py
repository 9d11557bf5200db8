r"""What a network predicts, and how to get $x_0$ from it.

Every class is a value without arrays: two of one kind are equal and hash alike. ``target`` makes what the network is
trained on, ``clean`` turns its output into $x_0$. With both, any prediction becomes any other: no table of pairs.
Both hold on every path $x_t = \alpha x_0 + \sigma \epsilon$, variance-preserving or not.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.kernels import linear_step
from artifex.schedules.level import NoiseLevel

X = Float[Array, "b *d"]


@runtime_checkable
class Prediction(Protocol):
    """A convention for a network's output."""

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        """What the network should say for ``x_t`` made of ``x0`` and ``eps``."""
        ...

    def clean(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The $x_0$ that the output ``out`` means at ``x_t``."""
        ...


def combine(a: Array, x: X, b: Array, y: X) -> X:
    """``a x + b y`` with one number, or one a sample, in front of each."""
    return linear_step([x, y], jnp.stack(jnp.broadcast_arrays(a, b), axis=-1))


def divide(a: Array, b: Array) -> Array:
    """``a / b``, and 0 where ``b`` is 0: at the end of a path that has lost all signal, nothing is known of $x_0$."""
    known = b > 0
    return jnp.where(known, a / jnp.where(known, b, 1), 0)


@dataclass(frozen=True)
class Epsilon:
    r"""The noise: $\epsilon$, so $x_0 = (x_t - \sigma \epsilon) / \alpha$; 0 where $\alpha = 0$.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\epsilon$."""
        return eps

    def clean(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t - \sigma\, \mathrm{out}) / \alpha$."""
        one = jnp.ones_like(level.alpha)
        return combine(divide(one, level.alpha), x_t, divide(-level.sigma, level.alpha), out)


@dataclass(frozen=True)
class Clean:
    """The data itself: $x_0$."""

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        """$x_0$."""
        return x0

    def clean(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The output."""
        return out


@dataclass(frozen=True)
class Velocity:
    r"""$v = \alpha \epsilon - \sigma x_0$, so $x_0 = (\alpha x_t - \sigma v) / (\alpha^2 + \sigma^2)$.

    References: Salimans and Ho 2022, https://arxiv.org/abs/2202.00512
    """

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\alpha \epsilon - \sigma x_0$."""
        return combine(-level.sigma, x0, level.alpha, eps)

    def clean(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(\alpha x_t - \sigma\, \mathrm{out}) / (\alpha^2 + \sigma^2)$."""
        power = level.alpha**2 + level.sigma**2
        return combine(level.alpha / power, x_t, -level.sigma / power, out)
