"""Deterministic solvers converge at their order, with the errors that the exact answer gives them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
import pytest

from artifex.samplers import (
    DDIM,
    DEIS,
    DPM2,
    ERSDE,
    LMS,
    PNDM,
    DPMSolverMultistep,
    DPMSolverPPMultistep,
    DPMSolverPPSinglestep,
    DPMSolverSinglestep,
    EDMStochastic,
    Euler,
    Heun,
    Sampler,
    UniPC,
)
from artifex.schedules import EDM, VP, CosineVP, NoiseLevel, RectifiedFlow, Schedule, grid
from artifex.schedules.arrays import HostArray
from tests.samplers.analytic import BIMODAL, GAUSSIAN, Mixture, at, walk
from tests.samplers.cases import DETERMINISTIC, falling


def errors(
    sampler: Sampler,
    data: Mixture,
    x: float,
    grids: Sequence[HostArray],
    exact: int = 0,
    schedule: Schedule | None = None,
) -> HostArray:
    """The error of each run at the end of the probability flow; the first ``exact`` steps are exact."""
    out = []
    for times in grids:
        table = sampler.tableau(EDM() if schedule is None else schedule, times)
        start = at(table.level, 0)
        begun = {i: np.asarray(data.flow(x, start, at(table.level, i + 1))) for i in range(exact)}
        end = walk(table, data.denoise, np.asarray(x), exact=begun)
        out.append(abs(float(end) - data.flow(x, start, table.end)))
    return np.asarray(out)


def slope(errors: HostArray, steps: Sequence[int]) -> float:
    """Of the last stretch."""
    return float(np.log(errors[-2] / errors[-1]) / np.log(steps[-1] / steps[-2]))


def test_the_exact_flow_is_exact() -> None:
    def level(sigma: float) -> NoiseLevel[HostArray]:
        return EDM().at(np.asarray(sigma))

    assert GAUSSIAN.flow(13.416239856425513, level(10.0), level(0.05)) == pytest.approx(1.0532419153728578, abs=1e-12)
    assert BIMODAL.flow(2.5, level(10.0), level(0.02)) == pytest.approx(0.5365488687144535, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (Euler(), [4.136e-2, 2.102e-2, 1.060e-2, 5.319e-3, 2.665e-3]),
        (DDIM(), [4.136e-2, 2.102e-2, 1.060e-2, 5.319e-3, 2.665e-3]),
        (DPMSolverSinglestep(1), [4.136e-2, 2.102e-2, 1.060e-2, 5.319e-3, 2.665e-3]),
        (Heun(), [6.103e-3, 1.474e-3, 3.623e-4, 8.983e-5, 2.236e-5]),
        (Heun(parametrization="ratio"), [6.103e-3, 1.474e-3, 3.623e-4, 8.983e-5, 2.236e-5]),
        (EDMStochastic(s_churn=0), [6.103e-3, 1.474e-3, 3.623e-4, 8.983e-5, 2.236e-5]),
        (DPM2(), [2.958e-3, 7.234e-4, 1.788e-4, 4.446e-5, 1.108e-5]),
        (DPMSolverSinglestep(2), [2.958e-3, 7.234e-4, 1.788e-4, 4.446e-5, 1.108e-5]),
        (DPMSolverPPSinglestep(2), [2.695e-3, 6.911e-4, 1.748e-4, 4.397e-5, 1.102e-5]),
        (DPMSolverPPMultistep(2), [2.505e-3, 6.538e-4, 1.655e-4, 4.155e-5, 1.041e-5]),
        (LMS(2), [1.168e-2, 3.225e-3, 8.488e-4, 2.178e-4, 5.517e-5]),
        (LMS(3), [5.116e-3, 8.053e-4, 1.144e-4, 1.556e-5, 2.110e-6]),
    ],
    ids=repr,
)
def test_errors_on_a_gaussian(sampler: Sampler, expected: list[float]) -> None:
    grids = [falling(10.0, 0.05, steps) for steps in (20, 40, 80, 160, 320)]
    np.testing.assert_allclose(errors(sampler, GAUSSIAN, 13.416239856425513, grids), expected, rtol=6e-4)


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (DPMSolverPPMultistep(3), [6.30e-5, 9.01e-7, 1.37e-8, 1.70e-9]),
        (DPMSolverPPMultistep(3, diffusers_compat=True), [1.22e-4, 9.35e-6, 6.08e-7, 1.53e-7]),
    ],
    ids=repr,
)
def test_errors_of_the_third_order_on_a_mixture(sampler: Sampler, expected: list[float]) -> None:
    grids = [falling(10.0, 0.02, steps) for steps in (40, 160, 640, 1280)]
    np.testing.assert_allclose(errors(sampler, BIMODAL, 2.5, grids, exact=2), expected, rtol=5e-3)


ORDERS: Final = (
    (DDIM(), 1, 0),
    (Euler(), 1, 0),
    (Heun(), 2, 0),
    (Heun(parametrization="ratio"), 2, 0),
    (DPM2(), 2, 0),
    (EDMStochastic(s_churn=0), 2, 0),
    (DPMSolverSinglestep(1), 1, 0),
    (DPMSolverSinglestep(2), 2, 0),
    (DPMSolverSinglestep(3), 3, 0),
    (DPMSolverMultistep(1), 1, 0),
    (DPMSolverMultistep(2), 2, 0),
    (DPMSolverMultistep(3), 3, 2),
    (DPMSolverMultistep(2, solver_type="heun"), 2, 0),
    (DPMSolverMultistep(3, diffusers_compat=True), 2, 2),
    (DPMSolverPPSinglestep(1), 1, 0),
    (DPMSolverPPSinglestep(2), 2, 0),
    (DPMSolverPPSinglestep(3), 3, 0),
    (DPMSolverPPMultistep(1), 1, 0),
    (DPMSolverPPMultistep(2), 2, 0),
    (DPMSolverPPMultistep(2, solver_type="heun"), 2, 0),
    (DPMSolverPPMultistep(3), 3, 2),
    (DPMSolverPPMultistep(3, diffusers_compat=True), 2, 2),
    (UniPC(1, corrector=False), 1, 0),
    (UniPC(2, corrector=False, lower_order_final=False), 2, 0),
    (UniPC(3, corrector=False, lower_order_final=False), 3, 2),
    (UniPC(1, "bh1", lower_order_final=False), 2, 0),
    (UniPC(1, "bh2", lower_order_final=False), 2, 0),
    (UniPC(2, "bh1", lower_order_final=False), 3, 1),
    (UniPC(2, "bh2", lower_order_final=False), 3, 1),
    (UniPC(3, "bh1", lower_order_final=False), 4, 2),
    (UniPC(3, "bh2", lower_order_final=False), 4, 2),
    (UniPC(3, "bh2", predict_x0=False, corrector=False, lower_order_final=False), 3, 2),
    (UniPC(1, "bh1", predict_x0=False, lower_order_final=False), 2, 0),
    (UniPC(2, "bh2", predict_x0=False, lower_order_final=False), 3, 1),
    (UniPC(3, "bh1", predict_x0=False, lower_order_final=False), 4, 2),
    (UniPC(3, "bh2", predict_x0=False, lower_order_final=False), 4, 2),
    (DEIS(1), 1, 0),
    (DEIS(2), 2, 0),
    (DEIS(3), 3, 2),
    (DEIS(2, "logrho"), 2, 0),
    (DEIS(3, "logrho"), 3, 2),
    (LMS(1), 1, 0),
    (LMS(2), 2, 0),
    (LMS(3), 3, 2),
    (LMS(4), 4, 3),
    (PNDM(), 2, 0),
    (PNDM(warmup="euler"), 2, 0),
    (PNDM(warmup="runge-kutta"), 2, 0),
    (ERSDE(1, offset=1e300), 1, 0),
    (ERSDE(2, offset=1e300), 2, 0),
    (ERSDE(3, offset=1e300), 3, 2),
)
"""Deterministic samplers, their orders, and the exact steps that they start with."""


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "order", "exact"), ORDERS, ids=repr)
def test_order_on_a_mixture(sampler: Sampler, order: int, exact: int) -> None:
    steps = (320, 640) if order < 4 else (640, 1280)
    found = errors(sampler, BIMODAL, 2.5, [falling(10.0, 0.02, n) for n in steps], exact)
    assert slope(found, steps) == pytest.approx(order, abs=0.1)


def test_every_deterministic_sampler_of_the_table_has_a_line() -> None:
    """Measured with full order to the end; else the lower order of UniPC's last steps would dominate."""
    shown = {sampler for sampler, _, _ in ORDERS}
    asked = {n: replace(s, lower_order_final=False) if isinstance(s, UniPC) else s for n, s in DETERMINISTIC.items()}
    assert [name for name, sampler in asked.items() if sampler not in shown] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "order"),
    [
        (Heun(), 2),
        (Heun("ratio"), 2),
        (DPM2(), 2),
        (DPMSolverPPSinglestep(3), 3),
        (DPMSolverPPMultistep(2), 2),
        (DEIS(2), 2),
        (LMS(2), 2),
    ],
    ids=repr,
)
@pytest.mark.parametrize("schedule", [VP(), CosineVP(), RectifiedFlow()], ids=repr)
def test_order_on_other_paths(sampler: Sampler, order: int, schedule: Schedule) -> None:
    steps = (320, 640)
    grids = [grid.uniform(n, 0.95, 0.05) for n in steps]
    found = errors(sampler, BIMODAL, 0.9, grids, schedule=schedule)
    assert slope(found, steps) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(("warmup", "exact"), [("euler", 3), ("runge-kutta", 0)])
def test_plms_is_of_fourth_order_where_the_ratio_falls_evenly(
    warmup: Literal["euler", "runge-kutta"], exact: int
) -> None:
    """Started by Runge and Kutta's method it needs no exact steps."""
    steps = (320, 640)
    found = errors(PNDM(warmup=warmup), BIMODAL, 1.5, [np.linspace(2.0, 0.2, n + 1) for n in steps], exact=exact)
    assert slope(found, steps) == pytest.approx(4, abs=0.15)


def test_the_start_of_plms_is_a_step_of_heun() -> None:
    """Two steps of first order are one of Heun's and one of DDIM."""

    def walked(sampler: Sampler, times: Sequence[float], x: HostArray) -> HostArray:
        return walk(sampler.tableau(EDM(), np.array(times)), BIMODAL.denoise, x)

    start = np.asarray(1.5)
    middle = walked(Heun(parametrization="ratio"), (2.0, 1.0), start)
    np.testing.assert_allclose(walked(PNDM(1), (2.0, 1.0, 0.5), start), walked(DDIM(), (1.0, 0.5), middle), rtol=1e-9)
