r"""The KL autoencoder of latent diffusion: images to a Gaussian over smaller latents, and back.

$$q(z \mid x) = \mathcal N(z;\ \mu(x), e^{\ell(x)}),\qquad \hat x = \text{decode}(z)$$

References: Rombach et al. 2021, https://arxiv.org/abs/2112.10752
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import check_kinds, check_sample_size
from artifex.backbones.blocks import Conv, GroupNorm, Image, OtherImage
from artifex.backbones.residual import AttentionBlock, ResBlock
from artifex.backbones.tiled import tiled
from artifex.backbones.trunk import Level, Stage, check_halves
from artifex.kernels.ranges import check_positive

Latent = Float[Array, "b y x z"]


@dataclass(frozen=True)
class AutoencoderKLConfig:
    """The shape of an `AutoencoderKL`; a latent is ``factor`` times smaller than its image on each side.

    Attributes:
        in_channels: Channels of an image.
        latent_channels: Channels of a latent.
        channels: Channels of each level, the first at full resolution; each level but the first halves it.
        num_res_blocks: Residual blocks a level in the encoder; the decoder has one more.
        groups: Groups of the group norms; divides the channels of every level.
        middle_attention: Attention between the two residual blocks at the lowest resolution.
        quant_conv: A last 1x1 convolution on the encoder's side.
        post_quant_conv: A first 1x1 convolution on the decoder's side.
        scaling_factor: A diffusion model's latents are ``(z - shift_factor) * scaling_factor``. Neither `encode` nor
            `decode` applies it.
        shift_factor: See ``scaling_factor``.
        latents_mean: Of each channel, where a diffusion model's latents are ``(z - mean) / std * scaling_factor``.
        latents_std: See ``latents_mean``; positive.
        force_upcast: A note to PyTorch, which then decodes in float32; without effect here.
        sample_size: Height and width of the images in training, or one number for both; a note to whoever samples, no
            bound.
        remat: Recompute every block in the backward pass rather than keep what is inside it.
        dtype: What is computed in.
        param_dtype: What parameters are kept in.

    Raises:
        ValueError: If a field is out of its range.
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
        check_kinds(self)
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
                raise ValueError(f"{name} must be None or {self.latent_channels} numbers, one a channel, got {values}")
        if self.latents_std is not None:
            check_positive("latents_std", np.asarray(self.latents_std))
        check_positive("scaling_factor", self.scaling_factor)
        check_sample_size(self.sample_size)

    @property
    def factor(self) -> int:
        """How many times smaller a latent is than its image, on each side."""
        return 1 << (len(self.channels) - 1)

    @classmethod
    def f4(cls) -> "AutoencoderKLConfig":
        """Latent diffusion's KL-f4: 3 latent channels, 55.3M parameters."""
        return cls(latent_channels=3, channels=(128, 256, 512))

    @classmethod
    def f8(cls) -> "AutoencoderKLConfig":
        """Stable Diffusion's, 83.7M parameters; SDXL's has ``scaling_factor=0.13025``."""
        return cls()

    @classmethod
    def sd3(cls) -> "AutoencoderKLConfig":
        """Stable Diffusion 3's: 16 latent channels, 83.8M parameters."""
        return cls(
            latent_channels=16, quant_conv=False, post_quant_conv=False, scaling_factor=1.5305, shift_factor=0.0609
        )


class _Builder:
    """Makes the parts that encoder and decoder share."""

    def __init__(self, config: AutoencoderKLConfig, rngs: nnx.Rngs) -> None:
        self.config, self.rngs = config, rngs

    def conv(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: tuple[int, int] | None = None,
    ) -> Conv:
        dtype, param_dtype = self.config.dtype, self.config.param_dtype
        return Conv(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=self.rngs,
        )

    def norm(self, channels: int) -> GroupNorm:
        config = self.config
        return GroupNorm(channels, config.groups, dtype=config.dtype, param_dtype=config.param_dtype)

    def res(self, in_channels: int, out_channels: int) -> ResBlock:
        config = self.config
        return ResBlock(
            in_channels,
            out_channels,
            None,
            groups=config.groups,
            dtype=config.dtype,
            param_dtype=config.param_dtype,
            rngs=self.rngs,
        )

    def middle(self) -> list[Stage]:
        config, width = self.config, self.config.channels[-1]
        attention = AttentionBlock(
            width, 1, groups=config.groups, dtype=config.dtype, param_dtype=config.param_dtype, rngs=self.rngs
        )
        return [
            Stage(self.res(width, width), attention if config.middle_attention else None),
            Stage(self.res(width, width)),
        ]


def _run(stage: Stage, x: Image) -> OtherImage:
    return stage(x)


