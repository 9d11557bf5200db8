"""What the training loop adds to the bare compiled step.

Run with ``pytest bench/bench_training.py --benchmark-enable``.
"""

import time

import jax.numpy as jnp
from flax import nnx
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.backbones import UNet, UNetConfig
from artifex.schedules import Discrete, Velocity, betas
from artifex.training import (
    Digits,
    Ema,
    Network,
    Objective,
    Report,
    TrainingConfig,
    batch_indices,
    digits,
    init_state,
    make_optimiser,
    make_train_step,
    open_dataset,
    train,
)

STEPS = 20
CONFIG = TrainingConfig(steps=STEPS, batch_size=64)
OBJECTIVE = Objective(Discrete(betas.cosine(1000)), Velocity(), num_classes=10)


def network() -> nnx.Module:
    return UNet(UNetConfig.digits(), rngs=nnx.Rngs(0))


def test_bare_steps(benchmark: BenchmarkFixture) -> None:
    """The compiled step alone: one batch again and again, and no waiting in between."""
    parts = Network(network())
    optimiser, ema = make_optimiser(CONFIG.optimiser, STEPS), Ema()
    train_step = make_train_step(parts, OBJECTIVE, optimiser, ema)
    x0, labels = (jnp.asarray(a) for a in digits().batch(0, CONFIG.batch_size, 0))
    float(train_step(init_state(parts, optimiser, ema, STEPS), x0, labels)[1].loss)

    def steps() -> None:
        state = init_state(parts, optimiser, ema, STEPS)
        for _ in range(STEPS):
            state, metrics = train_step(state, x0, labels)
        float(metrics.loss)

    benchmark.pedantic(steps, rounds=3)  # type: ignore[no-untyped-call]
    benchmark.extra_info["steps"] = STEPS


def test_loop(benchmark: BenchmarkFixture) -> None:
    """The same steps in the loop; the time also has the compilation, ``seconds_after_compiling`` has not."""
    module, data, times = network(), open_dataset(Digits()), list[float]()

    def note(report: Report) -> None:
        times.append(time.perf_counter())

    benchmark.pedantic(
        lambda: train(module, data.batches(CONFIG.batch_size, 0), OBJECTIVE, CONFIG, callback=note), rounds=1
    )  # type: ignore[no-untyped-call]
    assert len(times) == STEPS
    benchmark.extra_info["seconds_after_compiling"] = (times[-1] - times[0]) / (STEPS - 1) * STEPS


def test_batch(benchmark: BenchmarkFixture) -> None:
    """The order of a batch, across the border of two epochs."""
    benchmark(lambda: batch_indices(1797, 64, 0, 28))
