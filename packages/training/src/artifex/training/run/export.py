"""A trained network in one safetensors file: parameters by name, and in the metadata what makes the network again."""

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
from artifex.training.config import build, networks
from artifex.training.config.run import RunConfig
from artifex.training.errors import CheckpointError
from artifex.training.files import expanded, replacing
from artifex.training.run.loop import Network, Parameters, Trained
from artifex.training.run.trainer import Trainer, first_key
from artifex.training.section import Section
from artifex.training.step.objective import Label, Objective

KEY: Final = "artifex"
"""Under which the metadata has a ``Card``, in JSON."""

Weights = Literal["average", "parameters"]
Dtype = Literal["float32", "float16", "bfloat16"]


class Card(Section):
    """What a file is of.

    Attributes:
        config: the run's.
        shape: of one example of the data.
        num_classes: of the data; None where it has no labels.
        labels: that the network knows; None for no condition.
        weights: which of the run's parameters.
        step: after which they were taken.
        versions: of what wrote it.
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
    """What a file gives back.

    Attributes:
        network: what the parameters belong to.
        parameters: in float32.
        objective: what they were trained on.
        card: what the file says of itself.
    """

    network: Network
    parameters: Parameters
    objective: Objective
    card: Card

    @property
    def module(self) -> nnx.Module:
        """The network with the parameters."""
        return self.network.module(self.parameters)

    @property
    def denoiser(self) -> NetworkDenoiser[Parameters, Label]:
        """The network with the parameters, as samplers and guidance know it."""
        return NetworkDenoiser(self.network.apply, self.objective.prediction, self.parameters)


def export_network(
    trainer: Trainer,
    path: Path | str,
    trained: Trained | None = None,
    *,
    weights: Weights = "average",
    dtype: Dtype | None = None,
) -> None:
    """Write a run's network; the file appears whole or not at all.

    Args:
        trainer: of the run.
        path: the file; its folder is made if it is not there.
        trained: what training gave; None takes the last checkpoint of the run's folder.
        weights: the average that samples are drawn with, or the parameters themselves.
        dtype: of the stored values; None keeps float32. Halves the file, and loses digits, where it is shorter.

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
    """Read what ``export_network`` wrote.

    Args:
        path: the file.
        network: in place of the one that the configuration names, for a run that was given another.

    Raises:
        CheckpointError: if there is no such file, it is broken or of another kind, or its parameters are not those of
            the network.
    """
    path = expanded(path)
    try:
        stored = open_file(path)
    except interop.CheckpointError as error:
        raise CheckpointError(str(error)) from error
    card = _card(path)
    if network is None:
        try:
            plan = networks.plan(card.config.backbone, card.shape, card.num_classes, card.config.precision.compute)
        except ValueError as error:
            raise CheckpointError(f"the network of {path} can't be made: {error}") from error
        network = plan.make(first_key(card.config.seed))
    parts = Network(network)
    wanted = _named(parts.parameters)
    for name in sorted(wanted.keys() | stored.shapes.keys()):
        want, have = wanted[name].shape if name in wanted else None, stored.shapes.get(name)
        if want != have:
            raise CheckpointError(f"{name} must be {want} in {path}, got {have}")
    filled = {name: leaf.replace(jnp.asarray(stored.read(name), leaf.dtype)) for name, leaf in wanted.items()}
    parameters = nnx.from_flat_state(
        [(place, filled[_name(place)]) for place, _ in nnx.to_flat_state(parts.parameters)]
    )
    return Exported(parts, parameters, build.objective(card.config, card.labels), card)


def _name(place: tuple[object, ...]) -> str:
    return ".".join(map(str, place))


def _named(parameters: Parameters) -> dict[str, nnx.Variable[jax.Array]]:
    return {_name(place): leaf for place, leaf in nnx.to_flat_state(parameters)}


def _card(path: Path) -> Card:
    with safe_open(path, "np") as file:
        told = (file.metadata() or {}).get(KEY)
    if told is None:
        raise CheckpointError(f"{path} must be a file of artifex.training, got one without {KEY!r} in its metadata")
    try:
        return Card.model_validate_json(told)
    except ValidationError as error:
        first, theirs = error.errors()[0], re.search(r'"artifex-training":"([^"]*)"', told)
        raise CheckpointError(
            f"{path} can't be read: {'.'.join(map(str, first['loc']))}: {first['msg']}; it was written by version "
            f"{theirs[1] if theirs else 'unknown'} of artifex-training, this is {versions()['artifex-training']}"
        ) from error
