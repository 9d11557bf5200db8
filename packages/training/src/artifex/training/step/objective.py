r"""The training objective: predict the target at a random noise level, with label dropout.

$$L = \mathbb E_{t,\epsilon}\; w(t)\; \tfrac1d \lVert f(x_t, t, c) - \mathrm{target}(x_0, \epsilon, t) \rVert^2,\qquad
  x_t = \alpha x_0 + \sigma \epsilon$$
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Real

from artifex.kernels.dtypes import common_dtype
from artifex.kernels.ranges import check_number, check_whole
from artifex.schedules import Discrete, NoiseLevel, Prediction, Schedule, add_noise, diffuse
from artifex.schedules.time_samplers import DiscreteUniform, LowDiscrepancy, TimeSampler

X = Float[Array, "b *d"]
Time = Real[Array, " b"]
Label = Int[Array, " b"]


class Draws(NamedTuple):
    """The random variables of one evaluation of the loss.

    Attributes:
        t: times, ``(batch,)``; int32 for the steps of a chain.
        eps: standard normal noise, of the shape of the data.
        cond: labels, some replaced by the null label; None without labels.
    """

    t: Time
    eps: X
    cond: Label | None


@dataclass(frozen=True)
class Objective:
    """Mean squared error on a prediction's target.

    Attributes:
        schedule: the path from data to noise.
        prediction: the network's output.
        num_classes: number of labels; the label ``num_classes`` is the null label. None trains without labels.
        class_dropout: share of labels replaced by the null label, in [0, 1], for classifier-free guidance.
        times: distribution of the times; None spreads a batch evenly over the steps of a discrete chain.
        weight: of the squared error by noise level; None is 1.

    Raises:
        ValueError: for values out of range, or if ``times`` is None for a schedule without steps.
    """

    schedule: Schedule
    prediction: Prediction
    num_classes: int | None = None
    class_dropout: float = 0.1
    times: TimeSampler | None = None
    weight: Callable[[NoiseLevel[jax.Array]], Array] | None = None
    learns_variance: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.num_classes is not None:
            check_whole("num_classes", self.num_classes, 1)
        check_number("class_dropout", self.class_dropout, 0, 1)
        if self.times is None:
            if not isinstance(self.schedule, Discrete):
                raise ValueError(
                    f"times must be given for {type(self.schedule).__name__}, which has no steps; got None"
                )
            object.__setattr__(self, "times", LowDiscrepancy(DiscreteUniform(self.schedule.steps)))

    def draw(self, x0: X, cond: Label | None, key: Key[Array, ""]) -> Draws:
        """Draw times, noise and dropped labels for a batch of clean data."""
        assert self.times is not None
        times, noise, drop = jax.random.split(key, 3)
        t = self.times(times, x0.shape[0])
        if self.num_classes is None or cond is None:
            kept = None
        else:
            dropped = jax.random.bernoulli(drop, self.class_dropout, cond.shape)
            kept = jnp.where(dropped, jnp.asarray(self.num_classes, cond.dtype), cond)
        return Draws(t, add_noise(x0, self.schedule.at(t), noise)[1], kept)

    def losses(self, network: Callable[[X, Time, Label | None], X], x0: X, draws: Draws) -> Float[Array, " b"]:
        """Compute the weighted mean squared error of each sample.

        Args:
            network: ``(x_t, t, cond) -> out``.
            x0: clean data, ``(batch, ...)``.
            draws: from ``draw``.

        Raises:
            ValueError: if the shape of the network's output is not that of its input.
        """
        level = self.schedule.at(draws.t)
        model_input, model_time = self.prediction.inputs(diffuse(x0, draws.eps, level), level)
        out = network(model_input, model_time, draws.cond)
        if out.shape != x0.shape:
            raise ValueError(f"the network must give an output of its input's shape {x0.shape}, got {out.shape}")
        target, dtype = self.prediction.target(x0, draws.eps, level), common_dtype(out.dtype, x0.dtype)
        error = (out.astype(dtype) - target.astype(dtype)).astype(jnp.float32)
        mean = jnp.mean(error.reshape(len(error), -1) ** 2, axis=1)
        return mean if self.weight is None else self.weight(level).astype(jnp.float32) * mean

    def loss(
        self, network: Callable[[X, Time, Label | None], X], x0: X, cond: Label | None, key: Key[Array, ""]
    ) -> Float[Array, ""]:
        """Compute the mean over a batch, with draws from ``key``."""
        return jnp.mean(self.losses(network, x0, self.draw(x0, cond, key)))
