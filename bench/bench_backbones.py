"""Training steps of small networks, and the bodies that a convolution could have on CPU.

Run with ``pytest bench/bench_backbones.py --benchmark-enable``.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.backbones import DiT, DiTConfig, UNet, UNetConfig
from artifex.backbones.layers import Conv

BATCH = 128
State = nnx.State[int | str, Any]


def shifts(x: jax.Array) -> list[jax.Array]:
    _, h, w, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]


def shifted_matmuls(conv: Conv, x: jax.Array) -> jax.Array:
    kernel = conv.kernel[...]
    taps = kernel.reshape(9, *kernel.shape[2:])
    return sum((shift @ tap for shift, tap in zip(shifts(x), taps, strict=True)), conv.bias[...])


def one_matmul(conv: Conv, x: jax.Array) -> jax.Array:
    kernel = conv.kernel[...]
    return jnp.concatenate(shifts(x), axis=-1) @ kernel.reshape(-1, kernel.shape[-1]) + conv.bias[...]


CONVOLUTIONS: dict[str, Callable[[Conv, jax.Array], jax.Array]] = {
    "lax": Conv.__call__,
    "shifted-matmuls": shifted_matmuls,
    "one-matmul": one_matmul,
}


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


@pytest.mark.parametrize("body", CONVOLUTIONS)
def test_digits_step(benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(Conv, "__call__", CONVOLUTIONS[body])
    step, arguments = training_step(lambda: UNet(UNetConfig.digits(), rngs=nnx.Rngs(0)), (8, 8, 1))
    benchmark(lambda: wait(step(*arguments)))


def test_dit_step(benchmark: BenchmarkFixture) -> None:
    config = DiTConfig(in_channels=1, hidden=96, depth=4, heads=4, learn_sigma=False, num_classes=10)
    step, arguments = training_step(lambda: DiT(config, rngs=nnx.Rngs(0)), (8, 8, 1))
    benchmark(lambda: wait(step(*arguments)))
