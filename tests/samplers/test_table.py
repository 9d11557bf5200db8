"""Properties of tables, without a network."""

import time
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from artifex import samplers
from artifex.samplers import (
    DDPM,
    DEIS,
    LMS,
    PNDM,
    DDIMInversion,
    DPMSolverMultistep,
    DPMSolverPPMultistep,
    DPMSolverPPSDE,
    DPMSolverPPSinglestep,
    EDMStochastic,
    EulerAncestral,
    Sampler,
    UniPC,
)
from artifex.samplers.authoring import levels, tabulate
from artifex.samplers.multistep import difference_weights, moments, phi
from artifex.schedules import EDM, VP, Discrete, NoiseLevel, betas, grid
from artifex.schedules.arrays import HostArray
from tests.samplers.analytic import BIMODAL, walk
from tests.samplers.cases import CHAIN, DETERMINISTIC, IMPROPER, SOLVERS, STOCHASTIC, falling, walks


def test_every_sampler_is_tried() -> None:
    public = {x for x in vars(samplers).values() if isinstance(x, type) and issubclass(x, Sampler) and x is not Sampler}
    assert public - {type(sampler) for sampler in SOLVERS.values()} == {DDIMInversion}


@pytest.mark.slow
@pytest.mark.parametrize("steps", [4, 20, 300])
@pytest.mark.parametrize("name", SOLVERS)
def test_a_constant_is_reproduced(name: str, steps: int) -> None:
    """With x0 = 2 for all x, the walk ends at 2 alpha and, where it keeps the noise, with the noise it began with."""
    for position, (schedule, times) in walks(steps).items():
        if steps > 100 and "clean" not in position:
            continue
        table = SOLVERS[name].tableau(schedule, times)
        eps = 0.7 if name in DETERMINISTIC else 0.0
        start = np.asarray(table.level.alpha[0] * 2 + table.level.sigma[0] * eps)
        end = walk(table, lambda x, alpha, sigma: np.full_like(x, 2.0), start)
        assert float(end) == pytest.approx(table.end.alpha * 2 + table.end.sigma * eps, abs=1e-9), position


@pytest.mark.slow
@pytest.mark.parametrize("name", STOCHASTIC)
def test_noise_adds_up(name: str) -> None:
    """For data without spread, the noise that is left and the noise that was added make up each level's sigma."""
    for position, (schedule, times) in walks(20).items():
        table = SOLVERS[name].tableau(schedule, times)
        source = np.eye(table.rows + 1)  # the start's noise, and each row's

        def nothing(x: HostArray, alpha: float, sigma: float, position: str = position) -> HostArray:
            assert np.sum(x**2) == pytest.approx(sigma**2, rel=1e-9), position
            return np.zeros_like(x)

        end = walk(table, nothing, table.level.sigma[0] * source[0], source[1:])
        assert np.sum(end**2) == pytest.approx(table.end.sigma**2, rel=1e-9), position


