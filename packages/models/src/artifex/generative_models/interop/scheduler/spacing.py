"""Times and noise levels at which schedulers of diffusers call the network."""

from typing import Final, Literal

import numpy as np

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.config_fields import Fields
from artifex.schedules import Schedule, grid
from artifex.schedules.arrays import HostArray

Spread = Literal["karras", "exponential", "beta"]
SPACINGS: Final = ("leading", "trailing", "linspace")
RHO: Final = 7.0


def read_spread(fields: Fields) -> Spread | None:
    """The spacing of noise levels; None if by times.

    Raises:
        CheckpointError: if there is more than one.
    """
    ways: tuple[Spread, ...] = ("karras", "exponential", "beta")
    asked = [way for way in ways if fields.flag(f"use_{way}_sigmas", False)]
    if len(asked) > 1:
        raise CheckpointError(f"only one of {', '.join(f'use_{way}_sigmas' for way in asked)} can be true")
    return asked[0] if asked else None


def chain_calls(spacing: str, n: int, k: int, offset: int, *, whole: bool) -> HostArray:
    """The ``k`` times of DDPM's and Euler's families, noise first.

    An ``offset`` that leads out of the chain is lowered; with all steps it is 0.
    """
    if spacing == "leading":
        room = n - 1 - (k - 1) * (n // max(k, 1))
        return grid.leading(n, k, min(offset, room))[:-1]
    return (grid.trailing(n, k) if spacing == "trailing" else grid.linspace(n, k, whole=whole))[:-1]


def solver_calls(spacing: str, n: int, last: int, k: int, offset: int) -> HostArray:
    """The times of DPM-Solver's family, noise first: those of ``k + 1`` steps without the one at clean data.

    Args:
        spacing: one of ``SPACINGS``.
        n: steps of the chain.
        last: number of steps in use, at most ``n``, without the noisiest.
        k: calls; with ``last`` of them these are all times.
        offset: added to leading times; lowered if it leads out of the chain.
    """
    every = grid.trailing(n if spacing == "trailing" else last, k)[:-1]  # checks k
    if spacing == "trailing":
        left = np.round(last - np.arange(k) * (n / k))
        return left[left >= 1] - 1
    if k == last:
        return every
    if spacing == "leading":
        ratio = last // (k + 1)
        return grid.leading(last, k + 1, 0)[:-2] + min(offset, n - 1 - k * ratio)
    return grid.linspace(last, k + 1)[:-2]


def spread_levels(way: Spread, high: float, low: float, k: int, rho: float = RHO) -> HostArray:
    r"""``k`` noise levels from ``high`` to ``low``; a single one is ``high``."""
    grid.uniform(k)  # checks k
    u = np.linspace(0, 1, k)
    if way == "karras":
        out: HostArray = (high ** (1 / rho) + u * (low ** (1 / rho) - high ** (1 / rho))) ** rho
        return out
    if way == "exponential":
        logs: HostArray = np.log(high) + u * (np.log(low) - np.log(high))
        return np.exp(logs)
    return grid.beta(k - 1, high, low) if k > 1 else np.array([high])


def times_at(schedule: Schedule, levels: HostArray) -> HostArray:
    r"""The times of these $\sigma / \alpha$; those within rounding of an integer are rounded."""
    times = schedule.inverse_logsnr(-2 * np.log(levels))
    near = np.round(times)
    return np.where(np.abs(times - near) < 1e-9, near, times)


def read_ends(fields: Fields, low: float, high: float) -> tuple[float | None, float | None]:
    """``sigma_min`` and ``sigma_max`` if given, within the chain's ``low`` and ``high``."""
    found: list[float | None] = []
    for key in ("sigma_min", "sigma_max"):
        value = fields.take(key, None)
        given = None if value is None else Fields({key: value}).number(key)
        if given is not None and not low * (1 - 1e-3) <= given <= high * (1 + 1e-3):
            raise CheckpointError(f"{key} must be in [{low:g}, {high:g}], the chain's own noise levels, got {given}")
        found.append(given)
    return found[0], found[1]
