"""Walks of one, two and three steps, and of all steps of a chain; the truth is the closed form of a single step."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pytest

from artifex.samplers import (
    DPMSolverMultistep,
    DPMSolverPPMultistep,
    Sampler,
    Tableau,
    UniPC,
)
from artifex.schedules import EDM, Discrete, Schedule, betas, grid
from artifex.schedules.arrays import HostArray
from tests.samplers.analytic import GAUSSIAN, walk
from tests.samplers.cases import DETERMINISTIC, IMPROPER, SOLVERS, walks

FEW: Final = (1, 2, 3)
START: Final = np.array([-1.3, 0.2, 0.7])
SHORT: Final = Discrete(betas.linear(12, 0.02, 0.4))
EXTRA: Final[Mapping[str, Sampler]] = {
    "dpm++ 3m euler": DPMSolverPPMultistep(3, euler_at_final=True),
    "dpm-solver 3m euler": DPMSolverMultistep(3, euler_at_final=True),
    "unipc-3 uncorrected": UniPC(3, disable_corrector=(0, 1)),
}
ALL: Final = {**SOLVERS, **EXTRA}


def started(table: Tableau[HostArray]) -> HostArray:
    return np.asarray(table.level.alpha[0] * 0.4 + START * table.level.sigma[0])


def gaussian_walk(table: Tableau[HostArray], x: HostArray) -> HostArray:
    return walk(table, GAUSSIAN.denoise, x, np.random.default_rng(0).standard_normal((table.rows, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_one_step_to_clean_data_is_the_mean_of_the_posterior(name: str) -> None:
    """For N(0.4, 0.5^2): E[x0 | x] = 0.4 + 0.25 alpha (x - 0.4 alpha) / (0.25 alpha^2 + sigma^2)."""
    ended = 0
    for position, (schedule, times) in walks(1).items():
        table = ALL[name].tableau(schedule, times)
        if table.end.sigma > 0:
            continue
        x, alpha, sigma = started(table), table.level.alpha[0], table.level.sigma[0]
        mean = 0.4 + 0.25 * alpha * (x - 0.4 * alpha) / (0.25 * alpha**2 + sigma**2)
        assert table.rows == 1, position
        np.testing.assert_allclose(gaussian_walk(table, x), mean, rtol=1e-10, err_msg=position)
        ended += 1
    assert ended == 7


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in DETERMINISTIC
        if "m" in name.split() or name[:4] in ("unip", "deis", "lms-") or name in ("plms", "plms euler")
    ],
)
def test_one_step_of_a_multistep_method_is_ddim(name: str) -> None:
    """Nothing to extrapolate yet: x_b = alpha_b x0 + sigma_b eps, of any order."""
    for position, (schedule, times) in walks(1).items():
        table = DETERMINISTIC[name].tableau(schedule, times)
        x = started(table)
        x0 = GAUSSIAN.denoise(x, float(table.level.alpha[0]), float(table.level.sigma[0]))
        eps = (x - table.level.alpha[0] * x0) / table.level.sigma[0]
        want = table.end.alpha * x0 + table.end.sigma * eps
        np.testing.assert_allclose(gaussian_walk(table, x), want, rtol=1e-9, atol=1e-12, err_msg=position)


def every(schedule: Discrete) -> tuple[Schedule, HostArray]:
    return schedule, grid.all_steps(schedule.steps)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_rows_of_few_and_of_all_steps_carry_a_constant(name: str) -> None:
    """With x0 = 2 for all x, weights of every row reproduce it: the walk ends at 2 alpha plus the noise that is kept.

    A single step of Runge and Kutta's from sigma 50 to 0.01 multiplies its own rounding by 50 / sigma in every call.
    """
    off = 1e-7 if name == "plms runge-kutta" else 1e-9
    cases = {f"{position}, {k}": case for k in FEW for position, case in walks(k).items()}
    cases["all of a chain"] = every(SHORT)
    cases["all, without signal"] = every(Discrete(betas.rescale_zero_terminal_snr(SHORT.betas)))
    for position, (schedule, times) in cases.items():
        table = ALL[name].tableau(schedule, times)
        eps = 0.7 if name in DETERMINISTIC or name in EXTRA else 0.0
        start = np.asarray(table.level.alpha[0] * 2 + table.level.sigma[0] * eps)
        end = walk(table, lambda x, alpha, sigma: np.full_like(x, 2.0), start)
        assert float(end) == pytest.approx(table.end.alpha * 2 + table.end.sigma * eps, abs=off), position


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in IMPROPER])
def test_all_steps_end_in_the_range_of_the_data(name: str) -> None:
    for schedule, times in (every(SHORT), *(walks(k)["chain"] for k in FEW)):
        table = ALL[name].tableau(schedule, times)
        end = gaussian_walk(table, started(table))
        assert table.end.sigma == 0
        assert np.all(np.abs(end - 0.4) < 4 * 0.5)


@pytest.mark.parametrize("kind", [DPMSolverPPMultistep, DPMSolverMultistep])
@pytest.mark.parametrize("steps", [2, 3, 20])
def test_euler_at_final_is_of_first_order_in_the_last_step_alone(
    kind: type[DPMSolverPPMultistep | DPMSolverMultistep], steps: int
) -> None:
    times = grid.karras(EDM(), steps, 80.0, 0.002, clean=False)
    plain = kind(3, lower_order_final=False).tableau(EDM(), times)
    euler = kind(3, lower_order_final=False, euler_at_final=True).tableau(EDM(), times)
    np.testing.assert_array_equal(euler.evaluate[:-1], plain.evaluate[:-1])
    np.testing.assert_array_equal(euler.evaluate[-1, 3:], 0)
    assert plain.evaluate[-1, 3] != 0


def test_steps_that_stay_uncorrected() -> None:
    """The corrector of step i acts in row i + 1: with all of them left out, nothing but the predictor is left."""
    times = grid.karras(EDM(), 6, 80.0, 0.002)
    whole, none = UniPC(3).tableau(EDM(), times), UniPC(3, disable_corrector=tuple(range(6))).tableau(EDM(), times)
    some = UniPC(3, disable_corrector=(0, 2)).tableau(EDM(), times)
    np.testing.assert_array_equal(some.base[[1, 3]], none.base[[1, 3]])
    np.testing.assert_array_equal(some.base[[0, 2, 4, 5]], whole.base[[0, 2, 4, 5]])
    x = started(whole)
    only = UniPC(3, corrector=False).tableau(EDM(), times)
    np.testing.assert_allclose(gaussian_walk(none, x), gaussian_walk(only, x), rtol=1e-12)
    assert np.abs(gaussian_walk(whole, x) - gaussian_walk(only, x)).max() > 1e-3
