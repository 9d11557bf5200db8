from itertools import count
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.schedules import X0, Discrete, V, betas
from artifex.training import (
    CheckpointConfig,
    Checkpointer,
    LabeledImages,
    Learner,
    Network,
    Objective,
    OptimizerConfig,
    Report,
    Trained,
    TrainingConfig,
    init_state,
    make_train_step,
    train,
)
from artifex.training.config.optimizer import make_optimizer
from artifex.training.ema import EMA
from tests.training.helpers.tiny import OBJECTIVE, batches, data, dataset, network, same

pytestmark = pytest.mark.slow

CONFIG = TrainingConfig(steps=8, batch_size=4, seed=1, checkpoint=CheckpointConfig(every=3))


def after(steps: int) -> "count[int]":
    """Counts the questions of ``stop``: see its use."""
    return count(-steps)


class Whole(NamedTuple):
    """An uninterrupted run, its checkpoints, and its reports."""

    trained: Trained
    folder: Path
    heard: list[Report]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder, heard = tmp_path_factory.mktemp("whole"), list[Report]()

    def note(report: Report) -> None:
        heard.append(report)

    with Checkpointer(folder) as checkpointer:
        trained = train(Learner(network(), OBJECTIVE, CONFIG), batches(), checkpointer=checkpointer, callback=note)
    return Whole(trained, folder, heard)


def test_training_is_a_function_of_its_arguments(whole: Whole) -> None:
    module = network()
    again = train(Learner(module, OBJECTIVE, CONFIG), batches())
    other = train(Learner(module, OBJECTIVE, CONFIG.model_copy(update={"seed": 2})), batches())
    assert same(again.state, whole.trained.state)
    assert not same(other.state.parameters, whole.trained.state.parameters)
    assert same(Network(module).parameters, Network(network()).parameters)
    assert whole.trained.finished
    assert whole.trained.steps_done == 8


@pytest.mark.parametrize("cut", [3, 7])
def test_a_resumed_run_ends_in_the_bits_of_an_uninterrupted_one(tmp_path: Path, whole: Whole, cut: int) -> None:
    questions = after(cut)
    with Checkpointer(tmp_path) as checkpointer:
        part = train(
            Learner(network(), OBJECTIVE, CONFIG),
            batches(),
            checkpointer=checkpointer,
            stop=lambda: next(questions) >= 0,
        )
        assert (part.steps_done, part.finished, len(part.losses)) == (cut, False, cut)
        assert checkpointer.latest() == cut
    with Checkpointer(tmp_path) as checkpointer:
        rest = train(Learner(network(seed=9), OBJECTIVE, CONFIG), batches(), checkpointer=checkpointer, resume=True)
        assert checkpointer.latest() == 8
        assert same(checkpointer.restore(rest.state), whole.trained.state)
    assert same(rest.state, whole.trained.state)
    assert rest.seconds > part.seconds


def test_a_finished_run_has_its_checkpoints_and_resumes_to_itself(whole: Whole) -> None:
    with Checkpointer(whole.folder) as checkpointer:
        assert [checkpointer.metadata(step)["config"]["steps"] for step in (6, 8)] == [8, 8]
        again = train(Learner(network(), OBJECTIVE, CONFIG), batches(), checkpointer=checkpointer, resume=True)
    assert same(again.state, whole.trained.state)


def test_a_fresh_run_replaces_earlier_checkpoints_when_it_has_its_own(tmp_path: Path) -> None:
    questions = after(2)
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(20, {"other": jnp.zeros(1)}, {"config": {}})
        train(Learner(network(), OBJECTIVE, CONFIG), batches(), checkpointer=checkpointer, stop=lambda: True)
        assert checkpointer.latest() == 20
        train(
            Learner(network(), OBJECTIVE, CONFIG),
            batches(),
            checkpointer=checkpointer,
            stop=lambda: next(questions) >= 0,
        )
        assert checkpointer.latest() == 2
        assert checkpointer.metadata()["config"] == CONFIG.model_dump(mode="json")


