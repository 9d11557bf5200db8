"""The magnitude-preserving U-Net of EDM2.

References: Karras et al. 2024, https://arxiv.org/abs/2312.02696
"""

import math
from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from artifex.backbones.base import (
    Constant,
    Embedding,
    Image,
    Label,
    OtherImage,
    Time,
    X,
    check_input,
    check_types,
    resolve_labels,
)
from artifex.backbones.magnitude_preserving import NORMAL, MPConv, mp_cat, mp_silu, mp_sum, normalize
from artifex.backbones.unet_blocks import avg_pool
from artifex.backbones.unet_core import check_divisible
from artifex.kernels import attention
from artifex.kernels.convolution import upsample_nearest

MAX_ACTIVATION = 256.0  # keeps half precision from overflowing


@dataclass(frozen=True)
class EDM2Config:
    """Configuration of an ``EDM2UNet``; the published sizes are for 64x64x4 latents of ImageNet-512.

    Attributes:
        in_channels: channels of ``x`` and of the output.
        base_channels: channels at full resolution, before ``channel_mults``.
        channel_mults: channels of each level as multiples of ``base_channels``; each level halves the resolution.
        num_blocks: blocks per level on the way down; one more on the way up.
        attention_levels: levels with attention in their blocks; the middle always has it.
        head_dim: channels of an attention head.
        residual_balance: weight t of the residual branches, in (0, 1).
        skip_balance: weight t of the skip connections in their concatenations, in (0, 1).
        dropout: rate in the blocks, in ``[0, 1)``.
        num_classes: number of labels, or None for no condition.
        remat: recompute every block in the backward pass instead of keeping its intermediates.
        dtype: dtype of the computation.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: if a field is out of range.
    """

    in_channels: int = 4
    base_channels: int = 192
    channel_mults: tuple[int, ...] = (1, 2, 3, 4)
    num_blocks: int = 3
    attention_levels: tuple[int, ...] = (2, 3)
    head_dim: int = 64
    residual_balance: float = 0.3
    skip_balance: float = 0.5
    dropout: float = 0.0
    num_classes: int | None = 1000
    remat: bool = False
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("in_channels", "base_channels", "num_blocks", "head_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.channel_mults or min(self.channel_mults) < 1:
            raise ValueError(f"channel_mults must be positive and not empty, got {self.channel_mults}")
        levels = len(self.channel_mults)
        if any(not 0 <= level < levels for level in self.attention_levels):
            raise ValueError(f"attention_levels must be in [0, {levels - 1}], got {self.attention_levels}")
        if any(self.channels[level] % self.head_dim for level in {*self.attention_levels, levels - 1}):
            raise ValueError(
                f"head_dim must divide the channels {self.channels} where there is attention, got {self.head_dim}"
            )
        for name in ("residual_balance", "skip_balance"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in (0, 1), got {getattr(self, name)}")
        if self.num_classes is not None and self.num_classes < 1:
            raise ValueError(f"num_classes must be None or at least 1, got {self.num_classes}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.base_channels * mult for mult in self.channel_mults)

    @classmethod
    def xs(cls) -> "EDM2Config":
        """EDM2-XS, 125M parameters."""
        return cls(base_channels=128)

    @classmethod
    def s(cls) -> "EDM2Config":
        """EDM2-S, 280M parameters."""
        return cls(base_channels=192)

    @classmethod
    def m(cls) -> "EDM2Config":
        """EDM2-M, 498M parameters."""
        return cls(base_channels=256)

    @classmethod
    def l(cls) -> "EDM2Config":  # noqa: E743
        """EDM2-L, 777M parameters."""
        return cls(base_channels=320)

    @classmethod
    def xl(cls) -> "EDM2Config":
        """EDM2-XL, 1.1B parameters."""
        return cls(base_channels=384)

    @classmethod
    def xxl(cls) -> "EDM2Config":
        """EDM2-XXL, 1.5B parameters."""
        return cls(base_channels=448)


class EDM2Block(nnx.Module):
    """Two convolutions with a gain by the condition in between, optionally followed by attention.

    On the way down (``down``) the input is normalized first; there are no other norms.
    """

    def __init__(
        self,
        config: EDM2Config,
        in_channels: int,
        out_channels: int,
        *,
        down: bool,
        has_attention: bool,
        resample: str | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        def conv(inner: int, outer: int, size: int) -> MPConv:
            return MPConv(inner, outer, size, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs)

        self.balance, self.is_down, self.resample = config.residual_balance, down, resample
        self.skip = None if in_channels == out_channels else conv(in_channels, out_channels, 1)
        self.conv1 = conv(out_channels if down else in_channels, out_channels, 3)
        self.emb = conv(config.channels[-1], out_channels, 0)
        self.gain = nnx.Param(jnp.zeros((), config.param_dtype))
        self.dropout = nnx.Dropout(config.dropout, rngs=rngs) if config.dropout else None
        self.conv2 = conv(out_channels, out_channels, 3)
        self.heads = out_channels // config.head_dim if has_attention else 0
        self.qkv = conv(out_channels, 3 * out_channels, 1) if has_attention else None
        self.out = conv(out_channels, out_channels, 1) if has_attention else None

    def __call__(self, x: Image, emb: Embedding, *, deterministic: bool = True) -> OtherImage:
        """Apply the block to ``x`` under the condition ``emb``."""
        if self.resample is not None:
            x = avg_pool(x) if self.resample == "down" else upsample_nearest(x)
        if self.is_down:
            x = normalize(x if self.skip is None else self.skip(x))
        y = self.conv1(mp_silu(x))
        y = mp_silu(y * (1.0 + self.gain[...].astype(y.dtype) * self.emb(emb)[:, None, None]))
        if self.dropout is not None:
            y = self.dropout(y, deterministic=deterministic)
        if not self.is_down and self.skip is not None:
            x = self.skip(x)
        x = mp_sum(x, self.conv2(y), self.balance)
        if self.qkv is not None and self.out is not None:
            b, h, w, c = x.shape
            qkv = normalize(self.qkv(x).reshape(b, h * w, 3, self.heads, c // self.heads))
            attended = attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]).reshape(x.shape)
            x = mp_sum(x, self.out(attended), self.balance)
        return jnp.clip(x, -MAX_ACTIVATION, MAX_ACTIVATION)


class EDM2UNet(nnx.Module):
    r"""The magnitude-preserving U-Net; its output is exactly 0 before training, its activations of RMS about 1.

    Attention over many positions and the zero padding of convolutions reduce the RMS slightly, more so for images much
    smaller than the published 64x64.

    Time enters as $\sqrt 2 \cos(2\pi(f t + \varphi))$ with fixed random $f \sim \mathcal N(0, 1)$ and $\varphi$, meant
    for $t = c_\text{noise} = \ln(\sigma) / 4$ of EDM's preconditioning.

    References: Karras et al. 2024, https://arxiv.org/abs/2312.02696
    """

    def __init__(self, config: EDM2Config, *, rngs: nnx.Rngs) -> None:
        self.config = config
        width, last, wide = config.base_channels, len(config.channels) - 1, config.channels[-1]

        def conv(inner: int, outer: int, size: int) -> MPConv:
            return MPConv(inner, outer, size, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs)

        self.frequencies = Constant(NORMAL(rngs.params(), (width,), jnp.float32))
        self.phases = Constant(nnx.initializers.uniform(1.0)(rngs.params(), (width,), jnp.float32))
        self.embed = conv(width, wide, 0)
        classes = config.num_classes
        self.labels = None if classes is None else conv(classes + 1, wide, 0)

        def block(inner: int, level: int, *, down: bool, has_attention: bool) -> EDM2Block:
            outer = config.channels[level]
            return EDM2Block(config, inner, outer, down=down, has_attention=has_attention, rngs=rngs)

        self.stem = conv(config.in_channels + 1, width, 3)
        skips, down, up = [width], [], []
        for level in range(last + 1):
            if level:
                down.append(EDM2Block(config, width, width, down=True, has_attention=False, resample="down", rngs=rngs))
                skips.append(width)
            for _ in range(config.num_blocks):
                down.append(block(width, level, down=True, has_attention=level in config.attention_levels))
                width = config.channels[level]
                skips.append(width)
        for level in reversed(range(last + 1)):
            if level == last:
                up.append(block(width, level, down=False, has_attention=True))
                up.append(block(width, level, down=False, has_attention=False))
            else:
                up.append(EDM2Block(config, width, width, down=False, has_attention=False, resample="up", rngs=rngs))
            for _ in range(config.num_blocks + 1):
                up.append(block(width + skips.pop(), level, down=False, has_attention=level in config.attention_levels))
                width = config.channels[level]
        self.down, self.up = nnx.List(down), nnx.List(up)
        self.out = conv(width, config.in_channels, 3)
        self.gain = nnx.Param(jnp.zeros((), config.param_dtype))

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> X:
        """Evaluate the network; see ``Backbone``.

        Args:
            x: ``(batch, height, width, in_channels)``, both sizes divisible by 2 for every level but the first.
            t: ``(batch,)``, of the order of 1.
            cond: ``(batch,)`` labels, or None.
            deterministic: whether dropout is off.

        Returns:
            An array of the shape and dtype of ``x``.

        Raises:
            ValueError: if ``x``, ``t`` or ``cond`` has the wrong shape, or a label is out of range.
        """
        out, _ = self.run(x, t, cond, deterministic=deterministic)
        return out

    def run(
        self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True
    ) -> tuple[X, list[OtherImage]]:
        """The output, and the activations after the stem and after each block."""
        config = self.config
        check_input(x, t, 4, config.in_channels)
        check_divisible(x, len(config.channels))

        def run(block: EDM2Block, h: Image, emb: Embedding) -> OtherImage:
            return block(h, emb, deterministic=deterministic)

        run = nnx.remat(run) if config.remat else run
        phase = t.astype(jnp.float32)[:, None] * self.frequencies[None] + self.phases[None]
        emb = self.embed(math.sqrt(2.0) * jnp.cos(2.0 * math.pi * phase))
        labels = resolve_labels(cond, config.num_classes, x.shape[0])
        if self.labels is not None and labels is not None:
            count = self.labels.kernel.shape[0]
            emb = mp_sum(emb, self.labels(math.sqrt(count) * nnx.one_hot(labels, count)), 0.5)
        emb = mp_silu(emb)
        h = self.stem(jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1))  # ones in place of biases
        skips, activations = [h], [h]
        for block in self.down:
            h = run(block, h, emb)
            skips.append(h)
            activations.append(h)
        for i, block in enumerate(self.up):
            if block.resample is None and i > 1:
                h = mp_cat(h, skips.pop(), config.skip_balance)
            h = run(block, h, emb)
            activations.append(h)
        return (self.out(h) * self.gain[...].astype(h.dtype)).astype(x.dtype), activations
