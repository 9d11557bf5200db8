"""The gated residual with its modulated norm, forward and with its gradient, beside its reference."""

from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.kernels import Implementation, adaln
from artifex.kernels.cases import ADALN, AdalnCase
from bench.kernels.interleaved import Run, race

ON_CPU: Final = jax.default_backend() == "cpu"
DTYPE: Final = jnp.float32 if ON_CPU else jnp.bfloat16
each_case = pytest.mark.parametrize("case", ADALN, ids=lambda case: case.name)


def run(implementation: Implementation | None, x: Array, branch: Array, *vectors: Array) -> tuple[Array, Array]:
    gate, scale, shift = vectors
    return adaln(x, scale, shift, branch=branch, gate=gate, implementation=implementation)


def inputs(case: AdalnCase) -> list[Array]:
    batch = case.few if ON_CPU else case.batch
    tokens, vector = (batch, case.tokens, case.channels), (batch, case.channels)
    keys = jax.random.split(jax.random.key(0), 5)
    return [jax.random.normal(key, tokens if i < 2 else vector, DTYPE) for i, key in enumerate(keys)]


@each_case
def test_forward(benchmark: BenchmarkFixture, case: AdalnCase) -> None:
    args = inputs(case)

    def compiled(implementation: Implementation | None) -> Run:
        return partial(jax.jit(partial(run, implementation)), *args)

    race(benchmark, compiled(None), {"reference": compiled("reference")}, atol=1e-4 if ON_CPU else 0.1)


@each_case
def test_gradient(benchmark: BenchmarkFixture, case: AdalnCase) -> None:
    args = inputs(case)
    # Both results feed what follows, each with a cotangent of its own.
    cotangents = tuple(jax.random.normal(jax.random.key(i), args[0].shape, DTYPE) for i in (1, 2))

    def compiled(implementation: Implementation | None) -> Run:
        def with_gradient(cotangents: tuple[Array, Array], *args: Array) -> tuple[Array, ...]:
            out, vjp = jax.vjp(partial(run, implementation), *args)
            return *out, *vjp(cotangents)

        return partial(jax.jit(with_gradient), cotangents, *args)

    race(benchmark, compiled(None), {"reference": compiled("reference")}, atol=1e-2 if ON_CPU else 4.0)
