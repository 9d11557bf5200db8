"""The multimodal diffusion transformer of Stable Diffusion 3."""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import (
    Constant,
    Heads,
    TextCondition,
    Time,
    Tokens,
    Vector,
    X,
    check_input,
    check_shape,
    check_types,
)
from artifex.backbones.block_stack import apply_blocks
from artifex.backbones.dit import patchify, unpatchify
from artifex.backbones.embeddings import XAVIER, TimeEmbedding, sincos_2d
from artifex.backbones.layers import Linear, gelu
from artifex.kernels import adaln, attention

Both = tuple[Tokens, Float[Array, "b m c"]]  # image and text
ZEROS = nnx.initializers.zeros_init()


@dataclass(frozen=True)
class MMDiTConfig:
    """Configuration of an ``MMDiT``, by default that of Stable Diffusion 3 medium.

    Attributes:
        in_channels: channels of ``x`` and of the output.
        patch: side of a patch; must divide the height and width of ``x``.
        heads: attention heads.
        head_dim: width of a head; the width of a token, ``heads * head_dim``, must be a multiple of 4.
        depth: number of blocks.
        context_features: length of the vectors of the text's tokens.
        pooled_features: length of the vector for the whole text.
        dual_layers: indices of the blocks with a second self-attention of the image (Stable Diffusion 3.5 medium).
        qk_norm: whether queries and keys are RMS-normalized per head (Stable Diffusion 3.5).
        max_size: patches per side in the table of positions, whose center is used for smaller images.
        sample_size: height and width of ``x`` in training, to whose span the positions are scaled.
        remat: recompute every block in the backward pass instead of keeping its intermediates.
        scan: trace equal blocks once, which makes the program smaller, not faster; see
            ``artifex.backbones.block_stack.apply_blocks``.
        dtype: dtype of the computation.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: if a field is out of range.
    """

    in_channels: int = 16
    patch: int = 2
    heads: int = 24
    head_dim: int = 64
    depth: int = 24
    context_features: int = 4096
    pooled_features: int = 2048
    dual_layers: tuple[int, ...] = ()
    qk_norm: bool = False
    max_size: int = 192
    sample_size: int = 128
    remat: bool = False
    scan: bool = False
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("in_channels", "patch", "heads", "head_dim", "depth", "context_features", "pooled_features"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.hidden % 4:
            raise ValueError(f"heads * head_dim must be a multiple of 4, got {self.hidden}")
        if self.max_size < 1 or self.sample_size < self.patch:
            raise ValueError(
                f"max_size must be at least 1 and sample_size at least patch = {self.patch}, "
                f"got {self.max_size} and {self.sample_size}"
            )
        if any(not 0 <= layer < self.depth for layer in self.dual_layers):
            raise ValueError(f"dual_layers must be in [0, {self.depth - 1}], got {self.dual_layers}")

    @property
    def hidden(self) -> int:
        """Width of a token."""
        return self.heads * self.head_dim

    @classmethod
    def sd3_medium(cls) -> "MMDiTConfig":
        """Stable Diffusion 3 medium, 2.0B parameters."""
        return cls()

    @classmethod
    def sd35_medium(cls) -> "MMDiTConfig":
        """Stable Diffusion 3.5 medium, 2.2B parameters."""
        return cls(dual_layers=tuple(range(13)), qk_norm=True, max_size=384)

    @classmethod
    def sd35_large(cls) -> "MMDiTConfig":
        """Stable Diffusion 3.5 large, 8.1B parameters."""
        return cls(heads=38, depth=38, qk_norm=True)


def _linear(config: MMDiTConfig, inner: int, outer: int, rngs: nnx.Rngs, init: nnx.Initializer = XAVIER) -> Linear:
    return Linear(inner, outer, kernel_init=init, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs)


def _positions(config: MMDiTConfig) -> Float[Array, "1 n c"]:
    """``sincos_2d`` of ``max_size`` rows and columns, broadcast from one row and one column in the traced program."""
    n, half, base = config.max_size, config.hidden // 2, config.sample_size // config.patch
    along = jnp.asarray(sincos_2d(config.hidden, 1, n, base=base)[:, :half], config.param_dtype)
    down = jnp.asarray(sincos_2d(config.hidden, n, 1, base=base)[:, half:], config.param_dtype)
    table = [jnp.broadcast_to(along, (n, n, half)), jnp.broadcast_to(down[:, None], (n, n, half))]
    return jnp.concatenate(table, axis=-1).reshape(1, n * n, 2 * half)


class QKVProjection(nnx.Module):
    """The projections of the image or of the text in a joint attention: queries, keys, values, and the output."""

    def __init__(self, config: MMDiTConfig, *, out: bool = True, rngs: nnx.Rngs) -> None:
        def norm() -> nnx.RMSNorm | None:
            if not config.qk_norm:
                return None
            return nnx.RMSNorm(
                config.head_dim, epsilon=1e-6, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs
            )

        hidden = config.hidden
        self.heads = config.heads
        self.qkv = _linear(config, hidden, 3 * hidden, rngs)
        self.norm_q, self.norm_k = norm(), norm()
        self.out = _linear(config, hidden, hidden, rngs) if out else None

    def __call__(self, x: Tokens) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values per head."""
        b, n, c = x.shape
        q, k, v = (part.reshape(b, n, self.heads, c // self.heads) for part in jnp.split(self.qkv(x), 3, axis=-1))
        if self.norm_q is not None and self.norm_k is not None:
            q, k = self.norm_q(q), self.norm_k(k)
        return q, k, v

    def merge_heads(self, heads: Heads) -> Tokens:
        """The output projection of the concatenated heads."""
        tokens = heads.reshape(*heads.shape[:2], -1)
        return tokens if self.out is None else self.out(tokens)


class FeedForward(nnx.Module):
    """Two linear layers with a GELU in between."""

    def __init__(self, config: MMDiTConfig, *, rngs: nnx.Rngs) -> None:
        self.proj_in = _linear(config, config.hidden, 4 * config.hidden, rngs)
        self.proj_out = _linear(config, 4 * config.hidden, config.hidden, rngs)

    def __call__(self, x: Tokens) -> Tokens:
        """Apply both layers."""
        return self.proj_out(gelu(self.proj_in(x), approximate=True))


class MMDiTBlock(nnx.Module):
    """Joint attention over image and text, with separate weights, norms, gates and MLPs; see ``DiTBlock``.

    In the last block the text is used for keys and values only.
    """

    def __init__(self, config: MMDiTConfig, layer: int, *, rngs: nnx.Rngs) -> None:
        last, dual = layer == config.depth - 1, layer in config.dual_layers
        hidden = config.hidden
        self.skip = False  # see artifex.backbones.perturbed
        self.modulation = _linear(config, hidden, (9 if dual else 6) * hidden, rngs, ZEROS)
        self.text_modulation = _linear(config, hidden, (2 if last else 6) * hidden, rngs, ZEROS)
        self.image, self.text = QKVProjection(config, rngs=rngs), QKVProjection(config, out=not last, rngs=rngs)
        self.dual = QKVProjection(config, rngs=rngs) if dual else None
        self.mlp = FeedForward(config, rngs=rngs)
        self.text_mlp = None if last else FeedForward(config, rngs=rngs)

    def __call__(self, x: Tokens, text: Float[Array, "b m c"], c: Vector) -> Both:
        """Apply the block to ``x`` and ``text`` under the condition ``c``, already passed through a SiLU."""
        if self.skip:
            return x, text
        parts = jnp.split(self.modulation(c), 6 if self.dual is None else 9, axis=-1)
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp, *dual = parts
        modulation = jnp.split(self.text_modulation(c), 2 if self.text_mlp is None else 6, axis=-1)
        shift, scale = modulation[:2] if self.text_mlp is not None else modulation[::-1]
        qkv = zip(self.image(adaln(x, scale_msa, shift_msa)[1]), self.text(adaln(text, scale, shift)[1]), strict=True)
        attended = attention(*(jnp.concatenate(pair, axis=1) for pair in qkv))
        n = x.shape[1]
        branch, gate = self.image.merge_heads(attended[:, :n]), gate_msa
        if self.dual is not None:
            shift_dual, scale_dual, gate_dual = dual
            again = attention(*self.dual(adaln(x, scale_dual, shift_dual)[1]))
            x, branch, gate = x + gate[:, None] * branch, self.dual.merge_heads(again), gate_dual
        x, y = adaln(x, scale_mlp, shift_mlp, branch=branch, gate=gate)
        x = x + gate_mlp[:, None] * self.mlp(y)
        if self.text_mlp is None:
            return x, text
        gate, shift, scale, mlp_gate = modulation[2:]
        text, y = adaln(text, scale, shift, branch=self.text.merge_heads(attended[:, n:]), gate=gate)
        return x, text + mlp_gate[:, None] * self.text_mlp(y)


class MMDiT(nnx.Module):
    """A transformer over patches and text tokens, conditioned on the time and the pooled text by adaLN-Zero.

    Its output is exactly 0 before training.

    References: Esser et al. 2024, https://arxiv.org/abs/2403.03206
    """

    def __init__(self, config: MMDiTConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        hidden, area = config.hidden, config.patch**2
        self.stem = _linear(config, area * config.in_channels, hidden, rngs)
        self.positions = Constant(_positions(config))
        self.embed = TimeEmbedding(
            256,
            hidden,
            None,
            cosine_first=True,
            freq_shift=0.0,
            std=0.02,
            dtype=config.dtype,
            param_dtype=config.param_dtype,
            rngs=rngs,
        )
        self.pooled_first = _linear(config, config.pooled_features, hidden, rngs)
        self.pooled_second = _linear(config, hidden, hidden, rngs)
        self.context = _linear(config, config.context_features, hidden, rngs)
        self.blocks = nnx.List([MMDiTBlock(config, layer, rngs=rngs) for layer in range(config.depth)])
        self.modulation = _linear(config, hidden, 2 * hidden, rngs, ZEROS)
        self.out = _linear(config, hidden, area * config.in_channels, rngs, ZEROS)

    def __call__(self, x: X, t: Time, cond: TextCondition | None = None, *, deterministic: bool = True) -> X:
        """Evaluate the network.

        Args:
            x: ``(batch, height, width, in_channels)``, both sizes divisible by ``patch`` and at most
                ``max_size * patch``.
            t: ``(batch,)``, from 0 to 1000.
            cond: the text, with ``pooled`` and without ``ids``.
            deterministic: ignored, as there is no dropout.

        Returns:
            An array of the shape and dtype of ``x``.

        Raises:
            ValueError: if ``x``, ``t`` or an array of ``cond`` has the wrong shape or is missing.
        """
        config = self.config
        check_input(x, t, 4, config.in_channels)
        batch, height, width, _ = x.shape
        rows, columns = height // config.patch, width // config.patch
        if height % config.patch or width % config.patch or max(rows, columns) > config.max_size:
            raise ValueError(
                f"height and width must be divisible by {config.patch} and at most {config.patch * config.max_size}, "
                f"got {height} and {width}"
            )
        if cond is None or cond.ids is not None:
            raise ValueError(f"cond must be a TextCondition without ids, got {cond if cond is None else 'ids'}")
        context = check_shape("context", cond.context, (batch, None, config.context_features))
        pooled = check_shape("pooled", cond.pooled, (batch, config.pooled_features))

        def run(block: MMDiTBlock, both: Both, _: None) -> tuple[Both, None]:
            return block(*both, c), None

        c = nnx.silu(self.embed(t) + self.pooled_second(nnx.silu(self.pooled_first(pooled))))
        text = self.context(context)
        top, left = (config.max_size - rows) // 2, (config.max_size - columns) // 2
        table = self.positions[...].reshape(config.max_size, config.max_size, config.hidden)
        positions = table[top : top + rows, left : left + columns].reshape(1, rows * columns, config.hidden)
        h = self.stem(patchify(x, config.patch))
        h = h + positions.astype(h.dtype)
        (h, _), _ = apply_blocks(
            run, self.blocks, (h, text), [None] * len(self.blocks), remat=config.remat, scan=config.scan
        )
        scale, shift = jnp.split(self.modulation(c), 2, axis=-1)
        return unpatchify(self.out(adaln(h, scale, shift)[1]), config.patch, height, width).astype(x.dtype)
