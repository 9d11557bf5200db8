"""The losses of the documented models as training objectives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from artifex.generative_models.models.diffusion import DiffusionModel, LDMModel
from artifex.generative_models.models.diffusion.autoencoders import Autoencoder
from artifex.generative_models.models.diffusion.latent import Stage
from artifex.schedules import Discrete, Prediction, Schedule, add_noise, diffuse
from artifex.schedules.time_samplers import LowDiscrepancy, Uniform
from artifex.training.step.network import TrainingNetwork
from artifex.training.step.objective import Draws, Label, Objective, Time, X

Model = DiffusionModel[Any]


@dataclass(frozen=True, eq=False)
class ModelObjective:
    """The loss of a model, ``loss_fn``, of which its ``backbone`` is trained.

    Times are spread evenly over the model's timesteps, or over [0, 1] if its schedule is not a chain.

    Attributes:
        model: the model; its own arrays are not used.
    """

    model: Model

    @property
    def schedule(self) -> Schedule:
        """The model's schedule."""
        return self.model.schedule

    @property
    def prediction(self) -> Prediction:
        """The model's prediction."""
        return self.model.prediction

    @property
    def num_classes(self) -> int | None:
        """The model's number of labels."""
        return self.model.parameters.num_classes

    @property
    def learns_variance(self) -> bool:
        """True if the model learns the variance of a step."""
        return self.model.learns_variance

    def draw(self, x0: X, cond: Label | None, key: Key[Array, ""]) -> Draws:
        """Draw times, noise and dropped labels."""
        return self._drawn.draw(x0, cond, key)

    def losses(self, network: TrainingNetwork, x0: X, draws: Draws) -> Float[Array, " b"]:
        """Return ``loss_fn`` of each sample.

        Raises:
            ValueError: if the network's output is of the wrong shape.
        """
        outputs = predicted(self.model, network, x0, draws)
        return sample_losses(self.model.loss_fn, {"x": x0, "noise": draws.eps}, outputs)

    def model_with(self, module: nnx.Module) -> Model:
        """Return a copy of the model with another backbone."""
        model: Model = nnx.clone(self.model)
        backbone: Any = module
        model.backbone = backbone
        return model

    @cached_property
    def _drawn(self) -> Objective:
        return draws_of(self.model)


class LatentDraws(NamedTuple):
    """The randomness of one evaluation of a latent model's loss.

    Attributes:
        t: times, ``(batch,)``.
        eps: noise of the scaled latents.
        cond: labels, some replaced by the null label; None without labels.
        posterior_eps: noise of the latents given the data.
    """

    t: Time
    eps: X
    cond: Label | None
    posterior_eps: X


class LatentNetwork(nnx.Module):
    """The trained parts of an ``LDMModel``; called, it is the backbone.

    Args:
        autoencoder: with ``encode`` and ``decode``.
        backbone: the network of scaled latents.
    """

    def __init__(self, autoencoder: Autoencoder, backbone: nnx.Module) -> None:
        self.autoencoder, self.backbone = autoencoder, backbone

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> X:
        """Evaluate the backbone on scaled latents."""
        backbone: Any = self.backbone
        out: X = backbone(x, t, cond, deterministic=deterministic)
        return out


