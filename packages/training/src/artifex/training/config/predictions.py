"""Predictions by name."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

from artifex.schedules import X0, EDMPreconditioned, Epsilon, FlowVelocity, Prediction, Score, V

PredictionName = Literal["epsilon", "x0", "v", "score", "flow_velocity", "edm"]

_PREDICTIONS: Final[Mapping[PredictionName, Callable[[float], Prediction]]] = {
    "epsilon": lambda _: Epsilon(),
    "x0": lambda _: X0(),
    "v": lambda _: V(),
    "score": lambda _: Score(),
    "flow_velocity": lambda _: FlowVelocity(),
    "edm": EDMPreconditioned,
}


def build_prediction(name: PredictionName, sigma_data: float) -> Prediction:
    """Build a prediction.

    Args:
        name: of the prediction.
        sigma_data: standard deviation of the data, for ``edm``.
    """
    return _PREDICTIONS[name](sigma_data)
