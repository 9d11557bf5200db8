"""Every schedule's own grid, and grids in the unit of another one."""

from collections.abc import Callable, Mapping
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.samplers import DDIM, DDIMInversion, prior, start_from, truncate
from artifex.schedules import (
    EDM,
    VE,
    VP,
    CosineVP,
    Discrete,
    NoiseLevel,
    RectifiedFlow,
    Schedule,
    Shifted,
    SubVP,
    betas,
    grid,
)
from artifex.schedules.arrays import HostArray, T

CHAIN: Final = Discrete(betas.scaled_linear(1000))
SCHEDULES: Final[Mapping[str, Schedule]] = {
    "chain": CHAIN,
    "short chain": Discrete(betas.linear(100)),
    "chain without signal": Discrete(betas.rescale_zero_terminal_snr(betas.scaled_linear(1000))),
    "vp": VP(),
    "sub-vp": SubVP(),
    "cosine": CosineVP(),
    "cosine, held": CosineVP(-15.0, 15.0),
    "ve": VE(),
    "edm": EDM(),
    "flow": RectifiedFlow(),
    "flow, shifted": RectifiedFlow(3.0),
    "shifted chain": Shifted(CHAIN, 2.0),
    "shifted flow": Shifted(RectifiedFlow(), 3.0),
}
GRIDS: Final[Mapping[str, HostArray]] = {
    "of [0, 1]": grid.uniform(5),
    "of a chain of 1000": grid.trailing(1000, 5),
    "of a chain of 100": grid.trailing(100, 5),
    "of sigmas": grid.karras(EDM(), 5, 80.0, 0.002),
}
RIGHT: Final[Mapping[str, tuple[str, ...]]] = {
    "chain": ("of a chain of 1000",),
    "short chain": ("of a chain of 100",),
    "chain without signal": ("of a chain of 1000",),
    "shifted chain": ("of a chain of 1000",),
    "edm": ("of sigmas",),
}
"""Those of all others are of [0, 1]."""


def begin(schedule: Schedule, times: HostArray) -> float:
    """The noise that a walk begins with."""
    table = DDIM().tableau(schedule, times)
    prior(table, (1, 2), jax.random.key(0))
    return float(table.level.sigma[0])


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_schedules_own_grid_runs_from_its_noise_to_its_data(name: str, steps: int) -> None:
    schedule = SCHEDULES[name]
    times = schedule.times(steps)
    assert times.shape == (steps + 1,)
    assert times.dtype == np.float64
    np.testing.assert_array_equal(grid.custom(schedule, times), times)
    first = schedule.at(times[:1]).logsnr[0]
    assert begin(schedule, times) > 0.5
    # no time of the schedule has more noise, where its times end
    latest = {"edm": 80.0}.get(name, schedule.steps - 1.0 if isinstance(schedule, Discrete) else 1.0)
    latest = 999.0 if name == "shifted chain" else latest
    assert first == schedule.at(np.array([latest])).logsnr[0]
    last = schedule.at(times[-1:])
    assert last.sigma[0] <= 1e-3 * last.alpha[0]


def test_own_grids_are_those_of_their_papers() -> None:
    np.testing.assert_array_equal(CHAIN.times(5), [999, 799, 599, 399, 199, -1])
    np.testing.assert_array_equal(VP().times(4), [1, 0.75, 0.5, 0.25, 0])
    # Karras et al. 2022, equation 5
    i = np.arange(4)
    sigmas = (80 ** (1 / 7) + i / 3 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(EDM().times(4), [*sigmas, 0], rtol=1e-12)
    np.testing.assert_allclose(EDM().times(2, 20.0, 0.1), [20, 0.1, 0], rtol=1e-12)
    ends = VE().at(VE().times(2))
    np.testing.assert_allclose(ends.sigma, [50, 0.01, 0], rtol=1e-12)


@pytest.mark.parametrize("unit", GRIDS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_grid_on_every_schedule(name: str, unit: str) -> None:
    if unit in RIGHT.get(name, ("of [0, 1]",)):
        assert begin(SCHEDULES[name], GRIDS[unit]) > 0.5
        return
    with pytest.raises(ValueError, match=r"must .*got") as raised:
        begin(SCHEDULES[name], GRIDS[unit])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("schedule", "times", "message"),
    [
        (Discrete(betas.linear(100)), grid.uniform(5), r"must run from 99, noise, to -1, .* from 1 to 0 in \[0, 1\]"),
        (Shifted(CHAIN, 2.0), grid.uniform(5), r"must run from 999, noise, to -1"),
        (VP(), CHAIN.times(5), r"t must be in \[0, 1\], got values from -1.0 to 999.0"),
        (VE(), EDM().times(5), r"own unit, got values from 80 to 0, where sigma is up to .*e\+"),
        (VE(), CHAIN.times(5), r"own unit, got values from 999 to -1, where sigma is up to inf"),
        (EDM(), grid.uniform(5), r"sigma above alpha, got sigma 1 and alpha 1 at time 1: .* schedule.times\(steps\)"),
        (CHAIN, EDM().times(5), r"sigma above alpha, got sigma 0.286 and alpha 0.958 at time 80"),
    ],
)
def test_what_was_got_and_what_was_expected(schedule: Schedule, times: HostArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        begin(schedule, times)


@pytest.mark.parametrize("make", [grid.custom, DDIM().tableau])
def test_the_unit_is_checked_wherever_times_enter(make: Callable[[Schedule, HostArray], object]) -> None:
    with pytest.raises(ValueError, match="must run from 999"):
        make(CHAIN, grid.uniform(3))


def test_walks_that_begin_with_data_still_do() -> None:
    """The end of a walk, whole times within [0, 1], and inversion start from data."""
    key, x0 = jax.random.key(0), jnp.full((1, 2), 0.5)
    for times in (truncate(CHAIN.times(50), 0.1), np.array([1.0, 0.0]), np.array([1.0, 0.0, -1.0])):
        assert start_from(DDIM().tableau(CHAIN, times), x0, key).shape == (1, 2)
    back = DDIMInversion().tableau(VP(), VP().times(5))
    with pytest.raises(ValueError, match=r"got sigma 0\.58\d and alpha 0\.81\d at time 0\.2"):
        prior(back, (1, 2), key)


def test_a_schedule_of_ones_own() -> None:
    class Straight:
        def at(self, t: T) -> NoiseLevel[T]:
            return RectifiedFlow().at(t)

        def inverse_logsnr(self, logsnr: T) -> T:
            return RectifiedFlow().inverse_logsnr(logsnr)

        def times(self, steps: int) -> HostArray:
            return grid.uniform(steps)

    assert isinstance(Straight(), Schedule)
    assert begin(Straight(), grid.uniform(3)) == 1
    np.testing.assert_array_equal(Shifted(Straight(), 2.0).times(3), grid.uniform(3))


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_steps(name: str) -> None:
    schedule = SCHEDULES[name]
    with pytest.raises(ValueError, match=r"steps must be .*got 0"):
        schedule.times(0)
