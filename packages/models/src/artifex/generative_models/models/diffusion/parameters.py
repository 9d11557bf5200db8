"""Typed parameters of the diffusion models, read from ``ModelConfig.parameters``."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from artifex.generative_models.core.configuration import ModelConfig
from artifex.schedules import VE, Discrete, HostArray, Schedule, betas

BetaSchedule = Literal[
    "linear", "scaled_linear", "cosine", "sigmoid", "geometric", "exponential", "sigmoid_alpha_bar", "laplace"
]
SkipType = Literal["uniform", "quadratic"]
Sigma = Annotated[float, Field(ge=1e-12, le=1e12)]
Beta = Annotated[float, Field(gt=0, lt=1)]
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


class Parameters(BaseModel):
    """What every diffusion model has.

    Attributes:
        noise_steps: number of noise levels, at least 1; timesteps are 0 ... ``noise_steps - 1``.
        num_classes: number of labels that the network is conditioned on; None for none. The network knows one more, the
            null label ``num_classes``, for no class.
        class_dropout_prob: share of labels that training replaces by the null label, in [0, 1]; without it
            classifier-free guidance would difference_weights on a null label that was never trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    noise_steps: PositiveInt = 1000
    num_classes: PositiveInt | None = None
    class_dropout_prob: Annotated[float, Field(ge=0, le=1)] = 0.1

    def schedule(self) -> Schedule:
        """The path from data to noise that these parameters describe."""
        raise NotImplementedError


class DiffusionParameters(Parameters):
    r"""Parameters of a chain, as ``DiffusionModel`` and ``DDPMModel`` have them.

    Attributes:
        beta_start: the first beta, in (0, 1).
        beta_end: the last, in (0, 1), at least ``beta_start``.
        beta_schedule: how the betas run, a function of ``artifex.schedules.betas``; only those with a start and an end
            read ``beta_start`` and ``beta_end``.
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
        """The chain."""
        return Discrete(_TABLES[self.beta_schedule](self))


_TABLES: Final[Mapping[BetaSchedule, Callable[[DiffusionParameters], HostArray]]] = {
    "linear": lambda p: betas.linear(p.noise_steps, p.beta_start, p.beta_end),
    "scaled_linear": lambda p: betas.scaled_linear(p.noise_steps, p.beta_start, p.beta_end),
    "cosine": lambda p: betas.cosine(p.noise_steps),
    "sigmoid": lambda p: betas.sigmoid(p.noise_steps, p.beta_start, p.beta_end),
    "geometric": lambda p: betas.geometric(p.noise_steps, p.beta_start, p.beta_end),
    "exponential": lambda p: betas.exponential(p.noise_steps),
    "sigmoid_alpha_bar": lambda p: betas.sigmoid_alpha_bar(p.noise_steps),
    "laplace": lambda p: betas.laplace(p.noise_steps),
}


class DDIMParameters(DiffusionParameters):
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


class DiTParameters(DiffusionParameters):
    """Parameters of ``DiTModel``.

    Attributes:
        img_size: side of the images; where it is given, ``input_dim`` must say the same.
        patch_size: side of a patch, which divides the image's.
        hidden_size: width of a token, a multiple of 4 and of ``num_heads``.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: width of the hidden layer of a block's MLP as a multiple of ``hidden_size``.
        dropout_rate: in the MLP, in [0, 1).
        learn_sigma: whether the network learns the variance of a step as well.
        cfg_scale: of classifier-free guidance where a call names none; 1 follows the labels as they are.
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
        latent_dim: numbers of a flat latent, or channels of a spatial one.
        encoder_hidden_dims: widths of the encoder's layers, or of its levels, each half the size of the one before.
        decoder_hidden_dims: widths of the decoder's layers; for ``"vae"`` the encoder's in reverse.
        encoder_type: ``"simple"``, two MLPs around flat latents, or ``"vae"``, a convolutional KL autoencoder.
        decoder_type: where it is given, the same.
        scale_factor: the diffusion runs on latents times this; positive, best one over their standard deviation.
        kl_weight: of the autoencoder's KL term, at least 0.
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
        sigma_max: the most, above ``sigma_min`` and likewise; large against the data, for samples begin as pure noise.
        score_scaling: multiplies the score that is sampled from, positive; the training does not see it.
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
        """The variance-exploding path."""
        return VE(self.sigma_min, self.sigma_max)


P = TypeVar("P", bound=Parameters)


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
