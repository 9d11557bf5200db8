"""Grids of the schedulers of a chain: the times of the network calls, and the end."""

from collections.abc import Callable
from typing import Final

import numpy as np

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.config_fields import Fields
from artifex.generative_models.interop.scheduler.chain import ratios
from artifex.generative_models.interop.scheduler.edm import LogSigma
from artifex.generative_models.interop.scheduler.flow import read_shift, read_terminal, solver_flow, unipc_flow
from artifex.generative_models.interop.scheduler.spacing import (
    SPACINGS,
    chain_calls,
    read_ends,
    read_spread,
    solver_calls,
    spread_levels,
    times_at,
)
from artifex.generative_models.interop.scheduler.value import distinct
from artifex.schedules import Discrete, RectifiedFlow, Schedule, grid
from artifex.schedules.arrays import HostArray

Walk = Callable[[int], HostArray]
CLEAN: Final = -1.0
NOISY: Final = 0.0
"""The time of a chain's first level, where a walk ends that is not to end on clean data."""
OWN_ENDS: Final = ("LMSDiscreteScheduler", "DPMSolverSDEScheduler")
"""Classes whose Karras levels span the grid's own, whatever ``sigma_min`` and ``sigma_max`` are."""


def ancestral_walk(kind: str, chain: Discrete, fields: Fields) -> Walk:
    """DDPM, DDIM and its inversion, PNDM."""
    allowed = SPACINGS[:2] if kind == "DDIMInverseScheduler" else SPACINGS
    spacing, offset = fields.choice("timestep_spacing", allowed, "leading"), fields.integer("steps_offset", 0)
    to_one = fields.flag("set_alpha_to_one", kind != "PNDMScheduler")
    to_one = fields.flag("set_alpha_to_zero", to_one)  # its name in DDIMInverseScheduler

    def walk(steps: int) -> HostArray:
        times = np.append(chain_calls(spacing, chain.steps, steps, offset, whole=True), CLEAN if to_one else NOISY)
        return distinct(times, chain) if kind == "DDIMInverseScheduler" else times

    return walk


