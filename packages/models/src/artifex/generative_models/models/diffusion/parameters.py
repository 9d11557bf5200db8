"""Typed parameters of the diffusion models, read from ``ModelConfig.parameters``."""

from difflib import get_close_matches
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from artifex.generative_models.core.configuration import ModelConfig
from artifex.schedules import VE, Discrete, Schedule, betas
from artifex.schedules.betas import BetaSchedule

SkipType = Literal["uniform", "quadratic"]
Sigma = Annotated[float, Field(ge=1e-12, le=1e12)]
Beta = Annotated[float, Field(gt=0, lt=1)]
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


class Parameters(BaseModel):
    """Parameters of every diffusion model.

    Attributes:
        noise_steps: number of noise levels, at least 1; timesteps are 0 ... ``noise_steps - 1``.
        num_classes: number of labels of a conditional network; None for an unconditional one. The label
            ``num_classes`` is the null label, for no class.
        class_dropout_prob: share of labels that training replaces by the null label, in [0, 1]; at 0 the null label of
            classifier-free guidance is never trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    noise_steps: PositiveInt = 1000
    num_classes: PositiveInt | None = None
    class_dropout_prob: Annotated[float, Field(ge=0, le=1)] = 0.1

    def schedule(self) -> Schedule:
        """Return the path from data to noise."""
        raise NotImplementedError


class DiffusionParameters(Parameters):
    r"""Parameters of ``DiffusionModel`` and ``DDPMModel``.

    Attributes:
        beta_start: the first beta, in (0, 1).
        beta_end: the last, in (0, 1), at least ``beta_start``.
        beta_schedule: name of a function of ``artifex.schedules.betas``; ``beta_start`` and ``beta_end`` apply to those
            that take a start and an end.
    """

    beta_start: Beta = 1e-4
    beta_end: Beta = 0.02
    beta_schedule: BetaSchedule = "linear"

    @model_validator(mode="after")
    def _rises(self) -> "DiffusionParameters":
        if self.beta_start > self.beta_end:
            raise ValueError(f"beta_start must be at most beta_end = {self.beta_end}, got {self.beta_start}")
        return self

    def schedule(self) -> Discrete:
        """Return the chain of betas."""
        if self.beta_schedule in betas.EXPLICIT:
            return Discrete(betas.TABLES[self.beta_schedule](self.noise_steps, self.beta_start, self.beta_end))
        return Discrete(betas.TABLES[self.beta_schedule](self.noise_steps))


class DDIMParameters(DiffusionParameters):
    """Parameters of ``DDIMModel``.

    Attributes:
        ddim_steps: network calls per sample, in [1, noise_steps].
        eta: factor of the standard deviation of fresh noise, in [0, 1].
        skip_type: spacing of the timesteps.
    """

    ddim_steps: PositiveInt = 50
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0
    skip_type: SkipType = "uniform"

    @model_validator(mode="after")
    def _fits(self) -> "DDIMParameters":
        if self.ddim_steps > self.noise_steps:
            raise ValueError(f"ddim_steps must be in [1, {self.noise_steps}], got {self.ddim_steps}")
        return self


class DiTParameters(DiffusionParameters):
    """Parameters of ``DiTModel``.

    Attributes:
        img_size: side of the images; if given, it must agree with ``input_dim``.
        patch_size: side of a patch, which divides the image's.
        hidden_size: width of a token, a multiple of 4 and of ``num_heads``.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: width of the hidden layer of a block's MLP as a multiple of ``hidden_size``.
        dropout_rate: dropout in the MLP, in [0, 1).
        learn_sigma: learn the variance of a step as well.
        cfg_scale: default scale of classifier-free guidance; 1 for none.
    """

    img_size: PositiveInt = 32
    patch_size: PositiveInt = 2
    hidden_size: PositiveInt = 512
    depth: PositiveInt = 12
    num_heads: PositiveInt = 8
    mlp_ratio: PositiveFloat = 4.0
    dropout_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    learn_sigma: bool = False
    cfg_scale: float = 1.0

    @model_validator(mode="after")
    def _conditional(self) -> "DiTParameters":
        if self.cfg_scale != 1 and self.num_classes is None:
            raise ValueError(f"cfg_scale must be 1 where num_classes is None, got {self.cfg_scale}")
        return self


class LatentParameters(DiffusionParameters):
    r"""Parameters of ``LDMModel``.

    Attributes:
        latent_dim: size of a flat latent, or channels of a spatial one.
        encoder_hidden_dims: widths of the encoder's layers, or of its levels, each at half the resolution of the last.
        decoder_hidden_dims: widths of the decoder's layers; for ``"vae"`` the encoder's in reverse.
        encoder_type: ``"simple"``, two MLPs around flat latents, or ``"vae"``, a convolutional KL autoencoder.
        decoder_type: equal to ``encoder_type``, if given.
        scale_factor: factor of the latents in the diffusion; positive, best the reciprocal of their standard deviation.
        kl_weight: weight of the autoencoder's KL term, at least 0.
    """

    latent_dim: PositiveInt = 8
    encoder_hidden_dims: Widths = (32, 64)
    decoder_hidden_dims: Widths = (64, 32)
    encoder_type: Literal["simple", "vae"] = "simple"
    decoder_type: Literal["simple", "vae"] = "simple"
    scale_factor: PositiveFloat = 0.18215
    kl_weight: Annotated[float, Field(ge=0)] = 1e-6

    @model_validator(mode="after")
    def _match(self) -> "LatentParameters":
        if "decoder_type" in self.model_fields_set and self.decoder_type != self.encoder_type:
            raise ValueError(f"decoder_type must be encoder_type, {self.encoder_type!r}, got {self.decoder_type!r}")
        mirrored = self.decoder_hidden_dims == self.encoder_hidden_dims[::-1]
        if self.encoder_type == "vae" and "decoder_hidden_dims" in self.model_fields_set and not mirrored:
            raise ValueError(
                f"decoder_hidden_dims must be {self.encoder_hidden_dims[::-1]} for 'vae', encoder_hidden_dims in "
                f"reverse, got {self.decoder_hidden_dims}"
            )
        return self


class ScoreParameters(Parameters):
    """Parameters of ``ScoreDiffusionModel``.

    Attributes:
        sigma_min: the least noise, in [1e-12, 1e12], where squares and ratios stay in the range of float32.
        sigma_max: the most noise, above ``sigma_min``, in the same range; large against the data, since sampling starts
            from pure noise.
        score_scaling: factor of the score in sampling, positive; no effect on training.
    """

    sigma_min: Sigma = 0.01
    sigma_max: Sigma = 1.0
    score_scaling: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _rises(self) -> "ScoreParameters":
        if not self.sigma_min < self.sigma_max:
            raise ValueError(f"sigma_max must be above sigma_min = {self.sigma_min}, got {self.sigma_max}")
        return self

    def schedule(self) -> VE:
        """Return the variance-exploding path."""
        return VE(self.sigma_min, self.sigma_max)


P = TypeVar("P", bound=Parameters)


def parse(kind: type[P], config: ModelConfig) -> P:
    """The parameters of ``config`` as ``kind``.

    Raises:
        ValueError: for an unknown key, naming the nearest known one.
        pydantic.ValidationError: for a value of the wrong type or out of range; a ``ValueError`` as well.
    """
    known = list(kind.model_fields)
    for key in config.parameters:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0)
            raise ValueError(f"unknown parameter {key!r} of {config.model_class}; the nearest known one is {near[0]!r}")
    return kind.model_validate(dict(config.parameters))
