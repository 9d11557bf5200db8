"""Overhead of the documented models over their networks: dispatch, calling, importing.

Run with ``pytest bench/bench_models.py --benchmark-enable -s``; each figure is printed with the bar that it must reach.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import MLP, MLPConfig
from artifex.generative_models.models.diffusion import DDIMModel, ModelConfig
from artifex.samplers import sample

STEPS: Final = 200
CONFIG: Final = ModelConfig(name="points", model_class="DDIMModel", input_dim=(2,))


@pytest.fixture(autouse=True)
def _measured(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("measured with --benchmark-enable")


def model(depth: int) -> DDIMModel:
    """A residual network of ``depth`` blocks, six arrays each, so small that dispatch is all there is."""

    def network(config: ModelConfig, *, rngs: nnx.Rngs) -> MLP:
        return MLP(MLPConfig(features=2, hidden=16, depth=depth), rngs=rngs)

    return DDIMModel(CONFIG, backbone_fn=network, rngs=nnx.Rngs(0))


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())  # type: ignore[no-untyped-call]
    return time.perf_counter() - start


def test_a_walk_is_fifty_times_faster_than_a_loop_of_nnx_jit() -> None:
    """64 blocks, 200 steps, in turns."""
    deep, x = model(64), jnp.ones((8, 2))
    nodes = np.asarray(deep.get_ddim_timesteps(STEPS)).tolist()
    nodes[-1] = -1

    @nnx.jit
    def step(deep: DDIMModel, x: Array, t: Array, s: Array) -> Array:
        return deep.ddim_step(x, t, s, deep(x, t)["predicted_noise"])

    def loop() -> Array:
        out = x
        for t, s in pairwise(nodes):
            out = step(deep, out, jnp.full(8, t), jnp.full(8, s))
        return out

    def walk() -> Array:
        return deep.ddim_sample(8, STEPS, initial_noise=x, clip_denoised=False)

    np.testing.assert_allclose(walk(), loop(), atol=1e-3)
    pairs = [(seconds(walk), seconds(loop)) for _ in range(3)]
    ratio = median(b / a for a, b in pairs)
    ours, loops = (median(side) * 1e3 for side in zip(*pairs, strict=True))
    print(f"\nwalk {ours:.0f} ms, loop {loops:.0f} ms: {ratio:.0f}x")
    assert ratio >= 50


def test_calling_adds_less_than_three_milliseconds() -> None:
    """A small model's method against the compiled walk inside of it, in turns."""
    small, rngs = model(1), nnx.Rngs(0)
    plan = small._plan(*small.default_method(), 8, None, rngs, True, {})

    def whole() -> Array:
        return small.ddim_sample(8, rngs=rngs)

    def inner() -> Array:
        return sample(*plan)

    seconds(whole), seconds(inner)
    pairs = [(seconds(whole), seconds(inner)) for _ in range(200)]
    added = median(a - b for a, b in pairs)
    print(f"\ncalling adds {added * 1e3:.2f} ms to {median(b for _, b in pairs) * 1e3:.2f} ms")
    assert added < 3e-3


def test_importing_costs_little_more_than_what_it_is_built_on() -> None:
    """Processor seconds of fresh processes, in turns."""
    base = "import jax, flax.nnx, optax, pydantic"

    def cost(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    package = f"{base}; import artifex.generative_models.models.diffusion"
    cost(package)
    pairs = [(cost(package), cost(base)) for _ in range(7)]
    ratio = median(a / b for a, b in pairs)
    print(f"\nimport {median(a for a, _ in pairs):.2f} s against {median(b for _, b in pairs):.2f} s: {ratio:.2f}x")
    assert ratio <= 1.3
