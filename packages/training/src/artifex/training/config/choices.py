"""What a run's configuration can name of schedules, predictions, weights, times and networks.

Here are names and ranges; ``build`` makes the objects that they stand for.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from artifex.schedules.betas import BetaSchedule
from artifex.training.section import Section, kinds

Beta = Annotated[float, Field(gt=0, lt=1)]
PredictionName = Literal["epsilon", "x0", "v", "score", "flow_velocity", "edm"]


class DiscreteSchedule(Section):
    """DDPM's chain.

    Attributes:
        betas: the table, a function of artifex.schedules.betas.
        steps: steps of the chain.
        start: the first beta of linear, scaled_linear, sigmoid and geometric; null is the table's own.
        end: their last.
        zero_terminal_snr: the table is rescaled so that nothing of the data is left at its end.
        shift: more noise at every time: sigma / alpha is this many times as large.
    """

    kind: Literal["discrete"] = "discrete"
    betas: BetaSchedule = "cosine"
    steps: PositiveInt = 1000
    start: Beta | None = None
    end: Beta | None = None
    zero_terminal_snr: bool = False
    shift: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _ends(self) -> "DiscreteSchedule":
        given = [name for name in ("start", "end") if getattr(self, name) is not None]
        if given and self.betas not in ("linear", "scaled_linear", "sigmoid", "geometric"):
            raise ValueError(f"{given[0]} must be null for betas {self.betas!r}, which has no ends to choose")
        return self


class VpSchedule(Section):
    """The variance-preserving path of a linear beta(t).

    Attributes:
        beta_min: beta(0).
        beta_max: beta(1).
        shift: more noise at every time: sigma / alpha is this many times as large.
    """

    kind: Literal["vp"] = "vp"
    beta_min: PositiveFloat = 0.1
    beta_max: PositiveFloat = 20.0
    shift: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _rises(self) -> "VpSchedule":
        _check_rises("beta", self.beta_min, self.beta_max)
        return self


class SubVpSchedule(Section):
    """The path below it, whose variance is lowest in the middle.

    Attributes:
        beta_min: beta(0).
        beta_max: beta(1).
        shift: more noise at every time: sigma / alpha is this many times as large.
    """

    kind: Literal["sub_vp"] = "sub_vp"
    beta_min: PositiveFloat = 0.1
    beta_max: PositiveFloat = 20.0
    shift: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _rises(self) -> "SubVpSchedule":
        _check_rises("beta", self.beta_min, self.beta_max)
        return self


class CosineVpSchedule(Section):
    """The cosine path in continuous time.

    Attributes:
        logsnr_min: log-SNR at t = 1; null is minus infinity.
        logsnr_max: log-SNR at t = 0; null is infinity.
        shift: more noise at every time: sigma / alpha is this many times as large.
    """

    kind: Literal["cosine_vp"] = "cosine_vp"
    logsnr_min: float | None = None
    logsnr_max: float | None = None
    shift: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _falls(self) -> "CosineVpSchedule":
        if None not in (self.logsnr_min, self.logsnr_max):
            _check_rises("logsnr", self.logsnr_min, self.logsnr_max)
        return self


class VeSchedule(Section):
    """The data as it is, and noise that grows geometrically.

    Attributes:
        sigma_min: noise at t = 0.
        sigma_max: noise at t = 1; large against the data.
    """

    kind: Literal["ve"] = "ve"
    sigma_min: PositiveFloat = 0.01
    sigma_max: PositiveFloat = 50.0

    @model_validator(mode="after")
    def _rises(self) -> "VeSchedule":
        _check_rises("sigma", self.sigma_min, self.sigma_max)
        return self


class EdmSchedule(Section):
    """EDM's path, whose time is the noise itself.

    Attributes:
        sigma_min: the least noise that samples are drawn through.
        sigma_max: the most, at which they begin.
    """

    kind: Literal["edm"] = "edm"
    sigma_min: PositiveFloat = 0.002
    sigma_max: PositiveFloat = 80.0

    @model_validator(mode="after")
    def _rises(self) -> "EdmSchedule":
        _check_rises("sigma", self.sigma_min, self.sigma_max)
        return self


class RectifiedFlowSchedule(Section):
    """The straight path from data to noise.

    Attributes:
        shift: more noise at every time: sigma / alpha is this many times as large.
    """

    kind: Literal["rectified_flow"] = "rectified_flow"
    shift: PositiveFloat = 1.0


ScheduleConfig = Annotated[
    DiscreteSchedule | VpSchedule | SubVpSchedule | CosineVpSchedule | VeSchedule | EdmSchedule | RectifiedFlowSchedule,
    Field(discriminator="kind"),
    kinds("discrete"),
]


class UnitWeight(Section):
    """Weight 1 on the squared error of what the network says, whatever that is."""

    kind: Literal["unit"] = "unit"


class UniformWeight(Section):
    """Weight 1 on the squared error of one kind of output, whatever the network predicts.

    Attributes:
        of: the kind of output.
    """

    kind: Literal["uniform"] = "uniform"
    of: PredictionName = "epsilon"


class MinSnrWeight(Section):
    """min(SNR, gamma) on the squared error of x0.

    Attributes:
        gamma: the largest weight.
    """

    kind: Literal["min_snr"] = "min_snr"
    gamma: PositiveFloat = 5.0


class SoftMinSnrWeight(Section):
    """The same without its corner.

    Attributes:
        gamma: the weight that is approached.
    """

    kind: Literal["soft_min_snr"] = "soft_min_snr"
    gamma: PositiveFloat = 5.0


class TruncatedSnrWeight(Section):
    """max(SNR, 1) on the squared error of x0."""

    kind: Literal["truncated_snr"] = "truncated_snr"


class P2Weight(Section):
    """SNR / (k + SNR)^gamma on the squared error of x0.

    Attributes:
        k: where the weight bends.
        gamma: how much fine detail is left out.
    """

    kind: Literal["p2"] = "p2"
    k: PositiveFloat = 1.0
    gamma: float = Field(default=1.0, ge=0)


class EdmWeight(Section):
    """EDM's weight, 1 on the error of a preconditioned network."""

    kind: Literal["edm"] = "edm"


