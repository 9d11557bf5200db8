"""Group norm with SiLU, forward and with its gradient, beside its reference."""

from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.kernels import Implementation, group_norm_silu
from artifex.kernels.cases import GROUP_NORM_SILU, GroupNormSiluCase
from bench.kernels.interleaved import Run, race

ON_CPU: Final = jax.default_backend() == "cpu"
DTYPE: Final = jnp.float32 if ON_CPU else jnp.bfloat16
each_case = pytest.mark.parametrize("case", GROUP_NORM_SILU, ids=lambda case: case.name)


def run(implementation: Implementation | None, groups: int, x: Array, *vectors: Array) -> Array:
    gamma, beta, *modulation = vectors
    scale, shift = modulation or (None, None)
    return group_norm_silu(x, gamma, beta, groups=groups, scale=scale, shift=shift, implementation=implementation)


def inputs(case: GroupNormSiluCase) -> list[Array]:
    batch = case.few if ON_CPU else case.batch
    shapes: list[tuple[int, ...]] = [(batch, case.side, case.side, case.channels), (case.channels,), (case.channels,)]
    shapes += [(batch, case.channels)] * 2 if case.modulated else []
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape, DTYPE) for key, shape in zip(keys, shapes, strict=True)]


@each_case
def test_forward(benchmark: BenchmarkFixture, case: GroupNormSiluCase) -> None:
    args = inputs(case)

    def compiled(implementation: Implementation | None) -> Run:
        return partial(jax.jit(partial(run, implementation, case.groups)), *args)

    race(benchmark, compiled(None), {"reference": compiled("reference")}, atol=1e-4 if ON_CPU else 0.1)


@each_case
def test_gradient(benchmark: BenchmarkFixture, case: GroupNormSiluCase) -> None:
    args = inputs(case)
    cotangent = jax.random.normal(jax.random.key(1), args[0].shape, DTYPE)

    def compiled(implementation: Implementation | None) -> Run:
        def with_gradient(cotangent: Array, *args: Array) -> tuple[Array, ...]:
            out, vjp = jax.vjp(partial(run, implementation, case.groups), *args)
            return out, *vjp(cotangent)

        return partial(jax.jit(with_gradient), cotangent, *args)

    race(benchmark, compiled(None), {"reference": compiled("reference")}, atol=1e-2 if ON_CPU else 4.0)
