"""The diffusion transformer."""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import Image, Label, Time, Tokens, Vector, X, check_input, check_types, resolve_labels
from artifex.backbones.block_stack import apply_blocks
from artifex.backbones.embeddings import XAVIER, TimeEmbedding, sincos_2d
from artifex.backbones.layers import Linear, SelfAttention, gelu
from artifex.kernels import adaln
from artifex.kernels.ranges import check_positive


@dataclass(frozen=True)
class DiTConfig:
    """Configuration of a ``DiT``; the published sizes are ``s_2`` to ``xl_8``, for latents and 1000 classes.

    Attributes:
        in_channels: channels of ``x``.
        patch: side of a patch; must divide the height and width of ``x``.
        hidden: width of a token, a multiple of 4 and of ``heads``.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: width of the hidden layer of a block's MLP as a multiple of ``hidden``.
        learn_sigma: whether to double the output channels: prediction first, variance second.
        dropout: rate in the MLP, in ``[0, 1)``.
        num_classes: number of labels, or None for no condition.
        epsilon: added to the variance in the norm before each MLP; the other norms add 1e-6.
        freq_shift: of the time's sinusoids; see ``timestep_embedding``.
        qkv_bias: whether queries, keys and values have a bias.
        embed_per_block: whether each block has its own embedding of time and label (diffusers); the last layer uses
            that of the first block.
        sample_size: height and width of the training images, to whose span the positions of other sizes are scaled, as
            in diffusers. With None, positions count patches.
        remat: recompute every block in the backward pass instead of keeping its intermediates.
        scan: trace equal blocks once, which makes the program smaller, not faster; see
            ``artifex.backbones.block_stack.apply_blocks``.
        dtype: dtype of the computation.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: if a field is out of range.
    """

    in_channels: int = 4
    patch: int = 2
    hidden: int = 1152
    depth: int = 28
    heads: int = 16
    mlp_ratio: float = 4.0
    learn_sigma: bool = True
    dropout: float = 0.0
    num_classes: int | None = 1000
    epsilon: float = 1e-6
    freq_shift: float = 0.0
    qkv_bias: bool = True
    embed_per_block: bool = False
    sample_size: int | None = None
    remat: bool = False
    scan: bool = False
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("in_channels", "patch", "hidden", "depth", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.hidden % 4 or self.hidden % self.heads:
            raise ValueError(f"hidden must be a multiple of 4 and of heads={self.heads}, got {self.hidden}")
        if not round(self.mlp_ratio * self.hidden) >= 1:
            raise ValueError(f"mlp_ratio must leave a layer of at least 1, got {self.mlp_ratio}")
        if self.num_classes is not None and self.num_classes < 1:
            raise ValueError(f"num_classes must be None or at least 1, got {self.num_classes}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        check_positive("epsilon", self.epsilon)
        if self.sample_size is not None and self.sample_size < self.patch:
            raise ValueError(f"sample_size must be None or at least patch = {self.patch}, got {self.sample_size}")

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.in_channels * (2 if self.learn_sigma else 1)

    @classmethod
    def s_2(cls) -> "DiTConfig":
        """DiT-S/2, 33M parameters."""
        return cls(patch=2, hidden=384, depth=12, heads=6)

    @classmethod
    def s_4(cls) -> "DiTConfig":
        """DiT-S/4."""
        return cls(patch=4, hidden=384, depth=12, heads=6)

    @classmethod
    def s_8(cls) -> "DiTConfig":
        """DiT-S/8."""
        return cls(patch=8, hidden=384, depth=12, heads=6)

    @classmethod
    def b_2(cls) -> "DiTConfig":
        """DiT-B/2, 130M parameters."""
        return cls(patch=2, hidden=768, depth=12, heads=12)

    @classmethod
    def b_4(cls) -> "DiTConfig":
        """DiT-B/4."""
        return cls(patch=4, hidden=768, depth=12, heads=12)

    @classmethod
    def b_8(cls) -> "DiTConfig":
        """DiT-B/8."""
        return cls(patch=8, hidden=768, depth=12, heads=12)

    @classmethod
    def l_2(cls) -> "DiTConfig":
        """DiT-L/2, 458M parameters."""
        return cls(patch=2, hidden=1024, depth=24, heads=16)

    @classmethod
    def l_4(cls) -> "DiTConfig":
        """DiT-L/4."""
        return cls(patch=4, hidden=1024, depth=24, heads=16)

    @classmethod
    def l_8(cls) -> "DiTConfig":
        """DiT-L/8."""
        return cls(patch=8, hidden=1024, depth=24, heads=16)

    @classmethod
    def xl_2(cls) -> "DiTConfig":
        """DiT-XL/2, 675M parameters."""
        return cls(patch=2, hidden=1152, depth=28, heads=16)

    @classmethod
    def xl_4(cls) -> "DiTConfig":
        """DiT-XL/4."""
        return cls(patch=4, hidden=1152, depth=28, heads=16)

    @classmethod
    def xl_8(cls) -> "DiTConfig":
        """DiT-XL/8."""
        return cls(patch=8, hidden=1152, depth=28, heads=16)


def patchify(x: Image, patch: int) -> Float[Array, "b n d"]:
    """Cut images into ``patch x patch`` squares in row-major order: ``(b, h, w, c)`` to ``(b, h w / p^2, p p c)``."""
    b, h, w, c = x.shape
    squares = x.reshape(b, h // patch, patch, w // patch, patch, c).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(b, (h // patch) * (w // patch), patch * patch * c)


def unpatchify(tokens: Tokens, patch: int, height: int, width: int) -> Float[Array, "b {height} {width} o"]:
    """Assemble squares to ``(b, height, width, c)``; the inverse of ``patchify``."""
    rows, columns = height // patch, width // patch
    squares = tokens.reshape(tokens.shape[0], rows, columns, patch, patch, -1).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(tokens.shape[0], height, width, -1)


def _embedding(config: DiTConfig, rngs: nnx.Rngs) -> TimeEmbedding:
    return TimeEmbedding(
        256,
        config.hidden,
        config.num_classes,
        cosine_first=True,
        freq_shift=config.freq_shift,
        std=0.02,
        dtype=config.dtype,
        param_dtype=config.param_dtype,
        rngs=rngs,
    )


class DiTBlock(nnx.Module):
    r"""Attention and MLP, each normalized, shifted, scaled and gated by the condition; the gates are 0 at first.

    $$x \mathrel{+}= \alpha_1\,\text{Attn}(\text{LN}(x)(1 + \gamma_1) + \beta_1),\quad
      x \mathrel{+}= \alpha_2\,\text{MLP}(\text{LN}(x)(1 + \gamma_2) + \beta_2)$$

    The condition gives shifts, scales and gates: $(\beta_1, \gamma_1, \alpha_1, \beta_2, \gamma_2, \alpha_2) = W c$.
    """

    def __init__(self, config: DiTConfig, *, rngs: nnx.Rngs) -> None:
        def linear(inner: int, outer: int, init: nnx.Initializer = XAVIER) -> Linear:
            return Linear(inner, outer, kernel_init=init, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs)

        hidden, wide = config.hidden, round(config.mlp_ratio * config.hidden)
        self.skip = False  # see artifex.backbones.perturbed
        self.epsilon = config.epsilon
        self.embed = _embedding(config, rngs) if config.embed_per_block else None
        self.attention = SelfAttention(
            hidden,
            config.heads,
            bias=config.qkv_bias,
            dtype=config.dtype,
            param_dtype=config.param_dtype,
            rngs=rngs,
        )
        self.mlp_in = linear(hidden, wide)
        self.mlp_out = linear(wide, hidden)
        self.dropout = nnx.Dropout(config.dropout, rngs=rngs) if config.dropout else None
        self.modulation = linear(hidden, 6 * hidden, nnx.initializers.zeros_init())

    def __call__(self, x: Tokens, c: Vector, *, deterministic: bool = True) -> Tokens:
        """Apply the block to ``x`` under the condition ``c``, already passed through a SiLU."""
        if self.skip:
            return x
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = jnp.split(self.modulation(c), 6, axis=-1)
        _, y = adaln(x, scale_msa, shift_msa)
        x, y = adaln(x, scale_mlp, shift_mlp, branch=self.attention(y), gate=gate_msa, epsilon=self.epsilon)
        h = gelu(self.mlp_in(y), approximate=True)
        if self.dropout is not None:
            h = self.dropout(h, deterministic=deterministic)
        return x + gate_mlp[:, None] * self.mlp_out(h)


class DiT(nnx.Module):
    """A transformer over patches, conditioned on time and label by adaLN-Zero.

    Its blocks are the identity and its output exactly 0 before training. Positions are fixed sinusoids of the patch's
    row and column, so that the size of the images is free.

    References: Peebles and Xie 2022, https://arxiv.org/abs/2212.09748
    """

    def __init__(self, config: DiTConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        dtype, param_dtype, area = config.dtype, config.param_dtype, config.patch**2
        zeros = nnx.initializers.zeros_init()

        def linear(inner: int, outer: int, init: nnx.Initializer) -> Linear:
            return Linear(inner, outer, kernel_init=init, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

        self.stem = linear(area * config.in_channels, config.hidden, XAVIER)
        self.embed = None if config.embed_per_block else _embedding(config, rngs)
        self.blocks = nnx.List([DiTBlock(config, rngs=rngs) for _ in range(config.depth)])
        self.modulation = linear(config.hidden, 2 * config.hidden, zeros)
        self.out = linear(config.hidden, area * config.out_channels, zeros)

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> Float[Array, "b *o"]:
        """Evaluate the network; see ``Backbone``.

        Args:
            x: ``(batch, height, width, in_channels)``, both sizes divisible by ``patch``.
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
        _, height, width, _ = x.shape
        if height % config.patch or width % config.patch:
            raise ValueError(f"height and width must be divisible by {config.patch}, got {height} and {width}")

        def embedding(block: DiTBlock) -> Vector:
            embed = block.embed if self.embed is None else self.embed
            assert embed is not None
            return nnx.silu(embed(t, labels))

        def run(block: DiTBlock, h: Tokens, _: None) -> tuple[Tokens, None]:
            return block(h, c if block.embed is None else embedding(block), deterministic=deterministic), None

        labels = resolve_labels(cond, config.num_classes, x.shape[0])
        c = embedding(self.blocks[0])
        rows, columns = height // config.patch, width // config.patch
        base = None if config.sample_size is None else config.sample_size // config.patch
        h = self.stem(patchify(x, config.patch))
        h = h + jnp.asarray(sincos_2d(config.hidden, rows, columns, base=base)[None], h.dtype)
        h, _ = apply_blocks(run, self.blocks, h, [None] * len(self.blocks), remat=config.remat, scan=config.scan)
        shift, scale = jnp.split(self.modulation(c), 2, axis=-1)
        _, h = adaln(h, scale, shift)
        return unpatchify(self.out(h), config.patch, height, width).astype(x.dtype)
