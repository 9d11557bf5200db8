"""Queries and keys normed and rotated, forward and with their gradients, beside the reference."""

from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.kernels import Implementation, qk_norm_rope
from artifex.kernels.cases import QK_NORM_ROPE, QkNormRopeCase
from bench.kernels.interleaved import Run, race

ON_CPU: Final = jax.default_backend() == "cpu"
DTYPE: Final = jnp.float32 if ON_CPU else jnp.bfloat16
each_case = pytest.mark.parametrize("case", QK_NORM_ROPE, ids=lambda case: case.name)


def run(implementation: Implementation | None, axes: int, q: Array, k: Array, *gains: Array) -> tuple[Array, Array]:
    tokens = jnp.arange(q.shape[1])
    side = round(q.shape[1] ** 0.5)
    positions = jnp.stack([tokens // side, tokens % side], -1) if axes == 2 else tokens[:, None]
    q_gain, k_gain = gains
    return qk_norm_rope(q, k, positions, q_gain=q_gain, k_gain=k_gain, implementation=implementation)


def inputs(case: QkNormRopeCase) -> list[Array]:
    batch = case.few if ON_CPU else case.batch
    heads, gain = (batch, case.tokens, case.heads, case.head_dim), (case.head_dim,)
    keys = jax.random.split(jax.random.key(0), 4)
    return [jax.random.normal(key, heads if i < 2 else gain, DTYPE) for i, key in enumerate(keys)]


@each_case
def test_forward(benchmark: BenchmarkFixture, case: QkNormRopeCase) -> None:
    args = inputs(case)

    def compiled(implementation: Implementation | None) -> Run:
        return partial(jax.jit(partial(run, implementation, case.axes)), *args)

    race(benchmark, compiled(None), {"reference": compiled("reference")}, atol=1e-4 if ON_CPU else 0.1)


@each_case
def test_gradient(benchmark: BenchmarkFixture, case: QkNormRopeCase) -> None:
    args = inputs(case)
    cotangents = tuple(jax.random.normal(jax.random.key(i), args[0].shape, DTYPE) for i in (1, 2))

    def compiled(implementation: Implementation | None) -> Run:
        def with_gradient(cotangents: tuple[Array, Array], *args: Array) -> tuple[Array, ...]:
            out, vjp = jax.vjp(partial(run, implementation, case.axes), *args)
            return *out, *vjp(cotangents)

        return partial(jax.jit(with_gradient), cotangents, *args)

    race(benchmark, compiled(None), {"reference": compiled("reference")}, atol=1e-2 if ON_CPU else 8.0)
