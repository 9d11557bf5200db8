"""The core of a U-Net: levels down, a middle, and levels up, with skip connections between them."""

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import Context, Embedding, Image, OtherImage
from artifex.backbones.layers import Conv, GroupNorm
from artifex.backbones.spatial_transformer import SpatialTransformer
from artifex.backbones.unet_blocks import AttentionBlock, ResBlock, avg_pool
from artifex.kernels.convolution import upsample_nearest


@runtime_checkable
class UNetCoreConfig(Protocol):
    """The fields of a network's config that a ``UNetCore`` reads; see ``UNetConfig``."""

    @property
    def in_channels(self) -> int: ...  # noqa: D102
    @property
    def out_channels(self) -> int: ...  # noqa: D102
    @property
    def channels(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def base_channels(self) -> int: ...  # noqa: D102
    @property
    def num_res_blocks(self) -> int: ...  # noqa: D102
    @property
    def groups(self) -> int: ...  # noqa: D102
    @property
    def epsilon(self) -> float: ...  # noqa: D102
    @property
    def scale_shift(self) -> bool: ...  # noqa: D102
    @property
    def resample(self) -> Literal["conv", "pool", "block"]: ...  # noqa: D102
    @property
    def pad(self) -> Literal["both", "after"]: ...  # noqa: D102
    @property
    def dropout(self) -> float: ...  # noqa: D102
    @property
    def remat(self) -> bool: ...  # noqa: D102
    @property
    def dtype(self) -> DTypeLike: ...  # noqa: D102
    @property
    def param_dtype(self) -> DTypeLike: ...  # noqa: D102


Attention = AttentionBlock | SpatialTransformer
AttentionAt = Callable[[int | None, int], Attention | None]


class Stage(nnx.Module):
    """A residual block, optionally followed by attention."""

    def __init__(self, res: ResBlock, attention: Attention | None = None) -> None:
        self.res = res
        self.attention = attention

    def __call__(
        self, x: Image, emb: Embedding | None = None, context: Context | None = None, *, deterministic: bool = True
    ) -> OtherImage:
        """Apply the block and the attention."""
        x = self.res(x, emb, deterministic=deterministic)
        if self.attention is None:
            return x
        if isinstance(self.attention, AttentionBlock):
            return self.attention(x)
        if context is None:
            raise ValueError("cross-attention needs a context, got None")
        return self.attention(x, context)


class Level(nnx.Module):
    """The stages at one resolution, and the layer that changes to the next resolution, if it has parameters."""

    def __init__(self, blocks: list[Stage], resample: Conv | ResBlock | None = None) -> None:
        self.blocks = nnx.List(blocks)
        self.resample = resample


def check_divisible(x: Image, levels: int) -> None:
    """Raise ValueError unless height and width are divisible by 2 for every level but the first."""
    factor = 1 << (levels - 1)
    if x.shape[1] % factor or x.shape[2] % factor:
        raise ValueError(f"height and width must be divisible by {factor}, got {x.shape[1]} and {x.shape[2]}")


class UNetCore(nnx.Module):
    """A U-Net without the embedding of its conditions; its output is exactly 0 before training.

    ``attention_at(level, channels)`` returns the attention after the residual blocks at ``level``, or None for none;
    the level None is the middle.

    If the resolution changes by convolutions, sizes need not be even: on the way up each level has the size that it had
    on the way down.
    """

    def __init__(self, config: UNetCoreConfig, attention_at: AttentionAt, *, rngs: nnx.Rngs) -> None:
        dtype, param_dtype = config.dtype, config.param_dtype
        last = len(config.channels) - 1
        self.remat = config.remat

        def res(in_channels: int, channels: int, resample: Literal["down", "up"] | None = None) -> ResBlock:
            return ResBlock(
                in_channels,
                channels,
                4 * config.base_channels,
                groups=config.groups,
                scale_shift=config.scale_shift,
                resample=resample,
                epsilon=config.epsilon,
                dropout=config.dropout,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )

        def stage(in_channels: int, level: int) -> Stage:
            channels = config.channels[level]
            block = res(in_channels, channels)
            return Stage(block, attention_at(level, channels))

        def conv(
            in_channels: int,
            out_channels: int,
            *,
            stride: int = 1,
            padding: tuple[int, int] | None = None,
            zero: bool = False,
        ) -> Conv:
            return Conv(
                in_channels,
                out_channels,
                stride=stride,
                padding=padding,
                zero=zero,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )

        def resampling(width: int, to: Literal["down", "up"]) -> Conv | ResBlock | None:
            if config.resample == "pool":
                return None
            if config.resample == "block":
                return res(width, width, to)
            if to == "up":
                return conv(width, width)
            return conv(width, width, stride=2, padding=(1, 1) if config.pad == "both" else (0, 1))

        width = config.base_channels
        self.stem = conv(config.in_channels, width)
        skips, down = [width], []
        for level in range(last + 1):
            blocks = []
            for _ in range(config.num_res_blocks):
                blocks.append(stage(width, level))
                width = config.channels[level]
                skips.append(width)
            down.append(Level(blocks, resampling(width, "down") if level < last else None))
            if level < last:
                skips.append(width)
        first = res(width, width)
        self.middle = nnx.List([Stage(first, attention_at(None, width)), Stage(res(width, width))])
        up = []
        for level in reversed(range(last + 1)):
            blocks = []
            for _ in range(config.num_res_blocks + 1):
                blocks.append(stage(width + skips.pop(), level))
                width = config.channels[level]
            up.append(Level(blocks, resampling(width, "up") if level else None))
        self.down, self.up = nnx.List(down), nnx.List(up)
        self.norm = GroupNorm(width, config.groups, epsilon=config.epsilon, dtype=dtype, param_dtype=param_dtype)
        self.out = conv(width, config.out_channels, zero=True)

    def __call__(
        self, x: Image, emb: Embedding, context: Context | None = None, *, deterministic: bool = True
    ) -> Float[Array, "b h w o"]:
        """Evaluate the network under the condition ``emb``, already passed through a SiLU.

        Raises:
            ValueError: if there is cross-attention but no context.
        """

        def run_stage(stage: Stage, h: Image, emb: Embedding, context: Context | None) -> OtherImage:
            return stage(h, emb, context, deterministic=deterministic)

        def run_block(block: ResBlock, h: Image, emb: Embedding) -> OtherImage:
            return block(h, emb, deterministic=deterministic)

        run_stage = nnx.remat(run_stage) if self.remat else run_stage
        run_block = nnx.remat(run_block) if self.remat else run_block

        def downsampled(block: Conv | ResBlock | None, h: Image) -> OtherImage:
            if isinstance(block, ResBlock):
                return run_block(block, h, emb)
            return avg_pool(h) if block is None else block(h)

        def upsampled(block: Conv | ResBlock | None, h: Image, size: tuple[int, ...]) -> OtherImage:
            if isinstance(block, ResBlock):
                return run_block(block, h, emb)
            return upsample_nearest(h) if block is None else block.after_resize(h, *size)

        h = self.stem(x)
        skips = [h]
        last = len(self.down) - 1
        for i, level in enumerate(self.down):
            for stage in level.blocks:
                h = run_stage(stage, h, emb, context)
                skips.append(h)
            if i < last:
                h = downsampled(level.resample, h)
                skips.append(h)
        for stage in self.middle:
            h = run_stage(stage, h, emb, context)
        for i, level in enumerate(self.up):
            for stage in level.blocks:
                h = run_stage(stage, jnp.concatenate([h, skips.pop()], axis=-1), emb, context)
            if i < last:
                h = upsampled(level.resample, h, skips[-1].shape[1:3])
        return self.out(self.norm(h, silu=True))
