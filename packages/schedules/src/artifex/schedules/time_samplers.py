r"""Distributions of training times.

A ``TimeSampler`` draws one time per sample. Each of these is a quantile function of uniform numbers, so any of them can
be drawn with low discrepancy: ``LowDiscrepancy(LogitNormal())``.
"""

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Int

from artifex.kernels.ranges import check_number, check_positive, check_whole
from artifex.schedules.shapes import OneKey, Time

Timestep = Int[Array, " b"]
Fraction = Float[Array, " b"]

HALF_ULP: Final = 2.0**-24
"""Half the spacing of uniform float32 numbers; added to them, it keeps them in the open interval (0, 1)."""


@runtime_checkable
class TimeSampler(Protocol):
    """A distribution of training times."""

    def __call__(self, key: OneKey, batch: int) -> Time:
        """``batch`` times in the schedule's unit: integers for the steps of a chain."""
        ...


@runtime_checkable
class Quantile(Protocol):
    """A distribution given by its quantile function."""

    def quantile(self, u: Fraction) -> Time:
        """The quantile ``u`` in (0, 1): the time below which a fraction ``u`` of all times lies."""
        ...


@dataclass(frozen=True)
class Uniform:
    """The uniform distribution on an interval.

    Attributes:
        low: the first time, finite.
        high: the last time, finite and above ``low``.

    Raises:
        ValueError: for values outside those ranges.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_number("low", self.low)
        check_number("high", self.high)
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")

    def __call__(self, key: OneKey, batch: int) -> Time:
        """``batch`` independent times."""
        return self.quantile(uniform(key, batch))

    def quantile(self, u: Fraction) -> Time:
        r"""$\mathrm{low} + u\, (\mathrm{high} - \mathrm{low})$."""
        return self.low + u * (self.high - self.low)


@dataclass(frozen=True)
class DiscreteUniform:
    """The uniform distribution on the steps of a discrete chain.

    Attributes:
        n: steps of the chain, at least 1.

    Raises:
        ValueError: if ``n`` is less than 1.
    """

    n: int

    def __post_init__(self) -> None:
        check_whole("n", self.n, 1)

    def __call__(self, key: OneKey, batch: int) -> Time:
        """``batch`` independent times, integers in [0, n - 1]."""
        return self.quantile(uniform(key, batch))

    def quantile(self, u: Fraction) -> Timestep:
        r"""$\lfloor n u \rfloor$."""
        return jnp.minimum(jnp.floor(u * self.n), self.n - 1).astype(jnp.int32)


@dataclass(frozen=True)
class LogitNormal:
    r"""$\mathrm{logit}(t) \sim \mathcal N(\mathrm{mean}, \mathrm{std}^2)$: times in (0, 1), denser in the middle.

    Attributes:
        mean: finite; above 0 for more noise.
        std: positive.

    Raises:
        ValueError: for values outside those ranges.

    References: Esser et al. 2024, https://arxiv.org/abs/2403.03206
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        check_number("mean", self.mean)
        check_positive("std", self.std)

    def __call__(self, key: OneKey, batch: int) -> Time:
        """``batch`` independent times."""
        return self.quantile(uniform(key, batch))

    def quantile(self, u: Fraction) -> Time:
        r"""$\mathrm{sigmoid}(\mathrm{mean} + \mathrm{std}\, \Phi^{-1}(u))$."""
        return jax.nn.sigmoid(self.mean + self.std * ndtri(u))


@dataclass(frozen=True)
class LogNormal:
    r"""$\log t \sim \mathcal N(\mathrm{mean}, \mathrm{std}^2)$: for ``EDM``, whose time is $\sigma$.

    Attributes:
        mean: of $\log\sigma$, finite.
        std: of $\log\sigma$, positive.

    Raises:
        ValueError: for values outside those ranges.

    References: Karras et al. 2022, https://arxiv.org/abs/2206.00364
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        check_number("mean", self.mean)
        check_positive("std", self.std)

    def __call__(self, key: OneKey, batch: int) -> Time:
        """``batch`` independent times."""
        return self.quantile(uniform(key, batch))

    def quantile(self, u: Fraction) -> Time:
        r"""$\exp(\mathrm{mean} + \mathrm{std}\, \Phi^{-1}(u))$."""
        return jnp.exp(self.mean + self.std * ndtri(u))


@dataclass(frozen=True)
class LowDiscrepancy:
    r"""A distribution sampled with stratified draws: $u_i = (u_0 + i / \mathrm{batch}) \bmod 1$.

    Each time alone follows the inner distribution; spread evenly, a batch's loss has less variance.

    Attributes:
        times: the inner distribution.

    References: Kingma et al. 2021, https://arxiv.org/abs/2107.00630
    """

    times: Quantile

    def __call__(self, key: OneKey, batch: int) -> Time:
        """``batch`` times, one in each of ``batch`` equally likely ranges."""
        u = (uniform(key, 1) + jnp.arange(batch) / batch) % 1
        return self.times.quantile(jnp.clip(u, HALF_ULP, 1 - HALF_ULP))


def uniform(key: OneKey, batch: int) -> Fraction:
    """``batch`` numbers in the open interval (0, 1)."""
    return jax.random.uniform(key, (batch,)) + HALF_ULP
