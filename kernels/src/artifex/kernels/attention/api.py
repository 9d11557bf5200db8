"""The contract of attention."""

import math
from collections.abc import Mapping
from typing import Final, Literal, overload

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from artifex.kernels.attention import support
from artifex.kernels.attention.config import FASTEST
from artifex.kernels.attention.cudnn import cudnn
from artifex.kernels.attention.pallas import pallas
from artifex.kernels.attention.reference import reference
from artifex.kernels.attention.xla import xla
from artifex.kernels.checks import check_dtype
from artifex.kernels.dispatch import Implementation, ImplementationName, dispatch
from artifex.kernels.platform import platform

SegmentIds = Integer[Array, "b t"] | tuple[Integer[Array, "b t"], Integer[Array, "b s"]]
Run = Implementation[
    [Array, Array, Array, Array | None, Array | None, tuple[Array, Array] | None, bool, float], tuple[Array, Array]
]


def _triton(
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None,
    mask: Array | None,
    segments: tuple[Array, Array] | None,
    is_causal: bool,
    scale: float,
) -> tuple[Array, Array]:
    # Imported here: Triton is an extra.
    from artifex.kernels.attention.triton import triton

    out, lse = triton(q, k, v, bias, mask, segments, is_causal, scale)
    return out, lse


IMPLEMENTATIONS: Final[Mapping[ImplementationName, Run]] = {
    "reference": Implementation(reference),
    "xla": Implementation(xla),
    "pallas": Implementation(pallas, support.pallas),
    "triton": Implementation(_triton, support.triton),
    "cudnn": Implementation(cudnn, support.cudnn),
}
# JAX's cuDNN attention gives the log-sum-exp without its gradient.
WITH_LSE: Final[Mapping[ImplementationName, Run]] = {
    **IMPLEMENTATIONS,
    "cudnn": Implementation(cudnn, support.cudnn_with_lse),
}


