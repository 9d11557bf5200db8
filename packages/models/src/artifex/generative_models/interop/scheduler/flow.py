"""Schedulers on a straight path: flow matching, and solvers with ``use_flow_sigmas``."""

from collections.abc import Callable
from typing import Final

import numpy as np

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.config_fields import Fields
from artifex.generative_models.interop.scheduler.spacing import read_spread, spread_levels
from artifex.generative_models.interop.scheduler.value import Scheduler
from artifex.samplers import Euler, Heun, MultistepConsistency
from artifex.schedules import FlowVelocity, RectifiedFlow, grid
from artifex.schedules.arrays import HostArray

SHORT_OF_ONE: Final = 1e-6
r"""The amount that UniPC takes off a $\\sigma$ of 1, where its log-SNR would be infinite."""


def read_shift(fields: Fields, plain: float, image_seq_len: int | None) -> float | None:
    r"""The factor s of the shift $s t / (1 + (s - 1) t)$: ``plain``, or $e^\mu$ or $\mu$ of the image's size.

    $\mu$ goes linearly from ``base_shift`` at ``base_image_seq_len`` tokens to ``max_shift`` at ``max_image_seq_len``.
    It is None if the size is needed and not given.
    """
    base, most = fields.number("base_shift", 0.5), fields.number("max_shift", 1.15)
    least, largest = fields.integer("base_image_seq_len", 256), fields.integer("max_image_seq_len", 4096)
    kind = fields.choice("time_shift_type", ("exponential", "linear"), "exponential")
    if not fields.flag("use_dynamic_shifting", False):
        return plain
    if image_seq_len is None:
        return None
    if least >= largest:
        raise CheckpointError(f"base_image_seq_len must be below max_image_seq_len, got {least} and {largest}")
    if image_seq_len < 1:
        raise CheckpointError(f"image_seq_len must be at least 1, got {image_seq_len}")
    mu = base + (most - base) * (image_seq_len - least) / (largest - least)
    return float(np.exp(mu)) if kind == "exponential" else mu


def known(shift: float | None) -> float:
    """The factor.

    Raises:
        ValueError: if it depends on a size that was not given.
    """
    if shift is None:
        raise ValueError(
            "use_dynamic_shifting: times depend on the image's size; give read_scheduler image_seq_len, its tokens"
        )
    return shift


def stretched(times: HostArray, terminal: float | None) -> HostArray:
    """Stretch the times so that the last is ``terminal``; a single time, 1, is unchanged."""
    if not terminal or len(times) == 1:
        return times
    out: HostArray = 1 - (1 - times) * ((1 - terminal) / (1 - times[-1]))
    return np.minimum(out, 1.0)


def read_terminal(fields: Fields) -> float | None:
    """``shift_terminal``; None if absent."""
    value = fields.take("shift_terminal", None)
    return None if value is None else Fields({"shift_terminal": value}).number("shift_terminal")


def read_flow(kind: str, fields: Fields, image_seq_len: int | None) -> Scheduler:
    """``FlowMatchEulerDiscreteScheduler`` and ``FlowMatchHeunDiscreteScheduler``."""
    n, plain = fields.integer("num_train_timesteps", 1000), fields.number("shift", 1.0)
    if kind == "FlowMatchHeunDiscreteScheduler":
        return Scheduler(RectifiedFlow(), FlowVelocity(), Heun(), _matched(n, plain, plain), time_scale=float(n))
    shift, terminal, way = read_shift(fields, plain, image_seq_len), read_terminal(fields), read_spread(fields)
    if fields.flag("invert_sigmas", False):
        raise CheckpointError(
            "invert_sigmas must be false: a network whose time runs from noise to data is not supported"
        )
    high, low = (_given(fields, key) for key in ("sigma_max", "sigma_min"))
    dynamic = fields.flag("use_dynamic_shifting", False)
    raw = _matched(n, 1.0 if dynamic else plain, shift)

    def walk(steps: int) -> HostArray:
        times = stretched(raw(steps)[:-1], terminal)
        if way:
            times = spread_levels(way, high or times[0], low or times[-1], steps)
        return np.append(times, 0.0)

    sampler = MultistepConsistency() if fields.flag("stochastic_sampling", False) else Euler()
    return Scheduler(RectifiedFlow(), FlowVelocity(), sampler, walk, time_scale=float(n))


def _given(fields: Fields, key: str) -> float | None:
    value = fields.take(key, None)
    return None if value is None else Fields({key: value}).number(key)


def _matched(n: int, ends: float, shift: float | None) -> Callable[[int], HostArray]:
    """Even times between the first and last training time shifted by ``ends``, all of them shifted again, then 0."""

    def walk(steps: int) -> HostArray:
        factor = known(shift)
        grid.uniform(steps)  # checks steps
        low = grid.shifted(np.array([1.0 / n]), ends)[0]
        return np.append(grid.shifted(np.linspace(1.0, low, steps), factor), 0.0)

    return walk


def solver_flow(n: int, shift: float | None, end: float) -> Callable[[int], HostArray]:
    """The times of DPM-Solver's classes with ``use_flow_sigmas``, all below 1."""

    def walk(steps: int) -> HostArray:
        factor = known(shift)
        grid.uniform(steps)  # checks steps
        return np.append(grid.shifted(np.linspace(1 - 1 / n, 0, steps + 1)[:-1], factor), end)

    return walk


def unipc_flow(n: int, shift: float | None, terminal: float | None, clean: bool) -> Callable[[int], HostArray]:
    """The times of ``UniPCMultistepScheduler`` with ``use_flow_sigmas``."""

    def walk(steps: int) -> HostArray:
        factor = known(shift)
        grid.uniform(steps)  # checks steps
        times = stretched(grid.shifted(np.linspace(1, 1 / n, steps + 1)[:-1], factor), terminal)
        if abs(times[0] - 1) < SHORT_OF_ONE:
            times[0] -= SHORT_OF_ONE
        return np.append(times, 0.0 if clean else times[-1])

    return walk
