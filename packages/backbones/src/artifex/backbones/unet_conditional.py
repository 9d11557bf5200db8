"""The U-Net of Stable Diffusion, conditioned on text by cross-attention."""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import TextCondition, Time, X, check_input, check_sample_size, check_shape, check_types
from artifex.backbones.embeddings import XAVIER, TimeEmbedding, timestep_embedding
from artifex.backbones.spatial_transformer import SpatialTransformer
from artifex.backbones.unet_core import UNetCore, check_divisible
from artifex.kernels.ranges import check_positive, check_whole


@dataclass(frozen=True)
class UNetConditionalConfig:
    """Configuration of a ``UNetConditional``, by default that of Stable Diffusion 1.

    Attributes:
        in_channels: channels of ``x``.
        out_channels: channels of the output; fewer than ``in_channels`` for inpainting.
        base_channels: channels at full resolution, before ``channel_mults``.
        channel_mults: channels of each level as multiples of ``base_channels``; each level halves the resolution.
        num_res_blocks: residual blocks per level on the way down; one more on the way up.
        depths: number of transformer blocks after each residual block, per level; 0 is no attention.
        middle_depth: number of transformer blocks in the middle.
        heads: attention heads per level; the middle has those of the last level.
        context_features: length of the vectors of the text's tokens.
        pooled_features: length of the vector for the whole text (SDXL), or None.
        ids: number of ids beside that vector, each embedded as ``id_features`` sinusoids; 0 if and only if
            ``pooled_features`` is None. The network concatenates both, and accepts a longer vector with fewer ids.
        id_features: sinusoids per id, even and at least 4.
        linear_projection: whether checkpoints store the projections around transformers as matrices (Stable Diffusion 2
            and later) or as 1x1 convolutions; the computation is the same.
        upcast_attention: a setting of PyTorch for attention in float32; here the softmax is always in float32.
        groups: groups of the group norms; must divide the channels of every level.
        scale_shift: see ``UNetConfig``.
        epsilon: added to the variance in the norms of the residual blocks.
        resample: see ``UNetConfig``.
        pad: see ``UNetConfig``.
        cosine_first: see ``timestep_embedding``.
        freq_shift: see ``timestep_embedding``.
        dropout: rate in the residual blocks, in ``[0, 1)``.
        sample_size: height and width of ``x`` in training, or one number for both; only a hint for sampling.
        remat: recompute every stage in the backward pass instead of keeping its intermediates.
        dtype: dtype of the computation.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: if a field is out of range.
    """

    in_channels: int = 4
    out_channels: int = 4
    base_channels: int = 320
    channel_mults: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    depths: tuple[int, ...] = (1, 1, 1, 0)
    middle_depth: int = 1
    heads: tuple[int, ...] = (8, 8, 8, 8)
    context_features: int = 768
    pooled_features: int | None = None
    ids: int = 0
    id_features: int = 256
    linear_projection: bool = False
    upcast_attention: bool = False
    groups: int = 32
    scale_shift: bool = False
    epsilon: float = 1e-5
    resample: Literal["conv", "pool", "block"] = "conv"
    pad: Literal["both", "after"] = "both"
    cosine_first: bool = True
    freq_shift: float = 0.0
    dropout: float = 0.0
    sample_size: int | tuple[int, int] | None = None
    remat: bool = False
    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("in_channels", "out_channels", "num_res_blocks", "middle_depth", "context_features", "groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.base_channels < 4 or self.base_channels % 2:
            raise ValueError(f"base_channels must be even and at least 4, got {self.base_channels}")
        if not self.freq_shift < self.base_channels / 2:
            raise ValueError(f"freq_shift must be below base_channels / 2, got {self.freq_shift}")
        if not self.channel_mults or min(self.channel_mults) < 1:
            raise ValueError(f"channel_mults must be positive and not empty, got {self.channel_mults}")
        levels = len(self.channel_mults)
        for name, least in (("depths", 0), ("heads", 1)):
            values = getattr(self, name)
            if len(values) != levels or min(values) < least:
                raise ValueError(f"{name} must be {levels} numbers of at least {least}, one per level, got {values}")
        if any(c % self.groups for c in self.channels):
            raise ValueError(f"groups must divide the channels {self.channels} of every level, got {self.groups}")
        attending = [level for level in range(levels) if self.depths[level] or level == levels - 1]
        if any(self.channels[level] % self.heads[level] for level in attending):
            raise ValueError(f"heads must divide the channels {self.channels} of their level, got {self.heads}")
        if self.pooled_features is not None and self.pooled_features < 1:
            raise ValueError(f"pooled_features must be None or at least 1, got {self.pooled_features}")
        check_whole("ids", self.ids, 0)
        if (self.pooled_features is None) != (self.ids == 0):
            raise ValueError(f"pooled_features and ids come together, got {self.pooled_features} and {self.ids}")
        if self.id_features < 4 or self.id_features % 2:
            raise ValueError(f"id_features must be even and at least 4, got {self.id_features}")
        if self.resample not in ("conv", "pool", "block"):
            raise ValueError(f"resample must be 'conv', 'pool' or 'block', got {self.resample!r}")
        if self.pad not in ("both", "after"):
            raise ValueError(f"pad must be 'both' or 'after', got {self.pad!r}")
        check_positive("epsilon", self.epsilon)
        check_sample_size(self.sample_size)
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.base_channels * mult for mult in self.channel_mults)

    @classmethod
    def sd_1(cls) -> "UNetConditionalConfig":
        """Stable Diffusion 1.x, 860M parameters."""
        return cls(sample_size=64)

    @classmethod
    def sd_2(cls) -> "UNetConditionalConfig":
        """Stable Diffusion 2.x, 866M parameters."""
        return cls(heads=(5, 10, 20, 20), context_features=1024, linear_projection=True, sample_size=96)

    @classmethod
    def sdxl(cls) -> "UNetConditionalConfig":
        """Stable Diffusion XL, 2.57B parameters."""
        return cls(
            channel_mults=(1, 2, 4),
            depths=(0, 2, 10),
            middle_depth=10,
            heads=(5, 10, 20),
            context_features=2048,
            pooled_features=1280,
            ids=6,
            linear_projection=True,
            sample_size=128,
        )