def distilled_walk(chain: Discrete, fields: Fields) -> Walk:
    """LCM: some of the times of its distillation."""
    n, most = chain.steps, fields.integer("original_inference_steps", 50)
    if not 1 <= most <= n:
        raise CheckpointError(f"original_inference_steps must be in [1, {n}], got {most}")
    scaling = fields.number("timestep_scaling", 10.0)
    if scaling != 10:
        raise CheckpointError(f"timestep_scaling must be 10: nothing else is supported; got {scaling}")

    def walk(steps: int) -> HostArray:
        places = grid.trailing(most, steps)[:-1]  # checks steps
        original = np.arange(most, 0, -1) * (n // most) - 1.0
        return np.append(original[np.arange(len(places)) * most // steps], CLEAN)

    return walk


def euler_walk(kind: str, chain: Discrete, fields: Fields, velocity: bool) -> tuple[Schedule, Walk]:
    """Euler, Heun, DPM2, LMS, DPM-Solver++ (SDE): spaced in time, or spread between the ends of that."""
    levels = ratios(chain)
    spacing, offset = fields.choice("timestep_spacing", SPACINGS, "linspace"), fields.integer("steps_offset", 0)
    logarithmic = fields.choice("interpolation_type", ("linear", "log_linear"), "linear") == "log_linear"
    continuous = fields.choice("timestep_type", ("discrete", "continuous"), "discrete") == "continuous" and velocity
    reach = (0.0, np.inf) if continuous else (float(levels[0]), float(levels[-1]))
    way, (low, high) = read_spread(fields), read_ends(fields, *reach)
    clean = fields.choice("final_sigmas_type", ("zero", "sigma_min"), "zero") == "zero"
    if kind in OWN_ENDS and way == "karras":
        low = high = None
    schedule: Schedule = LogSigma() if continuous else chain

    def walk(steps: int) -> HostArray:
        times, stop = chain_calls(spacing, chain.steps, steps, offset, whole=False), 0.0 if clean else levels[0]
        if not (way or logarithmic or continuous):
            return np.append(times, CLEAN if clean else NOISY)
        sigmas = np.interp(times, np.arange(chain.steps), levels)
        if logarithmic:
            sigmas = spread_levels("exponential", levels[-1], levels[0], steps + 1)
        if way:
            sigmas = spread_levels(way, high or sigmas[0], low or sigmas[-1], steps)
        elif logarithmic:
            sigmas, stop = sigmas[:-1], sigmas[-1]
        return np.append(times_at(schedule, sigmas), _end(schedule, stop))

    return schedule, walk


def _end(schedule: Schedule, sigma: float) -> HostArray:
    with np.errstate(divide="ignore"):
        return schedule.inverse_logsnr(np.asarray(-2 * np.log(sigma)))


def solver_walk(
    kind: str, chain: Discrete, fields: Fields, flow: bool, image_seq_len: int | None
) -> tuple[Schedule, Walk]:
    """DPM-Solver, UniPC, DEIS: times with one step more, or levels spread over the whole chain, or those of a flow."""
    levels, n = ratios(chain), chain.steps
    unipc, deis = kind == "UniPCMultistepScheduler", kind == "DEISMultistepScheduler"
    spacing, offset = fields.choice("timestep_spacing", SPACINGS, "linspace"), fields.integer("steps_offset", 0)
    way, (low, high) = read_spread(fields), read_ends(fields, levels[0], levels[-1])
    clean = not deis and fields.choice("final_sigmas_type", ("zero", "sigma_min"), "zero") == "zero"
    last = n - _clipped(levels, fields)
    plain, terminal = fields.number("flow_shift", 1.0), read_terminal(fields)
    shift = read_shift(fields, plain, image_seq_len)
    if fields.flag("use_lu_lambdas", False) and way != "karras":
        way, low, high = "exponential", None, None
    if terminal is not None and not flow:
        raise CheckpointError("shift_terminal is only supported with use_flow_sigmas")
    if flow and way and not (unipc and way == "karras"):
        raise CheckpointError(f"use_{way}_sigmas has no meaning with use_flow_sigmas")

    def spread(steps: int) -> HostArray:
        assert way is not None
        return spread_levels(way, high or levels[-1], low or levels[0], steps)

    def walk(steps: int) -> HostArray:
        if way:
            calls = times_at(chain, spread(steps))
            stays = calls[-1] if unipc or deis else NOISY
            return np.append(calls, CLEAN if clean else stays)
        return np.append(solver_calls(spacing, n, last, steps, offset), CLEAN if clean else NOISY)

    def flow_walk(steps: int) -> HostArray:
        if way:
            ratio = spread(steps)
            times = ratio / (1 + ratio)
            return np.append(times, 0.0 if clean else times[-1])
        if unipc:
            return unipc_flow(n, shift, terminal, clean)(steps)
        # without a size, a shift by size is none
        times = solver_flow(n, plain if shift is None else shift, 0.0 if clean else levels[0])(steps)
        return np.append(times[:-1], times[-2]) if deis else times

    return (RectifiedFlow(), flow_walk) if flow else (chain, walk)


def _clipped(levels: HostArray, fields: Fields) -> int:
    r"""The number of steps with $\lambda$ below ``lambda_min_clipped``."""
    value = fields.take("lambda_min_clipped", -np.inf)
    try:
        least = float(value)  # type: ignore[arg-type]  # JSON has no infinity: some files have it as a string
    except (TypeError, ValueError):
        raise CheckpointError(f"lambda_min_clipped must be a number, got {value!r}") from None
    count = int(np.count_nonzero(-np.log(levels) < least))
    if count == len(levels):
        raise CheckpointError(f"lambda_min_clipped must be below {-np.log(levels[0]):g}, got {value!r}")
    return count
