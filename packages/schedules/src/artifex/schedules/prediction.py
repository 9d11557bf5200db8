r"""Prediction types: the meaning of a network's output, and its conversion to $x_0$ and $\epsilon$.

Every class is a value without arrays: equal settings are equal and hash alike. ``target`` is the regression target in
training; ``to_x0`` and ``to_eps`` convert an output. Through these any prediction converts to any other. All hold on
every path $x_t = \alpha x_0 + \sigma \epsilon$, variance-preserving or not.

``to_eps`` does not go through ``to_x0``: near clean data the rounding of a float32 $x_0$ reaches $\epsilon$ multiplied
by $\alpha / \sigma$ (1800 at a log-SNR of 15). Each class has both formulas in the form that loses fewest digits.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from artifex.kernels import linear_step
from artifex.schedules.level import NoiseLevel
from artifex.schedules.shapes import Time, X


@runtime_checkable
class Prediction(Protocol):
    """The type of a network's output, and the form of its input."""

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        """The regression target for ``x_t`` made of ``x0`` and ``eps``."""
        ...

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """$x_0$ from the output ``out`` at ``x_t``."""
        ...

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\epsilon$ from the output ``out`` at ``x_t``."""
        ...

    def inputs(self, x_t: X, level: NoiseLevel[jax.Array]) -> tuple[X, Time]:
        """The model input, here ``x_t`` itself, and the model time, one per sample: int32 at the steps of a chain."""
        return x_t, jnp.broadcast_to(level.t, x_t.shape[:1])


def convert(out: X, x_t: X, level: NoiseLevel[jax.Array], source: Prediction, target: Prediction) -> X:
    r"""Convert the output ``out`` of type ``source`` to type ``target``.

    The conversion goes through the pair $(\hat x_0, \hat\epsilon)$, so converting back returns ``out`` to within
    rounding wherever the type in between can represent it. ``V``, ``FlowVelocity`` and ``EDMPreconditioned`` can at
    every level. A float32 ``X0`` cannot hold $\epsilon$ at high log-SNR, ``Epsilon`` and ``Score`` cannot hold $x_0$ at
    low: an ulp of the one is then $\alpha/\sigma$, or $\sigma/\alpha$, ulps of the other. If both matter, keep the pair
    of ``to_x0_eps``.

    Args:
        out: ``(batch, ...)``.
        x_t: where the network was called.
        level: one level, or one per sample.
        source: the type of ``out``.
        target: the type of the result.
    """
    x0, eps = to_x0_eps(out, x_t, level, source)
    return target.target(x0, eps, level)


def to_x0_eps(out: X, x_t: X, level: NoiseLevel[jax.Array], source: Prediction) -> tuple[X, X]:
    r"""$(\hat x_0, \hat\epsilon)$ with $\alpha \hat x_0 + \sigma \hat\epsilon = x_t$.

    Where $\alpha = 0$, ``Epsilon`` and ``Score`` do not determine $x_0$; where $\sigma = 0$, ``X0`` and ``Score`` do
    not determine $\epsilon$. The undetermined one is 0.
    """
    return source.to_x0(out, x_t, level), source.to_eps(out, x_t, level)


def combine(a: Array, x: X, b: Array, y: X) -> X:
    """``a x + b y``; ``a`` and ``b`` are one number or one per sample."""
    return linear_step([x, y], jnp.stack(jnp.broadcast_arrays(a, b), axis=-1))


def scale(a: Array, x: X) -> X:
    """``a x``; ``a`` is one number or one per sample."""
    return linear_step([x], a[..., None])


def divide(a: Array, b: Array) -> Array:
    """``a / b``, and 0 where ``b`` is 0, at an end of the path."""
    positive = b > 0
    return jnp.where(positive, a / jnp.where(positive, b, 1), 0)


def remainder(x_t: X, factor: Array, part: X, divisor: Array) -> X:
    """``(x_t - factor * part) / divisor``, and 0 where ``divisor`` is 0."""
    return combine(divide(jnp.ones_like(divisor), divisor), x_t, divide(-factor, divisor), part)


@dataclass(frozen=True)
class Epsilon(Prediction):
    r"""The noise: $\epsilon$, so $x_0 = (x_t - \sigma \epsilon) / \alpha$; 0 where $\alpha = 0$.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\epsilon$."""
        return eps

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t - \sigma\, \mathrm{out}) / \alpha$."""
        return remainder(x_t, level.sigma, out, level.alpha)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The output."""
        return out


@dataclass(frozen=True)
class X0(Prediction):
    r"""The data itself: $x_0$, so $\epsilon = (x_t - \alpha x_0) / \sigma$; 0 where $\sigma = 0$."""

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        """$x_0$."""
        return x0

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The output."""
        return out

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t - \alpha\, \mathrm{out}) / \sigma$."""
        return remainder(x_t, level.alpha, out, level.sigma)


@dataclass(frozen=True)
class V(Prediction):
    r"""$v = \alpha \epsilon - \sigma x_0$, so $x_0 = (\alpha x_t - \sigma v) / (\alpha^2 + \sigma^2)$.

    References: Salimans and Ho 2022, https://arxiv.org/abs/2202.00512
    """

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\alpha \epsilon - \sigma x_0$."""
        return combine(-level.sigma, x0, level.alpha, eps)

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(\alpha x_t - \sigma\, \mathrm{out}) / (\alpha^2 + \sigma^2)$."""
        power = level.alpha**2 + level.sigma**2
        return combine(level.alpha / power, x_t, -level.sigma / power, out)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(\sigma x_t + \alpha\, \mathrm{out}) / (\alpha^2 + \sigma^2)$."""
        power = level.alpha**2 + level.sigma**2
        return combine(level.sigma / power, x_t, level.alpha / power, out)


@dataclass(frozen=True)
class Score(Prediction):
    r"""The score $\nabla \log p(x_t) = -\epsilon / \sigma$, so $x_0 = (x_t + \sigma^2 s) / \alpha$.

    It diverges on clean data: where $\sigma = 0$, it and its $\epsilon$ are taken as 0.

    References: Song et al. 2021, https://arxiv.org/abs/2011.13456
    """

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$-\epsilon / \sigma$."""
        return scale(divide(-jnp.ones_like(level.sigma), level.sigma), eps)

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t + \sigma^2\, \mathrm{out}) / \alpha$."""
        return remainder(x_t, -(level.sigma**2), out, level.alpha)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$-\sigma\, \mathrm{out}$."""
        return scale(-level.sigma, out)


@dataclass(frozen=True)
class FlowVelocity(Prediction):
    r"""The velocity of a straight path: $u = \epsilon - x_0$, so $x_0 = (x_t - \sigma u) / (\alpha + \sigma)$.

    References: Lipman et al. 2023, https://arxiv.org/abs/2210.02747; Liu et al. 2023, https://arxiv.org/abs/2209.03003
    """

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\epsilon - x_0$."""
        return eps - x0

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t - \sigma\, \mathrm{out}) / (\alpha + \sigma)$."""
        return remainder(x_t, level.sigma, out, level.alpha + level.sigma)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t + \alpha\, \mathrm{out}) / (\alpha + \sigma)$."""
        return remainder(x_t, -level.alpha, out, level.alpha + level.sigma)
