"""Predictions whose network takes times of another unit than the schedule's."""

from dataclasses import dataclass

import jax

from artifex.kernels.ranges import check_positive
from artifex.schedules.level import NoiseLevel
from artifex.schedules.prediction import Prediction
from artifex.schedules.shapes import Time, X


@dataclass(frozen=True)
class ScaledTime(Prediction):
    """A prediction whose network gets ``factor`` times the model time of the one inside.

    Time embeddings expect times of up to about 1000, as on a discrete chain; continuous schedules use [0, 1].

    Attributes:
        prediction: the one inside.
        factor: positive.

    Raises:
        ValueError: if ``factor`` is not positive.
    """

    prediction: Prediction
    factor: float

    def __post_init__(self) -> None:
        check_positive("factor", self.factor)

    def inputs(self, x_t: X, level: NoiseLevel[jax.Array]) -> tuple[X, Time]:
        """The model input of the prediction inside, and ``factor`` times its model time."""
        model_input, model_time = self.prediction.inputs(x_t, level)
        return model_input, model_time * self.factor

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        """As the prediction inside."""
        return self.prediction.target(x0, eps, level)

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """As the prediction inside."""
        return self.prediction.to_x0(out, x_t, level)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """As the prediction inside."""
        return self.prediction.to_eps(out, x_t, level)
