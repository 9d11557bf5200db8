"""The result of training."""

from dataclasses import dataclass
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from artifex.generative_models.models.diffusion import DiffusionModel
from artifex.schedules import NetworkDenoiser
from artifex.training.config.run import TrainingConfig
from artifex.training.run.learner import Learner
from artifex.training.step.model_objective import LatentObjective, ModelObjective
from artifex.training.step.network import Network, Parameters
from artifex.training.step.objective import Label
from artifex.training.step.state import TrainState
from artifex.training.step.training_objective import TrainingObjective


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of training; not ``finished`` if it was stopped early.

    Attributes:
        state: after the last step.
        learner: the network and how it was trained.
        seconds: of training, earlier parts of a resumed run included.
    """

    state: TrainState
    learner: Learner
    seconds: float

    @property
    def network(self) -> Network:
        """The network, as a function of its parameters."""
        return self.learner.network

    @property
    def objective(self) -> TrainingObjective:
        """The loss that was minimized."""
        return self.learner.objective

    @property
    def config(self) -> TrainingConfig:
        """The configuration of the training."""
        return self.learner.config

    @property
    def steps_done(self) -> int:
        """Number of completed steps."""
        return int(self.state.step)

    @property
    def finished(self) -> bool:
        """True if all steps are completed."""
        return self.steps_done == self.config.steps

    @property
    def losses(self) -> Float[Array, " steps"]:
        """The loss of every completed step."""
        return self.state.losses[: self.steps_done]

    @property
    def parameters(self) -> Parameters:
        """The averaged parameters."""
        return self.learner.average.read(self.state.average)

    @property
    def module(self) -> nnx.Module:
        """The network with averaged parameters."""
        return self.network.module(self.parameters)

    @property
    def model(self) -> DiffusionModel[Any]:
        """The documented model with averaged parameters.

        Raises:
            ValueError: if no model was trained.
        """
        objective = self.objective
        if not isinstance(objective, ModelObjective | LatentObjective):
            raise ValueError("model is that of a run with a documented model; this one trained a network: see module")
        return objective.model_with(self.module)

    @property
    def denoiser(self) -> NetworkDenoiser[Parameters, Label]:
        """The network with averaged parameters, as samplers and guidance use it."""
        return self.learner.denoiser(self.parameters)
