"""The sampling loop: no state, no retracing, memory that is flat in the steps, and clear errors."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from artifex.guidance import ClassifierFree
from artifex.samplers import (
    DDIM,
    DDPM,
    LMS,
    DPMSolverPPMultistep,
    EulerAncestral,
    Sampler,
    Tableau,
    UniPC,
    prior,
    sample,
    sample_trajectory,
)
from artifex.schedules import VP, Discrete, NoiseLevel, betas, expand, grid
from artifex.schedules.arrays import HostArray, record
from tests.samplers.cases import IMPROPER, SOLVERS, STOCHASTIC, walks
from tests.samplers.compilations import compilations

SCHEDULE = VP()


@record
class Shrink:
    """A denoiser with one parameter; counts how often it is traced."""

    factor: Array

    def __call__(self, x_t: Float[Array, "b *d"], level: NoiseLevel[jax.Array]) -> Float[Array, "b *d"]:
        TRACES.append(x_t.shape)
        wide = x_t.astype(level.alpha.dtype)
        return jnp.tanh(self.factor * wide) * expand(level.alpha, wide)


TRACES: list[tuple[int, ...]] = []


def table(name: str, steps: int = 6) -> Tableau[HostArray]:
    schedule, times = walks(steps)["vp"]
    return SOLVERS[name].tableau(schedule, times)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpm++ 2m sde", "unipc-3", "edm"])
def test_threads_do_not_meet(name: str) -> None:
    """Eight threads with one sampler, one denoiser and one schedule give what they give one after another."""
    sampler, (schedule, times) = SOLVERS[name], walks(6)["vp"]
    denoise = Shrink(jnp.asarray(0.7))

    def one(seed: int) -> HostArray:
        plan = sampler.tableau(schedule, times)
        x = prior(plan, (3, 4), jax.random.key(seed))
        return np.asarray(sample(denoise, plan, x, jax.random.key(100 + seed)))

    serial = [one(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for a, b in zip(serial, pool.map(one, range(8)), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*STOCHASTIC, *IMPROPER])
def test_a_sample_does_not_know_its_batch(name: str) -> None:
    plan, denoise, keys = table(name), Shrink(jnp.asarray(0.7)), jax.random.split(jax.random.key(5), 8)
    x = prior(plan, (8, 4), jax.random.key(1))
    whole = sample(denoise, plan, x, keys)
    for size in (1, 4):
        part = sample(denoise, plan, x[:size], keys[:size])
        np.testing.assert_allclose(part, whole[:size], atol=1e-6)


@pytest.mark.slow
def test_one_key_gives_each_place_its_own() -> None:
    plan, denoise = table("ddim eta 1"), Shrink(jnp.asarray(0.7))
    x = jnp.ones((8, 4))
    small, large = (sample(denoise, plan, x[:size], jax.random.key(9)) for size in (4, 8))
    np.testing.assert_allclose(small, large[:4], atol=1e-6)
    assert float(jnp.abs(large[0] - large[1]).min()) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (DDIM(0.3), DDPM("fixed_large")),
        (EulerAncestral(), DPMSolverPPMultistep(1, eta=0.4)),
        (UniPC(3), UniPC(3, "bh1")),
    ],
    ids=repr,
)
def test_other_numbers_trace_nothing(first: Sampler, second: Sampler, request: pytest.FixtureRequest) -> None:
    width = 3 + len(request.node.name)  # no shape that another test has compiled for

    def go(sampler: Sampler, times: HostArray, factor: float, seed: int) -> int:
        plan, before = sampler.tableau(SCHEDULE, times), len(TRACES)
        x = prior(plan, (2, width), jax.random.key(seed))
        sample(Shrink(jnp.asarray(factor)), plan, x, jax.random.key(seed))
        return len(TRACES) - before

    assert go(first, grid.uniform(7), 0.5, 0) > 0
    assert go(second, grid.uniform(7) ** 2, 0.9, 1) == 0
    assert go(first, grid.uniform(8), 0.5, 0) > 0


def test_another_guidance_scale_compiles_nothing() -> None:
    def conditional(x_t: Array, level: NoiseLevel[jax.Array], cond: Array | None) -> Float[Array, "b d"]:
        return jnp.tanh(x_t) + (0 if cond is None else expand(cond, x_t))

    plan, x, labels = DDIM().tableau(SCHEDULE, grid.uniform(5)), jnp.ones((2, 5)), jnp.full(2, 0.1)
    for scales in ((1.5, 3.0, 0.0), (jnp.asarray(1.5), jnp.asarray(3.0), jnp.asarray(0.0))):
        ends = [sample(ClassifierFree[Array](scales[0])(conditional, labels), plan, x)]
        with compilations() as compiled:
            ends += [sample(ClassifierFree[Array](scale)(conditional, labels), plan, x) for scale in scales[1:]]
        assert not compiled
        assert ends[2][0, 0] < ends[0][0, 0] < ends[1][0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [DDIM(1.0), LMS(3), UniPC(3)], ids=repr)
def test_memory_is_flat_in_the_steps(sampler: Sampler) -> None:
    shape = (16, 32, 32, 3)

    def temporary(steps: int) -> int:
        plan = sampler.tableau(SCHEDULE, grid.uniform(steps))

        def go(x: Array, key: Array) -> Array:
            return sample(Shrink(jnp.asarray(0.5)), plan, x, key)

        compiled = jax.jit(go).lower(jnp.zeros(shape), jax.random.key(0)).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        return int(analysis.temp_size_in_bytes)

    few, many = temporary(10), temporary(1000)
    assert many - few < 1000 * 200  # a row of coefficients each, and no state


@pytest.mark.slow
def test_the_states_after_chosen_rows() -> None:
    plan, denoise = table("unipc-2 bh2"), Shrink(jnp.asarray(0.7))
    x = prior(plan, (3, 4), jax.random.key(0))
    end, kept = sample_trajectory(denoise, plan, x, after=(1, 4, 5))
    every = sample_trajectory(denoise, plan, x)[1]
    assert kept.shape == (3, 3, 4)
    np.testing.assert_array_equal(kept, every[jnp.array([1, 4, 5])])
    np.testing.assert_array_equal(end, kept[-1])
    np.testing.assert_allclose(end, sample(denoise, plan, x), atol=1e-6)


def test_half_precision_states_keep_their_type() -> None:
    plan = table("dpm++ 2m")
    x = prior(plan, (3, 4), jax.random.key(0), jnp.dtype(jnp.bfloat16))
    assert sample(Shrink(jnp.asarray(0.7)), plan, x).dtype == jnp.bfloat16


def test_the_prior_has_the_first_sigma() -> None:
    plan = SOLVERS["euler"].tableau(*walks(6)["edm to clean"])
    assert float(prior(plan, (4000, 4), jax.random.key(0)).std()) == pytest.approx(80, rel=0.03)


@pytest.mark.parametrize("after", [(), (0, 0), (2, 1), (-1,), (6,)])
def test_rows_that_are_not_there(after: Sequence[int]) -> None:
    plan = table("ddim")
    with pytest.raises(ValueError, match=r"after must be whole numbers that rise within \[0, 5\]"):
        sample_trajectory(Shrink(jnp.asarray(0.7)), plan, jnp.zeros((2, 3)), after=after)


def test_a_start_that_is_no_start(unhooked: None) -> None:
    plan, denoise = table("ddim"), Shrink(jnp.asarray(0.7))
    with pytest.raises(ValueError, match="x must be finite, got NaN or infinity"):
        sample(denoise, plan, jnp.full((2, 3), jnp.nan))
    with pytest.raises(ValueError, match=r"x must be a batch .* got shape \(\)"):
        sample(denoise, plan, jnp.zeros(()))
    with pytest.raises(ValueError, match="dtype int32"):
        sample(denoise, plan, jnp.zeros((2, 3), jnp.int32))


def test_noise_without_a_key() -> None:
    with pytest.raises(ValueError, match="key must be one key or one per sample, got None"):
        sample(Shrink(jnp.asarray(0.7)), table("ddim eta 1"), jnp.zeros((2, 3)))


def test_keys_that_do_not_fit(unhooked: None) -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="key must be one key or 2 keys"):
        sample(Shrink(jnp.asarray(0.7)), table("ddim eta 1"), jnp.zeros((2, 3)), keys)


def test_a_chain_of_one_step() -> None:
    schedule = Discrete(betas.linear(1))
    plan = DDIM().tableau(schedule, grid.all_steps(1))
    assert sample(Shrink(jnp.asarray(0.7)), plan, jnp.ones((2, 3))).shape == (2, 3)
