"""The linear step at the sizes of real samplers, beside its reference."""

from typing import Final

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.kernels import Implementation, linear_step
from artifex.kernels.cases import LINEAR_STEP, LinearStepCase
from bench.kernels.interleaved import Run, race

ON_CPU: Final = jax.default_backend() == "cpu"
DTYPE: Final = jnp.float32 if ON_CPU else jnp.bfloat16


@pytest.mark.parametrize("case", LINEAR_STEP, ids=lambda case: case.name)
def test_step(benchmark: BenchmarkFixture, case: LinearStepCase) -> None:
    batch = case.few if ON_CPU else case.batch
    keys = jax.random.split(jax.random.key(0), case.terms)
    terms = [jax.random.normal(key, (batch, *case.shape), DTYPE) for key in keys]
    weights = jax.random.normal(jax.random.key(1), (case.terms,))
    noise_scale, key = (jnp.asarray(0.1), jax.random.key(2)) if case.noise else (None, None)

    def compiled(implementation: Implementation | None) -> Run:
        @jax.jit
        def step(terms: list[Array], weights: Array, noise_scale: Array | None, key: Array | None) -> Array:
            return linear_step(
                terms, weights, noise_scale=noise_scale, key=key, clip=case.clip, implementation=implementation
            )

        return lambda: step(terms, weights, noise_scale, key)

    race(benchmark, compiled(None), {"reference": compiled("reference")}, atol=1e-5 if ON_CPU else 0.1)
