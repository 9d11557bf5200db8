"""Configuration of the KL autoencoder."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from artifex.backbones.base import check_sample_size, check_types
from artifex.kernels.ranges import check_positive


@dataclass(frozen=True)
class AutoencoderKLConfig:
    """Configuration of an ``AutoencoderKL``; a latent is ``factor`` times smaller than its image on each side.

    Attributes:
        in_channels: channels of an image.
        latent_channels: channels of a latent.
        channels: channels of each level; the first is at full resolution, each further one at half the previous.
        num_res_blocks: residual blocks per level of the encoder; the decoder has one more.
        groups: groups of the group norms; must divide the channels of every level.
        middle_attention: whether there is attention between the two residual blocks at the lowest resolution.
        quant_conv: whether the encoder ends in a 1x1 convolution.
        post_quant_conv: whether the decoder begins with a 1x1 convolution.
        scaling_factor: a diffusion model's latents are ``(z - shift_factor) * scaling_factor``; ``encode`` and
            ``decode`` do not apply it.
        shift_factor: see ``scaling_factor``.
        latents_mean: mean per channel, for a diffusion model on ``(z - mean) / std * scaling_factor``.
        latents_std: standard deviation per channel, positive; see ``latents_mean``.
        force_upcast: a setting of PyTorch for decoding in float32; ignored here.
        sample_size: height and width of the training images, or one number for both; only a hint for sampling.
        remat: recompute every block in the backward pass instead of keeping its intermediates.
        dtype: dtype of the computation.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: if a field is out of range.
    """

    in_channels: int = 3
    latent_channels: int = 4
    channels: tuple[int, ...] = (128, 256, 512, 512)
    num_res_blocks: int = 2
    groups: int = 32
    middle_attention: bool = True
    quant_conv: bool = True
    post_quant_conv: bool = True
    scaling_factor: float = 0.18215
    shift_factor: float = 0.0
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None
    force_upcast: bool = True
    sample_size: int | tuple[int, int] | None = None
    remat: bool = False
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("in_channels", "latent_channels", "num_res_blocks", "groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels must be positive and not empty, got {self.channels}")
        if any(channels % self.groups for channels in self.channels):
            raise ValueError(f"groups must divide the channels {self.channels} of every level, got {self.groups}")
        for name in ("latents_mean", "latents_std"):
            values = getattr(self, name)
            if values is not None and len(values) != self.latent_channels:
                raise ValueError(f"{name} must be None or {self.latent_channels} numbers, got {values}")
        if self.latents_std is not None:
            check_positive("latents_std", np.asarray(self.latents_std))
        check_positive("scaling_factor", self.scaling_factor)
        check_sample_size(self.sample_size)

    @property
    def factor(self) -> int:
        """The ratio of the sizes of image and latent, on each side."""
        return 1 << (len(self.channels) - 1)

    @classmethod
    def f4(cls) -> "AutoencoderKLConfig":
        """Latent diffusion's KL-f4: 3 latent channels, 55.3M parameters."""
        return cls(latent_channels=3, channels=(128, 256, 512))

    @classmethod
    def f8(cls) -> "AutoencoderKLConfig":
        """Stable Diffusion's autoencoder, 83.7M parameters; SDXL's has ``scaling_factor=0.13025``."""
        return cls()

    @classmethod
    def sd3(cls) -> "AutoencoderKLConfig":
        """Stable Diffusion 3's autoencoder: 16 latent channels, 83.8M parameters."""
        return cls(
            latent_channels=16, quant_conv=False, post_quant_conv=False, scaling_factor=1.5305, shift_factor=0.0609
        )
