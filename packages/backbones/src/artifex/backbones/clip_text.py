"""CLIP's text encoder, of Stable Diffusion 1, 2, XL and 3."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from artifex.backbones.base import Tokens, check_ids, check_types
from artifex.backbones.embeddings import XAVIER
from artifex.backbones.layers import Linear, gelu
from artifex.kernels import attention
from artifex.kernels.ranges import check_positive, check_whole

Ids = Int[Array, "b n"]
Mask = Int[Array, "b n"] | Bool[Array, "b n"]


@dataclass(frozen=True)
class CLIPTextConfig:
    r"""Configuration of a ``CLIPText``, by default that of Stable Diffusion 1.

    Attributes:
        vocab_size: number of different ids.
        max_length: most tokens of a text.
        hidden: width of a token, a multiple of ``heads``.
        mlp_hidden: width of the hidden layer of each MLP.
        depth: number of layers.
        heads: attention heads.
        activation: of the MLPs: ``"quick_gelu"``, $x\,\sigma(1.702 x)$, or ``"gelu"``, the exact one.
        projection: length of the pooled vector after a projection; None is ``hidden``, without one.
        end_id: id of the end of a text. 2 stands for the largest id of the text, whichever it is: transformers'
            published configs have this number in place of that of the vocabulary.
        epsilon: of the layer norms.
        dtype: dtype of the computation.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: if a field is out of range.
    """

    vocab_size: int = 49408
    max_length: int = 77
    hidden: int = 768
    mlp_hidden: int = 3072
    depth: int = 12
    heads: int = 12
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    projection: int | None = None
    end_id: int = 2
    epsilon: float = 1e-5
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("vocab_size", "max_length", "hidden", "mlp_hidden", "depth", "heads"):
            check_whole(name, getattr(self, name), 1)
        if self.projection is not None:
            check_whole("projection", self.projection, 1)
        check_whole("end_id", self.end_id, 0)
        check_positive("epsilon", self.epsilon)
        if self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden = {self.hidden}, got {self.heads}")
        if self.activation not in ("quick_gelu", "gelu"):
            raise ValueError(f"activation must be 'quick_gelu' or 'gelu', got {self.activation!r}")

    @classmethod
    def vit_l_14(cls) -> "CLIPTextConfig":
        """OpenAI's ViT-L/14, 123M parameters: Stable Diffusion 1, and the first encoder of XL."""
        return cls()

    @classmethod
    def open_clip_h(cls) -> "CLIPTextConfig":
        """OpenCLIP's ViT-H/14 without its last layer, 340M parameters: Stable Diffusion 2."""
        return cls(hidden=1024, mlp_hidden=4096, depth=23, heads=16, activation="gelu")

    @classmethod
    def open_clip_big_g(cls) -> "CLIPTextConfig":
        """OpenCLIP's ViT-bigG/14, 695M parameters: the second encoder of Stable Diffusion XL."""
        return cls(hidden=1280, mlp_hidden=5120, depth=32, heads=20, activation="gelu", projection=1280)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TextFeatures:
    """The output of a text encoder.

    Attributes:
        hidden: one vector per token, ``(batch, tokens, features)``.
        pooled: one vector for the whole text, ``(batch, features)``.
    """

    hidden: Tokens
    pooled: Float[Array, "b p"]


def _linear(config: CLIPTextConfig, inner: int, outer: int, rngs: nnx.Rngs, *, bias: bool = True) -> Linear:
    return Linear(
        inner, outer, use_bias=bias, kernel_init=XAVIER, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs
    )