@dataclass(frozen=True, eq=False)
class LatentObjective:
    """The loss of a stage of an ``LDMModel``; the network is a ``LatentNetwork``.

    Attributes:
        model: the model; its own arrays are not used.
        stage: the trained parts.
    """

    model: LDMModel
    stage: Stage

    @property
    def schedule(self) -> Schedule:
        """The model's schedule."""
        return self.model.schedule

    @property
    def prediction(self) -> Prediction:
        """The model's prediction."""
        return self.model.prediction

    @property
    def num_classes(self) -> int | None:
        """The model's number of labels."""
        return self.model.parameters.num_classes

    @property
    def learns_variance(self) -> bool:
        """False: latent models do not learn the variance of a step."""
        return False

    @property
    def frozen(self) -> str | None:
        """Name of the part of the network that the stage does not train."""
        return {"autoencoder": "backbone", "diffusion": "autoencoder", "joint": None}[self.stage]

    def draw(self, x0: X, cond: Label | None, key: Key[Array, ""]) -> LatentDraws:
        """Draw times, dropped labels, and the noise of latents and process."""
        process, posterior = jax.random.split(key)
        zeros = jnp.zeros((len(x0), *self.model.latent_shape), x0.dtype)
        draws = self._drawn.draw(zeros, cond, process)
        return LatentDraws(*draws, add_noise(zeros, self.schedule.at(draws.t), posterior)[1])

    def losses(self, network: TrainingNetwork, x0: X, draws: LatentDraws) -> Float[Array, " b"]:
        """Return the stage's ``loss_fn`` of each sample.

        Raises:
            ValueError: if the network's output is of the wrong shape.
        """
        autoencoder: Autoencoder = _latent(network.module).autoencoder
        mean, logvar = autoencoder.encode(x0)
        latents = mean + jnp.exp(logvar / 2) * draws.posterior_eps
        state = jax.lax.stop_gradient(latents) * self.model.parameters.scale_factor
        outputs = predicted(self.model, network, state, Draws(draws.t, draws.eps, draws.cond))
        own = {"mean": mean, "logvar": logvar, "reconstruction": autoencoder.decode(latents), "noise": draws.eps}
        loss_fn = partial(self.model.loss_fn, stage=self.stage)
        return sample_losses(loss_fn, {"x": x0}, {**outputs, **own})

    def decode(self, module: nnx.Module, latents: X) -> X:
        """Return the data of scaled latents."""
        return _latent(module).autoencoder.decode(latents / self.model.parameters.scale_factor)

    def model_with(self, module: nnx.Module) -> Model:
        """Return a copy of the model with other parts."""
        model, parts = nnx.clone(self.model), _latent(module)
        backbone: Any = parts.backbone
        model.autoencoder, model.backbone = parts.autoencoder, backbone
        return model

    @cached_property
    def _drawn(self) -> Objective:
        return draws_of(self.model)


def model_objective(model: Model, stage: Stage | None = None) -> tuple[nnx.Module, ModelObjective | LatentObjective]:
    """Return the trained network of a model and its loss.

    Args:
        model: a documented model.
        stage: of an ``LDMModel``; None is ``"joint"``.

    Raises:
        ValueError: for an unknown stage, or a stage of another model.
    """
    if not isinstance(model, LDMModel):
        if stage is not None:
            raise ValueError(f"stage is an option of LDMModel, got {stage!r} for {type(model).__name__}")
        backbone: Any = model.backbone
        return backbone, ModelObjective(model)
    stage = "joint" if stage is None else stage
    if stage not in ("autoencoder", "diffusion", "joint"):
        raise ValueError(f"stage must be 'autoencoder', 'diffusion' or 'joint', got {stage!r}")
    parts: Any = model.backbone
    return LatentNetwork(model.autoencoder, parts), LatentObjective(model, stage)


def draws_of(model: Model) -> Objective:
    """An objective with the random draws of a model's training."""
    parameters = model.parameters
    times = None if isinstance(model.schedule, Discrete) else LowDiscrepancy(Uniform())
    return Objective(
        model.schedule,
        model.prediction,
        num_classes=parameters.num_classes,
        class_dropout=parameters.class_dropout_prob,
        times=times,
    )


def predicted(model: Model, network: TrainingNetwork, x0: X, draws: Draws) -> Mapping[str, Array]:
    """The outputs of a model with another network, at noised ``x0``."""
    level = model.level(draws.t, x0)
    x_t = diffuse(x0, draws.eps, level)
    out = network(*model.prediction.inputs(x_t, level), draws.cond)
    return model.named_outputs(out.astype(x_t.dtype), x_t, draws.t)


def sample_losses(
    loss_fn: Callable[..., Mapping[str, Array]], batch: Mapping[str, Array], outputs: Mapping[str, Array]
) -> Float[Array, " b"]:
    """A model's ``loss_fn``, which is a mean over the batch, of each sample alone."""

    def loss(batch: Mapping[str, Array], outputs: Mapping[str, Array]) -> Float[Array, ""]:
        return loss_fn(*jax.tree.map(lambda a: a[None], (batch, outputs)))["loss"]

    losses: Float[Array, " b"] = jax.vmap(loss)(batch, outputs)
    return losses


def _latent(module: nnx.Module) -> LatentNetwork:
    assert isinstance(module, LatentNetwork)
    return module
