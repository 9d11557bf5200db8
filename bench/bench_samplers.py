"""Overhead of the sampling loop: 50 steps of a U-Net and a DiT against a bare loop of their calls.

Run with ``pytest bench/bench_samplers.py --benchmark-enable``. The comparison takes turns with the bare loop, so that
a busy machine slows both alike.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.backbones import DiT, DiTConfig, UNet, UNetConfig
from artifex.samplers import DDIM, DDPM, LMS, DPMSolverPPMultistep, Sampler, UniPC, prior, sample
from artifex.schedules import X0, Discrete, NetworkDenoiser, betas, grid

STEPS: Final = 50
BATCH: Final = 8
ROUNDS: Final = 9
SCHEDULE: Final = Discrete(betas.linear(1000))
TIMES: Final = grid.trailing(1000, STEPS)
State = nnx.State[int | str, Any]
NETWORKS: Final[Mapping[str, tuple[Callable[[], nnx.Module], tuple[int, ...]]]] = {
    "unet": (
        lambda: UNet(UNetConfig(base_channels=32, channel_mults=(1, 2), num_res_blocks=1), rngs=nnx.Rngs(0)),
        (16, 16, 3),
    ),
    "dit": (
        lambda: DiT(
            DiTConfig(in_channels=3, patch=2, hidden=128, depth=4, heads=4, learn_sigma=False, num_classes=None),
            rngs=nnx.Rngs(0),
        ),
        (16, 16, 3),
    ),
}
SAMPLERS: Final[Mapping[str, Sampler]] = {
    "ddim": DDIM(),
    "ddpm": DDPM(),
    "dpm++ 2m": DPMSolverPPMultistep(2),
    "unipc-3": UniPC(3),
    "lms-4": LMS(4),
}


def wait(result: object) -> None:
    jax.block_until_ready(result)  # type: ignore[no-untyped-call]


def walks(network: str) -> tuple[Callable[[], jax.Array], Mapping[str, Callable[[], jax.Array]]]:
    """The bare loop of calls, and the samplers' walks."""
    build, shape = NETWORKS[network]
    graph, state = nnx.split(build())

    def apply(state: State, x_t: jax.Array, t: jax.Array, cond: None) -> jax.Array:
        out: jax.Array = nnx.merge(graph, state)(x_t, t, cond)
        return out

    @jax.jit
    def bare(state: State, x: jax.Array, times: jax.Array) -> jax.Array:
        def call(x: jax.Array, t: jax.Array) -> tuple[jax.Array, None]:
            return apply(state, x, jnp.broadcast_to(t, x.shape[:1]), None), None

        out, _ = jax.lax.scan(call, x, times)
        return out

    denoiser: NetworkDenoiser[State, None] = NetworkDenoiser(apply, X0(), state)
    x, key = prior(DDIM().tableau(SCHEDULE, TIMES), (BATCH, *shape), jax.random.key(0)), jax.random.key(1)
    times = jnp.asarray(TIMES[:-1], jnp.float32)

    def walk(sampler: Sampler) -> Callable[[], jax.Array]:
        table = sampler.tableau(SCHEDULE, TIMES)
        return lambda: sample(denoiser, table, x, key)

    return lambda: bare(state, x, times), {name: walk(sampler) for name, sampler in SAMPLERS.items()}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["bare", *SAMPLERS])
def test_fifty_steps(benchmark: BenchmarkFixture, network: str, name: str) -> None:
    bare, samplers = walks(network)
    go = bare if name == "bare" else samplers[name]
    wait(go())
    benchmark.group = network
    benchmark.pedantic(lambda: wait(go()), rounds=5)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_walk_adds_less_than_5_percent(network: str, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("measured with --benchmark-enable")
    bare, samplers = walks(network)
    wait(bare())
    for name, go in samplers.items():
        wait(go())
        pairs = [(taken(go), taken(bare)) for _ in range(ROUNDS)]
        added = float(np.median([a / b for a, b in pairs])) - 1
        print(f"{network}, {name}: {added:+.1%} of {np.median([b for _, b in pairs]):.2f} s")
        if name != "ddpm":  # it draws noise, which the bare loop does not
            assert added < 0.05, name


def taken(go: Callable[[], jax.Array]) -> float:
    """Processor seconds on a CPU, which other programs don't add to, and seconds elsewhere."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    start = clock()
    wait(go())
    return clock() - start
