"""The U-Net of DDPM and its improved forms."""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import Label, Time, X, check_input, check_kinds, check_sample_size, resolve_labels
from artifex.backbones.embeddings import TimeEmbedding
from artifex.backbones.residual import AttentionBlock
from artifex.backbones.trunk import Trunk, check_halves
from artifex.kernels.ranges import check_positive


@dataclass(frozen=True)
class UNetConfig:
    """The shape of a `UNet`.

    Attributes:
        in_channels: Channels of ``x``.
        base_channels: Channels at full resolution, before ``channel_mults``.
        channel_mults: Channels of each level as multiples of ``base_channels``; each level halves the resolution.
        num_res_blocks: Residual blocks a level on the way down; one more on the way up.
        attention_levels: Levels (0 is full resolution) with attention after each block.
        middle_attention: Attention between the two blocks of the middle.
        head_dim: Channels of an attention head; None is one head.
        groups: Groups of the group norms; divides the channels of every level.
        scale_shift: Time and label scale and shift the second norm of a block (improved DDPM); else they are added.
        epsilon: What the norms add to a variance.
        resample: ``"conv"`` is a strided convolution down and a convolution after the nearest neighbour up,
            ``"pool"`` the bare average and nearest neighbour, ``"block"`` these within a residual block (ADM).
        pad: Where the strided convolutions pad: on ``"both"`` sides, or one place ``"after"`` (DDPM).
        cosine_first: Time's cosines come before its sines; see `timestep_embedding`.
        freq_shift: See `timestep_embedding`.
        learn_sigma: Doubles the output channels: prediction first, variance second.
        dropout: Rate between the second norm and the second convolution of a block, in ``[0, 1)``.
        num_classes: Number of labels, or None for no condition.
        null_class: There is one more label, ``num_classes``, for "no class"; without it, labels must be given (ADM).
        sample_size: Height and width of the images in training, or one number for both; a note to whoever samples, no
            bound.
        remat: Recompute every block in the backward pass rather than keep what is inside it.
        dtype: What is computed in.
        param_dtype: What parameters are kept in.

    Raises:
        ValueError: If a field is out of its range.
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
        check_kinds(self)
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
        """A small one for 8x8x1 images, 0.66M parameters."""
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
    """Down through the levels, a middle, and up again, each block up seeing its mirror image from the way down.

    Its output is exactly 0 before training.

    References:
        Ho et al. 2020, https://arxiv.org/abs/2006.11239; Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672
    """

    def __init__(self, config: UNetConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config

        def attend(level: int | None, channels: int) -> AttentionBlock | None:
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
        self.trunk = Trunk(config, attend, rngs=rngs)

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> Float[Array, "b *o"]:
        """Evaluate the network; see `Backbone`.

        Args:
            x: ``(batch, height, width, in_channels)``, both sizes divisible by 2 for every level but the first.
            t: ``(batch,)``.
            cond: ``(batch,)`` labels, or None.
            deterministic: False turns dropout on.

        Returns:
            ``(batch, height, width, out_channels)`` in the dtype of ``x``.

        Raises:
            ValueError: If ``x``, ``t`` or ``cond`` has another shape, or ``cond`` a label out of range.
        """
        config = self.config
        check_input(x, t, 4, config.in_channels)
        check_halves(x, len(config.channels))
        labels = resolve_labels(cond, config.num_classes, x.shape[0], null=config.null_class)
        emb = nnx.silu(self.embed(t, labels))
        return self.trunk(x, emb, deterministic=deterministic).astype(x.dtype)
