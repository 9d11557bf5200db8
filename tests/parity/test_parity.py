"""The numbers of diffusers and k-diffusion, and how to get the same: a newcomer adds one line to ``ROWS``.

``reference.npz`` holds what ``make_reference.py`` got from them, as shipped and with their formulas in float64. A row
walks our table along our grid in float64, so it checks sampler, schedule, grid and prediction at once. Where a peer
slips, the row's table has the same slip, which verifies its cause; ``DEVIATIONS`` has its cost.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from artifex.generative_models.interop.scheduler.singlestep import SinglestepOnGrid
from artifex.samplers import (
    DDIM,
    DDPM,
    DEIS,
    DPM2,
    LMS,
    PNDM,
    DDIMInversion,
    DPMSolverMultistep,
    DPMSolverPPMultistep,
    DPMSolverPPSDE,
    DPMSolverPPSinglestep,
    EDMStochastic,
    Euler,
    EulerAncestral,
    Heun,
    MultistepConsistency,
    Sampler,
    UniPC,
    sample,
)
from artifex.schedules import (
    EDM,
    X0,
    Discrete,
    EDMPreconditioned,
    Epsilon,
    FlowVelocity,
    NetworkDenoiser,
    Prediction,
    RectifiedFlow,
    Schedule,
    V,
    betas,
    grid,
)
from artifex.schedules.arrays import HostArray
from tests.parity.reference import LABELS, MODEL_TIMES, SAMPLES, SIGMAS, START, Precision, W, walk
from tests.parity.slips import AssumedGap, Negated3M, NoisyEnd
from tests.samplers.analytic import BIMODAL, at
from tests.samplers.analytic import walk as free_walk

pytestmark = pytest.mark.slow

Times = Callable[[int], HostArray]
SolverType = Literal["midpoint", "heun"]
X = Float[Array, "b d"]

CHAIN: Final = Discrete(betas.scaled_linear(1000))
ZERO_SNR: Final = Discrete(betas.rescale_zero_terminal_snr(betas.scaled_linear(1000)))
FLOOR: Final = Discrete(betas.from_alphas_cumprod(np.append(ZERO_SNR.alphas_cumprod[:-1], 2.0**-24)))
EXPLODING: Final = EDM()
STRAIGHT: Final = RectifiedFlow()


def same(t: HostArray) -> HostArray:
    return t


def thousandfold(t: HostArray) -> HostArray:
    return 1000 * t


def cut(t: HostArray) -> HostArray:
    return np.floor(1000 * t)


def c_noise(t: HostArray) -> HostArray:
    return np.log(t) / 4


def leading(k: int) -> HostArray:
    return grid.leading(1000, k)


def offset(k: int) -> HostArray:
    return grid.leading(1000, k, offset=1, end=0)


def trailing(k: int) -> HostArray:
    return grid.trailing(1000, k)


def linspace(k: int) -> HostArray:
    return grid.linspace(1000, k)


def even(k: int) -> HostArray:
    return grid.linspace(1000, k, whole=False)


def sigma_even(k: int) -> HostArray:
    """Evenly spaced times, with sigma between those of the chain interpolated linearly."""
    every = np.arange(1000.0)
    return grid.from_sigmas(CHAIN, np.append(np.interp(even(k)[:-1], every, np.exp(-CHAIN.at(every).logsnr / 2)), 0))


def more(times: Times) -> Times:
    """One step more, without the last call."""
    return lambda k: np.delete(times(k + 1), k)


def noisy(times: Times) -> Times:
    """Down to the chain's first step and no further."""
    return lambda k: np.append(times(k)[:-1], 0)


def karras(k: int) -> HostArray:
    return grid.karras(CHAIN, k, 999, 0)


def exponential(k: int) -> HostArray:
    return grid.exponential(CHAIN, k, 999, 0)


def edm_karras(k: int) -> HostArray:
    return grid.karras(EXPLODING, k, 80, 0.002)


def edm_exponential(k: int) -> HostArray:
    return grid.exponential(EXPLODING, k, 80, 0.002)


def flow(k: int) -> HostArray:
    return np.append(np.linspace(1, 0.001, k), 0)


def flow_once(k: int) -> HostArray:
    """Shifted by 3."""
    return np.append(grid.shifted(np.linspace(1, 0.001, k), 3), 0)