class Encoder(nnx.Module):
    """Down to the lowest resolution and to mean and log-variance side by side."""

    def __init__(self, config: AutoencoderKLConfig, *, rngs: nnx.Rngs) -> None:
        make = _Builder(config, rngs)
        self.stem = make.conv(config.in_channels, config.channels[0])
        down, width, last = [], config.channels[0], len(config.channels) - 1
        for level, channels in enumerate(config.channels):
            blocks = []
            for _ in range(config.num_res_blocks):
                blocks.append(Stage(make.res(width, channels)))
                width = channels
            down.append(Level(blocks, make.conv(width, width, stride=2, padding=(0, 1)) if level < last else None))
        self.down, self.middle = nnx.List(down), nnx.List(make.middle())
        self.norm, self.out = make.norm(width), make.conv(width, 2 * config.latent_channels)
        self.remat = config.remat

    def __call__(self, x: Image) -> OtherImage:
        """Encode images."""
        run = nnx.remat(_run) if self.remat else _run
        h = self.stem(x)
        for level in self.down:
            for stage in level.blocks:
                h = run(stage, h)
            h = level.resample(h) if isinstance(level.resample, Conv) else h
        for stage in self.middle:
            h = run(stage, h)
        return self.out(self.norm(h, silu=True))


class Decoder(nnx.Module):
    """Up from a latent to an image."""

    def __init__(self, config: AutoencoderKLConfig, *, rngs: nnx.Rngs) -> None:
        make = _Builder(config, rngs)
        width = config.channels[-1]
        self.stem, self.middle = make.conv(config.latent_channels, width), nnx.List(make.middle())
        up = []
        for level, channels in reversed(list(enumerate(config.channels))):
            blocks = []
            for _ in range(config.num_res_blocks + 1):
                blocks.append(Stage(make.res(width, channels)))
                width = channels
            up.append(Level(blocks, make.conv(width, width) if level else None))
        self.up = nnx.List(up)
        self.norm, self.out = make.norm(width), make.conv(width, config.in_channels)
        self.remat = config.remat

    def __call__(self, z: Image) -> OtherImage:
        """Decode latents."""
        run = nnx.remat(_run) if self.remat else _run
        h = self.stem(z)
        for stage in self.middle:
            h = run(stage, h)
        for level in self.up:
            for stage in level.blocks:
                h = run(stage, h)
            h = level.resample.after_upsample(h) if isinstance(level.resample, Conv) else h
        return self.out(self.norm(h, silu=True))


class AutoencoderKL(nnx.Module):
    """Convolutional encoder and decoder with attention at the lowest resolution.

    References: Rombach et al. 2021, https://arxiv.org/abs/2112.10752
    """

    def __init__(self, config: AutoencoderKLConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        make, latent = _Builder(config, rngs), config.latent_channels
        self.encoder, self.decoder = Encoder(config, rngs=rngs), Decoder(config, rngs=rngs)
        self.quant_conv = make.conv(2 * latent, 2 * latent, 1) if config.quant_conv else None
        self.post_quant_conv = make.conv(latent, latent, 1) if config.post_quant_conv else None

    def encode(self, x: Image) -> tuple[Latent, Latent]:
        """The posterior of the latent, unscaled.

        Args:
            x: Images, ``(batch, height, width, in_channels)``, both sizes at least ``factor``; a size that
                ``factor`` does not divide is rounded down.

        Returns:
            Mean and log-variance, each ``(batch, height // factor, width // factor, latent_channels)`` in the dtype of
            ``x``; the log-variance is kept in [-30, 20].

        Raises:
            ValueError: If ``x`` has another shape.
        """
        config = self.config
        if x.ndim != 4 or x.shape[-1] != config.in_channels:
            raise ValueError(f"x must have shape (batch, height, width, {config.in_channels}), got {x.shape}")
        if min(x.shape[1:3]) < config.factor:
            raise ValueError(f"height and width must be at least {config.factor}, got {x.shape[1]} and {x.shape[2]}")
        h = self.encoder(x)
        h = h if self.quant_conv is None else self.quant_conv(h)
        mean, logvar = jnp.split(h.astype(x.dtype), 2, axis=-1)
        return mean, jnp.clip(logvar, -30.0, 20.0)

    def encode_tiled(self, x: Image, *, tile: int = 512, overlap: int = 128) -> tuple[Latent, Latent]:
        """`encode` by tiles: memory follows the tile rather than the image, and the result is a little different.

        Args:
            x: As `encode`, both sizes divisible by ``factor``.
            tile: Height and width of a tile, a multiple of ``factor``.
            overlap: How far tiles reach into each other, a multiple of ``factor`` below ``tile``.

        Raises:
            ValueError: As `encode` and `tiled`.
        """
        check_halves(x, len(self.config.channels))
        found = tiled(lambda part: jnp.concatenate(self.encode(part), axis=-1), x, tile=tile, overlap=overlap)
        mean, logvar = jnp.split(found, 2, axis=-1)
        return mean, logvar

    def decode_tiled(self, z: Latent, *, tile: int = 64, overlap: int = 16) -> Image:
        """`decode` by tiles of latents; see `encode_tiled`."""
        return tiled(self.decode, z, tile=tile, overlap=overlap)

    def decode(self, z: Latent) -> Image:
        """The image of a latent.

        Args:
            z: Unscaled latents, ``(batch, height, width, latent_channels)``.

        Returns:
            Images, ``(batch, factor * height, factor * width, in_channels)`` in the dtype of ``z``.

        Raises:
            ValueError: If ``z`` has another shape.
        """
        if z.ndim != 4 or z.shape[-1] != self.config.latent_channels:
            raise ValueError(f"z must have shape (batch, height, width, {self.config.latent_channels}), got {z.shape}")
        h = z if self.post_quant_conv is None else self.post_quant_conv(z)
        return self.decoder(h).astype(z.dtype)
