"""Overhead of the training loop over the bare compiled step, and the time to the first step.

Run with ``pytest bench/bench_training.py --benchmark-enable``.
"""

import time
from statistics import median

import jax
import jax.numpy as jnp
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.training import (
    Digits,
    Every,
    Report,
    RunConfig,
    Trainer,
    TrainState,
    make_train_step,
)

TURN = 10
TURNS = 12
CONFIG = RunConfig(data=Digits(), steps=TURN * TURNS, batch_size=16)


def test_loop_over_bare_steps(benchmark: BenchmarkFixture) -> None:
    """Ten steps of the loop and ten bare ones, of one batch and without looking at them, in turns; ``ratio``."""
    trainer = Trainer(CONFIG)
    learner = trainer.learner
    step = make_train_step(learner.network, learner.objective, learner.optimizer, learner.average)
    own = learner.init_state()
    x0, labels = (jnp.asarray(a) for a in next(trainer.data.batches(CONFIG.batch_size, 0)))
    loop, bare, heard, began = list[float](), list[float](), list[float](), 0.0

    def note(report: Report) -> None:
        heard.append(report.loss)

    def bare_turn(state: TrainState) -> None:
        nonlocal own, began
        jax.block_until_ready(state)  # type: ignore[no-untyped-call]
        loop.append(time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(TURN):
            own, metrics = step(own, x0, labels)
        jax.block_until_ready(metrics)  # type: ignore[no-untyped-call]
        bare.append(time.perf_counter() - began)
        began = time.perf_counter()

    benchmark.pedantic(lambda: trainer.fit(callback=note, every=[Every(TURN, bare_turn)]), rounds=1)  # type: ignore[no-untyped-call]
    assert len(heard) == CONFIG.steps
    # The first turn of either compiles.
    benchmark.extra_info["ratio"] = median(a / b for a, b in zip(loop[1:], bare[1:], strict=True))
    benchmark.extra_info["seconds_a_bare_step"] = median(bare[1:]) / TURN


def test_start(benchmark: BenchmarkFixture) -> None:
    """From a configuration to the end of the first step, less what XLA spends in compiling: ``seconds``."""
    compiling, whole = list[float](), list[float]()

    def note(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiling.append(duration_secs)

    def start() -> None:
        began = time.perf_counter()
        Trainer(CONFIG.model_copy(update={"steps": 1})).fit()
        whole.append(time.perf_counter() - began)

    jax.monitoring.register_event_duration_secs_listener(note)
    benchmark.pedantic(start, rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info["seconds"] = whole[0] - sum(compiling)
    benchmark.extra_info["seconds_compiling"] = sum(compiling)
