"""A prediction whose network gets a multiple of the time."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Float, Real

from artifex.schedules import NoiseLevel, Prediction

X = Float[Array, "b *d"]
Time = Real[Array, " b"]


@dataclass(frozen=True)
class ScaledTime(Prediction):
    """Another prediction whose network gets a multiple of the time: networks are made for times up to about 1000.

    Attributes:
        prediction: the wrapped prediction.
        factor: positive.
    """

    prediction: Prediction
    factor: float

    def inputs(self, x_t: X, level: NoiseLevel[jax.Array]) -> tuple[X, Time]:
        """Scale the time."""
        model_input, model_time = self.prediction.inputs(x_t, level)
        return model_input, model_time * self.factor

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        """Delegate to the wrapped prediction."""
        return self.prediction.target(x0, eps, level)

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """Delegate to the wrapped prediction."""
        return self.prediction.to_x0(out, x_t, level)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """Delegate to the wrapped prediction."""
        return self.prediction.to_eps(out, x_t, level)