class SigmoidWeight(Section):
    """A sigmoid of the log-SNR on the squared error of epsilon.

    Attributes:
        bias: the log-SNR at which it is one half.
    """

    kind: Literal["sigmoid"] = "sigmoid"
    bias: float = 0.0


WeightConfig = Annotated[
    UnitWeight
    | UniformWeight
    | MinSnrWeight
    | SoftMinSnrWeight
    | TruncatedSnrWeight
    | P2Weight
    | EdmWeight
    | SigmoidWeight,
    Field(discriminator="kind"),
    kinds(),
]


class StepTimes(Section):
    """Every step of a discrete chain is equally likely.

    Attributes:
        low_discrepancy: a batch's times are spread evenly.
    """

    kind: Literal["steps"] = "steps"
    low_discrepancy: bool = True


class UniformTimes(Section):
    """Every time in an interval is equally likely.

    Attributes:
        low: the first time, in the schedule's unit.
        high: the last.
        low_discrepancy: a batch's times are spread evenly.
    """

    kind: Literal["uniform"] = "uniform"
    low: float = 0.0
    high: float = 1.0
    low_discrepancy: bool = True

    @model_validator(mode="after")
    def _rises(self) -> "UniformTimes":
        if not self.low < self.high:
            raise ValueError(f"low must be below high = {self.high}, got {self.low}")
        return self


class LogitNormalTimes(Section):
    """Times in (0, 1), most of them in the middle.

    Attributes:
        mean: above 0 for more noise.
        std: of logit(t).
        low_discrepancy: a batch's times are spread evenly.
    """

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = 0.0
    std: PositiveFloat = 1.0
    low_discrepancy: bool = True


class LogNormalTimes(Section):
    """For the schedule edm, whose time is sigma.

    Attributes:
        mean: of log(sigma).
        std: of log(sigma).
        low_discrepancy: a batch's times are spread evenly.
    """

    kind: Literal["log_normal"] = "log_normal"
    mean: float = -1.2
    std: PositiveFloat = 1.2
    low_discrepancy: bool = True


TimesConfig = Annotated[
    StepTimes | UniformTimes | LogitNormalTimes | LogNormalTimes, Field(discriminator="kind"), kinds()
]  # fmt: skip


class BackboneConfig(Section):
    """The network.

    Further fields are those of the network's own config (``UNetConfig`` and so on) and override the preset. What the
    data decides, channels, size and number of classes, is the data's unless it is given here.

    Attributes:
        kind: unet, dit, mmdit, uvit, edm2 or mlp.
        preset: a published size: digits, ddpm_cifar10, s_2, xl_2 ...; null is a size by that of the data.
    """

    model_config = ConfigDict(extra="allow")

    kind: Literal["unet", "dit", "mmdit", "uvit", "edm2", "mlp"]
    preset: str | None = None

    @model_validator(mode="after")
    def _known(self) -> "BackboneConfig":
        from artifex.training.config.networks import check_fields

        check_fields(self.kind, self.preset, self.fields)
        return self

    @property
    def fields(self) -> dict[str, object]:
        """What is given beside kind and preset."""
        return dict(self.model_extra or {})


def _check_rises(name: str, low: float | None, high: float | None) -> None:
    assert low is not None
    assert high is not None
    if not low < high:
        raise ValueError(f"{name}_min must be below {name}_max = {high}, got {low}")
