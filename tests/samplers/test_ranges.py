"""Every documented range of the package, at its ends and just outside of them."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex import samplers
from artifex.samplers import (
    DDIM,
    DDPM,
    DEIS,
    DPM2,
    ERSDE,
    LMS,
    PNDM,
    DDIMInversion,
    DPMSolverMultistep,
    DPMSolverPPMultistep,
    DPMSolverPPSDE,
    DPMSolverPPSinglestep,
    DPMSolverSinglestep,
    EDMStochastic,
    EulerAncestral,
    Inpainted,
    MultistepConsistency,
    UniPC,
    bits_per_dim,
    log_likelihood,
    predictor_corrector,
    probability_flow,
    repaint,
    sample_trajectory,
    truncate,
    with_corrector,
)
from artifex.samplers.authoring import moments, phi
from artifex.schedules import VP, Discrete, NoiseLevel, betas, grid
from tests.ranges import Range, numbers, uncovered, wholes

INF: Final = math.inf
TINY: Final = 1e-30
TABLE: Final = DDPM().tableau(Discrete(betas.linear(6)), grid.all_steps(6))
X: Final = jnp.ones((1, 2))


def denoise(x_t: Array, level: NoiseLevel[Array]) -> Array:
    return 0.5 * x_t


def traced(call: Callable[..., Array | tuple[Array, ...]], **given: float) -> object:
    """The call's shapes alone: it checks its settings and walks nothing."""
    return jax.eval_shape(partial(call, **given), X)


def flow(**given: float) -> object:
    return traced(lambda x, **k: probability_flow(denoise, VP(), x, 0.9, 0.1, **k), **given)


def likelihood(**given: float) -> object:
    return traced(lambda x, **k: log_likelihood(denoise, VP(), x, 0.9, 0.1, key=jax.random.key(0), **k), **given)


def corrections(**given: float) -> object:
    return traced(lambda x, **k: predictor_corrector(denoise, TABLE, x, jax.random.key(0), **k), **given)


def kept(after: Sequence[int]) -> object:
    return traced(lambda x: sample_trajectory(denoise, TABLE, x, jax.random.key(0), after=after))


def uncorrected(step: int) -> UniPC:
    return UniPC(disable_corrector=(step,))


RANGES: Final = [
    *numbers("eta", (0.0, 1.0), (-TINY, 1.01, INF), DDIM),
    *numbers("eta", (0.0, 9.0), (-TINY, INF), DPM2, DPMSolverPPMultistep, DPMSolverPPSDE, DPMSolverPPSinglestep),
    *numbers("eta", (0.0, 9.0), (-TINY, INF), DPMSolverMultistep, EulerAncestral),
    *numbers("r", (TINY, 1.0), (0.0, 1.01, INF), DPMSolverPPSDE),
    *wholes("order", 1, 3, DPMSolverPPMultistep, DPMSolverPPSinglestep, DPMSolverMultistep, DPMSolverSinglestep),
    *wholes("order", 1, 3, ERSDE, DEIS, UniPC),
    *wholes("order", 1, 4, LMS, PNDM),
    *wholes("step", 0, None, uncorrected),
    *wholes("iterations", 1, None, DDIMInversion),
    *numbers("sigma_min", (0.0, 9.0), (-TINY, INF), MultistepConsistency),
    *numbers("s_churn", (0.0, 1e3), (-TINY, INF), EDMStochastic),
    *numbers("s_tmin", (0.0, 50.0), (-TINY, 50.1, INF), EDMStochastic),
    *numbers("s_tmax", (0.05, INF), (0.04, -INF), EDMStochastic),
    *numbers("s_noise", (TINY, 2.0), (0.0, INF), EDMStochastic),
    *numbers("power", (TINY, 9.0), (0.0, INF), ERSDE),
    *numbers("offset", (0.0, 1e3), (-TINY, INF), ERSDE),
    *numbers("strength", (TINY, 1.0), (0.0, 1.01, INF), truncate, times=np.linspace(1, 0, 5)),
    *wholes("jump", 1, None, repaint, tableau=TABLE),
    *wholes("repeats", 1, None, repaint, tableau=TABLE),
    *wholes("corrections", 0, None, with_corrector, tableau=TABLE),
    *wholes("corrections", 0, None, corrections),
    *numbers("snr", (TINY, 0.99), (0.0, 1.0, INF), with_corrector, tableau=TABLE),
    *numbers("snr", (TINY, 9.0), (0.0, -1.0, INF), corrections),
    *numbers("rtol", (TINY, 1.0), (0.0, -1.0, INF), flow, likelihood),
    *numbers("atol", (TINY, 1.0), (0.0, -1.0, INF), flow, likelihood),
    *wholes("max_steps", 1, None, flow, likelihood),
    *wholes("probes", 1, None, likelihood),
    *wholes("dims", 1, None, bits_per_dim, log_likelihood=X[0]),
    *numbers("bin_width", (TINY, 9.0), (0.0, -1.0, INF), bits_per_dim, log_likelihood=X[0], dims=2),
    *wholes("k", 1, None, phi, z=np.ones(2)),
    *wholes("most", 0, None, moments, h=np.ones(2)),
    Range(kept, "after", ([0], [0, 5]), ([-1, 2], [0, 6], [2, 1], [1, 1], [0.5, 1.0], [True], [])),
    Range(Inpainted, "mask", (jnp.array([0.0, 1.0]), np.array([False, True]), jnp.array([0.5])),
          (jnp.array([0.0, 255.0]), np.array([0, 255], np.uint8), jnp.array([-0.01, 1.0]), jnp.array([1.0, INF])),
          given={"denoiser": denoise, "known": X}),
    Range(Inpainted, "known", (X,), (X.at[0, 0].set(INF),), given={"denoiser": denoise, "mask": X}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("row", RANGES, ids=str)
def test_a_range_is_held_at_both_ends(row: Range) -> None:
    row.check()


def test_every_number_of_a_public_dataclass_has_its_range() -> None:
    """The parts of a table are arrays, which ``tabulate`` checks; the steps of UniPC have a row through a function."""
    elsewhere = {"Stage.data", "Stage.noise", "Stage.share", "UniPC.disable_corrector"}
    assert uncovered([samplers], RANGES) - elsewhere == set()


def test_an_unknown_mask_passes() -> None:
    """The check is for what is known: within a program there are no values."""

    @jax.jit
    def painted(mask: Array) -> Array:
        level = NoiseLevel(*(jnp.full((1,), v) for v in (0.5, 0.8, 0.6)))
        return Inpainted(denoise, 2 * X, mask)(X, level)

    np.testing.assert_allclose(painted(jnp.array([1.0, 0.0])), [[2.0, 0.5]])
    np.testing.assert_allclose(jax.vmap(painted)(jnp.eye(2)), [[[2.0, 0.5]], [[0.5, 2.0]]])