def _norm(config: CLIPTextConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(
        config.hidden, epsilon=config.epsilon, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs
    )


class CLIPTextLayer(nnx.Module):
    r"""Causal self-attention and an MLP, each with a layer norm before it and a residual connection.

    $$x \mathrel{+}= \text{Self}(\text{LN} x),\quad x \mathrel{+}= W_2\,\phi(W_1\,\text{LN} x)$$
    """

    def __init__(self, config: CLIPTextConfig, *, rngs: nnx.Rngs) -> None:
        hidden = config.hidden
        self.heads, self.activation = config.heads, config.activation
        self.norm1, self.norm2 = _norm(config, rngs), _norm(config, rngs)
        self.qkv, self.out = _linear(config, hidden, 3 * hidden, rngs), _linear(config, hidden, hidden, rngs)
        self.mlp_in = _linear(config, hidden, config.mlp_hidden, rngs)
        self.mlp_out = _linear(config, config.mlp_hidden, hidden, rngs)

    def __call__(self, x: Tokens, mask: Bool[Array, "b 1 1 n"] | None) -> Tokens:
        """Apply the layer to ``x``; ``mask`` is False for keys that no token attends to."""
        b, n, c = x.shape
        q, k, v = jnp.split(self.qkv(self.norm1(x)).reshape(b, n, 3 * self.heads, c // self.heads), 3, axis=2)
        x = x + self.out(attention(q, k, v, mask=mask, is_causal=True).reshape(b, n, c))
        h = self.mlp_in(self.norm2(x))
        h = h * nnx.sigmoid(1.702 * h) if self.activation == "quick_gelu" else gelu(h, approximate=False)
        return x + self.mlp_out(h)


class CLIPText(nnx.Module):
    """A causal transformer over the tokens of a text, which gives a vector per token and one for the text.

    References: Radford et al. 2021, https://arxiv.org/abs/2103.00020
    """

    def __init__(self, config: CLIPTextConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        shape, param_dtype = (config.vocab_size, config.hidden), jnp.dtype(config.param_dtype)
        self.tokens = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), shape, param_dtype))
        shape = (config.max_length, config.hidden)
        self.positions = nnx.Param(nnx.initializers.normal(0.01)(rngs.params(), shape, param_dtype))
        self.layers = nnx.List([CLIPTextLayer(config, rngs=rngs) for _ in range(config.depth)])
        self.norm = _norm(config, rngs)
        self.project = (
            None if config.projection is None else _linear(config, config.hidden, config.projection, rngs, bias=False)
        )

    def __call__(self, ids: Ids, mask: Mask | None = None, *, skip: int = 0, norm: bool = True) -> TextFeatures:
        """Encode texts.

        Args:
            ids: ids of the tokens, ``(batch, tokens)``, at most ``max_length``.
            mask: zero or False for tokens, such as padding, that no token attends to; None is none. Stable Diffusion
                gives none.
            skip: number of last layers that ``hidden`` leaves out, from 0 to ``depth``: with ``skip=1`` it is the
                output of the penultimate layer, as in Stable Diffusion XL. It is diffusers' ``clip_skip``, and
                transformers' ``hidden_states[-(skip + 1)]``.
            norm: whether the final layer norm is applied to ``hidden``; Stable Diffusion XL does not apply it.

        Returns:
            ``hidden``, ``(batch, tokens, hidden)``, and ``pooled``, ``(batch, projection or hidden)``: the output of
            the last layer after the final layer norm at the first ``end_id``, or at the first token where there is
            none. Layers that only ``pooled`` needs are removed from a compiled function that does not use it.

        Raises:
            ValueError: if ``ids``, ``mask`` or ``skip`` is out of range.
        """
        config = self.config
        check_ids(ids, mask, config.vocab_size, config.max_length)
        check_whole("skip", skip, 0, config.depth)
        keys = None if mask is None else (mask != 0)[:, None, None]
        x = self.tokens[...][ids].astype(config.dtype) + self.positions[...][: ids.shape[1]].astype(config.dtype)
        hidden = x
        for layer, module in enumerate(self.layers, 1):
            x = module(x, keys)
            if layer == config.depth - skip:
                hidden = x
        end = jnp.argmax(ids if config.end_id == 2 else ids == config.end_id, axis=1)
        last = self.norm(x)
        pooled = jnp.take_along_axis(last, end[:, None, None], axis=1)[:, 0]
        if norm:
            hidden = self.norm(hidden) if skip else last
        return TextFeatures(hidden, pooled if self.project is None else self.project(pooled))
