"""The recordings of ``make_reference.py``, and a float64 run of a table with the same network."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from artifex.samplers import Tableau
from artifex.schedules.arrays import HostArray

Precision = Literal["shipped", "wide"]

FILE: Final[Mapping[str, Any]] = np.load(Path(__file__).with_name("reference.npz"))
W: Final[HostArray] = FILE["w"]
START: Final[HostArray] = FILE["start"]
NOISE: Final[HostArray] = FILE["noise"]
LABELS: Final[Mapping[str, str]] = {str(pair).split("/")[0]: str(pair).split("/")[1] for pair in FILE["labels"]}
"""The peer's own name of each scheduler."""


def network(x: HostArray, t: float) -> HostArray:
    """The inputs of all peers."""
    return np.asarray(np.tanh(x @ W) + 0.1 * np.sin(t))


def clean(prediction: str, x: HostArray, alpha: float, sigma: float, model_time: float) -> HostArray:
    r"""$x_0$ from the network's output at ``model_time``, of type ``prediction``."""
    if prediction == "edm":
        total = np.hypot(sigma, 0.5)
        return np.asarray(x * (0.5 / total) ** 2 + network(x / total, model_time) * (sigma * 0.5 / total))
    out = network(x, model_time)
    if prediction == "epsilon":
        return (x - sigma * out) / alpha
    if prediction == "v_prediction":
        return (alpha * x - sigma * out) / (alpha**2 + sigma**2)
    return out if prediction == "sample" else (x - sigma * out) / (alpha + sigma)


def walk(
    table: Tableau[HostArray],
    model_times: HostArray,
    prediction: str,
    x: HostArray,
    draws: Callable[[int], int] | None = None,
    boundary: Callable[[float], tuple[float, float]] | None = None,
) -> HostArray:
    """The table's walk.

    Args:
        table: the method.
        model_times: the model time of each row.
        prediction: what its output is taken for.
        x: the start.
        draws: from the row to the place of its noise in the list; None: the next for each row that draws.
        boundary: factors of x and of x0 in what takes the place of x0, from the time.
    """
    x_e, x_b, drawn = x, x, 0
    history = [np.zeros_like(x)] * (table.evaluate.shape[1] - 3)
    for i in range(table.rows):
        newest = clean(prediction, x_e, table.level.alpha[i], table.level.sigma[i], model_times[i])
        if boundary:
            skip, out = boundary(model_times[i])
            newest = skip * x_e + out * newest
        v = np.cos(x_e @ W)  # where the variance is learned
        kept = table.keep[i, 0] * x_e + table.keep[i, 1] * newest
        x_b = np.tensordot(table.base[i], np.stack([x_e, x_b, newest, *history]), 1)
        x_e = np.tensordot(table.evaluate[i], np.stack([x_e, x_b, newest, *history]), 1)
        if table.noise[i]:
            longer = np.exp(table.stretch[i] * (1 + v) / 2) if table.uses.stretch else 1.0
            x_e = x_e + table.noise[i] * longer * NOISE[draws(i) if draws else drawn]
            drawn += 1
        history = [kept, *history][: len(history)]
    return x_e


def _samples(precision: Precision) -> dict[str, dict[tuple[str, int], HostArray]]:
    out: dict[str, dict[tuple[str, int], HostArray]] = {}
    for run, sample in zip(map(str, FILE["runs"]), np.asarray(FILE[precision], np.float64), strict=True):
        name, prediction, steps = run.split("/")
        out.setdefault(name, {})[prediction, int(steps)] = sample
    return out


def _walks(field: str) -> dict[str, HostArray]:
    parts = np.split(np.asarray(FILE[field], np.float64), np.cumsum(FILE[f"{field}_lengths"])[:-1])
    return dict(zip(map(str, FILE["walks"]), parts, strict=True))


MODEL_TIMES: Final[Mapping[Precision, Mapping[str, HostArray]]] = {
    "shipped": _walks("told_shipped"),
    "wide": _walks("told_wide"),
}
"""The model times, by ``name/steps``."""

SIGMAS: Final = _walks("sigmas_shipped")
"""The peer's own sigma over alpha, likewise, where it keeps any."""

SAMPLES: Final[Mapping[Precision, Mapping[str, Mapping[tuple[str, int], HostArray]]]] = {
    "shipped": _samples("shipped"),
    "wide": _samples("wide"),
}
"""A peer's samples, by its name, then by prediction and number of steps."""
