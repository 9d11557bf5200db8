"""Forced weight normalization in training, over 50 steps of a network of whose weights only the direction counts."""

from itertools import count, pairwise
from math import atan
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from artifex.training import (
    Checkpointer,
    Every,
    Learner,
    Network,
    OptimizerConfig,
    Trained,
    TrainingConfig,
    TrainState,
    train,
)
from artifex.training.step import train_step
from tests.training.helpers.tiny import OBJECTIVE, Turning, batches, same

pytestmark = pytest.mark.slow

# Each weight moves by as much as every other in each step, along the gradient's sign.
RATE = 0.3
SIGN = OptimizerConfig(
    name="lion", learning_rate=RATE, schedule="constant", warmup_steps=0, weight_decay=0, options={"b1": 0.0, "b2": 0.0}
)
CONFIG = TrainingConfig(steps=50, batch_size=4, optimizer=SIGN)
Kernels = list[np.ndarray]


class Run(NamedTuple):
    trained: Trained
    path: list[Kernels]  # before the first step and after each
    averages: list[Kernels]  # after each


def kernels(parameters: object) -> Kernels:
    """The matrices, ``(in, out)``, in float64."""
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(parameters) if np.ndim(leaf) == 2]


def lengths(matrices: Kernels) -> np.ndarray:
    """The norm of each unit's weights in units of the root of their number."""
    return np.concatenate([np.linalg.norm(matrix, axis=0) / np.sqrt(len(matrix)) for matrix in matrices])


def turns(path: list[Kernels]) -> np.ndarray:
    """The mean angle by which each step turns a unit's weights."""

    def angle(before: Kernels, after: Kernels) -> float:
        pairs = (
            (a / np.linalg.norm(a, axis=0), b / np.linalg.norm(b, axis=0)) for a, b in zip(before, after, strict=True)
        )
        return float(np.mean(np.arccos(np.concatenate([np.sum(a * b, axis=0) for a, b in pairs]))))

    return np.array([angle(before, after) for before, after in pairwise(path)])


def run() -> Run:
    module = Turning(4)
    path, averages = [kernels(Network(module).parameters)], list[Kernels]()

    def note(state: TrainState) -> None:
        path.append(kernels(state.parameters))
        averages.append(kernels(state.average))

    return Run(train(Learner(module, OBJECTIVE, CONFIG), batches(), every=[Every(1, note)]), path, averages)


@pytest.fixture(scope="module")
def forced() -> Run:
    return run()


def test_weights_keep_their_length_and_averages_are_of_such(forced: Run) -> None:
    assert len(forced.path) == 51
    for weights in forced.path[1:]:
        np.testing.assert_allclose(lengths(weights), 1, rtol=1e-6)
    expected = forced.path[0]
    for k, (weights, average) in enumerate(zip(forced.path[1:], forced.averages, strict=True), 1):
        decay = min(0.995, k / (k + 9))
        expected = [decay * a + (1 - decay) * w for a, w in zip(expected, weights, strict=True)]
        for got, one in zip(average, expected, strict=True):
            np.testing.assert_allclose(got, one, atol=1e-5)


def test_steps_turn_weights_by_as_much_at_the_end_as_at_first(forced: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without it they don't: a step at a right angle adds its square to that of the length."""
    np.testing.assert_allclose(turns(forced.path), atan(RATE), rtol=0.1)
    monkeypatch.setattr(train_step, "force_weight_norm", lambda parameters: parameters)
    free = run()
    squares = [np.mean(lengths(weights) ** 2) for weights in free.path]
    np.testing.assert_allclose(squares, 1 + RATE**2 * np.arange(51), rtol=0.15)
    assert turns(free.path)[-1] < 0.5 * turns(free.path)[0]


def test_a_run_that_goes_on_ends_in_the_same_bits(forced: Run, tmp_path: Path) -> None:
    questions = count(-20)
    with Checkpointer(tmp_path) as checkpointer:
        part = train(
            Learner(Turning(4), OBJECTIVE, CONFIG),
            batches(),
            checkpointer=checkpointer,
            stop=lambda: next(questions) >= 0,
        )
        assert part.steps_done == 20
        rest = train(Learner(Turning(4), OBJECTIVE, CONFIG), batches(), checkpointer=checkpointer, resume=True)
    assert same(rest.state, forced.trained.state)
