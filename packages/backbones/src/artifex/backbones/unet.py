"""The U-Net of DDPM and its improved forms."""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import Label, Time, X, check_input, resolve_labels
from artifex.backbones.blocks import Conv, GroupNorm, Image, OtherImage
from artifex.backbones.embeddings import TimeEmbedding
from artifex.backbones.residual import AttentionBlock, Condition, ResBlock, Stage, double, halve


@dataclass(frozen=True)
class UNetConfig:
    """The shape of a `UNet`.

    Attributes:
        in_channels: Channels of ``x``.
        base_channels: Channels at full resolution, before ``channel_mults``.
        channel_mults: Channels of each level as multiples of ``base_channels``; each level halves the resolution.
        num_res_blocks: Residual blocks a level on the way down; one more on the way up.
        attention_levels: Levels (0 is full resolution) with attention after each block; the middle always has it.
        head_dim: Channels of an attention head; None is one head.
        groups: Groups of the group norms; divides the channels of every level.
        scale_shift: Time and label scale and shift the second norm of a block (improved DDPM); else they are added.
        resample: ``"conv"`` is a strided convolution down and a convolution after the nearest neighbour up,
            ``"pool"`` the bare average and nearest neighbour.
        learn_sigma: Doubles the output channels: prediction first, variance second.
        dropout: Rate between the second norm and the second convolution of a block, in ``[0, 1)``.
        num_classes: Number of labels, or None for no condition.
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
    head_dim: int | None = 64
    groups: int = 32
    scale_shift: bool = True
    resample: Literal["conv", "pool"] = "conv"
    learn_sigma: bool = False
    dropout: float = 0.0
    num_classes: int | None = None
    remat: bool = False
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        for name in ("in_channels", "num_res_blocks", "groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.base_channels < 4 or self.base_channels % 2:
            raise ValueError(f"base_channels must be even and at least 4, got {self.base_channels}")
        for name in ("head_dim", "num_classes"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be None or at least 1, got {getattr(self, name)}")
        if not self.channel_mults or min(self.channel_mults) < 1:
            raise ValueError(f"channel_mults must be positive and not empty, got {self.channel_mults}")
        levels = len(self.channel_mults)
        if any(not 0 <= level < levels for level in self.attention_levels):
            raise ValueError(f"attention_levels must be in [0, {levels - 1}], got {self.attention_levels}")
        if self.resample not in ("conv", "pool"):
            raise ValueError(f"resample must be 'conv' or 'pool', got {self.resample!r}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if any(channels % self.groups for channels in self.channels):
            raise ValueError(f"groups must divide the channels {self.channels} of every level, got {self.groups}")
        attending = {*self.attention_levels, levels - 1}
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
        return cls(head_dim=None, scale_shift=False, dropout=0.1)


class UNet(nnx.Module):
    """Down through the levels, a middle, and up again, each block up seeing its mirror image from the way down.

    Its output is exactly 0 before training.

    References:
        Ho et al. 2020, https://arxiv.org/abs/2006.11239; Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672
    """

    def __init__(self, config: UNetConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        dtype, param_dtype = config.dtype, config.param_dtype
        conv, levels = config.resample == "conv", range(len(config.channel_mults))
        emb_features = 4 * config.base_channels

        def stage(in_channels: int, level: int, attend: bool) -> Stage:
            channels = config.channels[level]
            heads = 1 if config.head_dim is None else channels // config.head_dim
            res = ResBlock(
                in_channels,
                channels,
                emb_features,
                groups=config.groups,
                scale_shift=config.scale_shift,
                dropout=config.dropout,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )
            if not attend:
                return Stage(res)
            return Stage(
                res,
                AttentionBlock(channels, heads, groups=config.groups, dtype=dtype, param_dtype=param_dtype, rngs=rngs),
            )

        def convolution(in_channels: int, out_channels: int, *, stride: int = 1, zero: bool = False) -> Conv:
            return Conv(
                in_channels, out_channels, stride=stride, zero=zero, dtype=dtype, param_dtype=param_dtype, rngs=rngs
            )

        self.embed = TimeEmbedding(
            config.base_channels,
            emb_features,
            config.num_classes,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        width = config.base_channels
        self.stem = convolution(config.in_channels, width)
        skips, down, halving = [width], [], []
        for level in levels:
            for _ in range(config.num_res_blocks):
                down.append(stage(width, level, level in config.attention_levels))
                width = config.channels[level]
                skips.append(width)
            if level < levels[-1]:
                skips.append(width)
                if conv:
                    halving.append(convolution(width, width, stride=2))
        self.middle = nnx.List([stage(width, levels[-1], True), stage(width, levels[-1], False)])
        up, doubling = [], []
        for level in reversed(levels):
            for _ in range(config.num_res_blocks + 1):
                up.append(stage(width + skips.pop(), level, level in config.attention_levels))
                width = config.channels[level]
            if level and conv:
                doubling.append(convolution(width, width))
        self.down, self.up = nnx.List(down), nnx.List(up)
        self.halving, self.doubling = nnx.List(halving), nnx.List(doubling)
        self.norm = GroupNorm(width, config.groups, dtype=dtype, param_dtype=param_dtype)
        self.out = convolution(width, config.out_channels, zero=True)

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
        factor = 2 ** (len(config.channel_mults) - 1)
        if x.shape[1] % factor or x.shape[2] % factor:
            raise ValueError(f"height and width must be divisible by {factor}, got {x.shape[1]} and {x.shape[2]}")

        def run(stage: Stage, h: Image, emb: Condition) -> OtherImage:
            return stage(h, emb, deterministic=deterministic)

        run = nnx.remat(run) if config.remat else run
        emb = nnx.silu(self.embed(t, resolve_labels(cond, config.num_classes, x.shape[0])))
        h = self.stem(x)
        skips = [h]
        n, last = config.num_res_blocks, len(config.channel_mults) - 1
        for i, block in enumerate(self.down):
            h = run(block, h, emb)
            skips.append(h)
            if (i + 1) % n == 0 and i // n < last:
                h = self.halving[i // n](h) if config.resample == "conv" else halve(h)
                skips.append(h)
        for block in self.middle:
            h = run(block, h, emb)
        for i, block in enumerate(self.up):
            h = run(block, jnp.concatenate([h, skips.pop()], axis=-1), emb)
            if (i + 1) % (n + 1) == 0 and i // (n + 1) < last:
                h = double(h)
                h = self.doubling[i // (n + 1)](h) if config.resample == "conv" else h
        return self.out(self.norm(h, silu=True)).astype(x.dtype)
