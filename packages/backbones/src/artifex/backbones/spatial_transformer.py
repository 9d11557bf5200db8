"""Transformer blocks over the positions of an image, with cross-attention to a context, as in latent diffusion."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from artifex.backbones.base import Context, Image, Tokens
from artifex.backbones.embeddings import XAVIER
from artifex.backbones.layers import CrossAttention, GroupNorm, SelfAttention


class TransformerBlock(nnx.Module):
    r"""Self-attention, cross-attention and a gated MLP, each with a layer norm before it and a residual connection.

    $$x \mathrel{+}= \text{Self}(\text{LN} x),\quad x \mathrel{+}= \text{Cross}(\text{LN} x, c),\quad
      x \mathrel{+}= W_2\,(u \odot \text{gelu}(g)),\ (u, g) = W_1\,\text{LN} x$$
    """

    def __init__(
        self,
        features: int,
        context_features: int,
        heads: int,
        *,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        def linear(inner: int, outer: int) -> nnx.Linear:
            return nnx.Linear(inner, outer, kernel_init=XAVIER, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

        def norm() -> nnx.LayerNorm:
            return nnx.LayerNorm(features, epsilon=1e-5, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

        self.norm1, self.norm2, self.norm3 = norm(), norm(), norm()
        self.attention = SelfAttention(features, heads, bias=False, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.cross_attention = CrossAttention(
            features, context_features, heads, dtype=dtype, param_dtype=param_dtype, rngs=rngs
        )
        self.mlp_in, self.mlp_out = linear(features, 8 * features), linear(4 * features, features)

    def __call__(self, x: Tokens, context: Context) -> Tokens:
        """Apply the block to ``x`` under ``context``."""
        x = x + self.attention(self.norm1(x))
        x = x + self.cross_attention(self.norm2(x), context)
        up, gate = jnp.split(self.mlp_in(self.norm3(x)), 2, axis=-1)
        return x + self.mlp_out(up * nnx.gelu(gate, approximate=False))


class SpatialTransformer(nnx.Module):
    """Transformer blocks over the positions of an image, between two projections; the identity at first.

    References: Rombach et al. 2021, https://arxiv.org/abs/2112.10752
    """

    def __init__(
        self,
        channels: int,
        context_features: int,
        heads: int,
        depth: int,
        *,
        groups: int,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        def linear(init: nnx.Initializer) -> nnx.Linear:
            return nnx.Linear(channels, channels, kernel_init=init, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

        self.norm = GroupNorm(channels, groups, dtype=dtype, param_dtype=param_dtype)
        self.proj_in = linear(XAVIER)
        self.blocks = nnx.List(
            [
                TransformerBlock(channels, context_features, heads, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
                for _ in range(depth)
            ]
        )
        self.proj_out = linear(nnx.initializers.zeros_init())

    def __call__(self, x: Image, context: Context) -> Image:
        """Attend within ``x`` and to ``context``."""
        b, h, w, c = x.shape
        tokens = self.proj_in(self.norm(x).reshape(b, h * w, c))
        for block in self.blocks:
            tokens = block(tokens, context)
        return x + self.proj_out(tokens).reshape(x.shape)