def test_eta_measures_the_fresh_noise() -> None:
    times = falling(10.0, 0.05, 12)
    h = np.log(times[:-1] / times[1:])
    for eta in (0.4, 1.0, 2.0):
        table = DPMSolverPPMultistep(2, eta=eta).tableau(EDM(), times)
        np.testing.assert_allclose(table.noise, times[1:] * np.sqrt(-np.expm1(-2 * eta * h)), rtol=1e-10)
        ancestral = EulerAncestral(eta).tableau(EDM(), times).noise
        np.testing.assert_allclose(ancestral, times[1:] * np.minimum(eta * np.sqrt(-np.expm1(-2 * h)), 1), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_both_ends_are_finite(name: str) -> None:
    for steps in (4, 5, 20):
        for position, (schedule, times) in walks(steps).items():
            table = SOLVERS[name].tableau(schedule, times)
            start = np.array([-1.3, 0.2, 0.7]) * table.level.sigma[0]
            end = walk(table, BIMODAL.denoise, start, np.zeros((table.rows, 3)))
            assert np.all(np.isfinite(end)), position
            # its long steps make the noise longer
            assert np.all(np.abs(end) < 5) or name == "dpm-solver 2m sde", position


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_one_call_a_step_unless_said(name: str) -> None:
    schedule, times = walks(20)["chain"]
    calls = {"heun": 2, "heun ratio": 2, "dpm2": 2, "dpm2 a": 2, "dpm-solver-2": 2, "dpm-solver-3": 3, "dpm++ 2s": 2}
    calls |= {"dpm++ 3s": 3, "dpm++ 2s a": 2, "dpm++ 3s a": 3, "edm": 2, "edm inflated": 2, "edm, no churn": 2}
    calls |= {"edm dpm2": 2, "dpm++ sde": 2, "dpm++ sde 0.5": 2}
    to_start = {"plms": 1, "plms runge-kutta": 9}
    a_step = calls.get(name, 1)
    expected = 20 * a_step - (a_step - 1)  # the last step, to clean data, takes one
    assert SOLVERS[name].tableau(schedule, times).rows == expected + to_start.get(name, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_a_thousand_steps_take_less_than_50_ms(name: str) -> None:
    schedule, times = walks(1000)["vp"]
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        SOLVERS[name].tableau(schedule, times)
        best = min(best, time.perf_counter() - start)
    assert best < 0.05


@pytest.mark.parametrize(
    "name", ["dpm-solver 3m", "dpm++ 3m", "dpm++ 3m sde", "unip-3", "unip-3 noise", "deis-3 logsnr", "er-sde-3"]
)
def test_closed_ends_are_of_first_order(name: str) -> None:
    """A start without signal, an end without noise: nothing but the newest prediction counts in those steps."""
    schedule, times = walks(20)["chain without signal"]
    evaluate = SOLVERS[name].tableau(schedule, times).evaluate
    for row in (0, 1, -1):
        np.testing.assert_array_equal(evaluate[row, 3:], 0)
    assert np.all(evaluate[3:-2, 3:5] != 0)
    np.testing.assert_allclose(evaluate[-1, :3], [0, 0, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("sampler", "steps", "lowers"),
    [
        (DPMSolverPPMultistep(3), 14, True),
        (DPMSolverPPMultistep(3), 15, False),
        (DPMSolverPPMultistep(3, lower_order_final=True), 30, True),
        (DPMSolverMultistep(3, lower_order_final=False), 5, False),
        (UniPC(3, corrector=False), 30, True),
        (DEIS(3), 14, True),
        (DEIS(3), 15, False),
    ],
    ids=repr,
)
def test_the_order_falls_over_the_last_steps(sampler: Sampler, steps: int, lowers: bool) -> None:
    older = sampler.tableau(EDM(), grid.karras(EDM(), steps, 80.0, 0.002, clean=False)).evaluate[-3:, 3:5]
    np.testing.assert_array_equal(older != 0, [[1, 1], [1, 0], [0, 0]] if lowers else np.ones((3, 2)))


def test_solvers_that_are_one() -> None:
    schedule, times = walks(20)["vp"]

    def same(a: Sampler, b: Sampler) -> None:
        one, other = a.tableau(schedule, times), b.tableau(schedule, times)
        x, z = np.array([0.3]), np.random.default_rng(0).standard_normal((one.rows, 1))
        np.testing.assert_allclose(
            walk(one, BIMODAL.denoise, x, z), walk(other, BIMODAL.denoise, x, z), rtol=1e-10, atol=1e-12
        )

    same(DETERMINISTIC["ddim"], DETERMINISTIC["euler"])
    same(DETERMINISTIC["dpm2"], DETERMINISTIC["dpm-solver-2"])
    same(DETERMINISTIC["heun"], DETERMINISTIC["edm, no churn"])
    same(STOCHASTIC["ddpm small"], STOCHASTIC["ddim eta 1"])
    same(STOCHASTIC["ddpm small"], EulerAncestral())
    same(STOCHASTIC["ddpm small"], STOCHASTIC["dpm++ 1m sde"])
    same(UniPC(2, corrector=False), DPMSolverPPMultistep(2, lower_order_final=True))
    same(UniPC(2, predict_x0=False, corrector=False), DPMSolverMultistep(2, lower_order_final=True))
    same(DPMSolverPPSDE(0), DPMSolverPPSinglestep(2))
    same(EDMStochastic(s_churn=0, step="dpm2"), DETERMINISTIC["dpm2"])


def test_an_inversion_undoes_ddim() -> None:
    schedule = VP()
    times = grid.uniform(30)
    forth, x = SOLVERS["ddim"].tableau(schedule, times), np.array([-1.2, 0.1, 0.9])
    clean = walk(forth, BIMODAL.denoise, x)
    off = [
        np.abs(walk(DDIMInversion(k).tableau(schedule, times), BIMODAL.denoise, clean) - x).max() for k in (1, 3, 9, 30)
    ]
    assert off[0] < 0.3
    assert off[1] < off[0]
    assert off[2] < off[1]
    assert off[3] < 1e-6


def test_phi_functions() -> None:
    z = np.array([-800.0, -5.0, -1.001, -0.999, -1e-3, 0.0, 1e-9, 0.5, 1.001, 6.0])
    near = np.where(z == 0, 1.0, z)
    one = np.where(z == 0, 1.0, np.expm1(z) / near)
    np.testing.assert_allclose(phi(1, z), one, rtol=1e-14)
    # each by quadrature of its own integral
    u, w = (a / 2 for a in np.polynomial.legendre.leggauss(60))
    u = u + 0.5
    mild = z[1:]
    h = np.array([0.01, 0.9, 4.0])
    for m in (1, 2, 3):
        want = h * (np.exp(-np.outer(h, 1 - u)) @ (w * u**m))
        np.testing.assert_allclose(moments(h, 3)[:, m - 1], want, rtol=1e-12)
    np.testing.assert_allclose(phi(2, mild), np.exp(np.outer(mild, 1 - u)) @ (w * u), rtol=1e-13)
    np.testing.assert_allclose(phi(3, mild), np.exp(np.outer(mild, 1 - u)) @ (w * u**2) / 2, rtol=1e-13)


def test_lean_integrates_polynomials() -> None:
    h = np.array([0.3, 0.7])
    nodes = np.array([[-1.2, -2.0, -3.5], [-0.8, -1.9, -2.4]])
    weights = difference_weights(nodes, moments(h, 3), np.array([4, 3]))
    np.testing.assert_allclose(weights[0] @ nodes[0] ** 3, moments(h, 3)[0, 2])
    np.testing.assert_allclose((weights * nodes**2).sum(1), moments(h, 3)[:, 1])
    assert weights[1, 2] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: DPMSolverPPMultistep(0),
        lambda: DPMSolverPPMultistep(4),
        lambda: DPMSolverMultistep(4),
        lambda: UniPC(4),
        lambda: DEIS(4),
        lambda: LMS(5),
        lambda: PNDM(5),
    ],
)
def test_an_order_out_of_range(make: type[Sampler]) -> None:
    with pytest.raises(ValueError, match=r"order must be in \[1, [34]\], got [045]"):
        make()


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            DDPM,
            {"variance_type": "middle"},
            "variance_type must be 'fixed_small', 'fixed_large' or 'learned_range', got 'middle'",
        ),
        (DPMSolverMultistep, {"solver_type": "euler"}, "solver_type must be 'midpoint' or 'heun', got 'euler'"),
        (DPMSolverMultistep, {"eta": -1.0}, r"eta must be finite and at least 0, got -1\.0"),
        (DPMSolverPPMultistep, {"solver_type": "euler"}, "solver_type must be 'midpoint' or 'heun', got 'euler'"),
        (DPMSolverPPSDE, {"r": 0.0}, r"r must be in \(0, 1\], got 0\.0"),
        (UniPC, {"solver_type": "bh3"}, "solver_type must be 'bh1' or 'bh2', got 'bh3'"),
        (PNDM, {"warmup": "none"}, "warmup must be 'heun', 'euler' or 'runge-kutta', got 'none'"),
        (EDMStochastic, {"step": "lms"}, "step must be 'heun', 'euler' or 'dpm2', got 'lms'"),
        (EDMStochastic, {"s_churn": -1.0}, r"s_churn must be finite and at least 0, got -1\.0"),
    ],
)
def test_bad_settings(
    unhooked: None, kind: Callable[..., Sampler], settings: Mapping[str, float | str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)


@pytest.mark.parametrize("times", [[3.0, 2.0, 2.0], [1.0, 2.0, 3.0], [3.0, 1.0, 2.0, 0.0]])
def test_levels_that_do_not_fall(times: list[float]) -> None:
    with pytest.raises(ValueError, match="times must run from noise to data"):
        SOLVERS["euler"].tableau(EDM(), np.array(times))


@pytest.mark.parametrize("times", [np.array([]), np.array([1.0]), np.ones((2, 2))])
def test_no_steps(times: HostArray) -> None:
    with pytest.raises(ValueError, match="times must be of shape"):
        levels(EDM(), times)


def test_more_steps_than_levels() -> None:
    with pytest.raises(ValueError, match=r"steps must be in \[1, 10\], got 11"):
        grid.trailing(10, 11)
    with pytest.raises(ValueError, match="noise to data"):
        SOLVERS["euler"].tableau(Discrete(CHAIN), np.array([3.0, 2.0, 2.0, -1.0]))


def test_tables_that_do_not_fit() -> None:
    level = NoiseLevel(t=np.ones(2), alpha=np.ones(2), sigma=np.ones(2))
    end = NoiseLevel(t=np.asarray(0.0), alpha=np.asarray(1.0), sigma=np.asarray(0.0))
    with pytest.raises(ValueError, match=r"evaluate must be of shape \(rows, 3 \+ history\)"):
        tabulate(level, end, np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"noise must be of shape \(2,\), got \(3,\)"):
        tabulate(level, end, np.ones((2, 3)), noise=np.ones(3))
    with pytest.raises(ValueError, match=r"keep must be of shape \(2, 2\), got \(2, 3\)"):
        tabulate(level, end, np.ones((2, 3)), keep=np.ones((2, 3)))
    with pytest.raises(ValueError, match="evaluate must be finite, got nan"):
        tabulate(level, end, np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="noise must be at least 0, got -1"):
        tabulate(level, end, np.ones((2, 3)), noise=-np.ones(2))


def test_unused_columns_cost_nothing() -> None:
    schedule, times = walks(20)["chain"]
    assert SOLVERS["ddim"].tableau(schedule, times).uses.history == 0
    assert SOLVERS["dpm++ 3m"].tableau(schedule, times).uses.history == 2
    assert not SOLVERS["dpm++ 3m"].tableau(schedule, times).uses.keep
    assert SOLVERS["lms-4"].tableau(schedule, times).uses.keep
    table = SOLVERS["ddim"].tableau(schedule, times)
    assert not any(tabulate(table.level, table.end, table.evaluate, base=table.evaluate).uses.base)
    assert not any(SOLVERS["lms-4"].tableau(schedule, times).uses.base)
    assert IMPROPER["consistency"].tableau(schedule, times).uses.evaluate == (False, False, True)
    assert Discrete(betas.linear(10)).steps == 10
