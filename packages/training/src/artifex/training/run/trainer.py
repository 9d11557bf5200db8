"""A run from its configuration: ``Trainer(RunConfig(data=Digits()), "runs/digits").fit()``."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from artifex.training.checkpoints.checkpointer import Checkpointer
from artifex.training.config import build, networks
from artifex.training.config.optimizer import make_optimiser
from artifex.training.config.run import RunConfig
from artifex.training.config.yaml import read_config, write_config
from artifex.training.data import Dataset, open_dataset
from artifex.training.data.batches import Stream
from artifex.training.data.config import with_classes
from artifex.training.ema import Average
from artifex.training.files import expanded
from artifex.training.run.callbacks import check_places, drawing_of, watching
from artifex.training.run.loop import Callback, Every, Network, Trained, state_like, train
from artifex.training.run.memory import Memory, activations_of, memory_of
from artifex.training.run.metrics_log import check_tensorboard
from artifex.training.run.resuming import Changes, changes, check_changes, keep_config
from artifex.training.sharding.mesh import MeshConfig, check_mesh, make_mesh, shares

CONFIG: Final = "config.yaml"
CHECKPOINT: Final = "checkpoint"


class Trainer:
    """Everything that a configuration names, made, and ready to train.

    Each part is an attribute and can be given in place of the configuration's.

    Args:
        config: of the run.
        folder: for ``config.yaml``, ``checkpoint/``, ``metrics.jsonl``, and where the configuration asks for them
            ``tensorboard/``, ``previews/`` and ``snapshots/``; made by ``fit``. None keeps nothing. ``~`` at its
            beginning is the home folder.
        data: in place of ``config.data``; without it, the names of classes that are found go into ``config``.
        network: in place of ``config.backbone``: called as ``(x, t, labels, deterministic=...)``.
        optimizer: in place of ``config.optimizer``.
        average: in place of ``config.ema``.
        anywhere: only read what was trained, on any devices. Where they are not those of ``config.mesh``, each holds
            all of the network; the batch need not fit them. The data is not opened where the last checkpoint of
            ``folder`` has its shape and number of classes.

    Attributes:
        shape: of one example of the data.
        num_classes: of the data; None where it has no labels.
        classes: names of its labels 0, 1, ...; none where they have no names.
        unreadable: what ``fit`` could not read and skipped, by name, where ``config.data`` allows for it.

    Raises:
        ValueError: if network, data, schedule and devices do not fit, or the data is not what ``config.data`` says, or
            training takes more memory than there is and ``config.memory`` is not ``ignore``.
        OSError: if the data can't be read.
        FileNotFoundError: if ``anywhere`` is set and ``folder`` has no checkpoint.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path | str | None = None,
        *,
        data: Dataset | None = None,
        network: nnx.Module | None = None,
        optimizer: optax.GradientTransformation | None = None,
        average: Average[Any] | None = None,
        anywhere: bool = False,
    ) -> None:
        self.config = _at_home(config)
        self.folder = None if folder is None else expanded(folder)
        self._data = data
        self._saved = Checkpointer(self.folder / CHECKPOINT) if anywhere and self.folder is not None else None
        self.shape, self.num_classes, self.classes = self._kind_of_data()
        if data is None and self._saved is None:
            self.config = self.config.model_copy(update={"data": with_classes(self.config.data, self.classes)})
        self.unreadable: tuple[str, ...] = ()
        self.mesh = (_any_mesh if anywhere else make_mesh)(config.mesh)
        labels = self.num_classes
        if network is None:
            planned = networks.plan(config.backbone, self.shape, labels, config.precision.compute)
            labels = planned.num_classes
        shapes = planned.shapes() if network is None else network
        self.objective = build.objective(config, labels)
        self.optimizer = make_optimiser(config.optimizer, config.steps, shapes) if optimizer is None else optimizer
        self.average = config.ema.build() if average is None else average
        if not anywhere and config.memory == "check":
            memory_of(shapes, self.optimizer, self.average, self._several).check()
        self.network = planned.make(first_key(config.seed), self._several) if network is None else network
        if config.log.tensorboard:
            check_tensorboard()
        if config.preview is not None:
            drawing_of(self)
        if not anywhere:
            check_mesh(self.mesh, self.network, config.batch_size, config.accumulate, config.parallel_microbatches)

    @classmethod
    def of(cls, folder: Path | str, *, anywhere: bool = False) -> "Trainer":
        """The run whose results are in ``folder``, to go on with: ``Trainer.of("runs/digits").fit(resume=True)``.

        Args:
            folder: of the run.
            anywhere: see ``Trainer``; so a large run's results are read on one device.

        Raises:
            ConfigError: if there is no configuration in it that can be read.
            ValueError: if the run's mesh is of other devices and not to be left.
        """
        return cls(read_config(expanded(folder) / CONFIG), folder, anywhere=anywhere)

    @property
    def data(self) -> Dataset:
        """The data, opened when it is first asked for.

        Raises:
            OSError: if it can't be read.
            ValueError: if it is not what ``config.data`` says.
        """
        if self._data is None:
            self._data = open_dataset(self.config.data)
        return self._data

    def fit(
        self,
        *,
        resume: bool = False,
        accept_changed_data: bool = False,
        callback: Callback | None = None,
        every: Sequence[Every] = (),
        stop: Callable[[], bool] | None = None,
    ) -> Trained:
        """Train, and save into the folder.

        Args:
            resume: go on from the folder's last checkpoint. Where ``config`` differs from that of the steps so far, as
                far as ``resuming.MAY_CHANGE`` allows, ``config.yaml`` is replaced and the one before kept beside it.
            accept_changed_data: go on with data that has another name or number of examples, at the beginning of an
                epoch; see ``Dataset.batches``.
            callback: is told of every step.
            every: what else is done at intervals.
            stop: asked before every step; True ends training early.

        Raises:
            ValueError: if ``resume`` is set without a folder, or the checkpoint's configuration or data can't become
                these.
            FileNotFoundError: if there is nothing to resume from.
            NonFiniteError: if ``config.max_skipped`` steps in a row were skipped.
            DataError: if what is read for a batch is not what the data may hold.
        """
        if self.config.memory == "check":
            self.memory.check()
        batches, done = self._batches(accept_changed_data), 0
        checkpointer: Checkpointer | None = None
        if self.folder is not None:
            check_places(self.folder)
            kept = self.config.checkpoint
            checkpointer = Checkpointer(self.folder / CHECKPOINT, kept.keep, kept.keep_period)
            if resume:
                _, stored, done = self._resumed(checkpointer, batches)
                if jax.process_index() == 0:
                    keep_config(self.config, stored, self.folder / CONFIG, done)
            elif jax.process_index() == 0:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_config(self.config, self.folder / CONFIG)
        try:
            with ExitStack() as watch:
                if self.folder is not None:
                    key = drawing_key(self.config.seed)
                    callback, more = watch.enter_context(watching(self, self.folder, done, key, callback))
                    every = (*every, *more)
                return train(
                    self.network, batches, self.objective, self.config, optimizer=self.optimizer, average=self.average,
                    checkpointer=checkpointer, resume=resume, callback=callback, every=every, stop=stop,
                    mesh=self._several,
                )  # fmt: skip
        finally:
            self.unreadable = batches.skipped
            batches.close()
            if checkpointer is not None:
                checkpointer.close()

    def load(self, step: int | None = None) -> Trained:
        """What training gave so far, from a checkpoint of the folder, the last where ``step`` is None.

        Raises:
            ValueError: if there is no folder, or the checkpoint is of another network.
            FileNotFoundError: if there is no such checkpoint.
        """
        if self.folder is None:
            raise ValueError("folder must be that of a run to load from, got None")
        parts = Network(self.network)
        with self._saved or Checkpointer(self.folder / CHECKPOINT) as checkpointer:
            notes = checkpointer.notes(step)
            steps = notes["config"]["steps"]  # as many as there were to be then
            like, _ = state_like(parts, self.optimizer, self.average, steps, self._several)
            state = checkpointer.restore(like, step)
        return Trained(state, parts, self.objective, self.config, self.average, float(notes["seconds"]))

    def _kind_of_data(self) -> tuple[tuple[int, ...], int | None, tuple[str, ...]]:
        """Shape, number and names of classes: of the data that was given, else as the last checkpoint has them."""
        if self._data is None and self._saved is not None:
            told = self._saved.notes()["data"]
            if "shape" in told:
                return tuple(told["shape"]), told["num_classes"], tuple(told["classes"])
        return self.data.shape, self.data.num_classes, self.data.classes

    def changes(self, *, accept_changed_data: bool = False) -> Changes:
        """Settings in which ``config`` differs from that of the folder's last checkpoint, with the old and new value.

        Args:
            accept_changed_data: see ``fit``.

        Raises:
            ValueError: if there is no folder, or the run can't go on with these settings, or with this data.
            FileNotFoundError: if there is no checkpoint.
        """
        if self.folder is None:
            raise ValueError("folder must be that of a run to go on with, got None")
        with Checkpointer(self.folder / CHECKPOINT) as checkpointer:
            return self._resumed(checkpointer, self._batches(accept_changed_data))[0]

    def _batches(self, accept_changed_data: bool) -> Stream:
        shard = jax.process_index(), jax.process_count()
        return self.data.batches(
            self.config.batch_size, self.config.seed, workers=self.config.workers, shard=shard,
            accept_changed_data=accept_changed_data,
        )  # fmt: skip

    def _resumed(self, checkpointer: Checkpointer, batches: Stream) -> tuple[Changes, Mapping[str, Any], int]:
        """The changes since the last checkpoint, its configuration and its step; raises what ``changes`` does."""
        step = checkpointer.latest()
        notes = checkpointer.notes(step)
        changed = changes(notes["config"], self.config)
        check_changes(changed, step or 0)
        batches.restore(notes["data"])
        return changed, notes["config"], step or 0

    @property
    def memory(self) -> Memory:
        """The network's number of parameters, and the least memory of training; a step is traced for it."""
        rows = -(-self.config.batch_size // (self.config.accumulate * shares(self._several)))
        kept = activations_of(self.network, self.objective, self.shape, rows)
        return memory_of(self.network, self.optimizer, self.average, self._several, kept)

    @property
    def _several(self) -> Mesh | None:
        """The mesh, None where it is of one device."""
        return None if self.mesh.size == 1 else self.mesh


def _at_home(config: RunConfig) -> RunConfig:
    """The configuration, with the places of its data such that they do not depend on where a process runs."""
    places = {name: value.absolute() for name, value in config.data if isinstance(value, Path)}
    return config.model_copy(update={"data": config.data.model_copy(update=places)}) if places else config


def _any_mesh(config: MeshConfig) -> Mesh:
    """The run's mesh, if it is of these devices, else copies of the model."""
    try:
        return make_mesh(config)
    except ValueError:
        return make_mesh(MeshConfig())


def first_key(seed: int) -> jax.Array:
    """What the first parameters are drawn from; see ``drawing_key``."""
    return jax.random.split(jax.random.key(seed))[0]


def drawing_key(seed: int) -> jax.Array:
    """What samples are drawn from once training is over."""
    return jax.random.split(jax.random.key(seed))[1]


def latest(folder: Path) -> int | None:
    """The step of the last checkpoint of the run in ``folder``, None where there is none."""
    with Checkpointer(folder / CHECKPOINT, say=lambda _: None) as checkpointer:
        return checkpointer.latest()
