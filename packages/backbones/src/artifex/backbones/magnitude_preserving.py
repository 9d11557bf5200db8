r"""Magnitude-preserving operations: inputs of unit variance give outputs of unit variance.

$$\text{silu}'(x) = \frac{\text{silu}(x)}{0.596},\quad
  a \oplus_t b = \frac{(1-t)\,a + t\,b}{\sqrt{(1-t)^2 + t^2}},\quad
  \text{cat}'_t(a, b) = \sqrt{\frac{N_a + N_b}{(1-t)^2 + t^2}}
  \left[\frac{1-t}{\sqrt{N_a}} a,\ \frac{t}{\sqrt{N_b}} b\right]$$

References: Karras et al. 2024, https://arxiv.org/abs/2312.02696
"""

import math

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import Image
from artifex.backbones.weight_norm import DirectionParam, normalize_rows
from artifex.kernels import conv

NORMAL = nnx.initializers.normal(1.0)


def mp_silu(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """A SiLU that preserves unit variance."""
    return nnx.silu(x) / 0.596


def mp_sum(a: Float[Array, "*s"], b: Float[Array, "*s"], t: float) -> Float[Array, "*s"]:
    """A weighted sum that preserves unit variance of independent terms."""
    return ((1.0 - t) * a + t * b) / math.hypot(1.0 - t, t)


def mp_cat(a: Image, b: Float[Array, "b h w d"], t: float) -> Float[Array, "b h w e"]:
    """A concatenation that preserves unit variance, with weights 1 - t and t independent of the channel counts."""
    n, m = a.shape[-1], b.shape[-1]
    scale = math.sqrt((n + m) / ((1.0 - t) ** 2 + t**2))
    return jnp.concatenate([a * (scale * (1.0 - t) / math.sqrt(n)), b * (scale * t / math.sqrt(m))], axis=-1)


def normalize(x: Float[Array, "*s c"]) -> Float[Array, "*s c"]:
    """Scale vectors along the last axis to unit mean square, computed in float32."""
    wide = x.astype(jnp.float32)
    return (wide * lax.rsqrt((wide * wide).mean(-1, keepdims=True) + 1e-4)).astype(x.dtype)


class MPConv(nnx.Module):
    r"""A convolution without bias whose filters are normalized, $y = (w / \lVert w \rVert) * x$.

    Only the direction of the stored ``kernel`` matters. It is initialized with rows of about the norm at which
    ``force_weight_norm`` keeps them in training. With ``kernel_size=0`` the layer is a matrix product.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int = 3,
        *,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        square = (kernel_size, kernel_size) if kernel_size else ()
        shape = (*square, in_features, out_features)
        self.kernel = DirectionParam(NORMAL(rngs.params(), shape, jnp.dtype(param_dtype)))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s o"]:
        """Convolve images, or multiply vectors by a kernel of two axes."""
        x, kernel = x.astype(self.dtype), normalize_rows(self.kernel[...]).astype(self.dtype)
        if kernel.ndim == 2:
            return x @ kernel
        if kernel.shape[0] == 1:
            return x @ kernel[0, 0]
        pad = kernel.shape[0] // 2
        return conv(x, kernel, padding=(pad, pad))
