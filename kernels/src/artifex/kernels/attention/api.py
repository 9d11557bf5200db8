"""The contract of attention."""

import math
from collections.abc import Mapping
from typing import Final, Literal, overload

import jax.numpy as jnp
from jaxtyping import Array

from artifex.kernels.attention import supported
from artifex.kernels.attention.config import FASTEST
from artifex.kernels.attention.cudnn import cudnn
from artifex.kernels.attention.pallas import pallas
from artifex.kernels.attention.reference import reference
from artifex.kernels.attention.xla import xla
from artifex.kernels.checks import check_dtype
from artifex.kernels.dispatch import Implementation, ImplementationName, dispatch
from artifex.kernels.platform import platform

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
    """The Triton implementation, imported where it is wanted: Triton is an extra."""
    from artifex.kernels.attention.triton import triton

    out, lse = triton(q, k, v, bias, mask, segments, is_causal, scale)
    return out, lse


IMPLEMENTATIONS: Final[Mapping[ImplementationName, Run]] = {
    "reference": Implementation(reference),
    "xla": Implementation(xla),
    "pallas": Implementation(pallas, supported.pallas),
    "triton": Implementation(_triton, supported.triton),
    "cudnn": Implementation(cudnn, supported.cudnn),
}
# JAX's cuDNN attention gives the log-sum-exp without its gradient.
WITH_LSE: Final[Mapping[ImplementationName, Run]] = {
    **IMPLEMENTATIONS,
    "cudnn": Implementation(cudnn, supported.cudnn_with_lse),
}


@overload
def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    bias: Array | None = None,
    mask: Array | None = None,
    segment_ids: Array | tuple[Array, Array] | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    return_lse: Literal[False] = False,
    implementation: ImplementationName | None = None,
) -> Array: ...
@overload
def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    bias: Array | None = None,
    mask: Array | None = None,
    segment_ids: Array | tuple[Array, Array] | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    return_lse: Literal[True],
    implementation: ImplementationName | None = None,
) -> tuple[Array, Array]: ...
def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    bias: Array | None = None,
    mask: Array | None = None,
    segment_ids: Array | tuple[Array, Array] | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    return_lse: bool = False,
    implementation: ImplementationName | None = None,
) -> Array | tuple[Array, Array]:
    r"""Softmax attention over any number of tokens.

    $$\mathrm{out}_t = \sum_s \frac{e^{a_{ts}}}{\sum_{s'} e^{a_{ts'}}}\, v_s,\qquad
      a_{ts} = \mathrm{scale}\; q_t \cdot k_s + \mathrm{bias}_{ts}$$

    Args:
        q: queries, ``(batch, tokens, heads, head_dim)``, of dtype float16, bfloat16, float32 or float64.
        k: keys, ``(batch, keys, heads, head_dim)``, of the dtype of ``q``; as many as there are ``v``.
        v: values, ``(batch, keys, heads, value_dim)``, of the dtype of ``q``.
        bias: added to the scores, of a floating dtype; broadcasts to ``(batch, heads, tokens, keys)``. Minus infinity
            hides a key as ``mask`` does.
        mask: True where a token may see a key; broadcasts like ``bias``, so what hides the padding of each sample
            enters as ``(batch, 1, 1, keys)``. A token that sees no key gets zeros, and its gradients are zeros.
        segment_ids: integers; a token sees the keys of its own segment alone. ``(batch, tokens)`` where queries and
            keys are the same tokens, else a pair, of the queries and of the keys. Samples packed into one row,
            or padding (a number that no token has), so cost no array of ``tokens x keys``.
        is_causal: token ``t`` sees the keys ``s <= t`` alone, both counted from the first.
        scale: of the scores, a number; ``head_dim ** -0.5`` where None.
        return_lse: also give ``log sum_s exp(a_ts)``, ``(batch, heads, tokens)``, in float32 at least: minus infinity
            for a token that sees no key.
        implementation: which one to run; None takes the fastest that is known (``config.FASTEST``). ``reference`` and
            ``xla`` are differentiable in any mode; ``pallas``, ``triton`` and ``cudnn`` in reverse mode, once.

    Returns:
        ``(batch, tokens, heads, value_dim)`` in the dtype of ``q``, with the log-sum-exp behind it where asked for.

    Raises:
        ValueError: for shapes or dtypes that don't fit each other, an empty axis, or a scale that is not finite.
        UnsupportedKernelError: if ``implementation`` names an implementation that does not exist or can't run here.

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
    """Raises a ValueError unless the three make an attention."""
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
    """``x`` with leading axes of size 1, checked to broadcast to ``full``."""
    shape = (1,) * (4 - x.ndim) + x.shape
    if len(shape) != 4 or any(n not in (1, m) for n, m in zip(shape, full, strict=True)):
        raise ValueError(f"{name} must broadcast to (batch, heads, tokens, keys) = {full}, got shape {x.shape}")
    return x.reshape(shape)


def _segments(segment_ids: Array | tuple[Array, Array], q: Array, k: Array) -> tuple[Array, Array]:
    """The segments of the queries and of the keys, checked to be integers, one a token."""
    pair = segment_ids if isinstance(segment_ids, tuple) else (segment_ids, segment_ids)
    for ids, name, x in zip(pair, ("queries", "keys"), (q, k), strict=True):
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(f"segment_ids must be of an integer dtype, got {ids.dtype}")
        if ids.shape != x.shape[:2]:
            raise ValueError(f"segment_ids of the {name} must be of shape {x.shape[:2]}, got {ids.shape}")
    return pair[0].astype(jnp.int32), pair[1].astype(jnp.int32)
