"""The recordings of ``make_scheduler_reference.py``, and the run of a scheduler that was read from a config."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from artifex.generative_models.interop import Scheduler
from artifex.samplers import Tableau
from artifex.schedules import EDM, EDMPreconditioned, Epsilon, FlowVelocity, V
from artifex.schedules.arrays import HostArray

FILE: Final[Mapping[str, Any]] = np.load(Path(__file__).with_name("schedulers.npz"))
W: Final[HostArray] = FILE["w"]
START: Final[HostArray] = FILE["start"]
NOISE: Final[HostArray] = FILE["noise"]
CONFIGS: Final[Mapping[str, dict[str, Any]]] = json.loads(str(FILE["configs"]))
"""Fields of ``scheduler_config.json``, by a name."""

FIELDS: Final[Mapping[str, list[str]]] = json.loads(str(FILE["fields"]))
"""The fields of every class's constructor."""

SEQUENCE: Final = 1024


def _runs() -> dict[str, dict[int, tuple[HostArray, HostArray]]]:
    model_times = np.split(np.asarray(FILE["told"], np.float64), np.cumsum(FILE["told_lengths"])[:-1])
    out: dict[str, dict[int, tuple[HostArray, HostArray]]] = {}
    for run, sample, times in zip(map(str, FILE["runs"]), FILE["samples"], model_times, strict=True):
        name, steps = run.rsplit("/", 1)
        out.setdefault(name, {})[int(steps)] = sample, times
    return out


RUNS: Final = _runs()
"""Sample and times that the network was given, by name and number of steps; NaN for what diffusers can't do."""


def _clean(scheduler: Scheduler, x: HostArray, alpha: float, sigma: float) -> HostArray:
    r"""$x_0$ from the network ``tanh(x W)``, within the scheduler's bounds."""
    kind = scheduler.prediction
    if isinstance(kind, EDMPreconditioned):
        c_in = 1 / np.hypot(sigma, alpha * kind.sigma_data)
        out = np.tanh(c_in * x @ W)
        x0 = alpha * (kind.sigma_data * c_in) ** 2 * x + sigma * kind.sigma_data * c_in * out
    else:
        out = np.tanh(x @ W)
        x0 = out
        if isinstance(kind, Epsilon):
            x0 = (x - sigma * out) / alpha
        elif isinstance(kind, V):
            x0 = alpha * x - sigma * out
        elif isinstance(kind, FlowVelocity):
            x0 = x - sigma * out
    if scheduler.threshold is not None:
        reach = np.quantile(np.abs(x0), scheduler.threshold.quantile, axis=1, keepdims=True)
        reach = np.clip(reach, scheduler.threshold.limit, scheduler.threshold.ceiling)
        return np.asarray(np.clip(x0, -reach, reach) / reach)
    return np.asarray(x0 if scheduler.clip is None else np.clip(x0, -scheduler.clip, scheduler.clip))


def walked(scheduler: Scheduler, table: Tableau[HostArray]) -> HostArray:
    """The sample, in float64."""
    x_e = x_b = START * (table.level.sigma[0] if scheduler.schedule == EDM() else 1.0)
    history = [np.zeros_like(x_e)] * (table.evaluate.shape[1] - 3)
    noise = iter(NOISE)
    for i in range(table.rows):
        newest = _clean(scheduler, x_e, float(table.level.alpha[i]), float(table.level.sigma[i]))
        kept = table.keep[i, 0] * x_e + table.keep[i, 1] * newest
        x_b = np.tensordot(table.base[i], np.stack([x_e, x_b, newest, *history]), 1)
        x_e = np.tensordot(table.evaluate[i], np.stack([x_e, x_b, newest, *history]), 1)
        x_e = x_e + table.noise[i] * next(noise) if table.noise[i] else x_e
        history = [kept, *history][: len(history)]
    return x_e
