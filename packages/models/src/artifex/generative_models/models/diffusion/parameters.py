"""Typed parameters of the diffusion models, read from ``ModelConfig.parameters``."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from artifex.generative_models.core.configuration import ModelConfig
from artifex.schedules import Discrete, Host, betas

BetaSchedule = Literal["linear", "scaled_linear", "cosine", "sigmoid"]
SkipType = Literal["uniform", "quadratic"]
Beta = Annotated[float, Field(gt=0, lt=1)]


class DiffusionParameters(BaseModel):
    r"""The noise that every diffusion model adds.

    Attributes:
        noise_steps: length of the chain, at least 1.
        beta_start: the first beta, in (0, 1).
        beta_end: the last, in (0, 1), at least ``beta_start``.
        num_classes: number of labels that the default network is conditioned on; None for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise_steps: PositiveInt = 1000
    beta_start: Beta = 1e-4
    beta_end: Beta = 0.02
    num_classes: PositiveInt | None = None

    @model_validator(mode="after")
    def _rises(self) -> "DiffusionParameters":
        if self.beta_start > self.beta_end:
            raise ValueError(f"beta_start must be at most beta_end = {self.beta_end}, got {self.beta_start}")
        return self

    def schedule(self) -> Discrete:
        """The chain that these parameters describe."""
        return Discrete(betas.linear(self.noise_steps, self.beta_start, self.beta_end))


class DDPMParameters(DiffusionParameters):
    """Parameters of ``DDPMModel``.

    Attributes:
        beta_schedule: how the betas run; only those with a start and an end read ``beta_start`` and ``beta_end``.
    """

    beta_schedule: BetaSchedule = "linear"

    def schedule(self) -> Discrete:
        """The chain that these parameters describe."""
        return Discrete(_TABLES[self.beta_schedule](self))


_TABLES: Final[Mapping[BetaSchedule, Callable[[DiffusionParameters], Host]]] = {
    "linear": lambda p: betas.linear(p.noise_steps, p.beta_start, p.beta_end),
    "scaled_linear": lambda p: betas.scaled_linear(p.noise_steps, p.beta_start, p.beta_end),
    "cosine": lambda p: betas.cosine(p.noise_steps),
    "sigmoid": lambda p: betas.sigmoid(p.noise_steps, p.beta_start, p.beta_end),
}


class DDIMParameters(DDPMParameters):
    """Parameters of ``DDIMModel``.

    Attributes:
        ddim_steps: network calls of a sample, in [1, noise_steps].
        eta: scales the standard deviation of fresh noise, in [0, 1].
        skip_type: how the kept steps are spaced.
    """

    ddim_steps: PositiveInt = 50
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0
    skip_type: SkipType = "uniform"

    @model_validator(mode="after")
    def _fits(self) -> "DDIMParameters":
        if self.ddim_steps > self.noise_steps:
            raise ValueError(f"ddim_steps must be in [1, {self.noise_steps}], got {self.ddim_steps}")
        return self


P = TypeVar("P", bound=DiffusionParameters)


def parse(kind: type[P], config: ModelConfig) -> P:
    """The parameters of ``config`` as ``kind``.

    Raises:
        ValueError: for a key that ``kind`` does not know, naming the nearest that it does; a
            ``pydantic.ValidationError``, which is one, for a value of the wrong type or out of its range.
    """
    known = list(kind.model_fields)
    for key in config.parameters:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0)
            raise ValueError(f"unknown parameter {key!r} of {config.model_class}; the nearest known one is {near[0]!r}")
    return kind.model_validate(dict(config.parameters))
