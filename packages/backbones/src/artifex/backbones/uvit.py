"""U-ViT: a transformer over time, label and patches as tokens, with long skip connections."""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from artifex.backbones.base import Label, Time, Tokens, Vector, X, check_input, check_types, resolve_labels
from artifex.backbones.block_stack import apply_blocks
from artifex.backbones.dit import patchify, unpatchify
from artifex.backbones.embeddings import LabelEmbedding, timestep_embedding
from artifex.backbones.layers import Conv, Linear, SelfAttention, gelu

INIT = nnx.initializers.truncated_normal(0.02)


@dataclass(frozen=True)
class UViTConfig:
    """Configuration of a ``UViT``, by default U-ViT-H/2 for 32x32x4 latents and 1000 classes.

    Attributes:
        in_channels: channels of ``x`` and of the output.
        size: height and width of ``x``, which are fixed since each patch has a learned position.
        patch: side of a patch; must divide ``size``.
        hidden: width of a token, even and a multiple of ``heads``.
        depth: number of blocks, odd, as there are equally many before and after the middle one.
        heads: attention heads.
        num_classes: number of labels, or None for no condition.
        remat: recompute every block in the backward pass instead of keeping its intermediates.
        scan: trace equal blocks once, which makes the program smaller, not faster; see
            ``artifex.backbones.block_stack.apply_blocks``.
        dtype: dtype of the computation.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: if a field is out of range.
    """

    in_channels: int = 4
    size: int = 32
    patch: int = 2
    hidden: int = 1152
    depth: int = 29
    heads: int = 16
    num_classes: int | None = 1000
    remat: bool = False
    scan: bool = False
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("in_channels", "size", "patch", "depth", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.size % self.patch:
            raise ValueError(f"patch must divide size = {self.size}, got {self.patch}")
        if self.depth % 2 == 0:
            raise ValueError(f"depth must be odd, got {self.depth}")
        if self.hidden < 4 or self.hidden % 2 or self.hidden % self.heads:
            raise ValueError(f"hidden must be even and a multiple of heads={self.heads}, got {self.hidden}")
        if self.num_classes is not None and self.num_classes < 1:
            raise ValueError(f"num_classes must be None or at least 1, got {self.num_classes}")

    @classmethod
    def s_2(cls) -> "UViTConfig":
        """U-ViT-S/2 for 32x32x3 CIFAR-10, 44M parameters."""
        return cls(in_channels=3, hidden=512, depth=13, heads=8, num_classes=None)

    @classmethod
    def m_4(cls) -> "UViTConfig":
        """U-ViT-M/4 for 64x64x3 ImageNet, 131M parameters."""
        return cls(in_channels=3, size=64, patch=4, hidden=768, depth=17, heads=12)

    @classmethod
    def l_2(cls) -> "UViTConfig":
        """U-ViT-L/2 for 32x32x4 latents, 287M parameters."""
        return cls(hidden=1024, depth=21)

    @classmethod
    def h_2(cls) -> "UViTConfig":
        """U-ViT-H/2 for 32x32x4 latents, 501M parameters."""
        return cls()


class UViTBlock(nnx.Module):
    r"""Attention and MLP with layer norms before them; with ``skip``, first $x \leftarrow W [x, \text{skip}]$."""

    def __init__(self, config: UViTConfig, *, skip: bool, rngs: nnx.Rngs) -> None:
        def linear(inner: int, outer: int) -> Linear:
            return Linear(inner, outer, kernel_init=INIT, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs)

        def norm() -> nnx.LayerNorm:
            return nnx.LayerNorm(
                config.hidden, epsilon=1e-5, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs
            )

        hidden = config.hidden
        self.skip_linear = linear(2 * hidden, hidden) if skip else None
        self.norm1, self.norm2 = norm(), norm()
        self.attention = SelfAttention(
            hidden, config.heads, bias=False, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs
        )
        self.mlp_in, self.mlp_out = linear(hidden, 4 * hidden), linear(4 * hidden, hidden)

    def __call__(self, x: Tokens, skip: Tokens | None = None) -> Tokens:
        """Apply the block."""
        if self.skip_linear is not None and skip is not None:
            x = self.skip_linear(jnp.concatenate([x, skip], axis=-1))
        x = x + self.attention(self.norm1(x))
        return x + self.mlp_out(gelu(self.mlp_in(self.norm2(x)), approximate=False))


class UViT(nnx.Module):
    """A vision transformer with long skip connections; its output is exactly 0 before training.

    References: Bao et al. 2022, https://arxiv.org/abs/2209.12152
    """

    def __init__(self, config: UViTConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        dtype, param_dtype, hidden = config.dtype, config.param_dtype, config.hidden
        values = config.patch**2 * config.in_channels
        tokens = (config.size // config.patch) ** 2 + 1 + (config.num_classes is not None)
        self.stem = Linear(values, hidden, kernel_init=INIT, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.labels = (
            None
            if config.num_classes is None
            else LabelEmbedding(config.num_classes, hidden, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        )
        self.positions = nnx.Param(INIT(rngs.params(), (tokens, hidden), jnp.dtype(param_dtype)))
        half = config.depth // 2
        self.down = nnx.List([UViTBlock(config, skip=False, rngs=rngs) for _ in range(half)])
        self.middle = UViTBlock(config, skip=False, rngs=rngs)
        self.up = nnx.List([UViTBlock(config, skip=True, rngs=rngs) for _ in range(half)])
        self.norm = nnx.LayerNorm(hidden, epsilon=1e-5, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.out = Linear(hidden, values, kernel_init=INIT, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.final_conv = Conv(
            config.in_channels, config.in_channels, zero=True, dtype=dtype, param_dtype=param_dtype, rngs=rngs
        )

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> X:
        """Evaluate the network; see ``Backbone``.

        Args:
            x: ``(batch, size, size, in_channels)``.
            t: ``(batch,)``.
            cond: ``(batch,)`` labels, or None.
            deterministic: ignored, as there is no dropout.

        Returns:
            An array of the shape and dtype of ``x``.

        Raises:
            ValueError: if ``x``, ``t`` or ``cond`` has the wrong shape, or a label is out of range.
        """
        config = self.config
        check_input(x, t, 4, config.in_channels)
        if x.shape[1:3] != (config.size, config.size):
            raise ValueError(f"height and width must be {config.size}, got {x.shape[1]} and {x.shape[2]}")

        def run(block: UViTBlock, h: Tokens, skip: Tokens | None) -> tuple[Tokens, Tokens]:
            h = block(h, skip)
            return h, h

        labels = resolve_labels(cond, config.num_classes, x.shape[0])
        extra: list[Vector] = [
            timestep_embedding(t, config.hidden, cosine_first=True, freq_shift=0.0).astype(config.dtype)
        ]
        if self.labels is not None and labels is not None:
            extra.append(self.labels(labels))
        h = jnp.concatenate([*(token[:, None] for token in extra), self.stem(patchify(x, config.patch))], axis=1)
        h = h + self.positions[None].astype(h.dtype)
        half = len(self.down)
        h, skips = apply_blocks(
            run, [*self.down, self.middle], h, [None] * (half + 1), remat=config.remat, scan=config.scan
        )
        h, _ = apply_blocks(run, self.up, h, skips[:half][::-1], remat=config.remat, scan=config.scan)
        patches = self.out(self.norm(h))[:, len(extra) :]
        return self.final_conv(unpatchify(patches, config.patch, config.size, config.size)).astype(x.dtype)
