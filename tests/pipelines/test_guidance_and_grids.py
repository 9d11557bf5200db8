"""Guidances, samplers and grids of a call."""

import numpy as np
import pytest

from artifex.guidance import APG, ClassifierFree, Composed, Guidance, Interval
from artifex.pipelines import GRIDS, Condition, StableDiffusion
from artifex.pipelines.grids import CHAIN, named_grid
from artifex.pipelines.walk import named_sampler
from artifex.samplers import DDIM, SAMPLERS, Euler
from artifex.schedules import grid


@pytest.mark.slow
def test_classifier_free_guidance_reads_the_negative_prompt(stable: StableDiffusion) -> None:
    options = {"negative": "fog", "steps": 2}
    expected = np.asarray(stable.latents("a", guidance=3.0, **options))  # type: ignore[arg-type]
    values: tuple[Guidance[Condition], ...] = (ClassifierFree(3.0), Composed(3.0, ()))
    for value in values:
        found = np.asarray(stable.latents("a", guidance=value, **options))  # type: ignore[arg-type]
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_interval_over_all_levels_is_its_scale(stable: StableDiffusion) -> None:
    expected = np.asarray(stable.latents("a", negative="fog", guidance=3.0, steps=2))
    everywhere: ClassifierFree[Condition] = ClassifierFree(Interval(3.0, 0.0, 1e6))
    found = np.asarray(stable.latents("a", negative="fog", guidance=everywhere, steps=2))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_projected_guidance_reads_the_negative_prompt(stable: StableDiffusion) -> None:
    """With all of the parallel part and no bound it is classifier-free guidance."""
    expected = np.asarray(stable.latents("a", negative="fog", guidance=3.0, steps=2))
    value: ClassifierFree[Condition] = ClassifierFree(APG(3.0, parallel=1.0))
    found = np.asarray(stable.latents("a", negative="fog", guidance=value, steps=2))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    other = np.asarray(stable.latents("a", negative="rain", guidance=value, steps=2))
    assert np.abs(other - found).max() > 1e-2


def test_samplers_by_name(stable: StableDiffusion) -> None:
    for name, method in SAMPLERS.items():
        assert named_sampler(name) is method
    assert named_sampler(Euler()) == Euler()
    found = stable.walk.plan(4, sampler="euler")
    expected = Euler().tableau(stable.walk.scheduler.schedule, stable.walk.scheduler.times(4))
    np.testing.assert_array_equal(found.evaluate, expected.evaluate)


def test_the_folders_own_sampler_and_grid(stable: StableDiffusion) -> None:
    own = stable.walk.plan(4)
    # Leading, one step later: 1 + 250 i.
    np.testing.assert_array_equal(own.level.t, [751, 501, 251, 1])
    assert isinstance(stable.walk.scheduler.sampler, DDIM)


@pytest.mark.parametrize("name", GRIDS)
def test_grids_by_name(name: str, stable: StableDiffusion) -> None:
    scheduler = stable.walk.scheduler
    found = named_grid(name, scheduler, 4)
    assert len(found) == 5
    assert np.all(np.diff(found) < 0)
    if name in CHAIN:
        np.testing.assert_array_equal(found, getattr(grid, name)(1000, 4))
    else:
        np.testing.assert_allclose(found[[0, 3]], [751, 1], rtol=1e-6)
    settings = stable.settings({"grid": name, "steps": 4})
    np.testing.assert_allclose(stable.tableau(settings).level.t, found[:-1])


def test_given_times(stable: StableDiffusion) -> None:
    times = np.array([900.0, 500.0, 100.0, -1.0])
    for value in (times, lambda steps: times):
        settings = stable.settings({"grid": value, "steps": 3})
        np.testing.assert_array_equal(stable.tableau(settings).level.t, times[:-1])


@pytest.mark.parametrize(
    ("strength", "steps", "kept"), [(0.3, 10, 3), (0.7, 10, 7), (1.0, 5, 5), (0.99, 5, 4), (0.2, 5, 1)]
)
def test_strength_is_rounded_down_to_steps(strength: float, steps: int, kept: int, stable: StableDiffusion) -> None:
    found = stable.walk.plan(steps, strength=strength)
    np.testing.assert_array_equal(found.level.t, stable.walk.scheduler.times(steps)[steps - kept : steps])


def test_parts_of_a_walk(stable: StableDiffusion) -> None:
    """Calls of 10 steps are at 901, 801, ..., 1; a fifth of the chain is left at 200."""
    base, refiner = (stable.walk.plan(10, part=part).level.t for part in ((0.0, 0.8), (0.8, 1.0)))
    np.testing.assert_array_equal(base, [901, 801, 701, 601, 501, 401, 301, 201])
    np.testing.assert_array_equal(refiner, [101, 1])
