"""A run from its configuration: ``Trainer(RunConfig(data=Digits()), "runs/digits").fit()``."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
import optax
from flax import nnx

from artifex.generative_models.models.diffusion import DiffusionModel
from artifex.generative_models.models.diffusion.latent import Stage
from artifex.training.checkpoints.checkpointer import Checkpointer
from artifex.training.config.models import ModelSection
from artifex.training.config.run import RunConfig
from artifex.training.config.yaml import read_config, write_config
from artifex.training.data import Dataset, open_dataset
from artifex.training.data.batches import Stream
from artifex.training.data.config import with_classes
from artifex.training.ema import Average
from artifex.training.run.build_learner import model_learner, network_learner
from artifex.training.run.callbacks import RunCallbacks, preview_generator
from artifex.training.run.folder import RunFolder
from artifex.training.run.learner import Learner
from artifex.training.run.loop import train
from artifex.training.run.memory import Memory, activations_of, memory_of
from artifex.training.run.metrics_log import check_tensorboard
from artifex.training.run.report import Callback, Every
from artifex.training.run.resuming import Changes, changes, check_changes, keep_config
from artifex.training.run.trained import Trained
from artifex.training.sharding.batches import num_batch_shards
from artifex.training.sharding.mesh import any_mesh, make_mesh
from artifex.training.step.training_objective import TrainingObjective


class Trainer:
    """A run: everything that a configuration names, built and ready to train.

    Each part can be given in place of the configuration's.

    Args:
        config: of the run.
        folder: for ``config.yaml``, ``checkpoint/``, ``metrics.jsonl``, and if the configuration requests them
            ``tensorboard/``, ``previews/`` and ``snapshots/``; created by ``fit``. None keeps nothing. A leading ``~``
            is the home folder.
        data: in place of ``config.data``; otherwise the names of the classes that are found are added to ``config``.
        network: in place of ``config.backbone``: called as ``(x, t, labels, deterministic=...)``.
        model: in place of that of ``config.model``; see ``from_model``.
        optimizer: in place of ``config.optimizer``.
        average: in place of ``config.ema``.
        any_devices: only read what was trained, on any devices. Where they are not those of ``config.mesh``, each holds
            the whole network; the batch need not be divisible by them. The data is not opened if the last checkpoint
            of ``folder`` has its shape and number of classes.

    Attributes:
        config: of the run, with absolute paths.
        folder: of the run.
        mesh: of the devices.
        learner: network, loss, optimizer and average.
        shape: of one example of the data.
        num_classes: of the data; None if it has no labels.
        classes: names of the labels 0, 1, ...; empty if they have no names.
        unreadable: names of the files that ``fit`` could not read and skipped, where ``config.data`` allows it.

    Raises:
        ValueError: if network, data, schedule and devices do not fit, the data is not as ``config.data`` describes it,
            or training takes more memory than available and ``config.memory`` is not ``ignore``.
        OSError: if the data can't be read.
        FileNotFoundError: if ``any_devices`` is set and ``folder`` has no checkpoint.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path | str | None = None,
        *,
        data: Dataset | None = None,
        network: nnx.Module | None = None,
        model: DiffusionModel[Any] | None = None,
        optimizer: optax.GradientTransformation | None = None,
        average: Average[Any] | None = None,
        any_devices: bool = False,
    ) -> None:
        self.config = config.with_absolute_paths()
        self.folder = None if folder is None else RunFolder.at(folder)
        self._data = data
        self._saved = Checkpointer(self.folder.checkpoint) if any_devices and self.folder is not None else None
        self.shape, self.num_classes, self.classes = self._data_spec()
        if data is None and self._saved is None:
            self.config = self.config.model_copy(update={"data": with_classes(self.config.data, self.classes)})
        self.unreadable: tuple[str, ...] = ()
        self.mesh = (any_mesh if any_devices else make_mesh)(config.mesh)
        make = partial(Learner, config=self.config, optimizer=optimizer, average=average, mesh=self.mesh)
        check = not any_devices and config.memory == "check"
        if config.model is None:
            self.learner = network_learner(self.config, self.shape, self.num_classes, network, make, check)
        else:
            self.learner = model_learner(self.config, self.shape, self.num_classes, model, make, check)
        if config.log.tensorboard:
            check_tensorboard()
        if config.preview is not None:
            preview_generator(config, self.learner, self.shape)  # checks that the sampler fits the schedule
        if not any_devices:
            self.learner.check_mesh()

    @classmethod
    def from_model(
        cls,
        model: DiffusionModel[Any],
        config: RunConfig,
        folder: Path | str | None = None,
        *,
        stage: Stage | None = None,
        data: Dataset | None = None,
        optimizer: optax.GradientTransformation | None = None,
        average: Average[Any] | None = None,
    ) -> "Trainer":
        """Train a documented model with its own loss and schedule; ``fit().model`` is the trained one.

        ``from_folder`` opens a run of a documented class with its default network; others are opened by this method.

        Args:
            model: a documented model; it is left unchanged.
            config: of the run, without settings of the model; ``config.model`` is replaced.
            folder: see ``Trainer``.
            stage: of an ``LDMModel``, what is trained: ``"autoencoder"``, ``"diffusion"`` or ``"joint"``, the default.
            data: see ``Trainer``.
            optimizer: see ``Trainer``.
            average: see ``Trainer``.

        Raises:
            ValueError: as ``Trainer``, or if ``config`` has a setting that the model has itself.
        """
        config = config.model_copy(update={"model": ModelSection.from_model(model, stage)})
        config.check_model()
        return cls(config, folder, data=data, model=model, optimizer=optimizer, average=average)

    @classmethod
    def from_folder(cls, folder: Path | str, *, any_devices: bool = False) -> "Trainer":
        """Open the run in a folder, for instance to resume it: ``Trainer.from_folder("runs/digits").fit(resume=True)``.

        Args:
            folder: of the run.
            any_devices: see ``Trainer``; reads the results of a large run on one device.

        Raises:
            ConfigError: if there is no readable configuration in it.
            ValueError: if the run's mesh is of other devices and ``any_devices`` is not set.
        """
        return cls(read_config(RunFolder.at(folder).config), folder, any_devices=any_devices)

    @property
    def network(self) -> nnx.Module:
        """The network, with its initial parameters."""
        return self.learner.module

    @property
    def objective(self) -> TrainingObjective:
        """The loss."""
        return self.learner.objective

    @property
    def data(self) -> Dataset:
        """The data, opened at the first access.

        Raises:
            OSError: if it can't be read.
            ValueError: if it is not as ``config.data`` describes it.
        """
        if self._data is None:
            self._data = open_dataset(self.config.data)
        return self._data

    @property
    def memory(self) -> Memory:
        """The network's number of parameters, and a lower bound of the memory of training, from a traced step."""
        shards = num_batch_shards(self.learner.mesh)
        rows = -(-self.config.batch_size // (self.config.accumulation_steps * shards))
        return memory_of(self.learner, activations_of(self.learner, self.shape, rows))

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
            resume: continue from the folder's last checkpoint. Where ``config`` differs from that of the steps so far,
                as far as ``resuming.MAY_CHANGE`` allows, ``config.yaml`` is replaced and the old one kept beside it.
            accept_changed_data: continue with data that has another name or number of examples, at the beginning of an
                epoch; see ``Dataset.batches``.
            callback: called after every step.
            every: functions to call at intervals.
            stop: called before every step; True ends training early.

        Raises:
            ValueError: if ``resume`` is set without a folder, or configuration or data differ too much from the
                checkpoint's.
            FileNotFoundError: if there is no checkpoint to resume from.
            NonFiniteError: if ``config.max_skipped`` steps in a row were skipped.
            DataError: if what is read for a batch is not what the data may hold.
        """
        if self.config.memory == "check":
            self.memory.check()
        batches, done = self._batches(accept_changed_data), 0
        checkpointer: Checkpointer | None = None
        if self.folder is not None:
            self.folder.check_writable()
            policy = self.config.checkpoint
            checkpointer = Checkpointer(self.folder.checkpoint, policy.max_to_keep, policy.keep_period)
            if resume:
                _, stored, done = self._resume(checkpointer, batches)
                if jax.process_index() == 0:
                    keep_config(self.config, stored, self.folder, done)
            elif jax.process_index() == 0:
                self.folder.path.mkdir(parents=True, exist_ok=True)
                write_config(self.config, self.folder.config)
        try:
            with ExitStack() as stack:
                if self.folder is not None:
                    callbacks = RunCallbacks(self.config, self.learner, self.folder, self.shape, self.classes)
                    callback, more = stack.enter_context(callbacks.open(done, callback))
                    every = (*every, *more)
                return train(
                    self.learner, batches, checkpointer=checkpointer, resume=resume, callback=callback, every=every,
                    stop=stop,
                )  # fmt: skip
        finally:
            self.unreadable = batches.skipped
            batches.close()
            if checkpointer is not None:
                checkpointer.close()

    def load(self, step: int | None = None) -> Trained:
        """Load the result of training from a checkpoint of the folder, the last if ``step`` is None.

        Raises:
            ValueError: if there is no folder, or the checkpoint is of another network.
            FileNotFoundError: if there is no such checkpoint.
        """
        if self.folder is None:
            raise ValueError("folder must be that of a run to load from, got None")
        with self._saved or Checkpointer(self.folder.checkpoint) as checkpointer:
            metadata = checkpointer.metadata(step)
            steps = metadata["config"]["steps"]  # as configured when it was written
            state = checkpointer.restore(self.learner.abstract_state(steps), step)
        return Trained(state, self.learner, float(metadata["seconds"]))

    def changes(self, *, accept_changed_data: bool = False) -> Changes:
        """Compare ``config`` with that of the folder's last checkpoint: settings that differ, with old and new value.

        Args:
            accept_changed_data: see ``fit``.

        Raises:
            ValueError: if there is no folder, or the run can't continue with these settings or this data.
            FileNotFoundError: if there is no checkpoint.
        """
        if self.folder is None:
            raise ValueError("folder must be that of a run to resume, got None")
        with Checkpointer(self.folder.checkpoint) as checkpointer:
            return self._resume(checkpointer, self._batches(accept_changed_data))[0]

    def _data_spec(self) -> tuple[tuple[int, ...], int | None, tuple[str, ...]]:
        """Shape, number and names of classes: of the given data, else as the last checkpoint has them."""
        if self._data is None and self._saved is not None:
            stored = self._saved.metadata()["data"]
            if "shape" in stored:
                return tuple(stored["shape"]), stored["num_classes"], tuple(stored["classes"])
        return self.data.shape, self.data.num_classes, self.data.classes

    def _batches(self, accept_changed_data: bool) -> Stream:
        shard = jax.process_index(), jax.process_count()
        return self.data.batches(
            self.config.batch_size, self.config.seed, workers=self.config.workers, shard=shard,
            accept_changed_data=accept_changed_data,
        )  # fmt: skip

    def _resume(self, checkpointer: Checkpointer, batches: Stream) -> tuple[Changes, Mapping[str, Any], int]:
        """Return the changes since the last checkpoint, its configuration and its step; raise as ``changes`` does."""
        step = checkpointer.latest()
        metadata = checkpointer.metadata(step)
        changed = changes(metadata["config"], self.config)
        check_changes(changed, step or 0)
        batches.restore(metadata["data"])
        return changed, metadata["config"], step or 0
