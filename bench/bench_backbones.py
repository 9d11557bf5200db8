"""Training steps of small networks.

Run with ``pytest bench/bench_backbones.py --benchmark-enable``.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.backbones import DiT, DiTConfig, UNet, UNetConfig

BATCH = 128
State = nnx.State[int | str, Any]


def wait(result: object) -> None:
    jax.block_until_ready(result)  # type: ignore[no-untyped-call]


def training_step(
    build: Callable[[], nnx.Module], shape: tuple[int, ...]
) -> tuple[Callable[..., object], tuple[object, ...]]:
    graph, params = nnx.split(build())
    optimizer = optax.adam(1e-3)
    x, t = jax.random.normal(jax.random.key(0), (BATCH, *shape)), jnp.arange(BATCH)
    labels = t % 10

    def step(params: State, state: optax.OptState, x: jax.Array) -> tuple[State, optax.OptState, jax.Array]:
        def loss(params: State) -> jax.Array:
            return jnp.mean((nnx.merge(graph, params)(x, t, labels) - x) ** 2)

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    arguments = (params, optimizer.init(params), x)
    return jax.jit(step).lower(*arguments).compile(), arguments


def test_digits_step(benchmark: BenchmarkFixture) -> None:
    step, arguments = training_step(lambda: UNet(UNetConfig.digits(), rngs=nnx.Rngs(0)), (8, 8, 1))
    benchmark(lambda: wait(step(*arguments)))


def test_dit_step(benchmark: BenchmarkFixture) -> None:
    config = DiTConfig(in_channels=1, hidden=96, depth=4, heads=4, learn_sigma=False, num_classes=10)
    step, arguments = training_step(lambda: DiT(config, rngs=nnx.Rngs(0)), (8, 8, 1))
    benchmark(lambda: wait(step(*arguments)))
