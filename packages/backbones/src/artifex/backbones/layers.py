"""Layers shared by the networks; images are channels-last, ``(batch, height, width, channels)``."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from artifex.backbones.base import Context, Image, OtherImage, Tokens, Vector
from artifex.backbones.embeddings import XAVIER
from artifex.kernels import attention, conv, group_norm_silu, upsample_conv
from artifex.kernels.barriers import gradient_barrier
from artifex.kernels.convolution import resize_nearest


class Linear(nnx.Linear):
    r"""$y = xW + b$ along the last axis of ``x``, computed as one matrix product.

    The other axes are flattened and the output is behind a gradient barrier, so that the gradient of $W$ sums over one
    axis of an array that is not transposed first: XLA's CPU backend is slow at both.
    """

    def __call__(self, inputs: Array, out_sharding: None = None) -> Array:
        """Apply the layer to ``(..., in_features)``."""
        out: Array = gradient_barrier(super().__call__(inputs.reshape(-1, inputs.shape[-1]), out_sharding))
        return out.reshape(*inputs.shape[:-1], out.shape[-1])


def gelu(x: Tokens, *, approximate: bool) -> Tokens:
    """``nnx.gelu``, recomputed in the backward pass, which is cheaper than keeping its intermediates."""
    y: Tokens = jax.checkpoint(lambda x: nnx.gelu(x, approximate=approximate))(x)
    return y


class Conv(nnx.Module):
    r"""Square convolution with zero padding.

    $$y_{ij} = \sum_{uv} x_{si+u-p,\,sj+v-p} W_{uv} + b$$

    ``padding`` is (before, after) on both axes, by default ``kernel_size // 2`` each. ``kernel`` is stored as
    ``(kernel_size, kernel_size, in, out)``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        padding: tuple[int, int] | None = None,
        zero: bool = False,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
        init = nnx.initializers.zeros_init() if zero else XAVIER
        shape = (kernel_size, kernel_size, in_features, out_features)
        self.kernel = nnx.Param(init(rngs.params(), shape, jnp.dtype(param_dtype)))
        self.bias = nnx.Param(jnp.zeros((out_features,), param_dtype))
        self.stride, self.padding = stride, (kernel_size // 2,) * 2 if padding is None else padding
        self.dtype = dtype

    def __call__(self, x: Image) -> OtherImage:
        """Convolve; with the default padding the output has height and width ``ceil(size / stride)``."""
        y = conv(x.astype(self.dtype), self._kernel(), stride=self.stride, padding=self.padding)
        return y + self._bias(y)

    def after_upsample(self, x: Image) -> OtherImage:
        """Convolve ``x`` after nearest-neighbor upsampling by 2; the layer must have stride 1."""
        assert self.stride == 1
        y = upsample_conv(x.astype(self.dtype), self._kernel(), padding=self.padding)
        return y + self._bias(y)

    def _bias(self, y: OtherImage) -> Float[Array, "1 1 1 o"]:
        return jax.lax.broadcast_to_rank(self.bias[...].astype(self.dtype), y.ndim)

    def after_resize(self, x: Image, height: int, width: int) -> OtherImage:
        """Convolve ``x`` after nearest-neighbor resizing to ``height x width``; the layer must have stride 1."""
        if (height, width) == (2 * x.shape[1], 2 * x.shape[2]):
            return self.after_upsample(x)
        return self(resize_nearest(x, height, width))

    def _kernel(self) -> Float[Array, "k k i o"]:
        kernel: Array = self.kernel[...].astype(self.dtype)
        return kernel


class GroupNorm(nnx.Module):
    r"""Normalize groups of channels over all positions, then modulate.

    $$y = \left(\gamma \frac{x - \mu_g}{\sqrt{\sigma_g^2 + \epsilon}} + \beta\right)(1 + \text{scale}) + \text{shift}$$

    Statistics are computed in float32.

    References: Wu and He 2018, https://arxiv.org/abs/1803.08494
    """

    def __init__(
        self,
        features: int,
        groups: int,
        *,
        epsilon: float = 1e-6,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
    ) -> None:
        if features % groups:
            raise ValueError(f"groups must divide the {features} channels, got {groups}")
        self.gamma = nnx.Param(jnp.ones((features,), param_dtype))
        self.beta = nnx.Param(jnp.zeros((features,), param_dtype))
        self.groups, self.epsilon, self.dtype = groups, epsilon, dtype

    def __call__(
        self, x: Image, scale: Vector | None = None, shift: Vector | None = None, *, silu: bool = False
    ) -> Image:
        """Normalize ``x``; give both ``scale`` and ``shift`` or neither, and ``silu`` for a SiLU at the end."""
        gamma, beta = self.gamma[...], self.beta[...]
        y = group_norm_silu(
            x, gamma, beta, groups=self.groups, scale=scale, shift=shift, silu=silu, epsilon=self.epsilon
        )
        return y.astype(self.dtype)


class SelfAttention(nnx.Module):
    r"""Multi-head self-attention over tokens, $W_o\,\text{softmax}(QK^\top/\sqrt{d})V$; ``bias`` is that of Q, K, V.

    The kernel of Q, K and V is stored as ``(features, 3, heads, head_dim)``, so that it can be sharded by heads. It is
    multiplied as a matrix with the heads first, which keeps the sharding and is faster on CPU than four axes.
    """

    def __init__(
        self,
        features: int,
        heads: int,
        *,
        bias: bool = True,
        zero: bool = False,
        dtype: DTypeLike = jnp.float32,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        if features % heads:
            raise ValueError(f"heads must divide the {features} channels, got {heads}")
        init = nnx.initializers.zeros_init() if zero else XAVIER
        self.identity = False  # see artifex.backbones.perturbed
        self.dtype = dtype
        self.qkv = nnx.LinearGeneral(
            features,
            (3, heads, features // heads),
            use_bias=bias,
            kernel_init=XAVIER,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.out = Linear(features, features, kernel_init=init, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        """Attend from every token to every token."""
        b, n, c = x.shape
        kernel = self.qkv.kernel[...].astype(self.dtype).transpose(0, 2, 1, 3)
        qkv = x.astype(self.dtype).reshape(-1, c) @ kernel.reshape(c, 3 * c)
        if self.qkv.bias is not None:
            qkv = qkv + self.qkv.bias[...].astype(self.dtype).swapaxes(0, 1).reshape(1, -1)
        # The gradient of a split is one concatenation; that of three slices is a sum of three padded arrays.
        q, k, v = jnp.split(qkv.reshape(b, n, kernel.shape[1], -1), 3, axis=-1)
        return self.out((v if self.identity else attention(q, k, v)).reshape(x.shape))


class CrossAttention(nnx.Module):
    """Multi-head attention from tokens to a context; queries, keys and values have no bias."""

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
        if features % heads:
            raise ValueError(f"heads must divide the {features} channels, got {heads}")

        def linear(inner: int, outer: int, bias: bool) -> Linear:
            return Linear(
                inner, outer, use_bias=bias, kernel_init=XAVIER, dtype=dtype, param_dtype=param_dtype, rngs=rngs
            )

        self.heads = heads
        self.q = linear(features, features, False)
        self.kv = linear(context_features, 2 * features, False)
        self.out = linear(features, features, True)

    def __call__(self, x: Tokens, context: Context) -> Tokens:
        """Attend from every token to every vector of the context."""
        b, n, c = x.shape
        head_dim = c // self.heads
        q = self.q(x).reshape(b, n, self.heads, head_dim)
        k, v = (part.reshape(b, -1, self.heads, head_dim) for part in jnp.split(self.kv(context), 2, axis=-1))
        return self.out(attention(q, k, v).reshape(b, n, c))
