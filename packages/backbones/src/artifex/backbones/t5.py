"""The encoders of T5 v1.1 and UMT5, of Stable Diffusion 3 and Flux, and of AuraFlow and Wan."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from artifex.backbones.base import Tokens, check_ids, check_types
from artifex.backbones.layers import Linear, gelu
from artifex.kernels import attention
from artifex.kernels.dtypes import accumulation_dtype
from artifex.kernels.ranges import check_positive, check_whole

Ids = Int[Array, "b n"]
Mask = Int[Array, "b n"] | Bool[Array, "b n"]
Bias = Float[Array, "1 h n n"]


@dataclass(frozen=True)
class T5Config:
    r"""Configuration of a ``T5Encoder``, by default that of T5 v1.1 XXL.

    Attributes:
        vocab_size: number of different ids.
        hidden: width of a token.
        mlp_hidden: width of the hidden layer of each MLP.
        depth: number of layers.
        heads: attention heads.
        head_dim: width of a head; ``heads * head_dim`` need not be ``hidden``.
        feed_forward: ``"gated-gelu"`` is $W_o(\text{gelu}(W_0 x) \odot W_1 x)$ with the approximation of the GELU by
            tanh; ``"relu"``, of the first T5, is $W_o\,\text{relu}(W x)$.
        buckets: number of relative positions that are distinguished, even and at least 4.
        max_distance: distance from which all are one bucket, above ``buckets / 4``.
        bias_per_layer: whether each layer has its own table of relative positions (UMT5), or all the same (T5).
        epsilon: of the norms.
        dtype: dtype of the computation.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: if a field is out of range.
    """

    vocab_size: int = 32128
    hidden: int = 4096
    mlp_hidden: int = 10240
    depth: int = 24
    heads: int = 64
    head_dim: int = 64
    feed_forward: Literal["gated-gelu", "relu"] = "gated-gelu"
    buckets: int = 32
    max_distance: int = 128
    bias_per_layer: bool = False
    epsilon: float = 1e-6
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("vocab_size", "hidden", "mlp_hidden", "depth", "heads", "head_dim"):
            check_whole(name, getattr(self, name), 1)
        check_whole("buckets", self.buckets, 4)
        if self.buckets % 2:
            raise ValueError(f"buckets must be even, got {self.buckets}")
        check_whole("max_distance", self.max_distance, self.buckets // 4 + 1)
        check_positive("epsilon", self.epsilon)
        if self.feed_forward not in ("gated-gelu", "relu"):
            raise ValueError(f"feed_forward must be 'gated-gelu' or 'relu', got {self.feed_forward!r}")

    @classmethod
    def t5_v1_1_small(cls) -> "T5Config":
        """T5 v1.1 small, 35M parameters."""
        return cls(hidden=512, mlp_hidden=1024, depth=8, heads=6)

    @classmethod
    def t5_v1_1_base(cls) -> "T5Config":
        """T5 v1.1 base, 110M parameters."""
        return cls(hidden=768, mlp_hidden=2048, depth=12, heads=12)

    @classmethod
    def t5_v1_1_large(cls) -> "T5Config":
        """T5 v1.1 large, 341M parameters."""
        return cls(hidden=1024, mlp_hidden=2816, depth=24, heads=16)

    @classmethod
    def t5_v1_1_xl(cls) -> "T5Config":
        """T5 v1.1 XL, 1.2B parameters."""
        return cls(hidden=2048, mlp_hidden=5120, heads=32)

    @classmethod
    def t5_v1_1_xxl(cls) -> "T5Config":
        """T5 v1.1 XXL, 4.8B parameters: Stable Diffusion 3, Flux, PixArt."""
        return cls()

    @classmethod
    def umt5_small(cls) -> "T5Config":
        """UMT5 small, 150M parameters."""
        return cls(vocab_size=256384, hidden=512, mlp_hidden=1024, depth=8, heads=6, bias_per_layer=True)

    @classmethod
    def umt5_xxl(cls) -> "T5Config":
        """UMT5 XXL, 5.7B parameters: Wan."""
        return cls(vocab_size=256384, bias_per_layer=True)


def position_buckets(n: int, buckets: int, max_distance: int) -> Int[np.ndarray, " o"]:
    r"""Buckets of the relative positions $-(n-1) \dots n-1$ of a key to a token.

    Of the $B$ = ``buckets`` / 2 of each sign, the first $B/2$ are one distance each, the others spaced logarithmically:

    $$\frac B2 + \left\lfloor \frac B2\,\frac{\log(2d/B)}{\log(2D/B)} \right\rfloor,\quad D = \text{max\_distance},$$

    at most $B - 1$. Keys after the token have the second half of the buckets.
    """
    offsets = np.arange(1 - n, n)
    half, exact = buckets // 2, buckets // 4
    distance = np.abs(offsets)
    ratio = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))  # rounded as in PyTorch
    wide = exact + (ratio / np.float32(np.log(max_distance / exact)) * np.float32(half - exact)).astype(np.int32)
    found = np.where(distance < exact, distance, np.minimum(wide, half - 1))
    return np.asarray(found + half * (offsets > 0), np.int32)


def relative_bias(table: Float[Array, "buckets h"], n: int, max_distance: int) -> Bias:
    """The bias of the scores of ``n`` tokens: the entry of ``table`` for the bucket of each relative position."""
    wide = accumulation_dtype(table.dtype)
    by_offset = table[position_buckets(n, table.shape[0], max_distance)].astype(wide)
    tokens = jnp.arange(n)
    return jnp.transpose(by_offset[tokens[None] - tokens[:, None] + n - 1], (2, 0, 1))[None]


class RMSNorm(nnx.Module):
    r"""$\gamma\, x / \sqrt{\overline{x^2} + \epsilon}$ over the last axis, in float32 at least.

    References: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
    """

    def __init__(self, config: T5Config) -> None:
        self.scale = nnx.Param(jnp.ones((config.hidden,), config.param_dtype))
        self.epsilon, self.dtype = config.epsilon, config.dtype

    def __call__(self, x: Tokens) -> Tokens:
        """Normalize ``x``, which may be of a wider dtype than the output."""
        power = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
        return (x * jax.lax.rsqrt(power + self.epsilon) * self.scale[...].astype(x.dtype)).astype(self.dtype)


def _linear(config: T5Config, inner: int, outer: int, rngs: nnx.Rngs, *, wide: bool = False) -> Linear:
    """A matrix, with ``wide`` for a product in float32 at least."""
    return Linear(
        inner,
        outer,
        use_bias=False,
        kernel_init=nnx.initializers.normal(inner**-0.5),
        dtype=config.dtype,
        param_dtype=config.param_dtype,
        preferred_element_type=accumulation_dtype(config.dtype) if wide else None,
        rngs=rngs,
    )


def _table(config: T5Config, rngs: nnx.Rngs) -> nnx.Param[Array]:
    init = nnx.initializers.normal(config.hidden**-0.5)
    return nnx.Param(init(rngs.params(), (config.buckets, config.heads), jnp.dtype(config.param_dtype)))


class T5Layer(nnx.Module):
    r"""Self-attention with a bias by relative position and a feed-forward network, each after a norm.

    $$x \mathrel{+}= W_o\,\text{softmax}(QK^\top + B)V,\quad x \mathrel{+}= \text{FF}(\text{norm}(x))$$

    The scores are not divided by $\sqrt d$. The sum of both branches is kept in float32, as float16 overflows.
    """

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs) -> None:
        hidden, inner, mlp_hidden = config.hidden, config.heads * config.head_dim, config.mlp_hidden
        gated = config.feed_forward == "gated-gelu"
        self.heads, self.head_dim, self.max_distance = config.heads, config.head_dim, config.max_distance
        self.norm1, self.norm2 = RMSNorm(config), RMSNorm(config)
        self.qkv, self.out = _linear(config, hidden, 3 * inner, rngs), _linear(config, inner, hidden, rngs, wide=True)
        self.bias_table = _table(config, rngs) if config.bias_per_layer else None
        self.gate_in = _linear(config, hidden, 2 * mlp_hidden, rngs) if gated else None
        self.mlp_in = None if gated else _linear(config, hidden, mlp_hidden, rngs)
        self.mlp_out = _linear(config, mlp_hidden, hidden, rngs, wide=True)

    def __call__(self, x: Tokens, bias: Bias | None, mask: Bool[Array, "b 1 1 n"] | None) -> Tokens:
        """Apply the layer to ``x`` with the ``bias`` that all layers share, if they do."""
        b, n, _ = x.shape
        if self.bias_table is not None:
            bias = relative_bias(self.bias_table[...], n, self.max_distance)
        q, k, v = jnp.split(self.qkv(self.norm1(x)).reshape(b, n, 3 * self.heads, self.head_dim), 3, axis=2)
        x = x + self.out(attention(q, k, v, bias=bias, mask=mask, scale=1.0).reshape(b, n, -1))
        return x + self.mlp_out(self._activated(self.norm2(x)))

    def _activated(self, x: Tokens) -> Float[Array, "b n f"]:
        """The hidden layer of the feed-forward network."""
        if self.gate_in is None:
            assert self.mlp_in is not None
            return nnx.relu(self.mlp_in(x))
        gate, up = jnp.split(self.gate_in(x), 2, axis=-1)
        return gelu(gate, approximate=True) * up


class T5Encoder(nnx.Module):
    """A transformer over the tokens of a text, whose attention is biased by relative positions.

    References: Raffel et al. 2019, https://arxiv.org/abs/1910.10683; Chung et al. 2023 (UMT5),
    https://arxiv.org/abs/2304.09151
    """

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs) -> None:
        self.config = config
        shape, param_dtype = (config.vocab_size, config.hidden), jnp.dtype(config.param_dtype)
        self.tokens = nnx.Param(nnx.initializers.normal(1.0)(rngs.params(), shape, param_dtype))
        self.bias_table = None if config.bias_per_layer else _table(config, rngs)
        self.layers = nnx.List([T5Layer(config, rngs=rngs) for _ in range(config.depth)])
        self.norm = RMSNorm(config)

    def __call__(self, ids: Ids, mask: Mask | None = None) -> Tokens:
        """Encode texts.

        Args:
            ids: ids of the tokens, ``(batch, tokens)``, any number of them.
            mask: zero or False for tokens, such as padding, that no token attends to; None is none. Stable Diffusion 3
                and Flux give none.

        Returns:
            One vector per token, ``(batch, tokens, hidden)``.

        Raises:
            ValueError: if ``ids`` or ``mask`` is out of range.
        """
        config = self.config
        check_ids(ids, mask, config.vocab_size, None)
        keys = None if mask is None else (mask != 0)[:, None, None]
        table = self.bias_table
        bias = None if table is None else relative_bias(table[...], ids.shape[1], config.max_distance)
        x = self.tokens[...][ids].astype(accumulation_dtype(config.dtype))
        for layer in self.layers:
            x = layer(x, bias, keys)
        out: Tokens = self.norm(x)
        return out