class PooledEmbedding(nnx.Module):
    """A two-layer MLP of the pooled text and the sinusoids of the ids."""

    def __init__(self, config: UNetConditionalConfig, pooled_features: int, *, rngs: nnx.Rngs) -> None:
        def linear(inner: int, outer: int) -> nnx.Linear:
            return nnx.Linear(
                inner, outer, kernel_init=XAVIER, dtype=config.dtype, param_dtype=config.param_dtype, rngs=rngs
            )

        features = 4 * config.base_channels
        self.config, self.pooled_features = config, pooled_features
        self.first = linear(pooled_features + config.ids * config.id_features, features)
        self.second = linear(features, features)

    def __call__(self, cond: TextCondition) -> Float[Array, "b e"]:
        """Embed ``pooled`` and ``ids`` of the condition.

        Raises:
            ValueError: if one of them is missing or their sizes do not add up to that of the input.
        """
        config, batch = self.config, cond.context.shape[0]
        pooled, ids = check_shape("pooled", cond.pooled, (batch, None)), check_shape("ids", cond.ids, (batch, None))
        if pooled.shape[1] + ids.shape[1] * config.id_features != self.first.in_features:
            raise ValueError(
                f"pooled and ids must have shapes {(batch, self.pooled_features)} and {(batch, config.ids)}, "
                f"got {pooled.shape} and {ids.shape}"
            )
        sinusoids = timestep_embedding(
            ids.reshape(-1), config.id_features, cosine_first=config.cosine_first, freq_shift=config.freq_shift
        )
        return self.second(nnx.silu(self.first(jnp.concatenate([pooled, sinusoids.reshape(batch, -1)], axis=-1))))


class UNetConditional(nnx.Module):
    """A U-Net with cross-attention to a text; its output is exactly 0 before training.

    References:
        Rombach et al. 2021, https://arxiv.org/abs/2112.10752; Podell et al. 2023, https://arxiv.org/abs/2307.01952
    """

    def __init__(self, config: UNetConditionalConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        dtype, param_dtype = config.dtype, config.param_dtype

        def attention_at(level: int | None, channels: int) -> SpatialTransformer | None:
            depth = config.middle_depth if level is None else config.depths[level]
            if depth == 0:
                return None
            heads = config.heads[-1 if level is None else level]
            return SpatialTransformer(
                channels,
                config.context_features,
                heads,
                depth,
                groups=config.groups,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )

        self.embed = TimeEmbedding(
            config.base_channels,
            4 * config.base_channels,
            None,
            cosine_first=config.cosine_first,
            freq_shift=config.freq_shift,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.pooled = (
            None if config.pooled_features is None else PooledEmbedding(config, config.pooled_features, rngs=rngs)
        )
        self.core = UNetCore(config, attention_at, rngs=rngs)

    def __call__(
        self, x: X, t: Time, cond: TextCondition | None = None, *, deterministic: bool = True
    ) -> Float[Array, "b *o"]:
        """Evaluate the network.

        Args:
            x: ``(batch, height, width, in_channels)``. With ``resample="conv"`` any size is allowed: it is rounded up
                (with ``pad="after"`` down) at each level on the way down, and restored on the way up. Otherwise both
                sizes must be divisible by 2 for every level but the first.
            t: ``(batch,)``.
            cond: the text; for no text, the vectors of the empty text.
            deterministic: whether dropout is off.

        Returns:
            ``(batch, height, width, out_channels)`` in the dtype of ``x``.

        Raises:
            ValueError: if ``x``, ``t`` or an array of ``cond`` has the wrong shape or is missing.
        """
        config = self.config
        check_input(x, t, 4, config.in_channels)
        least = 1 << (len(config.channels) - 1) if config.pad == "after" else 1
        if config.resample != "conv":
            check_divisible(x, len(config.channels))
        elif min(x.shape[1:3]) < least:
            raise ValueError(f"height and width must be at least {least}, got {x.shape[1]} and {x.shape[2]}")
        if cond is None:
            raise ValueError("cond must be a TextCondition, got None; for no text, give the vectors of the empty text")
        context = check_shape("context", cond.context, (x.shape[0], None, config.context_features))
        emb = self.embed(t)
        if self.pooled is not None:
            emb = emb + self.pooled(cond)
        elif cond.pooled is not None or cond.ids is not None:
            raise ValueError("pooled and ids must be None for a network with pooled_features=None")
        context = context.astype(config.dtype)
        return self.core(x, nnx.silu(emb), context, deterministic=deterministic).astype(x.dtype)
