"""For how long a save keeps training waiting.

Run with ``pytest bench/bench_checkpoint.py --benchmark-enable``.
"""

import statistics
import time
from itertools import count
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx
from pytest_benchmark.fixture import BenchmarkFixture

from artifex.backbones import UNet, UNetConfig
from artifex.schedules import Discrete, V, betas
from artifex.training import Checkpointer, Network, Objective, TrainingConfig, init_state, make_train_step
from artifex.training.config.optimizer import make_optimizer
from artifex.training.data import Digits, open_dataset

ROUNDS = 9


def test_a_save_blocks_for_less_than_a_step(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The demo's U-Net, 432 arrays and 10.6 MB: ``save`` of a finished state, with steps in between as in training."""
    config = TrainingConfig()
    parts = Network(UNet(UNetConfig.digits(), rngs=nnx.Rngs(0)))
    objective = Objective(Discrete(betas.cosine(1000)), V(), num_classes=10)
    optimizer, average = make_optimizer(config.optimizer, config.steps), config.ema.build()
    train_step = make_train_step(parts, objective, optimizer, average)
    batch = next(open_dataset(Digits()).batches(config.batch_size, 0))
    x0, labels = jnp.asarray(batch.x), jnp.asarray(batch.labels)
    state, steps, numbers = init_state(parts, optimizer, average, config.steps), list[float](), count()

    def some_steps() -> None:
        nonlocal state
        checkpointer.wait()
        for _ in range(3):
            start = time.perf_counter()
            state = train_step(state, x0, labels)[0]
            jax.block_until_ready(state)  # type: ignore[no-untyped-call]
            steps.append(time.perf_counter() - start)

    with Checkpointer(tmp_path) as checkpointer:
        some_steps()
        steps.clear()
        benchmark.pedantic(  # type: ignore[no-untyped-call]
            lambda: checkpointer.save(next(numbers), state, {}), setup=some_steps, rounds=ROUNDS
        )
    step = statistics.median(steps)
    benchmark.extra_info["step_seconds"] = step
    if benchmark.stats is not None:
        benchmark.extra_info["steps_blocked"] = benchmark.stats.stats.median / step
