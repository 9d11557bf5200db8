r"""Denoisers: $(x_t, \mathrm{level}) \mapsto \mathbb E[x_0 \mid x_t]$, the interface of models to samplers.

A denoiser is a callable. Those of this project are records: their arrays (parameters, conditions, scales) are
arguments of the compiled sampling loop, not constants in its code.

A denoiser with a learned variance returns $[x_0, v]$: twice the channels on the last axis, with
$\log s^2 = \tfrac{1 + v}{2} \log s^2_\mathrm{large} + \tfrac{1 - v}{2} \log s^2_\mathrm{small}$ the variance of an
ancestral step. Linear guidance applies to both; clipping and thresholding leave $v$ unchanged.

References: Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672
"""

import math
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp

from artifex.kernels import DynamicThreshold, guided_combine
from artifex.kernels.ranges import check_positive
from artifex.schedules.arrays.records import record, static
from artifex.schedules.level import NoiseLevel
from artifex.schedules.prediction import Prediction
from artifex.schedules.shapes import Estimate, Time, X

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)
P = TypeVar("P")


@runtime_checkable
class Denoiser(Protocol):
    r"""$\mathbb E[x_0 \mid x_t]$."""

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The expected clean data given ``x_t``; the arrays of ``level`` have shape ``(batch,)``."""
        ...


@runtime_checkable
class ConditionalDenoiser(Protocol[C_contra]):
    r"""$\mathbb E[x_0 \mid x_t, c]$; None is no condition."""

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array], cond: C_contra | None) -> Estimate:
        """The expected clean data given ``x_t`` and ``cond``."""
        ...


def split_variance(estimate: Estimate, x_t: X) -> tuple[X, X | None]:
    """Split a denoiser's output for ``x_t`` into $x_0$ and $v$; None stands for a $v$ that is absent.

    Raises:
        ValueError: if the output does not have the shape of ``x_t`` or twice its channels.
    """
    if estimate.shape == x_t.shape:
        return estimate, None
    if estimate.shape != _doubled(x_t):
        raise ValueError(
            f"a denoiser must give x0 of shape {x_t.shape}, or [x0, v] of shape {_doubled(x_t)}, got {estimate.shape}"
        )
    x0, v = jnp.split(estimate, 2, axis=-1)
    return x0, v


def map_x0(function: Callable[[X], X], estimate: Estimate, x_t: X) -> Estimate:
    """Apply ``function`` to the $x_0$ in a denoiser's output for ``x_t``; a $v$ stays unchanged."""
    x0, v = split_variance(estimate, x_t)
    return function(x0) if v is None else jnp.concatenate([function(x0), v], axis=-1)


def _doubled(x_t: X) -> tuple[int, ...]:
    return (*x_t.shape[:-1], 2 * x_t.shape[-1]) if x_t.ndim > 1 else x_t.shape


@record
class NetworkDenoiser(Generic[P, C]):
    """A network, its parameters and its prediction type, as a denoiser.

    Attributes:
        apply: ``(parameters, x, t, cond) -> output``, pure; part of the structure, so pass the same object again. Its
            arguments are ``prediction.inputs``: $x_t$ and its time, unless the prediction scales them; the time is
            int32 at the steps of a chain.
        prediction: the type of the output.
        parameters: any pytree.
        variance: whether the network returns twice the channels on the last axis, the second half being $v$; the
            denoiser then returns $[x_0, v]$.
    """

    apply: Callable[[P, X, Time, C | None], Estimate] = static()
    prediction: Prediction = static()
    parameters: P
    variance: bool = static(default=False)

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array], cond: C | None = None) -> Estimate:
        """$x_0$ or $[x_0, v]$ from one call of the network."""
        model_input, model_time = self.prediction.inputs(x_t, level)
        out = self.apply(self.parameters, model_input, model_time, cond)
        if self.variance and out.shape != _doubled(x_t):
            raise ValueError(
                f"a network with a variance must give twice its input's channels, {_doubled(x_t)}, got {out.shape}"
            )
        if not self.variance and out.shape != x_t.shape:
            raise ValueError(f"the network must give an output of its input's shape {x_t.shape}, got {out.shape}")
        return map_x0(lambda output: self.prediction.to_x0(output, x_t, level), out, x_t)


@record
class Clipped:
    r"""A denoiser clipped to $[-\mathrm{limit}, \mathrm{limit}]$, the range of the data.

    Attributes:
        denoiser: the wrapped denoiser.
        limit: positive.

    Raises:
        ValueError: if ``limit`` is not positive.
    """

    denoiser: Denoiser
    limit: float = static(default=1.0)

    def __post_init__(self) -> None:
        check_positive("limit", self.limit)

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The clipped $x_0$."""
        return map_x0(lambda x0: jnp.clip(x0, -self.limit, self.limit), self.denoiser(x_t, level), x_t)


@record
class DynamicallyThresholded:
    r"""A denoiser with dynamic thresholding: clipped to a quantile of its own result, then rescaled.

    $$s = \mathrm{clip}\big(\mathrm{quantile}_q(|x_0|),\ \mathrm{limit},\ \mathrm{ceiling}\big),\qquad
      x_0' = \mathrm{clip}(x_0, -s, s)\, \mathrm{limit} / s$$

    The quantile is each sample's own, so a sample does not depend on its batch.

    Attributes:
        denoiser: the wrapped denoiser.
        quantile: $q$, in (0, 1].
        limit: the data's range is ``[-limit, limit]``; positive.
        ceiling: the largest $s$, at least ``limit``.

    Raises:
        ValueError: for values outside those ranges.

    References: Saharia et al. 2022, https://arxiv.org/abs/2205.11487
    """

    denoiser: Denoiser
    quantile: float = static(default=0.995)
    limit: float = static(default=1.0)
    ceiling: float = static(default=math.inf)

    def __post_init__(self) -> None:
        self._range()

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The thresholded $x_0$."""
        threshold = self._range()
        return map_x0(lambda x0: guided_combine(x0, x0, 1.0, threshold=threshold), self.denoiser(x_t, level), x_t)

    def _range(self) -> DynamicThreshold:
        return DynamicThreshold(self.quantile, self.limit, self.ceiling)


@record
class Mapped:
    r"""A denoiser followed by a function of $x_0$: $f(\mathbb E[x_0 \mid x_t])$.

    Attributes:
        denoiser: the wrapped denoiser.
        function: $f$, pure and shape-preserving; make it a pytree if it holds arrays.
    """

    denoiser: Denoiser
    function: Callable[[X], X]

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The mapped $x_0$."""
        return map_x0(self._map, self.denoiser(x_t, level), x_t)

    def _map(self, x0: X) -> X:
        out = self.function(x0)
        if out.shape != x0.shape:
            raise ValueError(f"function must keep the shape {x0.shape}, got {out.shape}")
        return out