@overload
def attention(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    v: Float[Array, "b s h e"],
    *,
    bias: Float[Array, "..."] | None = None,
    mask: Bool[Array, "..."] | None = None,
    segment_ids: SegmentIds | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    return_lse: Literal[False] = False,
    implementation: ImplementationName | None = None,
) -> Float[Array, "b t h e"]: ...
@overload
def attention(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    v: Float[Array, "b s h e"],
    *,
    bias: Float[Array, "..."] | None = None,
    mask: Bool[Array, "..."] | None = None,
    segment_ids: SegmentIds | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    return_lse: Literal[True],
    implementation: ImplementationName | None = None,
) -> tuple[Float[Array, "b t h e"], Float[Array, "b h t"]]: ...
def attention(
    q: Float[Array, "b t h d"],
    k: Float[Array, "b s h d"],
    v: Float[Array, "b s h e"],
    *,
    bias: Float[Array, "..."] | None = None,
    mask: Bool[Array, "..."] | None = None,
    segment_ids: SegmentIds | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    return_lse: bool = False,
    implementation: ImplementationName | None = None,
) -> Float[Array, "b t h e"] | tuple[Float[Array, "b t h e"], Float[Array, "b h t"]]:
    r"""Softmax attention over any number of tokens.

    $$\mathrm{out}_t = \sum_s \frac{e^{a_{ts}}}{\sum_{s'} e^{a_{ts'}}}\, v_s,\qquad
      a_{ts} = \mathrm{scale}\; q_t \cdot k_s + \mathrm{bias}_{ts}$$

    Args:
        q: queries, ``(batch, tokens, heads, head_dim)``, of dtype float16, bfloat16, float32 or float64.
        k: keys, ``(batch, keys, heads, head_dim)``, of the dtype of ``q``.
        v: values, ``(batch, keys, heads, value_dim)``, of the dtype of ``q``.
        bias: added to the scores, of a floating dtype; broadcasts to ``(batch, heads, tokens, keys)``. Minus infinity
            masks a key as ``mask`` does.
        mask: True where a token attends to a key; broadcasts like ``bias``, so a mask of each sample's padding is
            ``(batch, 1, 1, keys)``. A token that attends to no key has zeros as its output and gradients.
        segment_ids: integers; a token attends only to keys of its own segment. ``(batch, tokens)`` for
            self-attention, else a pair for the queries and the keys. Packed samples, or padding (a number that no
            token has), then need no array of ``tokens x keys``.
        is_causal: whether token ``t`` attends only to the keys ``s <= t``.
        scale: factor of the scores; ``head_dim ** -0.5`` where None.
        return_lse: whether to return also ``log sum_s exp(a_ts)``, ``(batch, heads, tokens)``, in float32 at
            least, minus infinity for a token that attends to no key.
        implementation: which one to run; None takes the fastest that is known (``config.FASTEST``). ``reference`` and
            ``xla`` are differentiable in any mode; ``pallas``, ``triton`` and ``cudnn`` in reverse mode, once.

    Returns:
        ``(batch, tokens, heads, value_dim)`` in the dtype of ``q``, and the log-sum-exp with ``return_lse``.

    Raises:
        ValueError: for shapes or dtypes that don't fit each other, an empty axis, or a scale that is not finite.
        UnsupportedKernelError: if ``implementation`` names one that does not exist or can't run here.

    References: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
    """
    _check_qkv(q, k, v)
    full = (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
    if bias is not None:
        check_dtype("bias", bias)
        bias = _four_axes("bias", bias, full)
    if mask is not None:
        if mask.dtype != jnp.bool_:
            raise ValueError(f"mask must be of dtype bool, got {mask.dtype}")
        mask = _four_axes("mask", mask, full)
    segments = None if segment_ids is None else _segments(segment_ids, q, k)
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    if not math.isfinite(scale):
        raise ValueError(f"scale must be finite, got {scale}")
    implementations = WITH_LSE if return_lse else IMPLEMENTATIONS
    fastest = FASTEST.get(platform(), ("xla",))
    out, lse = dispatch(
        "attention", implementation, implementations, fastest, q, k, v, bias, mask, segments, is_causal, scale
    )
    return (out, lse) if return_lse else out


def _check_qkv(q: Array, k: Array, v: Array) -> None:
    """Raise a ValueError unless the shapes and dtypes of ``q``, ``k`` and ``v`` agree."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 4:
            raise ValueError(f"{name} must be (batch, tokens, heads, head_dim), got shape {x.shape}")
        if 0 in x.shape:
            raise ValueError(f"{name} must have no empty axis, got shape {x.shape}")
        check_dtype(name, x)
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"q, k and v must be of one dtype, got {q.dtype}, {k.dtype} and {v.dtype}")
    if k.shape != (q.shape[0], k.shape[1], *q.shape[2:]):
        raise ValueError(f"k must agree with q in batch, heads and head_dim, got q {q.shape} and k {k.shape}")
    if v.shape[:3] != k.shape[:3]:
        raise ValueError(f"v must agree with k in batch, keys and heads, got k {k.shape} and v {v.shape}")


def _four_axes(name: str, x: Array, full: tuple[int, ...]) -> Array:
    """``x`` reshaped to four axes; raises a ValueError unless it broadcasts to ``full``."""
    shape = (1,) * (4 - x.ndim) + x.shape
    if len(shape) != 4 or any(n not in (1, m) for n, m in zip(shape, full, strict=True)):
        raise ValueError(f"{name} must broadcast to (batch, heads, tokens, keys) = {full}, got shape {x.shape}")
    return x.reshape(shape)


def _segments(segment_ids: Array | tuple[Array, Array], q: Array, k: Array) -> tuple[Array, Array]:
    """The segments of queries and keys; raises a ValueError unless there is one integer per token."""
    pair = segment_ids if isinstance(segment_ids, tuple) else (segment_ids, segment_ids)
    for ids, name, x in zip(pair, ("queries", "keys"), (q, k), strict=True):
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(f"segment_ids must be of an integer dtype, got {ids.dtype}")
        if ids.shape != x.shape[:2]:
            raise ValueError(f"segment_ids of the {name} must be of shape {x.shape[:2]}, got {ids.shape}")
    return pair[0].astype(jnp.int32), pair[1].astype(jnp.int32)
