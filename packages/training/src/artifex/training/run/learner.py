"""A network together with everything that decides how it is trained."""

from functools import cached_property
from typing import Any

import optax
from flax import nnx
from jax.sharding import Mesh

from artifex.schedules import NetworkDenoiser
from artifex.training.config.optimizer import freeze, make_optimizer
from artifex.training.config.run import TrainingConfig
from artifex.training.ema import Average
from artifex.training.sharding.sharding import check_mesh
from artifex.training.step.model_objective import LatentObjective
from artifex.training.step.network import Network, Parameters
from artifex.training.step.objective import Label
from artifex.training.step.state import TrainState, abstract_state, init_state
from artifex.training.step.train_step import TrainStep, make_train_step
from artifex.training.step.training_objective import TrainingObjective


class Learner:
    """A network, its loss, and how its parameters are updated.

    Args:
        module: called as ``(x, t, labels, deterministic=...)``; it is left unchanged.
        objective: the loss.
        config: of the training; None is the defaults.
        optimizer: overrides ``config.optimizer``.
        average: overrides ``config.ema``.
        mesh: the devices to train on, see ``make_mesh``; None is one device. In a run of several processes each
            provides its own rows of the batches.

    Attributes:
        network: the module as a function of its parameters.
        mesh: None for one device.
    """

    def __init__(
        self,
        module: nnx.Module,
        objective: TrainingObjective,
        config: TrainingConfig | None = None,
        *,
        optimizer: optax.GradientTransformation | None = None,
        average: Average[Any] | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        self.module = module
        self.objective = objective
        self.config = TrainingConfig() if config is None else config
        self.optimizer = (
            make_optimizer(self.config.optimizer, self.config.steps, module) if optimizer is None else optimizer
        )
        self._given = self.optimizer
        if isinstance(objective, LatentObjective) and objective.frozen is not None:
            self.optimizer = freeze(self.optimizer, objective.frozen)
        self.average = self.config.ema.build() if average is None else average
        self.mesh = None if mesh is None or mesh.size == 1 else mesh

    @cached_property
    def network(self) -> Network:
        """The module as a function of its parameters."""
        return Network(self.module)

    def with_module(self, module: nnx.Module) -> "Learner":
        """Replace the module by another one of the same shapes."""
        return Learner(module, self.objective, self.config, optimizer=self._given, average=self.average, mesh=self.mesh)

    def denoiser(self, parameters: Parameters) -> NetworkDenoiser[Parameters, Label]:
        """Return the network with parameters as samplers and guidance use it."""
        objective = self.objective
        return NetworkDenoiser(self.network.apply, objective.prediction, parameters, objective.learns_variance)

    def check_mesh(self) -> None:
        """Raise a ValueError if batch or network do not fit the mesh."""
        if self.mesh is not None:
            config = self.config
            check_mesh(
                self.mesh, self.module, config.batch_size, config.accumulation_steps, config.parallel_microbatches
            )

    def abstract_state(self, steps: int | None = None) -> TrainState:
        """Return the shapes and shardings of a state: the restore target of a checkpoint.

        Args:
            steps: of the run that wrote it; None is ``config.steps``.
        """
        return self._abstract_state(steps)[0]

    def init_state(self) -> TrainState:
        """Initialize the state before the first step."""
        steps = self.config.steps
        return init_state(self.network, self.optimizer, self.average, steps, self._abstract_state()[1])

    def train_step(self) -> TrainStep:
        """Compile a step; see ``make_train_step``."""
        config = self.config
        return make_train_step(
            self.network, self.objective, self.optimizer, self.average, seed=config.seed,
            accumulation_steps=config.accumulation_steps, parallel_microbatches=config.parallel_microbatches,
            window=config.log.every, shardings=self._abstract_state()[1],
        )  # fmt: skip

    def _abstract_state(self, steps: int | None = None) -> tuple[TrainState, TrainState | None]:
        steps = self.config.steps if steps is None else steps
        return abstract_state(self.network, self.optimizer, self.average, steps, self.mesh)
