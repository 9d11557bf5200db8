"""A trained network in one safetensors file: parameters by name, and the configuration in the metadata."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.numpy import save

from artifex.backbones import interop
from artifex.backbones.interop.checkpoint import open_file
from artifex.schedules import NetworkDenoiser
from artifex.training.checkpoints.manifest import versions
from artifex.training.config.run import RunConfig
from artifex.training.errors import CheckpointError
from artifex.training.files import expanded, replacing
from artifex.training.run.keys import init_key
from artifex.training.run.trained import Trained
from artifex.training.run.trainer import Trainer
from artifex.training.section import Section
from artifex.training.step.model_objective import model_objective
from artifex.training.step.network import Network, Parameters
from artifex.training.step.objective import Label
from artifex.training.step.training_objective import TrainingObjective

KEY: Final = "artifex"
"""Key of the ``Card`` in the metadata, as JSON."""

Weights = Literal["average", "parameters"]
Dtype = Literal["float32", "float16", "bfloat16"]


class Card(Section):
    """The description of a network in a file.

    Attributes:
        config: of the run.
        shape: of one example of the data.
        num_classes: of the data; None if it has no labels.
        labels: number of labels that the network takes; None for no condition.
        weights: the averaged parameters or the parameters themselves.
        step: of the run.
        versions: of Python and its packages that wrote the file.
    """

    config: RunConfig
    shape: tuple[int, ...]
    num_classes: int | None
    labels: int | None
    weights: Weights
    step: int
    versions: dict[str, str]


@dataclass(frozen=True, eq=False)
class Exported:
    """A network read from a file.

    Attributes:
        network: as a function of its parameters.
        parameters: in float32.
        objective: the loss that they were trained with.
        card: the description in the file.
    """

    network: Network
    parameters: Parameters
    objective: TrainingObjective
    card: Card

    @property
    def module(self) -> nnx.Module:
        """The network with the parameters."""
        return self.network.module(self.parameters)

    @property
    def denoiser(self) -> NetworkDenoiser[Parameters, Label]:
        """The network with the parameters, as samplers and guidance use it."""
        return NetworkDenoiser(
            self.network.apply, self.objective.prediction, self.parameters, self.objective.learns_variance
        )


def export_network(
    trainer: Trainer,
    path: Path | str,
    trained: Trained | None = None,
    *,
    weights: Weights = "average",
    dtype: Dtype | None = None,
) -> None:
    """Write a run's network to a file, atomically.

    Args:
        trainer: of the run.
        path: of the file; its folder is created if missing.
        trained: the result of training; None takes the last checkpoint of the run's folder.
        weights: the average that samples are drawn with, or the parameters themselves.
        dtype: of the stored values; None keeps float32. A 16-bit dtype halves the file and loses digits.

    Raises:
        ValueError: for other ``weights`` or ``dtype``, or if ``trained`` is None and the run has no folder.
        FileNotFoundError: if ``trained`` is None and there is no checkpoint.
        CheckpointError: if no checkpoint can be used.
    """
    for name, value, known in (("weights", weights, get_args(Weights)), ("dtype", dtype, (None, *get_args(Dtype)))):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}")
    trained = trainer.load() if trained is None else trained
    parameters = trained.parameters if weights == "average" else trained.state.parameters
    arrays = {name: np.asarray(leaf[...], jnp.dtype(dtype or leaf.dtype)) for name, leaf in _named(parameters).items()}
    card = Card(
        config=trainer.config,
        shape=trainer.shape,
        num_classes=trainer.num_classes,
        labels=trainer.objective.num_classes,
        weights=weights,
        step=trained.steps_done,
        versions=versions(),
    )
    path = expanded(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(save(arrays, {KEY: card.model_dump_json()}))


def load_exported(path: Path | str, network: nnx.Module | None = None) -> Exported:
    """Read a file of ``export_network``.

    Args:
        path: the file.
        network: in place of the configuration's, for a run with a network of its own.

    Raises:
        CheckpointError: if there is no such file, it is corrupt or of another kind, or its parameters do not fit the
            network.
    """
    path = expanded(path)
    try:
        stored = open_file(path)
    except interop.CheckpointError as error:
        raise CheckpointError(str(error)) from error
    card = _card(path)
    objective: TrainingObjective = card.config.build_objective(card.labels)
    if network is None:
        try:
            network, objective = _built(card, objective)
        except ValueError as error:
            raise CheckpointError(f"the network of {path} can't be built: {error}") from error
    function = Network(network)
    wanted = _named(function.parameters)
    for name in sorted(wanted.keys() | stored.shapes.keys()):
        want, have = wanted[name].shape if name in wanted else None, stored.shapes.get(name)
        if want != have:
            raise CheckpointError(f"{name} must be {want} in {path}, got {have}")
    filled = {name: leaf.replace(jnp.asarray(stored.read(name), leaf.dtype)) for name, leaf in wanted.items()}
    parameters = nnx.from_flat_state(
        [(path, filled[_name(path)]) for path, _ in nnx.to_flat_state(function.parameters)]
    )
    return Exported(function, parameters, objective, card)


def _built(card: Card, objective: TrainingObjective) -> tuple[nnx.Module, TrainingObjective]:
    """The network of a configuration, and its loss."""
    config, key = card.config, init_key(card.config.seed)
    if config.model is None:
        return config.backbone.build(card.shape, card.num_classes, config.precision.compute).init(key), objective
    return model_objective(config.model.build(card.shape, card.num_classes, key), config.model.stage)


def _name(path: tuple[object, ...]) -> str:
    return ".".join(map(str, path))


def _named(parameters: Parameters) -> dict[str, nnx.Variable[jax.Array]]:
    return {_name(path): leaf for path, leaf in nnx.to_flat_state(parameters)}


def _card(path: Path) -> Card:
    with safe_open(path, "np") as file:
        text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise CheckpointError(f"{path} must be a file of artifex.training, got one without {KEY!r} in its metadata")
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first, theirs = error.errors()[0], re.search(r'"artifex-training":"([^"]*)"', text)
        raise CheckpointError(
            f"{path} can't be read: {'.'.join(map(str, first['loc']))}: {first['msg']}; it was written by version "
            f"{theirs[1] if theirs else 'unknown'} of artifex-training, this is {versions()['artifex-training']}"
        ) from error
