"""The U-Net of DDPM and its improved forms."""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import Label, Time, X, check_input, check_sample_size, check_types, resolve_labels
from artifex.backbones.embeddings import TimeEmbedding
from artifex.backbones.unet_blocks import AttentionBlock
from artifex.backbones.unet_core import UNetCore, check_divisible
from artifex.kernels.ranges import check_positive


@dataclass(frozen=True)
class UNetConfig:
    """Configuration of a ``UNet``.

    Attributes:
        in_channels: channels of ``x``.
        base_channels: channels at full resolution, before ``channel_mults``.
        channel_mults: channels of each level as multiples of ``base_channels``; each level halves the resolution.
        num_res_blocks: residual blocks per level on the way down; one more on the way up.
        attention_levels: levels with attention after each block; 0 is full resolution.
        middle_attention: whether there is attention between the two blocks of the middle.
        head_dim: channels of an attention head; None is one head.
        groups: groups of the group norms; must divide the channels of every level.
        scale_shift: whether the embedding of time and label scales and shifts the output of the second norm of a block
            (improved DDPM); otherwise it is added to the input of that norm.
        epsilon: added to the variance in the norms.
        resample: ``"conv"`` downsamples by a strided convolution and upsamples by nearest neighbor and a convolution;
            ``"pool"`` by average pooling and nearest neighbor; ``"block"`` as ``"pool"``, within a residual block
            (ADM).
        pad: whether the strided convolutions pad by 1 on ``"both"`` sides or only ``"after"`` (DDPM).
        cosine_first: see ``timestep_embedding``.
        freq_shift: see ``timestep_embedding``.
        learn_sigma: whether to double the output channels: prediction first, variance second.
        dropout: rate between the second norm and the second convolution of a block, in ``[0, 1)``.
        num_classes: number of labels, or None for no condition.
        null_class: whether there is a label ``num_classes`` for "no class"; otherwise labels are required (ADM).
        sample_size: height and width of the training images, or one number for both; only a hint for sampling.
        remat: recompute every block in the backward pass instead of keeping its intermediates.
        dtype: dtype of the computation.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: if a field is out of range.
    """

    in_channels: int = 3
    base_channels: int = 128
    channel_mults: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 2
    attention_levels: tuple[int, ...] = (1,)
    middle_attention: bool = True
    head_dim: int | None = 64
    groups: int = 32
    scale_shift: bool = True
    epsilon: float = 1e-6
    resample: Literal["conv", "pool", "block"] = "conv"
    pad: Literal["both", "after"] = "both"
    cosine_first: bool = False
    freq_shift: float = 1.0
    learn_sigma: bool = False
    dropout: float = 0.0
    num_classes: int | None = None
    null_class: bool = True
    sample_size: int | tuple[int, int] | None = None
    remat: bool = False
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("in_channels", "num_res_blocks", "groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.base_channels < 4 or self.base_channels % 2:
            raise ValueError(f"base_channels must be even and at least 4, got {self.base_channels}")
        if not self.freq_shift < self.base_channels / 2:
            raise ValueError(f"freq_shift must be below base_channels / 2, got {self.freq_shift}")
        for name in ("head_dim", "num_classes"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be None or at least 1, got {getattr(self, name)}")
        if not self.channel_mults or min(self.channel_mults) < 1:
            raise ValueError(f"channel_mults must be positive and not empty, got {self.channel_mults}")
        levels = len(self.channel_mults)
        if any(not 0 <= level < levels for level in self.attention_levels):
            raise ValueError(f"attention_levels must be in [0, {levels - 1}], got {self.attention_levels}")
        if self.resample not in ("conv", "pool", "block"):
            raise ValueError(f"resample must be 'conv', 'pool' or 'block', got {self.resample!r}")
        if self.pad not in ("both", "after"):
            raise ValueError(f"pad must be 'both' or 'after', got {self.pad!r}")
        check_positive("epsilon", self.epsilon)
        check_sample_size(self.sample_size)
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if any(channels % self.groups for channels in self.channels):
            raise ValueError(f"groups must divide the channels {self.channels} of every level, got {self.groups}")
        attending = {*self.attention_levels, *([levels - 1] if self.middle_attention else [])}
        if self.head_dim is not None and any(self.channels[level] % self.head_dim for level in attending):
            raise ValueError(
                f"head_dim must divide the channels {self.channels} where there is attention, got {self.head_dim}"
            )

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.base_channels * mult for mult in self.channel_mults)

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.in_channels * (2 if self.learn_sigma else 1)

    @classmethod
    def digits(cls, num_classes: int | None = 10) -> "UNetConfig":
        """A small network for 8x8x1 images, 0.66M parameters."""
        return cls(
            in_channels=1,
            base_channels=32,
            channel_mults=(1, 2),
            num_res_blocks=1,
            attention_levels=(),
            head_dim=32,
            groups=8,
            resample="pool",
            num_classes=num_classes,
        )

    @classmethod
    def ddpm_cifar10(cls) -> "UNetConfig":
        """DDPM's network for 32x32x3 CIFAR-10, 35.7M parameters."""
        return cls(head_dim=None, scale_shift=False, pad="after", dropout=0.1)

    @classmethod
    def adm_imagenet64(cls) -> "UNetConfig":
        """ADM's class-conditional network for 64x64x3 ImageNet, 296M parameters."""
        return cls._adm(192, (1, 2, 3, 4), 3, (1, 2, 3), dropout=0.1, num_classes=1000)

    @classmethod
    def adm_imagenet128(cls) -> "UNetConfig":
        """ADM's class-conditional network for 128x128x3 ImageNet, 422M parameters."""
        return cls._adm(256, (1, 1, 2, 3, 4), 2, (2, 3, 4), num_classes=1000)

    @classmethod
    def adm_imagenet256(cls, num_classes: int | None = 1000) -> "UNetConfig":
        """ADM's network for 256x256x3 ImageNet, 554M parameters with classes."""
        return cls._adm(256, (1, 1, 2, 2, 4, 4), 2, (3, 4, 5), num_classes=num_classes)

    @classmethod
    def _adm(
        cls,
        base_channels: int,
        channel_mults: tuple[int, ...],
        num_res_blocks: int,
        attention_levels: tuple[int, ...],
        *,
        num_classes: int | None,
        dropout: float = 0.0,
    ) -> "UNetConfig":
        return cls(
            base_channels=base_channels,
            channel_mults=channel_mults,
            num_res_blocks=num_res_blocks,
            attention_levels=attention_levels,
            epsilon=1e-5,
            resample="block",
            cosine_first=True,
            freq_shift=0.0,
            learn_sigma=True,
            dropout=dropout,
            num_classes=num_classes,
            null_class=False,
        )


class UNet(nnx.Module):
    """The U-Net of DDPM: residual blocks and attention at several resolutions, with skip connections.

    Its output is exactly 0 before training.

    References:
        Ho et al. 2020, https://arxiv.org/abs/2006.11239; Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672
    """

    def __init__(self, config: UNetConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config

        def attention_at(level: int | None, channels: int) -> AttentionBlock | None:
            if not (config.middle_attention if level is None else level in config.attention_levels):
                return None
            return AttentionBlock(
                channels,
                1 if config.head_dim is None else channels // config.head_dim,
                groups=config.groups,
                epsilon=config.epsilon,
                dtype=config.dtype,
                param_dtype=config.param_dtype,
                rngs=rngs,
            )

        self.embed = TimeEmbedding(
            config.base_channels,
            4 * config.base_channels,
            config.num_classes,
            null=config.null_class,
            cosine_first=config.cosine_first,
            freq_shift=config.freq_shift,
            dtype=config.dtype,
            param_dtype=config.param_dtype,
            rngs=rngs,
        )
        self.core = UNetCore(config, attention_at, rngs=rngs)

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> Float[Array, "b *o"]:
        """Evaluate the network; see ``Backbone``.

        Args:
            x: ``(batch, height, width, in_channels)``, both sizes divisible by 2 for every level but the first.
            t: ``(batch,)``.
            cond: ``(batch,)`` labels, or None.
            deterministic: whether dropout is off.

        Returns:
            ``(batch, height, width, out_channels)`` in the dtype of ``x``.

        Raises:
            ValueError: if ``x``, ``t`` or ``cond`` has the wrong shape, or a label is out of range.
        """
        config = self.config
        check_input(x, t, 4, config.in_channels)
        check_divisible(x, len(config.channels))
        labels = resolve_labels(cond, config.num_classes, x.shape[0], null=config.null_class)
        emb = nnx.silu(self.embed(t, labels))
        return self.core(x, emb, deterministic=deterministic).astype(x.dtype)
