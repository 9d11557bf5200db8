"""The configuration of a run: data, network, loss, optimizer, averages, and where results go."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import jax
from jaxtyping import Array
from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from artifex.schedules import NoiseLevel, Prediction, ScaledTime, weighting
from artifex.schedules.time_samplers import TimeSampler
from artifex.training.config.backbones import BackboneConfig
from artifex.training.config.models import ModelSection
from artifex.training.config.optimizer import OptimizerConfig
from artifex.training.config.predictions import PredictionName, build_prediction
from artifex.training.config.sampling import PreviewConfig
from artifex.training.config.schedule_section import NETWORK_TIME
from artifex.training.config.schedules import DiscreteSchedule, ScheduleConfig
from artifex.training.config.times import TimesConfig
from artifex.training.config.weights import UniformWeight, UnitWeight, WeightConfig
from artifex.training.data import DataConfig
from artifex.training.dtypes import check_dtype
from artifex.training.ema import Constant, EMAConfig
from artifex.training.section import Section, kinds
from artifex.training.sharding.mesh import MeshConfig
from artifex.training.step.objective import Objective

VERSION: Final = 2
"""Version of the configuration's format."""


class PrecisionConfig(Section):
    """Precision of the computation; parameters, their averages and the optimizer's state are float32 in any case.

    Attributes:
        compute: dtype inside the network, float32 or bfloat16. float16 would need loss scaling, or small gradients
            vanish.
    """

    compute: Literal["float32", "bfloat16"] = "float32"

    @field_validator("compute", mode="before")
    @classmethod
    def _supported(cls, value: object) -> object:
        if isinstance(value, str):
            check_dtype("compute", value)
        return value


class CheckpointConfig(Section):
    """Checkpoints during the run, in addition to those at its end and at an interruption.

    Attributes:
        every: steps between checkpoints.
        max_to_keep: number of latest checkpoints to keep.
        keep_period: also keep the checkpoints of steps that are multiples of it; null keeps the latest only.
    """

    every: PositiveInt = 500
    max_to_keep: PositiveInt = 2
    keep_period: PositiveInt | None = None


class LogConfig(Section):
    """Logs in the run's folder.

    Attributes:
        every: steps between lines of metrics.jsonl, and of plain progress where there is no terminal.
        tensorboard: whether TensorBoard's events are written too; needs artifex-training[tensorboard].
    """

    every: PositiveInt = 50
    tensorboard: bool = False