def flow_twice(k: int) -> HostArray:
    """Shifted by 3 between ends of which the lower is shifted already."""
    low = grid.shifted(np.array([0.001]), 3)[0]
    return np.append(grid.shifted(np.linspace(1, low, k), 3), 0)


def flow_below(k: int) -> HostArray:
    """Shifted by 3, from 0.999."""
    return grid.shifted(np.linspace(0.999, 0, k + 1), 3)


def flow_dented(k: int) -> HostArray:
    """Shifted by 3, to the lowest time of a chain and then to clean data, and 1 - 1e-6 for 1."""
    times = np.append(grid.shifted(np.linspace(1, 0.001, k + 1)[:-1], 3), 0)
    times[0] -= 1e-6
    return times


def lcm(k: int) -> HostArray:
    """Some of the 50 times of the distillation."""
    return np.append(trailing(50)[np.arange(k) * 50 // k], -1)


def lcm_boundary(t: float) -> tuple[float, float]:
    far = 10 * t
    return 0.25 / (far**2 + 0.25), far / np.hypot(far, 0.5)


@dataclass(frozen=True)
class Row:
    """The way to reproduce a peer's numbers.

    Attributes:
        sampler: ours.
        times: of the walk, from the number of steps.
        schedule: of the walk.
        model_times: from our times to the peer's model times; None: the recorded ones.
        theirs: whether the peer as shipped is compared along its own float32 sigmas and times.
        shipped: the largest relative difference to it.
        wide: the largest relative difference to its formula in float64.
        only: the predictions to compare; None: all.
        draws: from the row to the place of its noise.
        boundary: factors of x and of x0 in what the peer takes for x0.
    """

    sampler: Sampler
    times: Times
    schedule: Schedule = CHAIN
    model_times: Callable[[HostArray], HostArray] | None = same
    theirs: bool = False
    shipped: float = 1e-5
    wide: float = 1e-12
    only: tuple[str, ...] | None = None
    draws: Callable[[int], int] | None = None
    boundary: Callable[[float], tuple[float, float]] | None = None


def edm_row(sampler: Sampler, times: Times = edm_karras, draws: Callable[[int], int] | None = None) -> Row:
    return Row(sampler, times, EXPLODING, model_times=c_noise, draws=draws)


def churned_row(step: Literal["euler", "heun", "dpm2"], calls: int) -> Row:
    """k-diffusion draws before each step, ours with the last call of the one before."""
    return edm_row(EDMStochastic(40, 0.05, 50, 1.003, step), draws=lambda row: (row + 1) // calls)


def multi(
    order: int = 2, eta: float = 0.0, solver_type: SolverType = "midpoint", diffusers_compat: bool = False
) -> DPMSolverPPMultistep:
    """As k-diffusion has it: at full order to the end."""
    return DPMSolverPPMultistep(order, eta, solver_type, diffusers_compat, lower_order_final=False)


ROWS: Final[Mapping[str, Row]] = {
    "ddpm leading": Row(DDPM(), leading),
    "ddpm trailing": Row(DDPM(), trailing, wide=1e-9),  # it floors variances at 1e-20
    "ddpm linspace": Row(DDPM(), linspace),
    "ddpm large": Row(DDPM("fixed_large"), leading),
    "ddpm large trailing": Row(NoisyEnd(), trailing),
    "ddpm learned": Row(DDPM("learned_range"), leading),
    "ddpm zero-snr": Row(DDPM(), trailing, ZERO_SNR, wide=1e-9),
    "ddim leading": Row(DDIM(), leading),
    "ddim trailing": Row(DDIM(), trailing),
    "ddim linspace": Row(AssumedGap(), linspace),
    "ddim linspace mended": Row(DDIM(), linspace),
    "ddim uneven": Row(AssumedGap(), trailing),
    "ddim uneven mended": Row(DDIM(), trailing),
    "ddim eta 1": Row(DDIM(1.0), leading),
    "ddim offset": Row(DDIM(), offset),
    "ddim zero-snr": Row(DDIM(), trailing, ZERO_SNR),
    "ddim inverse": Row(DDIMInversion(), leading, only=("epsilon",)),
    "euler leading": Row(Euler(), leading),
    "euler trailing": Row(Euler(), trailing),
    "euler linspace": Row(Euler(), sigma_even, model_times=None),
    "euler karras": Row(Euler(), karras, theirs=True),
    "euler exponential": Row(Euler(), exponential, theirs=True),
    "euler sigma-min": Row(Euler(), noisy(trailing)),
    "euler zero-snr": Row(Euler(), trailing, FLOOR, shipped=1e-4),  # float32 at a sigma of 4096
    "euler a leading": Row(EulerAncestral(), leading),
    "euler a trailing": Row(EulerAncestral(), trailing),
    "euler a linspace": Row(EulerAncestral(), sigma_even, model_times=None),
    "euler a zero-snr": Row(EulerAncestral(), trailing, FLOOR, shipped=4e-5),
    "heun leading": Row(Heun("ratio"), leading, theirs=True),
    "heun trailing": Row(Heun("ratio"), trailing),
    "heun linspace": Row(Heun("ratio"), sigma_even, model_times=None, theirs=True),
    "heun karras": Row(Heun("ratio"), karras, theirs=True),
    "heun exponential": Row(Heun("ratio"), exponential, theirs=True),
    "dpm2 leading": Row(DPM2(), leading),
    "dpm2 trailing": Row(DPM2(), trailing),
    "dpm2 linspace": Row(DPM2(), sigma_even, model_times=None),
    "dpm2 karras": Row(DPM2(), karras, model_times=None, theirs=True),
    "dpm2 exponential": Row(DPM2(), exponential, theirs=True),
    "dpm2 a leading": Row(DPM2(1.0), leading),
    "dpm2 a trailing": Row(DPM2(1.0), trailing),
    "dpm2 a linspace": Row(DPM2(1.0), sigma_even, model_times=None),
    "dpm2 a karras": Row(DPM2(1.0), karras, model_times=None, theirs=True),
    "dpm2 a exponential": Row(DPM2(1.0), exponential, theirs=True),
    "lms leading": Row(LMS(), leading),
    "lms trailing": Row(LMS(), trailing),
    "lms linspace": Row(LMS(), sigma_even, model_times=None),
    "lms karras": Row(LMS(), karras, theirs=True),
    "lms exponential": Row(LMS(), exponential, theirs=True),
    "pndm": Row(PNDM(), leading, only=("epsilon",)),
    "pndm runge-kutta": Row(PNDM(warmup="runge-kutta"), leading, only=("epsilon",)),
    "pndm offset": Row(PNDM(), offset, only=("epsilon",)),
    "pndm trailing": Row(PNDM(), trailing, only=("epsilon",)),
    "dpm++ 2m leading": Row(DPMSolverPPMultistep(), more(leading)),
    "dpm++ 2m trailing": Row(DPMSolverPPMultistep(), trailing),
    "dpm++ 2m linspace": Row(DPMSolverPPMultistep(), more(linspace)),
    "dpm++ 1m": Row(DPMSolverPPMultistep(1), more(linspace)),
    "dpm++ 3m": Row(DPMSolverPPMultistep(3, diffusers_compat=True), more(linspace)),
    "dpm++ 2m heun": Row(DPMSolverPPMultistep(solver_type="heun"), more(linspace)),
    "dpm++ 2m karras": Row(DPMSolverPPMultistep(), karras, model_times=np.round),
    "dpm++ 2m exponential": Row(DPMSolverPPMultistep(), exponential, model_times=np.floor, theirs=True),
    "dpm++ 2m lu": Row(DPMSolverPPMultistep(), exponential, model_times=np.round),
    "dpm++ 2m sigma-min": Row(DPMSolverPPMultistep(), noisy(more(linspace))),
    "dpm++ 2m zero-snr": Row(DPMSolverPPMultistep(), trailing, FLOOR),
    "dpm++ 2m flow": Row(DPMSolverPPMultistep(), flow_below, STRAIGHT, model_times=cut),
    "dpm++ 2m sde": Row(DPMSolverPPMultistep(eta=1.0), more(linspace)),
    "dpm++ 2m sde heun": Row(DPMSolverPPMultistep(eta=1.0, solver_type="heun"), more(linspace)),
    "dpm++ 3m sde": Row(Negated3M(), more(linspace)),
    "dpm-solver 1m": Row(DPMSolverMultistep(1), noisy(more(linspace))),
    "dpm-solver 2m": Row(DPMSolverMultistep(2), noisy(more(linspace))),
    "dpm-solver 3m": Row(DPMSolverMultistep(3, diffusers_compat=True), noisy(more(linspace))),
    "dpm-solver 2m heun": Row(DPMSolverMultistep(solver_type="heun"), noisy(more(linspace))),
    "dpm-solver 1m sde": Row(DPMSolverMultistep(1, eta=1.0), noisy(more(linspace))),
    "dpm-solver 2m sde": Row(DPMSolverMultistep(eta=1.0), noisy(more(linspace))),
    "dpm-solver 2m sde heun": Row(DPMSolverMultistep(eta=1.0, solver_type="heun"), noisy(more(linspace))),
    "dpm++ 1s": Row(DPMSolverPPSinglestep(1), more(linspace)),
    "dpm++ 2s": Row(SinglestepOnGrid(2), more(linspace)),
    "dpm++ 3s": Row(SinglestepOnGrid(3), more(linspace)),
    "dpm++ sde": Row(DPMSolverPPSDE(), trailing, model_times=None),
    "dpm++ sde karras": Row(DPMSolverPPSDE(), karras, model_times=None, theirs=True),
    "dpm++ 2s karras": Row(SinglestepOnGrid(2), karras, model_times=np.round),
    "dpm++ 2s exponential": Row(SinglestepOnGrid(2), exponential, model_times=np.floor, theirs=True),
    "unipc-2 leading": Row(UniPC(), more(leading)),
    "unipc-2 trailing": Row(UniPC(), trailing),
    "unipc-2 linspace": Row(UniPC(), more(linspace)),
    "unipc-1": Row(UniPC(1), more(linspace)),
    "unipc-3": Row(UniPC(3), more(linspace)),
    "unipc-2 bh1": Row(UniPC(2, "bh1"), noisy(more(linspace))),
    "unipc-3 bh1": Row(UniPC(3, "bh1"), noisy(more(linspace))),
    "unipc-2 bh1 to clean": Row(UniPC(2, "bh1"), more(linspace), only=()),
    "unipc-2 uncorrected": Row(UniPC(corrector=False), more(linspace)),
    "unipc-1 noise": Row(UniPC(1, predict_x0=False), noisy(more(linspace))),
    "unipc-2 noise": Row(UniPC(predict_x0=False), noisy(more(linspace))),
    "unipc-3 noise": Row(UniPC(3, predict_x0=False), noisy(more(linspace))),
    "unipc-3 noise bh1": Row(UniPC(3, "bh1", predict_x0=False), noisy(more(linspace))),
    "unipc-2 karras": Row(UniPC(), karras, model_times=np.round),
    "unipc-2 exponential": Row(UniPC(), exponential, model_times=np.floor, theirs=True),
    "unipc-2 zero-snr": Row(UniPC(), trailing, FLOOR),
    "unipc-2 flow": Row(UniPC(), flow_dented, STRAIGHT, model_times=cut),
    "deis-2 leading": Row(DEIS(2, "logrho"), noisy(more(leading))),
    "deis-2 trailing": Row(DEIS(2, "logrho"), noisy(trailing)),
    "deis-2 linspace": Row(DEIS(2, "logrho"), noisy(more(linspace))),
    "deis-1": Row(DEIS(1, "logrho"), noisy(more(linspace))),
    "deis-3": Row(DEIS(3, "logrho"), noisy(more(linspace)), shipped=3e-4),  # it cancels in float32
    "edm euler": edm_row(Euler()),
    "edm euler exponential": edm_row(Euler(), edm_exponential),
    "edm dpm++ 2m": edm_row(DPMSolverPPMultistep()),
    "edm dpm++ 3m": edm_row(DPMSolverPPMultistep(3, diffusers_compat=True)),
    "edm dpm++ 2m sde": edm_row(DPMSolverPPMultistep(eta=1.0)),
    "flow euler": Row(Euler(), flow, STRAIGHT, model_times=thousandfold),
    "flow euler shifted": Row(Euler(), flow_twice, STRAIGHT, model_times=thousandfold),
    "flow heun": Row(Heun(), flow, STRAIGHT, model_times=thousandfold),
    "lcm": Row(MultistepConsistency(), lcm, boundary=lcm_boundary),
    "k euler": edm_row(Euler()),
    "k euler exponential": edm_row(Euler(), edm_exponential),
    "k euler churn": churned_row("euler", 1),
    "k euler a": edm_row(EulerAncestral()),
    "k heun": edm_row(Heun()),
    "k heun churn": churned_row("heun", 2),
    "k dpm2": edm_row(DPM2()),
    "k dpm2 churn": churned_row("dpm2", 2),
    "k dpm2 a": edm_row(DPM2(1.0)),
    "k lms": edm_row(LMS()),
    "k dpm++ 2s": edm_row(DPMSolverPPSinglestep()),
    "k dpm++ 2s a": edm_row(DPMSolverPPSinglestep(eta=1.0)),
    "k dpm++ sde": edm_row(DPMSolverPPSDE()),
    "k dpm++ sde 0.3": edm_row(DPMSolverPPSDE(0.4, 0.3)),
    "k dpm++ 2m": edm_row(multi()),
    "k dpm++ 2m exponential": edm_row(multi(), edm_exponential),
    "k dpm++ 2m sde": edm_row(multi(eta=1.0)),
    "k dpm++ 2m sde heun": edm_row(multi(eta=1.0, solver_type="heun")),
    "k dpm++ 3m": edm_row(multi(3, solver_type="heun", diffusers_compat=True)),
    "k dpm++ 3m sde": edm_row(multi(3, 1.0, solver_type="heun", diffusers_compat=True)),
}

DEVIATIONS: Final[Mapping[str, Row]] = {
    "ddim linspace": Row(DDIM(), linspace),
    "ddim uneven": Row(DDIM(), trailing),
    "dpm++ 3m": Row(DPMSolverPPMultistep(3), more(linspace)),
    "dpm++ 3m sde": Row(DPMSolverPPMultistep(3, eta=1.0), more(linspace)),
    "dpm-solver 3m": Row(DPMSolverMultistep(3), noisy(more(linspace))),
    "k dpm++ 3m": edm_row(multi(3, solver_type="heun")),
    "pndm": Row(PNDM(), leading, only=("v_prediction",)),
    "ddim inverse": Row(DDIMInversion(), leading, only=("v_prediction",)),
    "unipc-2 bh1 to clean": Row(UniPC(2, "bh1"), more(linspace)),
    "ddpm large trailing": Row(DDPM("fixed_large"), trailing),
    "deis-2 linspace": Row(DEIS(2, "logrho"), more(linspace)),
    "dpm++ 2m sigma-min": Row(DPMSolverPPMultistep(), more(linspace)),
    "dpm++ 2m zero-snr": Row(DPMSolverPPMultistep(), trailing, ZERO_SNR, only=("v_prediction", "sample")),
    "euler zero-snr": Row(Euler(), trailing, ZERO_SNR, only=("v_prediction", "sample")),
    "dpm++ 2m karras": Row(DPMSolverPPMultistep(), karras),
    "dpm++ 2m exponential": Row(DPMSolverPPMultistep(), exponential),
    "dpm++ 2m flow": Row(DPMSolverPPMultistep(), flow_below, STRAIGHT, model_times=thousandfold),
    "flow euler shifted": Row(Euler(), flow_once, STRAIGHT, model_times=thousandfold),
    "euler linspace": Row(Euler(), even),
    "lms linspace": Row(LMS(), even),
    "lcm": Row(MultistepConsistency(), lcm),
    "euler karras": Row(Euler(), karras),
    "heun exponential": Row(Heun("ratio"), exponential),
}

KINDS: Final[Mapping[str, Prediction]] = {
    "epsilon": Epsilon(),
    "v_prediction": V(),
    "sample": X0(),
    "edm": EDMPreconditioned(0.5),
    "flow": FlowVelocity(),
}


def start(schedule: Schedule, sigma: float) -> HostArray:
    return START * sigma if schedule == EXPLODING else START


@cache
def differences(name: str, row: Row, precision: Precision) -> dict[str, float]:
    """The largest relative difference of each run; NaN where the peer gives it."""
    along_theirs = row.theirs and precision == "shipped"
    out = {}
    for (prediction, steps), theirs in SAMPLES[precision][name].items():
        if row.only is not None and prediction not in row.only:
            continue
        times, model_times = row.times(steps), MODEL_TIMES[precision][f"{name}/{steps}"]
        if along_theirs:
            sigmas = SIGMAS[f"{name}/{steps}"]
            times = grid.from_sigmas(row.schedule, sigmas[np.append(True, np.diff(sigmas) < 0)])
        table = row.sampler.tableau(row.schedule, times)
        assert table.rows == len(model_times)
        if row.model_times and not along_theirs:
            model_times = row.model_times(np.asarray(table.level.t, np.float64))
        ours = walk(table, model_times, prediction, start(row.schedule, table.level.sigma[0]), row.draws, row.boundary)
        out[f"{prediction}/{steps}"] = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    return out


def worst(name: str, row: Row) -> float:
    """Compared with the peer as shipped."""
    return float(np.max(list(differences(name, row, "shipped").values()), initial=0.0))


@cache
def figures() -> dict[str, str]:
    """The first and the last cell of the documentation's table rows."""
    page = Path(__file__).parents[2] / "docs" / "parity.md"
    return dict(re.findall(r"^\| `([^`]+)` \|.*\| ([^| ]+) \|$", page.read_text(), re.MULTILINE))


def test_every_peer_has_a_row() -> None:
    assert set(ROWS) == set(LABELS)
    assert set(DEVIATIONS) <= set(LABELS)


@pytest.mark.parametrize("name", ROWS)
def test_same_numbers(name: str) -> None:
    row = ROWS[name]
    shipped, wide = differences(name, row, "shipped"), differences(name, row, "wide")
    assert {run: off for run, off in shipped.items() if not off <= row.shipped} == {}
    assert {run: off for run, off in wide.items() if not off <= row.wide} == {}


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].model_times])
def test_same_times(name: str) -> None:
    row = ROWS[name]
    for steps in {steps for _, steps in SAMPLES["wide"][name]}:
        level = row.sampler.tableau(row.schedule, row.times(steps)).level
        assert row.model_times is not None
        times = np.asarray(level.t, np.float64)
        np.testing.assert_allclose(row.model_times(times), MODEL_TIMES["wide"][f"{name}/{steps}"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", DEVIATIONS)
def test_documented_deviation(name: str) -> None:
    np.testing.assert_allclose(worst(name, DEVIATIONS[name]), float(figures()[name]), rtol=0.06)


@pytest.mark.parametrize("label", sorted(set(LABELS.values())))
def test_documented_parity(label: str) -> None:
    measured = max(worst(name, ROWS[name]) for name in ROWS if LABELS[name] == label)
    np.testing.assert_allclose(measured, float(figures()[label]), rtol=0.06)


def test_every_figure_is_measured() -> None:
    assert set(figures()) == set(DEVIATIONS) | set(LABELS.values())


@pytest.mark.parametrize(
    "run",
    [
        "ddim leading/sample/20",
        "dpm2 leading/epsilon/20",
        "unipc-3/v_prediction/20",
        "flow heun/flow/20",
        "k lms/edm/20",
    ],
)
def test_one_walk_gives_them_in_float32(run: str) -> None:
    name, prediction, steps = run.split("/")
    row = ROWS[name]

    def network(w: Array, x: X, t: Float[Array, " b"], cond: None) -> X:
        model_times = t * 1000 if row.model_times is thousandfold else t
        return jnp.tanh(jnp.matmul(x, w, precision="highest")) + 0.1 * jnp.sin(model_times)[:, None]

    denoise = NetworkDenoiser(apply=network, prediction=KINDS[prediction], parameters=jnp.asarray(W, jnp.float32))
    table = row.sampler.tableau(row.schedule, row.times(int(steps)))
    x = jnp.asarray(start(row.schedule, table.level.sigma[0]), jnp.float32)
    theirs = SAMPLES["wide"][name][prediction, int(steps)]
    off = np.abs(np.asarray(sample(denoise, table, x)) - theirs).max() / np.abs(theirs).max()
    assert off <= 1e-5


@pytest.mark.parametrize(
    ("sampler", "order"),
    [
        (DPMSolverPPMultistep(3, eta=1.0), 3),
        (DPMSolverPPMultistep(3, eta=1.0, diffusers_compat=True), 2),
        (Negated3M(), 1),
        (DPMSolverMultistep(3), 3),
        (DPMSolverMultistep(3, diffusers_compat=True), 2),
    ],
)
def test_a_slip_costs_its_method_an_order(sampler: Sampler, order: int) -> None:
    """Without noise an SDE's walk converges to its drift; a flow's first two steps are exact, to not hide the rest."""
    x, ends = np.array(2.5), []
    for steps in (160, 320, 640, 1280):
        table = sampler.tableau(EXPLODING, np.geomspace(10, 0.02, steps + 1))
        level = [at(table.level, i) for i in range(3)]
        exact = {} if table.uses.noise else {i: np.array(BIMODAL.flow(2.5, level[0], level[i + 1])) for i in range(2)}
        ends.append(float(free_walk(table, BIMODAL.denoise, x, exact=exact)))
    change = np.abs(np.diff(ends))
    np.testing.assert_allclose(np.log2(change[1] / change[2]), order, atol=0.15)
