"""The compiled step: parts of a batch, steps that are skipped, buffers that are taken over; and a user's own parts."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from artifex.training import (
    Batch,
    Batches,
    Every,
    Learner,
    Network,
    NonFiniteError,
    Report,
    TrainingConfig,
    TrainState,
    init_state,
    make_train_step,
    train,
)
from artifex.training.ema import EMA, Latest
from artifex.training.step.microbatch import sum_over_microbatches
from artifex.training.step.train_step import step_options
from tests.training.helpers.tiny import OBJECTIVE, batches, data, network, same

pytestmark = pytest.mark.slow

SGD = optax.sgd(1.0, momentum=0.9)
PARTS = Network(network(dropout=0.0))
AVG = EMA(0.9)
CONFIG = TrainingConfig(steps=8, batch_size=4, max_skipped=3)
step = make_train_step(PARTS, OBJECTIVE, SGD, AVG)


def fresh() -> TrainState:
    return init_state(PARTS, SGD, AVG, 4)


def batch(size: int = 8) -> tuple[jax.Array, jax.Array]:
    x0, labels = data().batch(0, size, seed=1)
    return jnp.asarray(x0), jnp.asarray(labels)


class Spoilt(Batches):
    """A user's own data: batches with NaN at some steps."""

    def __init__(self, *at: int) -> None:
        self._inner, self._at, self._step = batches(), at, -1

    def __next__(self) -> Batch:
        self._step += 1
        x, labels = next(self._inner)
        return Batch(np.full_like(x, np.nan) if self._step in self._at else x, labels)

    def state(self) -> dict[str, object]:
        return self._inner.state()

    def restore(self, state: Mapping[str, object]) -> None:
        self._inner.restore(state)

    @property
    def skipped(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize(("accumulation_steps", "parallel_microbatches"), [(4, 1), (1, 4), (2, 2)])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(accumulation_steps: int, parallel_microbatches: int) -> None:
    """By SGD, whose update is the gradient itself; draws are those of the whole batch."""
    whole, metrics = step(fresh(), *batch())
    in_parts = make_train_step(
        PARTS,
        OBJECTIVE,
        SGD,
        AVG,
        accumulation_steps=accumulation_steps,
        parallel_microbatches=parallel_microbatches,
    )
    parts, metrics_of_parts = in_parts(fresh(), *batch())
    assert np.isclose(metrics.loss, metrics_of_parts.loss, rtol=1e-6)
    assert np.isclose(metrics.gradient_norm, metrics_of_parts.gradient_norm, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(whole.parameters), jax.tree.leaves(parts.parameters), strict=True):
        assert np.allclose(a, b, rtol=0, atol=1e-6)
    assert not same(whole.parameters, fresh().parameters)


def test_a_batch_that_parts_do_not_divide_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^accumulation_steps = 2 x parallel_microbatches = 3 must divide the batch of 8"
    ):
        make_train_step(PARTS, OBJECTIVE, SGD, AVG, accumulation_steps=2, parallel_microbatches=3)(fresh(), *batch())


def test_parts_are_numbered_and_have_rows_from_all_over() -> None:
    rows = jnp.arange(12)
    # Row r is in part r mod 6: the sum of number times rows identifies the rows of each.
    expected = sum(int(r % 6) * int(r) for r in range(12))
    for steps, parallel_microbatches in ((2, 3), (3, 2), (1, 6), (6, 1)):
        got = sum_over_microbatches(
            lambda i, part: i * part.sum(), rows, accumulation_steps=steps, parallel_microbatches=parallel_microbatches
        )
        assert int(got) == expected


def test_a_step_that_is_not_finite_changes_counters_alone() -> None:
    before, _ = step(fresh(), *batch())
    kept = jax.tree.map(jnp.copy, before)
    x0, labels = batch()
    after, metrics = step(before, x0.at[2, 0, 0, 0].set(jnp.inf), labels)
    for name in ("parameters", "average", "optimizer"):
        assert same(getattr(after, name), getattr(kept, name)), name
    assert (int(after.step), int(after.skipped), int(after.in_a_row)) == (2, 1, 1)
    assert not np.isfinite(metrics.loss)
    then, metrics = step(after, *batch())
    assert (int(metrics.skipped), int(metrics.in_a_row)) == (1, 0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(then.parameters))
    # Update 2, not 3: what was skipped is no update of the average either.
    expected = jax.tree.map(lambda a, p: a + (1 - 2 / 11) * (p - a), kept.average, then.parameters)
    assert all(
        np.allclose(a, b, atol=1e-6)
        for a, b in zip(jax.tree.leaves(then.average), jax.tree.leaves(expected), strict=True)
    )


def test_training_goes_on_after_a_bad_batch_and_ends_when_they_persist() -> None:
    heard = list[Report]()

    def note(report: Report) -> None:
        heard.append(report)

    trained = train(Learner(PARTS.module(PARTS.parameters), OBJECTIVE, CONFIG), Spoilt(2, 5, 6), callback=note)
    assert trained.finished
    assert list(np.flatnonzero(~np.isfinite(trained.losses))) == [2, 5, 6]
    assert [report.skipped for report in heard] == [0, 0, 1, 1, 1, 2, 3, 3]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained.parameters))
    says = r"not finite in 3 steps in a row, the last of them step 5 \(loss nan, gradient norm nan\); try a lower"
    with pytest.raises(NonFiniteError, match=says):
        train(Learner(PARTS.module(PARTS.parameters), OBJECTIVE, CONFIG), Spoilt(2, 3, 4, 5, 6, 7))


def test_the_state_lies_in_memory_once() -> None:
    state = fresh()
    compiled: Any = step.lower(state, *batch()).compile()  # type: ignore[attr-defined]
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes >= size
    step(state, *batch())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_a_users_optimizer_average_and_intervals_are_used() -> None:
    module, losses = network(), list[tuple[int, float]]()

    def note(state: TrainState) -> None:
        losses.append((int(state.step), float(state.losses[state.step - 1])))

    learner = Learner(module, OBJECTIVE, CONFIG, optimizer=optax.set_to_zero(), average=Latest())
    trained = train(learner, batches(), every=[Every(3, note), Every(4, note)])
    assert same(trained.parameters, Network(module).parameters)
    assert [at for at, _ in losses] == [3, 4, 6, 8]
    assert [loss for _, loss in losses] == [float(trained.losses[at - 1]) for at, _ in losses]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="of XLA's CPU backend")
def test_a_step_is_compiled_to_copy_no_parameters() -> None:
    """``w`` is read by the gradient of what is before it, which its own update does not wait for."""

    def update(weights: list[jax.Array], x: jax.Array) -> list[jax.Array]:
        gradients = jax.grad(lambda weights: jnp.sum(jnp.tanh(jnp.tanh(x @ weights[0]) @ weights[1])))(weights)
        return [w - 0.1 * g for w, g in zip(weights, gradients, strict=True)]

    def copies(options: dict[str, bool] | None) -> int:
        compiled = jax.jit(update, donate_argnums=0, compiler_options=options).lower([x, x], x).compile()
        return (compiled.as_text() or "").count(" copy(")

    x = jnp.ones((8, 8))
    assert copies(None) > 0
    assert copies(step_options()) == 0
