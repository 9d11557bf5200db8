"""CFG++ as a scale, against the paper's own step."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.guidance import CFGPlusPlus, ClassifierFree, bind
from artifex.samplers import DDIM, DPMSolverPPMultistep, DPMSolverPPSinglestep, EulerAncestral, Sampler, Tableau, sample
from artifex.schedules import EDM, Discrete, NoiseLevel, betas, grid
from artifex.schedules.arrays import HostArray
from tests.guidance.exact import LABELS, X, clean, denoise, eps

STRENGTH = 0.6


def levels(table: Tableau[HostArray]) -> list[NoiseLevel[HostArray]]:
    nodes = jax.tree.map(np.append, table.level, table.end)
    return [jax.tree.map(lambda v, i=i: np.full(4, v[i]), nodes) for i in range(table.rows + 1)]


@pytest.mark.slow
def test_ddim_is_the_papers_walk() -> None:
    """Tweedie with the guided noise, then back to noise with the unguided one."""
    table = DDIM().tableau(Discrete(betas.linear(1000)), grid.trailing(1000, 6))
    with jax.enable_x64(True):
        guidance = bind(ClassifierFree(CFGPlusPlus(STRENGTH), jnp.array(2)), table)
        got = sample(guidance(denoise, jnp.asarray(LABELS)), table, jnp.asarray(X))
    x = X
    for t, s in pairwise(levels(table)):
        free, conditional = (eps(denoise(x, t, cond), t, x) for cond in (None, LABELS))
        x = s.alpha[:, None] * clean(free + STRENGTH * (conditional - free), t, x) + s.sigma[:, None] * free
    np.testing.assert_allclose(got, x, atol=1e-10)


@pytest.mark.parametrize("sampler", [DDIM(eta=0.7), EulerAncestral()], ids=repr)
def test_with_fresh_noise_too_only_x0_is_guided(sampler: Sampler) -> None:
    """The mean of every step: what the method makes of the unguided x0, and the guidance of x0 on top."""
    table = sampler.tableau(EDM(), np.array([8.0, 3.0, 1.0, 0.2]))
    goal = np.append(table.level.alpha[1:], table.end.alpha)
    scale = CFGPlusPlus(STRENGTH).bind(table)
    for i, level in enumerate(levels(table)[:-1]):
        state, _, new = table.evaluate[i]
        x = X * level.sigma[:, None]
        free, conditional = (denoise(x, level, cond) for cond in (None, LABELS))
        ours = state * x + new * (free + scale.values[i] * (conditional - free))
        np.testing.assert_allclose(ours, state * x + new * free + goal[i] * STRENGTH * (conditional - free), atol=1e-12)


def test_the_last_step_to_clean_data_has_the_plain_strength() -> None:
    table = DDIM().tableau(EDM(), np.array([8.0, 1.0, 0.0]))
    np.testing.assert_allclose(CFGPlusPlus(0.4).bind(table).values, [0.4 / (1 - 1 / 8), 0.4])


@pytest.mark.parametrize("sampler", [DPMSolverPPMultistep(2), DPMSolverPPSinglestep(2)], ids=repr)
def test_methods_with_memory_are_refused(sampler: Sampler) -> None:
    with pytest.raises(ValueError, match="CFG\\+\\+ is for a method with one row per step"):
        bind(CFGPlusPlus(), sampler.tableau(EDM(), np.array([8.0, 3.0, 1.0, 0.2])))


def test_strength_in_its_range() -> None:
    with pytest.raises(ValueError, match=r"strength must be in \[0, 1\], got 7\.5"):
        CFGPlusPlus(7.5)
