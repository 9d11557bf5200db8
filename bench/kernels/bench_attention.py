"""Attention at the sizes of real models, forward and with its gradient, beside the reference and JAX's own."""

from collections.abc import Callable
from typing import Final

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.kernels import attention
from artifex.kernels.cases import ATTENTION, AttentionCase
from bench.kernels.interleaved import race

ON_CPU: Final = jax.default_backend() == "cpu"
DTYPE: Final = jnp.float32 if ON_CPU else jnp.bfloat16

BODIES: Final[dict[str, Callable[[Array, Array, Array], Array]]] = {
    "kernel": attention,
    "reference": lambda q, k, v: attention(q, k, v, implementation="reference"),
    "jax.nn": lambda q, k, v: jax.nn.dot_product_attention(q, k, v),
}


def inputs(case: AttentionCase) -> tuple[Array, Array, Array]:
    batch = case.few if ON_CPU else case.batch
    keys = jax.random.split(jax.random.key(0), 3)
    sizes = (case.tokens, case.keys, case.keys)
    q, k, v = (
        jax.random.normal(key, (batch, n, case.heads, case.head_dim), DTYPE) for key, n in zip(keys, sizes, strict=True)
    )
    return q, k, v


@pytest.mark.parametrize("case", ATTENTION, ids=lambda case: case.name)
def test_forward(benchmark: BenchmarkFixture, case: AttentionCase) -> None:
    q, k, v = inputs(case)
    runs = {name: jax.jit(body) for name, body in BODIES.items()}
    kernel, *peers = ((name, lambda run=run: run(q, k, v)) for name, run in runs.items())
    race(benchmark, kernel[1], dict(peers), atol=1e-4 if ON_CPU else 3e-2)


SHORT: Final = [case for case in ATTENTION if case.tokens * case.keys < 1024**2]
"""On a CPU the peers' gradients at more tokens take seconds a call."""


@pytest.mark.parametrize("case", SHORT if ON_CPU else ATTENTION, ids=lambda case: case.name)
def test_gradient(benchmark: BenchmarkFixture, case: AttentionCase) -> None:
    q, k, v = inputs(case)

    def with_gradient(body: Callable[[Array, Array, Array], Array]) -> Callable[..., tuple[Array, Array, Array]]:
        def loss(q: Array, k: Array, v: Array) -> Array:
            return jnp.sum(body(q, k, v).astype(jnp.float32) ** 2)

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))

    runs = {name: with_gradient(body) for name, body in BODIES.items()}
    kernel, *peers = ((name, lambda run=run: run(q, k, v)) for name, run in runs.items())
    race(benchmark, kernel[1], dict(peers), atol=1e-3 if ON_CPU else 0.3)
