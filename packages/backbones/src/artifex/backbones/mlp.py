"""A multilayer perceptron for points in low dimensions."""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from artifex.backbones.base import Label, Time, Vector, X, check_input, check_types, resolve_labels
from artifex.backbones.embeddings import XAVIER, TimeEmbedding


@dataclass(frozen=True)
class MLPConfig:
    """Configuration of an ``MLP``.

    Attributes:
        features: length of a point.
        hidden: width of the hidden layers, even and at least 4.
        depth: number of residual blocks.
        dropout: rate inside the blocks, in ``[0, 1)``.
        num_classes: number of labels, or None for no condition.
        dtype: dtype of the computation.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: if a field is out of range.
    """

    features: int = 2
    hidden: int = 128
    depth: int = 3
    dropout: float = 0.0
    num_classes: int | None = None
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("features", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.hidden < 4 or self.hidden % 2:
            raise ValueError(f"hidden must be even and at least 4, got {self.hidden}")
        if self.num_classes is not None and self.num_classes < 1:
            raise ValueError(f"num_classes must be None or at least 1, got {self.num_classes}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


class MLPBlock(nnx.Module):
    r"""$y = x + W_2\,\text{silu}(W_1\,\text{silu}(x) + W_c c)$, the identity at first."""

    def __init__(self, config: MLPConfig, *, rngs: nnx.Rngs) -> None:
        def linear(init: nnx.Initializer) -> nnx.Linear:
            return nnx.Linear(
                config.hidden,
                config.hidden,
                kernel_init=init,
                dtype=config.dtype,
                param_dtype=config.param_dtype,
                rngs=rngs,
            )

        self.first, self.emb, self.second = linear(XAVIER), linear(XAVIER), linear(nnx.initializers.zeros_init())
        self.dropout = nnx.Dropout(config.dropout, rngs=rngs) if config.dropout else None

    def __call__(self, x: Vector, emb: Vector, *, deterministic: bool = True) -> Vector:
        """Apply the block to ``x`` under the condition ``emb``."""
        h = nnx.silu(self.first(nnx.silu(x)) + self.emb(emb))
        if self.dropout is not None:
            h = self.dropout(h, deterministic=deterministic)
        return x + self.second(h)


class MLP(nnx.Module):
    """Residual blocks conditioned on time and label; the output is exactly 0 before training."""

    def __init__(self, config: MLPConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        dtype, param_dtype = config.dtype, config.param_dtype
        self.embed = TimeEmbedding(
            config.hidden, config.hidden, config.num_classes, dtype=dtype, param_dtype=param_dtype, rngs=rngs
        )
        self.stem = nnx.Linear(
            config.features, config.hidden, kernel_init=XAVIER, dtype=dtype, param_dtype=param_dtype, rngs=rngs
        )
        self.blocks = nnx.List([MLPBlock(config, rngs=rngs) for _ in range(config.depth)])
        zeros = nnx.initializers.zeros_init()
        self.out = nnx.Linear(
            config.hidden, config.features, kernel_init=zeros, dtype=dtype, param_dtype=param_dtype, rngs=rngs
        )

    def __call__(self, x: X, t: Time, cond: Label | None = None, *, deterministic: bool = True) -> X:
        """Evaluate the network; see ``Backbone``.

        Args:
            x: ``(batch, features)``.
            t: ``(batch,)``.
            cond: ``(batch,)`` labels, or None.
            deterministic: whether dropout is off.

        Returns:
            ``(batch, features)`` in the dtype of ``x``.

        Raises:
            ValueError: if ``x``, ``t`` or ``cond`` has the wrong shape, or a label is out of range.
        """
        check_input(x, t, 2, self.config.features)
        emb = nnx.silu(self.embed(t, resolve_labels(cond, self.config.num_classes, x.shape[0])))
        h = self.stem(x)
        for block in self.blocks:
            h = block(h, emb, deterministic=deterministic)
        return self.out(nnx.silu(h)).astype(x.dtype)
