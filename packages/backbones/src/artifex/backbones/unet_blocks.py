"""Blocks of U-Nets: residual blocks, attention, and resampling."""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from artifex.backbones.base import Embedding, Image, OtherImage
from artifex.backbones.embeddings import XAVIER
from artifex.backbones.layers import Conv, GroupNorm, SelfAttention
from artifex.kernels.convolution import upsample_nearest


class ResBlock(nnx.Module):
    r"""Two convolutions with the condition in between, and a skip connection; the convolutions add 0 at first.

    $$y = \text{skip}(x) + C_2\,\text{silu}(N_2(C_1\,\text{silu}(N_1 x);\ W c))$$

    With ``scale_shift``, $W c$ scales and shifts the output of the second norm (improved DDPM); otherwise it is added
    to its input. With ``emb_features=None`` there is no condition, as in an autoencoder. With ``resample`` (ADM), both
    $x$ and the input of $C_1$ are downsampled or upsampled by 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        emb_features: int | None,
        *,
        groups: int,
        scale_shift: bool = True,
        resample: Literal["down", "up"] | None = None,
        epsilon: float = 1e-6,
        dropout: float = 0.0,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        def linear(inner: int, outer: int) -> nnx.Linear:
            return nnx.Linear(inner, outer, kernel_init=XAVIER, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

        self.scale_shift, self.resample = scale_shift, resample
        self.norm1 = GroupNorm(in_channels, groups, epsilon=epsilon, dtype=dtype, param_dtype=param_dtype)
        self.conv1 = Conv(in_channels, out_channels, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.emb = None if emb_features is None else linear(emb_features, out_channels * (2 if scale_shift else 1))
        self.norm2 = GroupNorm(out_channels, groups, epsilon=epsilon, dtype=dtype, param_dtype=param_dtype)
        self.dropout = nnx.Dropout(dropout, rngs=rngs) if dropout else None
        self.conv2 = Conv(out_channels, out_channels, zero=True, dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.skip = None if in_channels == out_channels else linear(in_channels, out_channels)

    def __call__(self, x: Image, emb: Embedding | None = None, *, deterministic: bool = True) -> OtherImage:
        """Apply the block to ``x`` under the condition ``emb``, already passed through a SiLU."""
        h = self.norm1(x, silu=True)
        if self.resample == "up":
            x, h = upsample_nearest(x), self.conv1.after_upsample(h)
        else:
            x, h = (avg_pool(x), avg_pool(h)) if self.resample == "down" else (x, h)
            h = self.conv1(h)
        if self.emb is None or emb is None:
            h = self.norm2(h, silu=True)
        elif self.scale_shift:
            h = self.norm2(h, *jnp.split(self.emb(emb), 2, axis=-1), silu=True)
        else:
            h = self.norm2(h + self.emb(emb)[:, None, None], silu=True)
        if self.dropout is not None:
            h = self.dropout(h, deterministic=deterministic)
        return (x if self.skip is None else self.skip(x)) + self.conv2(h)


class AttentionBlock(nnx.Module):
    """Residual self-attention over the positions of an image; the identity at first."""

    def __init__(
        self,
        channels: int,
        heads: int,
        *,
        groups: int,
        epsilon: float = 1e-6,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        self.norm = GroupNorm(channels, groups, epsilon=epsilon, dtype=dtype, param_dtype=param_dtype)
        self.attention = SelfAttention(channels, heads, zero=True, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, x: Image) -> Image:
        """Attend from every position to every position."""
        b, h, w, c = x.shape
        return x + self.attention(self.norm(x).reshape(b, h * w, c)).reshape(x.shape)


def avg_pool(x: Image) -> OtherImage:
    """Average every 2x2 pixels into one."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))
