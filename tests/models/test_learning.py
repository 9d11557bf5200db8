"""Every model learns scikit-learn's handwritten digits: loss and samples improve by large factors.

The samples' measure is the energy distance to the digits, $2 E|x - y| - E|x - x'| - E|y - y'|$, which is 0 for equal
laws (Szekely and Rizzo 2013, https://doi.org/10.1016/j.jspi.2013.03.018). Three hundred digits are at 0.16 from three
hundred others.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import MLP, MLPConfig
from artifex.generative_models.models.diffusion import (
    DDIMModel,
    DDPMModel,
    DiffusionModel,
    DiTModel,
    GuidedDiffusionModel,
    LDMModel,
    ModelConfig,
    ScoreDiffusionModel,
)
from artifex.schedules import Epsilon
from artifex.training import Dataset, Learner, Objective, TrainingConfig, digits
from artifex.training import train as fit
from artifex.training.data import ArraySource, batch_indices

pytestmark = pytest.mark.slow

DATA = digits()
DIGITS, LABELS = jnp.asarray(DATA.images), jnp.asarray(DATA.labels)
STEPS, BATCH = 300, 64

Model = DiffusionModel[Any]
Loss = Callable[[Any, Array, Array, nnx.Rngs], Array]


def mlp(config: ModelConfig, *, rngs: nnx.Rngs) -> MLP:
    """A multilayer perceptron for digits as vectors."""
    classes = config.parameters.get("num_classes")
    assert classes is None or isinstance(classes, int)
    return MLP(MLPConfig(features=config.input_dim[0], hidden=128, depth=2, num_classes=classes), rngs=rngs)


def config(kind: str, shape: tuple[int, ...] = (64,), **parameters: object) -> ModelConfig:
    return ModelConfig(name="digits", model_class=kind, input_dim=shape, parameters=parameters)


def noisy(model: Model, x: Array, rngs: nnx.Rngs) -> tuple[Array, Array, Array]:
    t = jax.random.randint(rngs.timestep(), (len(x),), 0, model.noise_steps)
    noise = jax.random.normal(rngs.noise(), x.shape)
    return model.q_sample(x, t, noise), t, noise


def documented(model: Model, x: Array, y: Array, rngs: nnx.Rngs) -> Array:
    x_t, t, _ = noisy(model, x, rngs)
    return model.loss_fn({"x": x}, model(x_t, t, training=True, rngs=rngs), rngs=rngs)["loss"]


def with_labels(model: GuidedDiffusionModel, x: Array, y: Array, rngs: nnx.Rngs) -> Array:
    x_t, t, _ = noisy(model, x, rngs)
    return model.loss_fn(x, model(x_t, t, conditioning=y, training=True))["loss"]


def of_latents(model: LDMModel, x: Array, y: Array, rngs: nnx.Rngs) -> Array:
    t = jax.random.randint(rngs.timestep(), (len(x),), 0, model.noise_steps)
    return model.loss_fn(x, model(x, t, rngs=rngs, training=True), stage="joint")["loss"]


def of_transformer(model: DiTModel, x: Array, y: Array, rngs: nnx.Rngs) -> Array:
    x_t, t, noise = noisy(model, x, rngs)
    return model.loss_fn({"x": x, "noise": noise}, model(x_t, t, y=y, deterministic=False))["loss"]


def energy_distance(samples: Array) -> float:
    """From the first 300 digits."""
    x, y = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (samples, DIGITS[:300]))

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        return float(np.sqrt(np.maximum(squares, 0)).mean())

    return 2 * apart(x, y) - apart(x, x) - apart(y, y)


def train(model: Model, loss_of: Loss, seed: int) -> Array:
    """Losses of three hundred steps of Adam in one scan."""
    optimizer = nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param)
    graph, first = nnx.split((model, optimizer))
    data = DIGITS.reshape(-1, *model.config.input_dim)

    def step(state: Any, key: Array) -> tuple[Any, Array]:  # noqa: ANN401 -- a module's state
        inside, outside = nnx.merge(graph, state)
        rngs = nnx.Rngs(key)
        rows = jax.random.randint(rngs.batch(), (BATCH,), 0, len(data))
        loss, gradient = nnx.value_and_grad(loss_of)(inside, data[rows], LABELS[rows], rngs)
        outside.update(inside, gradient)
        return nnx.state((inside, outside)), loss

    losses: Array
    keys = jax.random.split(jax.random.key(seed), STEPS)
    last, losses = jax.jit(lambda state: jax.lax.scan(step, state, keys))(first)
    nnx.update((model, optimizer), last)
    return losses


def learner(kind: str, seed: int) -> tuple[Model, Loss, Callable[[Any, Array, nnx.Rngs], Array]]:
    """A model, its loss, and its sampler of 300 samples."""
    rngs = nnx.Rngs(seed)
    if kind == "base":
        base: Model = DiffusionModel(config("DiffusionModel", noise_steps=50, beta_end=0.3), mlp, rngs=rngs)
        return base, documented, lambda m, y, r: m.generate(300, rngs=r)
    if kind == "ddim":
        ddim = DDIMModel(config("DDIMModel", ddim_steps=50), backbone_fn=mlp, rngs=rngs)
        return ddim, documented, lambda m, y, r: m.ddim_sample(300, rngs=r)
    if kind == "score":
        score = ScoreDiffusionModel(config=config("ScoreDiffusionModel", sigma_max=20.0), backbone_fn=mlp, rngs=rngs)
        return score, documented, lambda m, y, r: m.sample(300, num_steps=50, rngs=r, clip_denoised=True)
    if kind == "latent":
        latent = LDMModel(config=config("LDMModel", scale_factor=1.0, noise_steps=50, beta_end=0.3), rngs=rngs)
        return latent, of_latents, lambda m, y, r: m.sample(300, rngs=r)
    if kind == "guided":
        guided = GuidedDiffusionModel(
            config("GuidedDiffusionModel", noise_steps=50, beta_end=0.3, num_classes=10),
            mlp,
            rngs=rngs,
            guidance_method="classifier_free",
            guidance_scale=1.0,
        )
        return guided, with_labels, lambda m, y, r: m.generate(300, conditioning=y, rngs=r)
    small = {"patch_size": 4, "hidden_size": 32, "depth": 1, "num_heads": 2, "num_classes": 10}
    dit = DiTModel(config("DiTModel", (8, 8, 1), **small), rngs=rngs)
    return dit, of_transformer, lambda m, y, r: m.generate(300, y=y, num_steps=50, rngs=r)


FALLS = {
    "base": (3.0, 3.0),
    "ddim": (3.0, 3.0),
    "score": (1.3, 2.0),
    "latent": (3.0, 3.0),
    "guided": (3.0, 3.0),
    "dit": (3.0, 3.0),
}
"""Least factors by which the loss and the energy distance fall; that of the score model's loss is small, since noise
of 0.01 can't be distinguished from ink."""


