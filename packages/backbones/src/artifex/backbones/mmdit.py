"""The multimodal diffusion transformer of Stable Diffusion 3: text and image in one attention, with weights of each."""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import Constant, TextCondition, Time, X, check_input, check_kinds, check_part
from artifex.backbones.blocks import Linear, Tokens, Vector, gelu
from artifex.backbones.dit import patchify, unpatchify
from artifex.backbones.embeddings import XAVIER, TimeEmbedding, sincos_2d
from artifex.backbones.layers import through
from artifex.kernels import adaln, attention

Both = tuple[Tokens, Float[Array, "b m c"]]  # image and text
Heads = Float[Array, "b n heads d"]
ZEROS = nnx.initializers.zeros_init()


@dataclass(frozen=True)
class MMDiTConfig:
    """The shape of an `MMDiT`, by default that of Stable Diffusion 3 medium.

    Attributes:
        in_channels: Channels of ``x`` and of the output.
        patch: Side of a patch; divides the height and width of ``x``.
        heads: Attention heads.
        head_dim: Width of a head; a token has ``heads * head_dim``, a multiple of 4.
        depth: Number of blocks.
        context_features: Length of the text's vectors.
        pooled_features: Length of the vector of the whole text.
        dual_layers: Blocks in which the image attends to itself once more (Stable Diffusion 3.5 medium).
        qk_norm: Queries and keys are RMS-normalised by head (Stable Diffusion 3.5).
        max_size: Patches a side in the table of positions, whose centre is used for smaller images.
        sample_size: Height and width of ``x`` in training: the table spans what a table of this size would.
        remat: Recompute every block in the backward pass rather than keep what is inside it.
        scan: Trace blocks that are alike once, not one by one: a smaller program, no faster one; see
            `artifex.backbones.layers.through`.
        dtype: What is computed in.
        param_dtype: What parameters are kept in.

    Raises:
        ValueError: If a field is out of its range.
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
        check_kinds(self)
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
    """`sincos_2d` of ``max_size`` rows and columns, from one row and one column of it: the whole is hundreds of MB."""
    n, half, base = config.max_size, config.hidden // 2, config.sample_size // config.patch
    along = jnp.asarray(sincos_2d(config.hidden, 1, n, base=base)[:, :half], config.param_dtype)
    down = jnp.asarray(sincos_2d(config.hidden, n, 1, base=base)[:, half:], config.param_dtype)
    table = [jnp.broadcast_to(along, (n, n, half)), jnp.broadcast_to(down[:, None], (n, n, half))]
    return jnp.concatenate(table, axis=-1).reshape(1, n * n, 2 * half)


class Projection(nnx.Module):
    """Queries, keys and values of one kind of tokens, and what mixes the heads again."""

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
        """Queries, keys and values by head."""
        b, n, c = x.shape
        q, k, v = (part.reshape(b, n, self.heads, c // self.heads) for part in jnp.split(self.qkv(x), 3, axis=-1))
        if self.norm_q is not None and self.norm_k is not None:
            q, k = self.norm_q(q), self.norm_k(k)
        return q, k, v

    def mix(self, heads: Heads) -> Tokens:
        """Tokens from what their heads found."""
        tokens = heads.reshape(*heads.shape[:2], -1)
        return tokens if self.out is None else self.out(tokens)


class MLP(nnx.Module):
    """Two layers with a GELU between them."""

    def __init__(self, config: MMDiTConfig, *, rngs: nnx.Rngs) -> None:
        self.expand = _linear(config, config.hidden, 4 * config.hidden, rngs)
        self.contract = _linear(config, 4 * config.hidden, config.hidden, rngs)

    def __call__(self, x: Tokens) -> Tokens:
        """Apply both."""
        return self.contract(gelu(self.expand(x), approximate=True))


class MMDiTBlock(nnx.Module):
    """One attention over image and text together; norms, gates and MLPs of each its own, as in a `DiTBlock`.

    In the last block the text only gives keys and values, and nothing of it goes on.
    """

    def __init__(self, config: MMDiTConfig, layer: int, *, rngs: nnx.Rngs) -> None:
        last, dual = layer == config.depth - 1, layer in config.dual_layers
        hidden = config.hidden
        self.skip = False  # see `perturbed`
        self.modulation = _linear(config, hidden, (9 if dual else 6) * hidden, rngs, ZEROS)
        self.text_modulation = _linear(config, hidden, (2 if last else 6) * hidden, rngs, ZEROS)
        self.image, self.text = Projection(config, rngs=rngs), Projection(config, out=not last, rngs=rngs)
        self.alone = Projection(config, rngs=rngs) if dual else None
        self.mlp = MLP(config, rngs=rngs)
        self.text_mlp = None if last else MLP(config, rngs=rngs)

    def __call__(self, x: Tokens, text: Float[Array, "b m c"], c: Vector) -> Both:
        """Apply the block to the image ``x`` and the ``text`` under the condition ``c``, already through a SiLU."""
        if self.skip:
            return x, text
        b1, s1, g1, b2, s2, g2, *rest = jnp.split(self.modulation(c), 6 if self.alone is None else 9, axis=-1)
        modulation = jnp.split(self.text_modulation(c), 2 if self.text_mlp is None else 6, axis=-1)
        shift, scale = modulation[:2] if self.text_mlp is not None else modulation[::-1]
        parts = zip(self.image(adaln(x, s1, b1)[1]), self.text(adaln(text, scale, shift)[1]), strict=True)
        found = attention(*(jnp.concatenate(pair, axis=1) for pair in parts))
        n = x.shape[1]
        branch, gate = self.image.mix(found[:, :n]), g1
        if self.alone is not None:
            alone = self.alone.mix(attention(*self.alone(adaln(x, rest[1], rest[0])[1])))
            x, branch, gate = x + gate[:, None] * branch, alone, rest[2]
        x, y = adaln(x, s2, b2, branch=branch, gate=gate)
        x = x + g2[:, None] * self.mlp(y)
        if self.text_mlp is None:
            return x, text
        gate, shift, scale, mlp_gate = modulation[2:]
        text, y = adaln(text, scale, shift, branch=self.text.mix(found[:, n:]), gate=gate)
        return x, text + mlp_gate[:, None] * self.text_mlp(y)


class MMDiT(nnx.Module):
    """A transformer over patches and words, told the time and the whole text by adaLN-Zero.

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
            x: ``(batch, height, width, in_channels)``, both sizes divisible by ``patch`` and of at most ``max_size``
                patches.
            t: ``(batch,)``, from 0 to 1000.
            cond: The text, with its ``pooled`` vector and without ``ids``.
            deterministic: Without effect: there is no dropout.

        Returns:
            An array of the shape and dtype of ``x``.

        Raises:
            ValueError: If ``x``, ``t`` or a part of ``cond`` has another shape, or one that is needed is None.
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
        context = check_part("context", cond.context, (batch, None, config.context_features))
        pooled = check_part("pooled", cond.pooled, (batch, config.pooled_features))

        def run(block: MMDiTBlock, both: Both, _: None) -> tuple[Both, None]:
            return block(*both, c), None

        c = nnx.silu(self.embed(t) + self.pooled_second(nnx.silu(self.pooled_first(pooled))))
        text = self.context(context)
        top, left = (config.max_size - rows) // 2, (config.max_size - columns) // 2
        table = self.positions[...].reshape(config.max_size, config.max_size, config.hidden)
        places = table[top : top + rows, left : left + columns].reshape(1, rows * columns, config.hidden)
        h = self.stem(patchify(x, config.patch))
        h = h + places.astype(h.dtype)
        (h, _), _ = through(
            run, self.blocks, (h, text), [None] * len(self.blocks), remat=config.remat, scan=config.scan
        )
        scale, shift = jnp.split(self.modulation(c), 2, axis=-1)
        return unpatchify(self.out(adaln(h, scale, shift)[1]), config.patch, height, width).astype(x.dtype)
