r"""EDM2's magnitude-preserving U-Net: every layer turns activations of unit variance into such again.

$$\text{silu}'(x) = \frac{\text{silu}(x)}{0.596},\quad
  a \oplus_t b = \frac{(1-t)\,a + t\,b}{\sqrt{(1-t)^2 + t^2}},\quad
  \text{cat}'_t(a, b) = \sqrt{\frac{N_a + N_b}{(1-t)^2 + t^2}}
  \left[\frac{1-t}{\sqrt{N_a}} a,\ \frac{t}{\sqrt{N_b}} b\right]$$

References: Karras et al. 2024, https://arxiv.org/abs/2312.02696
"""

import math
from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import Constant, Label, Time, X, check_input, check_kinds, resolve_labels
from artifex.backbones.blocks import Image, OtherImage
from artifex.backbones.residual import Condition, avg_pool
from artifex.backbones.weight_norm import DirectionParam, unit_rows
from artifex.kernels import attention, conv
from artifex.kernels.convolution import upsample_nearest

NORMAL = nnx.initializers.normal(1.0)
LIMIT = 256.0  # of activations: it keeps half precision from overflowing


@dataclass(frozen=True)
class EDM2Config:
    """The shape of an `EDM2UNet`; the published sizes are for 64x64x4 latents of ImageNet-512.

    Attributes:
        in_channels: Channels of ``x`` and of the output.
        base_channels: Channels at full resolution, before ``channel_mults``.
        channel_mults: Channels of each level as multiples of ``base_channels``; each level halves the resolution.
        num_blocks: Blocks a level on the way down; one more on the way up.
        attention_levels: Levels with attention in their blocks; the middle always has it.
        head_dim: Channels of an attention head.
        residual_balance: Weight t of a residual branch in its sum, in (0, 1).
        skip_balance: Weight t of what comes from the way down in its concatenation, in (0, 1).
        dropout: Rate in the blocks, in ``[0, 1)``.
        num_classes: Number of labels, or None for no condition.
        remat: Recompute every block in the backward pass rather than keep what is inside it.
        dtype: What is computed in.
        param_dtype: What parameters are kept in.

    Raises:
        ValueError: If a field is out of its range.
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
        check_kinds(self)
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


def mp_silu(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """A SiLU that keeps unit variance."""
    return nnx.silu(x) / 0.596


def mp_sum(a: Float[Array, "*s"], b: Float[Array, "*s"], t: float) -> Float[Array, "*s"]:
    """A sum of independent parts that keeps unit variance."""
    return ((1.0 - t) * a + t * b) / math.hypot(1.0 - t, t)


def mp_cat(a: Image, b: Float[Array, "b h w d"], t: float) -> Float[Array, "b h w e"]:
    """A concatenation that keeps unit variance, its parts contributing as 1 - t and t whatever their channels."""
    n, m = a.shape[-1], b.shape[-1]
    scale = math.sqrt((n + m) / ((1.0 - t) ** 2 + t**2))
    return jnp.concatenate([a * (scale * (1.0 - t) / math.sqrt(n)), b * (scale * t / math.sqrt(m))], axis=-1)


def unit(x: Float[Array, "*s c"]) -> Float[Array, "*s c"]:
    """Vectors of unit mean square along the last axis, statistics in float32."""
    wide = x.astype(jnp.float32)
    return (wide * lax.rsqrt((wide * wide).mean(-1, keepdims=True) + 1e-4)).astype(x.dtype)


class UnitConv(nnx.Module):
    r"""A convolution without bias whose filters have unit length, $y = (w / \lVert w \rVert) * x$.

    Unit variance stays unit variance. Only the direction of the stored ``kernel`` counts: while it is trained,
    `force_weight_norm` keeps its filters at the length that they are drawn with, up to chance.
    """

    def __init__(
        self, config: EDM2Config, in_features: int, out_features: int, size: int = 3, *, rngs: nnx.Rngs
    ) -> None:
        shape = (size, size, in_features, out_features) if size else (in_features, out_features)
        self.kernel = DirectionParam(NORMAL(rngs.params(), shape, jnp.dtype(config.param_dtype)))
        self.dtype = config.dtype

    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s o"]:
        """Convolve images, or multiply vectors for a kernel of two axes."""
        x, kernel = x.astype(self.dtype), unit_rows(self.kernel[...]).astype(self.dtype)
        if kernel.ndim == 2:
            return x @ kernel
        if kernel.shape[0] == 1:
            return x @ kernel[0, 0]
        pad = kernel.shape[0] // 2
        return conv(x, kernel, padding=(pad, pad))


class EDM2Block(nnx.Module):
    """Two convolutions around a gain told by the condition, then attention where asked for.

    On the way down (``down``) the input is normalised first; there are no other norms.
    """

    def __init__(
        self,
        config: EDM2Config,
        in_channels: int,
        out_channels: int,
        *,
        down: bool,
        attend: bool,
        resample: str | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        def conv(inner: int, outer: int, size: int) -> UnitConv:
            return UnitConv(config, inner, outer, size, rngs=rngs)

        self.balance, self.is_down, self.resample = config.residual_balance, down, resample
        self.skip = None if in_channels == out_channels else conv(in_channels, out_channels, 1)
        self.conv1 = conv(out_channels if down else in_channels, out_channels, 3)
        self.emb = conv(config.channels[-1], out_channels, 0)
        self.gain = nnx.Param(jnp.zeros((), config.param_dtype))
        self.dropout = nnx.Dropout(config.dropout, rngs=rngs) if config.dropout else None
        self.conv2 = conv(out_channels, out_channels, 3)
        self.heads = out_channels // config.head_dim if attend else 0
        self.qkv = conv(out_channels, 3 * out_channels, 1) if attend else None
        self.out = conv(out_channels, out_channels, 1) if attend else None

    def __call__(self, x: Image, emb: Condition, *, deterministic: bool = True) -> OtherImage:
        """Apply the block to ``x`` under the condition ``emb``."""
        if self.resample is not None:
            x = avg_pool(x) if self.resample == "down" else upsample_nearest(x)
        if self.is_down:
            x = unit(x if self.skip is None else self.skip(x))
        y = self.conv1(mp_silu(x))
        y = mp_silu(y * (1.0 + self.gain[...].astype(y.dtype) * self.emb(emb)[:, None, None]))
        if self.dropout is not None:
            y = self.dropout(y, deterministic=deterministic)
        if not self.is_down and self.skip is not None:
            x = self.skip(x)
        x = mp_sum(x, self.conv2(y), self.balance)
        if self.qkv is not None and self.out is not None:
            b, h, w, c = x.shape
            qkv = unit(self.qkv(x).reshape(b, h * w, 3, self.heads, c // self.heads))
            found = attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]).reshape(x.shape)
            x = mp_sum(x, self.out(found), self.balance)
        return jnp.clip(x, -LIMIT, LIMIT)


class EDM2UNet(nnx.Module):
    r"""The magnitude-preserving U-Net; its output is exactly 0 before training, its activations of RMS about 1.

    What attention mixes of many places is smaller than each, and zeros around an image take from its border: `xs` at
    64x64, the size it is made for, has RMS from 0.91 to 1.02 at its 37 depths, much smaller images down to 0.76.

    Time enters as $\sqrt 2 \cos(2\pi(f t + \varphi))$ with fixed random $f \sim \mathcal N(0, 1)$ and $\varphi$: it is
    made for $c_\text{noise} = \ln(\sigma) / 4$, which EDM's preconditioning gives.

    References: Karras et al. 2024, https://arxiv.org/abs/2312.02696
    """

    def __init__(self, config: EDM2Config, *, rngs: nnx.Rngs) -> None:
        self.config = config
        width, last, wide = config.base_channels, len(config.channels) - 1, config.channels[-1]
        self.frequencies = Constant(NORMAL(rngs.params(), (width,), jnp.float32))
        self.phases = Constant(nnx.initializers.uniform(1.0)(rngs.params(), (width,), jnp.float32))
        self.embed = UnitConv(config, width, wide, 0, rngs=rngs)
        classes = config.num_classes
        self.labels = None if classes is None else UnitConv(config, classes + 1, wide, 0, rngs=rngs)

        def block(inner: int, level: int, *, down: bool, attend: bool, resample: str | None = None) -> EDM2Block:
            return EDM2Block(
                config, inner, config.channels[level], down=down, attend=attend, resample=resample, rngs=rngs
            )

        self.stem = UnitConv(config, config.in_channels + 1, width, rngs=rngs)
        skips, down, up = [width], [], []
        for level in range(last + 1):
            if level:
                down.append(EDM2Block(config, width, width, down=True, attend=False, resample="down", rngs=rngs))
                skips.append(width)
            for _ in range(config.num_blocks):
                down.append(block(width, level, down=True, attend=level in config.attention_levels))
                width = config.channels[level]
                skips.append(width)
        for level in reversed(range(last + 1)):
            if level == last:
                up.append(block(width, level, down=False, attend=True))
                up.append(block(width, level, down=False, attend=False))
            else:
                up.append(EDM2Block(config, width, width, down=False, attend=False, resample="up", rngs=rngs))
            for _ in range(config.num_blocks + 1):
                up.append(block(width + skips.pop(), level, down=False, attend=level in config.attention_levels))
                width = config.channels[level]
        self.down, self.up = nnx.List(down), nnx.List(up)
        self.out = UnitConv(config, width, config.in_channels, rngs=rngs)
        self.gain = nnx.Param(jnp.zeros((), config.param_dtype))

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> X:
        """Evaluate the network; see `Backbone`.

        Args:
            x: ``(batch, height, width, in_channels)``, both sizes divisible by 2 for every level but the first.
            t: ``(batch,)``, of the order of 1.
            cond: ``(batch,)`` labels, or None.
            deterministic: False turns dropout on.

        Returns:
            An array of the shape and dtype of ``x``.

        Raises:
            ValueError: If ``x``, ``t`` or ``cond`` has another shape, or ``cond`` a label out of range.
        """
        out, _ = self.run(x, t, cond, deterministic=deterministic)
        return out

    def run(
        self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True
    ) -> tuple[X, list[OtherImage]]:
        """The output, and the activations behind the stem and behind each block."""
        config = self.config
        check_input(x, t, 4, config.in_channels)
        factor = 1 << (len(config.channels) - 1)
        if x.shape[1] % factor or x.shape[2] % factor:
            raise ValueError(f"height and width must be divisible by {factor}, got {x.shape[1]} and {x.shape[2]}")

        def run(block: EDM2Block, h: Image, emb: Condition) -> OtherImage:
            return block(h, emb, deterministic=deterministic)

        run = nnx.remat(run) if config.remat else run
        phase = t.astype(jnp.float32)[:, None] * self.frequencies[None] + self.phases[None]
        emb = self.embed(math.sqrt(2.0) * jnp.cos(2.0 * math.pi * phase))
        labels = resolve_labels(cond, config.num_classes, x.shape[0])
        if self.labels is not None and labels is not None:
            count = self.labels.kernel.shape[0]
            emb = mp_sum(emb, self.labels(math.sqrt(count) * nnx.one_hot(labels, count)), 0.5)
        emb = mp_silu(emb)
        h = self.stem(jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1))  # the ones stand in for biases
        skips, seen = [h], [h]
        for block in self.down:
            h = run(block, h, emb)
            skips.append(h)
            seen.append(h)
        for i, block in enumerate(self.up):
            if block.resample is None and i > 1:
                h = mp_cat(h, skips.pop(), config.skip_balance)
            h = run(block, h, emb)
            seen.append(h)
        return (self.out(h) * self.gain[...].astype(h.dtype)).astype(x.dtype), seen
