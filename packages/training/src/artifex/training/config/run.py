"""Everything that a run is: data, network, loss, optimizer, averages, and where its results go."""

from typing import Annotated, Final, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from artifex.training.config.choices import (
    BackboneConfig,
    DiscreteSchedule,
    EdmSchedule,
    PredictionName,
    ScheduleConfig,
    TimesConfig,
    WeightConfig,
)
from artifex.training.config.optimizer import OptimiserConfig
from artifex.training.data import DataConfig
from artifex.training.dtypes import check_dtype
from artifex.training.ema import Constant, EmaConfig
from artifex.training.run.sampling import PreviewConfig
from artifex.training.section import Section, kinds
from artifex.training.sharding.mesh import MeshConfig

VERSION: Final = 1
"""Of the configuration's format."""


class PrecisionConfig(Section):
    """What is computed in; parameters, their average and the optimizer are float32 whatever it says.

    Attributes:
        compute: dtype inside the network, float32 or bfloat16. float16 would need its loss scaled, or small gradients
            vanish.
    """

    compute: Literal["float32", "bfloat16"] = "float32"

    @field_validator("compute", mode="before")
    @classmethod
    def _honoured(cls, value: object) -> object:
        if isinstance(value, str):
            check_dtype("compute", value)
        return value


class CheckpointConfig(Section):
    """When the run is saved; it also is at its end, and when it is stopped.

    Attributes:
        every: steps between checkpoints.
        keep: how many of the last are kept.
        keep_period: steps that are multiples of it are kept for ever; null keeps the last alone.
    """

    every: PositiveInt = 500
    keep: PositiveInt = 2
    keep_period: PositiveInt | None = None


class LogConfig(Section):
    """What is told of the run in its folder.

    Attributes:
        every: steps between lines of metrics.jsonl, and of plain progress where there is no terminal.
        tensorboard: whether TensorBoard's events are written too; needs artifex-training[tensorboard].
    """

    every: PositiveInt = 50
    tensorboard: bool = False


class TaskConfig(Section):
    """What is learned, and by what.

    Attributes:
        version: of this format.
        data: what to learn.
        workers: processes that read and decode it; 0 is best for what lies in memory.
        backbone: the network.
        schedule: the path from data to noise.
        prediction: what the network says.
        sigma_data: standard deviation of the data, for the prediction preconditioned and the weight edm.
        weight: how much an error counts by noise level; null is unit, or for the prediction score uniform.
        times: how training times are drawn; null is by schedule: steps, uniform, logit_normal or log_normal.
        class_dropout: share of labels hidden in training, for guidance without a classifier.
        precision: what is computed in.
    """

    version: Literal[1] = VERSION
    data: Annotated[DataConfig, kinds()]
    workers: int = Field(default=0, ge=0)
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
        if self.times is not None:
            _check_times(self.times, self.schedule)
        emptied = isinstance(self.schedule, DiscreteSchedule) and self.schedule.zero_terminal_snr
        if emptied and self.prediction in ("epsilon", "score"):
            raise ValueError(
                f"prediction must not be {self.prediction!r} with schedule.zero_terminal_snr: where nothing of the "
                "data is left, the noise says nothing of it; velocity does"
            )
        return self


class TrainingConfig(Section):
    """How any network is trained on any data.

    Attributes:
        steps: updates of the parameters.
        batch_size: examples an update, over all devices.
        accumulate: parts that a batch is worked through in, one after the other, to save memory.
        parallel_microbatches: parts of each of these that are computed side by side, to keep the cores of a CPU busy
            with a small network; accumulate x parallel_microbatches divides batch_size.
        seed: of everything random.
        optimizer: how parameters are updated.
        ema: the averages that samples are drawn with.
        checkpoint: when the run is saved.
        log: what is told of the run.
        max_skipped: training ends with an error after so many steps in a row whose loss or gradient is not finite;
            each of them is skipped.
    """

    steps: int = Field(default=2000, gt=0, lt=2**31)
    batch_size: PositiveInt = 64
    accumulate: PositiveInt = 1
    parallel_microbatches: PositiveInt = 1
    seed: int = Field(default=0, ge=0, lt=2**32)
    optimizer: OptimiserConfig = OptimiserConfig()
    ema: Annotated[EmaConfig, kinds("constant")] = Constant()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    max_skipped: PositiveInt = 10

    @model_validator(mode="after")
    def _parts(self) -> "TrainingConfig":
        if self.batch_size % (self.accumulate * self.parallel_microbatches):
            raise ValueError(
                f"accumulate x parallel_microbatches must divide batch_size = {self.batch_size}, "
                f"got {self.accumulate} x {self.parallel_microbatches}"
            )
        return self


class RunConfig(TrainingConfig, TaskConfig):
    """Everything that a run is; see ``TaskConfig`` and ``TrainingConfig``.

    Attributes:
        preview: pictures of samples while training goes on; null draws none.
        mesh: how devices share the work; up to rounding it does not change what is learned.
        memory: check refuses, before anything is made, a network that can't be trained in the memory that there is;
            ignore tries.
    """

    preview: PreviewConfig | None = None
    mesh: MeshConfig = MeshConfig()
    memory: Literal["check", "ignore"] = "check"


def _check_times(times: TimesConfig, schedule: ScheduleConfig) -> None:
    """Raise a ValueError if times of this kind are none of this schedule's."""
    allowed = {
        DiscreteSchedule: ("steps", "uniform"),
        EdmSchedule: ("log_normal", "uniform"),
    }.get(type(schedule), ("uniform", "logit_normal"))
    if times.kind not in allowed:
        raise ValueError(
            f"times.kind must be {' or '.join(allowed)} for the schedule {schedule.kind}, got {times.kind!r}"
        )
    if times.kind == "uniform":
        low, high = {DiscreteSchedule: (-1, getattr(schedule, "steps", 0) - 1), EdmSchedule: (0, float("inf"))}.get(
            type(schedule), (0, 1)
        )
        if not low <= times.low < times.high <= high:
            raise ValueError(
                f"times.low and times.high must be in [{low}, {high}] for the schedule {schedule.kind}, "
                f"got {times.low} and {times.high}"
            )