def outcome(kind: str, seed: int) -> tuple[float, float]:
    """Factors by which the loss and the energy distance of the samples fell."""
    model, loss_of, draw = learner(kind, seed)
    before = energy_distance(draw(model, LABELS[:300], nnx.Rngs(1)))
    losses = train(model, loss_of, seed)
    after = energy_distance(draw(model, LABELS[:300], nnx.Rngs(1)))
    return float(losses[:5].mean() / losses[-20:].mean()), before / after


@pytest.mark.parametrize("kind", FALLS)
def test_every_model_learns_the_digits(kind: str) -> None:
    """The least of three seeds was measured as 5.2 and 5.7 (base), 5.7 and 5.3 (ddim), 1.6 and 2.7 (score), 4.3 and 880
    (latent), 5.3 and 4.4 (guided)."""
    loss, distance = outcome(kind, 0)
    assert loss > FALLS[kind][0]
    assert distance > FALLS[kind][1]


def test_the_documented_training_step_learns() -> None:
    """The documented step, with ``rngs`` as an argument: a third of the first loss in 300 steps."""
    model = DDPMModel(config("DDPMModel"), backbone_fn=mlp, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param)

    @nnx.jit
    def train_step(
        model: DDPMModel, optimizer: nnx.Optimizer[DDPMModel], batch: Array, rngs: nnx.Rngs
    ) -> dict[str, Array]:
        def loss_of(model: DDPMModel, rngs: nnx.Rngs) -> Array:
            t = jax.random.randint(rngs.timestep(), (batch.shape[0],), 0, 1000)
            noise = jax.random.normal(rngs.noise(), batch.shape)
            x_noisy = model.q_sample(batch, t, noise, rngs=rngs)
            outputs = model(x_noisy, t, training=True, rngs=rngs)
            return model.loss_fn({"x": batch}, outputs, rngs=rngs)["loss"]

        loss, gradient = nnx.value_and_grad(loss_of)(model, rngs)
        optimizer.update(model, gradient)
        return {"loss": loss}

    rngs, vectors = nnx.Rngs(0), DATA.images.reshape(-1, 64)
    losses = [
        train_step(model, optimizer, jnp.asarray(vectors[batch_indices(len(vectors), BATCH, 0, step)]), rngs)["loss"]
        for step in range(STEPS)
    ]
    assert np.mean(losses[-20:]) < np.mean(losses[:5]) / 3


def test_the_training_loop_teaches_a_models_network() -> None:
    """``artifex.training`` trains the backbone of a model."""
    model = DDPMModel(config("DDPMModel"), backbone_fn=mlp, rngs=nnx.Rngs(0))
    data = Dataset.from_source(ArraySource(DATA.images.reshape(-1, 64)))
    objective = Objective(model.chain, Epsilon())
    assert isinstance(model.backbone, MLP)
    settings = TrainingConfig(steps=STEPS, batch_size=BATCH)
    trained = fit(Learner(model.backbone, objective, settings), data.batches(BATCH, 0))
    losses = np.asarray(trained.losses)
    assert losses[-20:].mean() < losses[:5].mean() / 3
    nnx.update(model.backbone, nnx.state(trained.module))
    assert energy_distance(model.sample(300, "ddim", 50, rngs=nnx.Rngs(1))) < 3.7 / 3