def test_there_must_be_something_to_resume_of_the_same_config(tmp_path: Path, whole: Whole) -> None:
    with pytest.raises(ValueError, match="resume must come with a checkpointer, got None"):
        train(Learner(network(), OBJECTIVE, CONFIG), batches(), resume=True)
    with (
        Checkpointer(tmp_path) as checkpointer,
        pytest.raises(FileNotFoundError, match="must hold a checkpoint"),
    ):
        train(Learner(network(), OBJECTIVE, CONFIG), batches(), checkpointer=checkpointer, resume=True)
    other = CONFIG.model_copy(update={"seed": 3})
    with (
        Checkpointer(whole.folder) as checkpointer,
        pytest.raises(ValueError, match=r"^seed must stay 1 when a run is resumed, got 3$"),
    ):
        train(Learner(network(), OBJECTIVE, other), batches(), checkpointer=checkpointer, resume=True)


def test_the_callback_hears_of_every_step_once(whole: Whole) -> None:
    assert [(report.step, report.steps) for report in whole.heard] == [(step, 8) for step in range(1, 9)]
    assert np.array_equal([report.loss for report in whole.heard], whole.trained.losses)


def test_each_loss_is_the_objective_of_its_batch_at_its_key(whole: Whole) -> None:
    """The first step, again, outside of the compiled loop."""
    module = network()
    parts = Network(module)
    x0, labels = data().batch(0, 4, seed=1)
    draw_key, dropout_key = jax.random.split(jax.random.fold_in(jax.random.key(1), 0))
    loss = OBJECTIVE.loss(
        lambda x, t, cond: parts.apply_training(parts.parameters, dropout_key, x, t, cond),
        jnp.asarray(x0),
        jnp.asarray(labels),
        draw_key,
    )
    assert np.isclose(whole.trained.losses[0], loss, rtol=1e-5)


def test_a_step_takes_over_the_buffers_of_its_state() -> None:
    module = network()
    parts = Network(module)
    optimizer = make_optimizer(CONFIG.optimizer, CONFIG.steps)
    before = init_state(parts, optimizer, EMA(), CONFIG.steps)
    x0, labels = data().batch(0, 4, seed=1)
    make_train_step(parts, OBJECTIVE, optimizer, EMA())(before, jnp.asarray(x0), jnp.asarray(labels))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(parts.parameters))


def test_dropout_differs_from_step_to_step_and_is_off_when_sampling() -> None:
    parts = Network(network())
    x, t = jnp.ones((6, 2, 2, 1)), jnp.zeros(6)
    one, two, again = (parts.apply_training(parts.parameters, jax.random.key(seed), x, t, None) for seed in (0, 1, 0))
    assert not np.array_equal(one, two)
    assert np.array_equal(one, again)
    off = parts.apply(parts.parameters, x, t, None)
    assert np.array_equal(off, np.broadcast_to(off[:1], off.shape))


def test_a_network_learns_two_images_by_their_labels() -> None:
    """At high noise only the label identifies the image, so the trained denoiser must return it from that."""
    images = np.stack([np.full((2, 2, 1), -0.8), np.full((2, 2, 1), 0.6)]).astype(np.float32)
    two = LabeledImages(images, np.array([0, 1], np.int32))
    schedule = Discrete(betas.cosine(50))
    objective = Objective(schedule, X0(), num_classes=3)
    config = TrainingConfig(steps=1500, optimizer=OptimizerConfig(learning_rate=1e-2))
    trained = train(Learner(network(), objective, config), dataset(two).batches(16, 0))
    assert float(trained.losses[-20:].mean()) < 0.1 * float(trained.losses[0])
    level = schedule.at(jnp.full(2, 40.0))
    x_t = level.sigma[:, None, None, None] * jax.random.normal(jax.random.key(0), (2, 2, 2, 1))
    x_t = x_t + level.alpha[:, None, None, None] * jnp.asarray(images)
    assert np.allclose(trained.denoiser(x_t, level, jnp.arange(2)), images, atol=0.2)


def test_the_denoiser_is_the_averaged_network_under_its_prediction(whole: Whole) -> None:
    x, level = jnp.ones((3, 2, 2, 1)), OBJECTIVE.schedule.at(jnp.asarray([0.0, 20.0, 49.0]))
    labels = jnp.arange(3)
    module = whole.trained.module
    assert callable(module)
    v = module(x, level.t, labels)
    alpha, sigma = (np.asarray(a, np.float64)[:, None, None, None] for a in (level.alpha, level.sigma))
    assert isinstance(OBJECTIVE.prediction, V)
    assert np.allclose(
        whole.trained.denoiser(x, level, labels), alpha * np.asarray(x) - sigma * np.asarray(v), atol=1e-6
    )
    assert not same(whole.trained.state.average, whole.trained.state.parameters)
