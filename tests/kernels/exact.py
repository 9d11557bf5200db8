"""The kernels in float64 NumPy with gradients by hand, and the size of the expected rounding."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HostArray = npt.NDArray[np.float64]
Hidden = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Attention:
    """Attention's results and gradients for cotangents ``d_out`` and ``d_lse``."""

    out: HostArray
    lse: HostArray
    d_q: HostArray
    d_k: HostArray
    d_v: HostArray
    d_bias: HostArray


def attention(
    q: HostArray,
    k: HostArray,
    v: HostArray,
    bias: HostArray,
    visible: Hidden,
    scale: float,
    d_out: HostArray,
    d_lse: HostArray,
    sizes: bool = False,
) -> Attention:
    """Forward and backward in one; ``bias`` and ``visible`` are of shape ``(b, h, t, s)``.

    With ``sizes`` every factor and sum of the backward pass is taken at its absolute value: what the terms would come
    to if none cancelled, which is what their rounding errors are proportional to.
    """
    size = np.abs if sizes else np.asarray
    scores = np.where(visible, scale * np.einsum("bthd,bshd->bhts", q, k) + bias, -np.inf)
    top = np.max(scores, axis=-1, keepdims=True)
    top = np.where(np.isneginf(top), 0, top)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + top)[..., 0]
    p = weights / np.where(total == 0, 1, total)
    q, k, v, d_out, d_lse, factor = (size(x) for x in (q, k, v, d_out, d_lse, scale))
    d_p = np.einsum("bthe,bshe->bhts", d_out, v)
    mean = np.sum(p * d_p, axis=-1, keepdims=True)
    d_scores = p * (d_p + mean if sizes else d_p - mean) + p * d_lse[..., None]
    return Attention(
        out=np.einsum("bhts,bshe->bthe", p, v),
        lse=lse,
        d_q=factor * np.einsum("bhts,bshd->bthd", d_scores, k),
        d_k=factor * np.einsum("bhts,bthd->bshd", d_scores, q),
        d_v=np.einsum("bhts,bthe->bshe", p, d_out),
        d_bias=d_scores,
    )


def folded(x: HostArray, shape: tuple[int, ...]) -> HostArray:
    """``x`` summed down to the shape that was broadcast to it: the gradient of broadcasting."""
    axes = tuple(i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if n != m)
    summed: HostArray = np.sum(x, axis=axes, keepdims=True)
    return summed
