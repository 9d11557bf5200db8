r"""The KL autoencoder of latent diffusion.

$$q(z \mid x) = \mathcal N(z;\ \mu(x), e^{\ell(x)}),\qquad \hat x = \text{decode}(z)$$

References: Rombach et al. 2021, https://arxiv.org/abs/2112.10752
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.backbones.autoencoder_kl_config import AutoencoderKLConfig
from artifex.backbones.base import Image, OtherImage
from artifex.backbones.layers import Conv, GroupNorm
from artifex.backbones.tiled import tiled
from artifex.backbones.unet_blocks import AttentionBlock, ResBlock
from artifex.backbones.unet_core import Level, Stage, check_divisible

Latent = Float[Array, "b y x z"]


class _Builder:
    """Layers shared by encoder and decoder."""

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
    """Downsampling layers that end in mean and log-variance, concatenated."""

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
    """Upsampling layers from a latent to an image."""

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
    """A convolutional encoder and decoder with attention at the lowest resolution.

    References: Rombach et al. 2021, https://arxiv.org/abs/2112.10752
    """

    def __init__(self, config: AutoencoderKLConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        make, latent = _Builder(config, rngs), config.latent_channels
        self.encoder, self.decoder = Encoder(config, rngs=rngs), Decoder(config, rngs=rngs)
        self.quant_conv = make.conv(2 * latent, 2 * latent, 1) if config.quant_conv else None
        self.post_quant_conv = make.conv(latent, latent, 1) if config.post_quant_conv else None

    def encode(self, x: Image) -> tuple[Latent, Latent]:
        """Encode images to the posterior of their unscaled latents.

        Args:
            x: images, ``(batch, height, width, in_channels)``, both sizes at least ``factor``; sizes not divisible by
                ``factor`` are rounded down.

        Returns:
            Mean and log-variance, each ``(batch, height // factor, width // factor, latent_channels)`` in the dtype of
            ``x``; the log-variance is clipped to [-30, 20].

        Raises:
            ValueError: if ``x`` has the wrong shape.
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
        """``encode`` in tiles, with memory independent of the image's size and a slightly different result.

        Args:
            x: as ``encode``, both sizes divisible by ``factor``.
            tile: height and width of a tile, a multiple of ``factor``.
            overlap: overlap of neighboring tiles, a multiple of ``factor`` below ``tile``.

        Raises:
            ValueError: see ``encode`` and ``tiled``.
        """
        check_divisible(x, len(self.config.channels))
        encoded = tiled(lambda part: jnp.concatenate(self.encode(part), axis=-1), x, tile=tile, overlap=overlap)
        mean, logvar = jnp.split(encoded, 2, axis=-1)
        return mean, logvar

    def decode_tiled(self, z: Latent, *, tile: int = 64, overlap: int = 16) -> Image:
        """``decode`` in tiles of latents; see ``encode_tiled``."""
        return tiled(self.decode, z, tile=tile, overlap=overlap)

    def decode(self, z: Latent) -> Image:
        """Decode latents to images.

        Args:
            z: unscaled latents, ``(batch, height, width, latent_channels)``.

        Returns:
            Images, ``(batch, factor * height, factor * width, in_channels)`` in the dtype of ``z``.

        Raises:
            ValueError: if ``z`` has the wrong shape.
        """
        if z.ndim != 4 or z.shape[-1] != self.config.latent_channels:
            raise ValueError(f"z must have shape (batch, height, width, {self.config.latent_channels}), got {z.shape}")
        h = z if self.post_quant_conv is None else self.post_quant_conv(z)
        return self.decoder(h).astype(z.dtype)