class TaskConfig(Section):
    """The data, the network and the loss.

    Attributes:
        version: of this format.
        data: the training data.
        workers: processes that read and decode it; 0 is best for data in memory.
        model: a documented model, which has its own network, schedule, prediction, loss and share of dropped labels:
            {class: DiTModel, depth: 2}; null trains ``backbone``.
        backbone: the network.
        schedule: the path from data to noise.
        prediction: the network's output: epsilon, x0, v, score, flow_velocity, or edm for a preconditioned network.
        sigma_data: standard deviation of the data, for the prediction edm and the weight edm.
        weight: weight of the loss by noise level; null is unit, or for the prediction score uniform.
        times: distribution of training times; null is the schedule's own: steps, uniform, logit_normal or log_normal.
        class_dropout: share of labels dropped in training, for classifier-free guidance.
        precision: of the computation.
    """

    version: Literal[2] = VERSION
    data: Annotated[DataConfig, kinds()]
    workers: int = Field(default=0, ge=0)
    model: ModelSection | None = None
    backbone: Annotated[BackboneConfig, kinds("unet", preset="digits")] = BackboneConfig(kind="unet", preset="digits")
    schedule: ScheduleConfig = DiscreteSchedule()
    prediction: PredictionName = "v"
    sigma_data: PositiveFloat = 0.5
    weight: WeightConfig | None = None
    times: TimesConfig | None = None
    class_dropout: float = Field(default=0.1, ge=0, le=1)
    precision: PrecisionConfig = PrecisionConfig()

    @model_validator(mode="after")
    def _fits(self) -> "TaskConfig":
        if self.model is not None:
            self.check_model()
        if self.times is not None:
            self.schedule.check_times(self.times)
        without_signal = isinstance(self.schedule, DiscreteSchedule) and self.schedule.zero_terminal_snr
        if without_signal and self.prediction in ("epsilon", "score"):
            raise ValueError(
                f"prediction must not be {self.prediction!r} with schedule.zero_terminal_snr: at the last step the "
                "noise carries no information about the data; v does"
            )
        return self

    def check_model(self) -> None:
        """Raise a ValueError for a setting that the model has itself."""
        for name in ("backbone", "schedule", "prediction", "sigma_data", "weight", "times", "class_dropout"):
            value, default = getattr(self, name), TaskConfig.model_fields[name].default
            if value != default:
                raise ValueError(f"{name} must be left out with model, which has its own; got {value!r}")
        if self.precision.compute != "float32":
            raise ValueError(f"precision.compute must be float32 with model, got {self.precision.compute!r}")

    def build_prediction(self) -> Prediction:
        """Build the prediction, with times scaled to the range that the network is made for."""
        inner = build_prediction(self.prediction, self.sigma_data)
        factor = NETWORK_TIME if self.prediction == "edm" else self.schedule.time_scale
        if self.backbone.kind == "edm2":
            factor /= NETWORK_TIME
        return inner if factor == 1 else ScaledTime(inner, factor)

    def build_weight(self) -> Callable[[NoiseLevel[jax.Array]], Array] | None:
        """Build the weight of the squared error of the network's output; None is 1."""
        inner = build_prediction(self.prediction, self.sigma_data)
        chosen = self.weight or (UniformWeight() if self.prediction == "score" else UnitWeight())
        built = chosen.build(self.sigma_data)
        if built is None or (isinstance(built, weighting.Uniform) and built.of == inner):
            return None
        return partial(weighting.weight, built, inner)

    def build_times(self) -> TimeSampler:
        """Build the distribution of training times."""
        steps = self.schedule.steps if isinstance(self.schedule, DiscreteSchedule) else 0
        return (self.times or self.schedule.default_times()).build(steps)

    def build_objective(self, num_classes: int | None) -> Objective:
        """Build the loss.

        Args:
            num_classes: number of labels that the network takes; None for no condition.
        """
        return Objective(
            self.schedule.build(),
            self.build_prediction(),
            num_classes=num_classes,
            class_dropout=self.class_dropout,
            times=self.build_times(),
            weight=self.build_weight(),
        )


class TrainingConfig(Section):
    """Settings of training that are independent of network and data.

    Attributes:
        steps: number of updates of the parameters.
        batch_size: examples an update, over all devices.
        accumulation_steps: number of microbatches of a batch that are computed in turn, to save memory.
        parallel_microbatches: number of microbatches of each of these that are computed in parallel, to keep the cores
            of a CPU busy with a small network; accumulation_steps x parallel_microbatches divides batch_size.
        seed: of all randomness.
        optimizer: how parameters are updated.
        ema: the averages of the parameters that samples are drawn with.
        checkpoint: when the run is saved.
        log: logs in the run's folder.
        max_skipped: steps whose loss or gradient is not finite are skipped; training fails after this many in a row.
    """

    steps: int = Field(default=2000, gt=0, lt=2**31)
    batch_size: PositiveInt = 64
    accumulation_steps: PositiveInt = 1
    parallel_microbatches: PositiveInt = 1
    seed: int = Field(default=0, ge=0, lt=2**32)
    optimizer: OptimizerConfig = OptimizerConfig()
    ema: Annotated[EMAConfig, kinds("constant")] = Constant()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    max_skipped: PositiveInt = 10

    @model_validator(mode="after")
    def _divides(self) -> "TrainingConfig":
        if self.batch_size % (self.accumulation_steps * self.parallel_microbatches):
            raise ValueError(
                f"accumulation_steps x parallel_microbatches must divide batch_size = {self.batch_size}, "
                f"got {self.accumulation_steps} x {self.parallel_microbatches}"
            )
        return self


class RunConfig(TrainingConfig, TaskConfig):
    """The configuration of a run; see ``TaskConfig`` and ``TrainingConfig``.

    Attributes:
        preview: pictures of samples during training; null draws none.
        mesh: how devices share the work; up to rounding it does not change what is learned.
        memory: check refuses, before any parameter exists, a network that can't be trained in the available memory;
            ignore tries.
    """

    preview: PreviewConfig | None = None
    mesh: MeshConfig = MeshConfig()
    memory: Literal["check", "ignore"] = "check"

    def with_absolute_paths(self) -> "RunConfig":
        """Make the paths of the data independent of the working directory."""
        paths = {name: value.absolute() for name, value in self.data if isinstance(value, Path)}
        return self.model_copy(update={"data": self.data.model_copy(update=paths)}) if paths else self
