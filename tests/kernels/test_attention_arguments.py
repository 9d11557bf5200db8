"""Arguments of attention that don't fit."""

from typing import Final

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

from artifex.kernels import attention
from artifex.kernels.attention.xla import Tiling

GOOD: Final = {"q": (2, 3, 4, 5), "k": (2, 6, 4, 5), "v": (2, 6, 4, 7)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": (3, 4, 5)}, r"q must be \(batch, tokens, heads, head_dim\), got shape \(3, 4, 5\)"),
        ({"v": (2, 6, 4, 7, 1)}, r"v must be \(batch, tokens, heads, head_dim\), got shape \(2, 6, 4, 7, 1\)"),
        ({"k": (2, 0, 4, 5), "v": (2, 0, 4, 7)}, r"k must have no empty axis, got shape \(2, 0, 4, 5\)"),
        ({"k": (2, 6, 2, 5)}, r"k must agree with q in batch, heads and head_dim, got q .*3, 4, 5\) and k .*6, 2, 5\)"),
        ({"q": (1, 3, 4, 5)}, "k must agree with q in batch"),
        ({"v": (2, 5, 4, 7)}, r"v must agree with k in batch, keys and heads, got k .* and v \(2, 5, 4, 7\)"),
        ({"bias": (2, 1, 3, 5)}, r"bias must broadcast to .* = \(2, 4, 3, 6\), got shape \(2, 1, 3, 5\)"),
        ({"bias": (1, 2, 4, 3, 6)}, "bias must broadcast"),
        ({"mask": (2, 6)}, r"mask must broadcast to .* = \(2, 4, 3, 6\), got shape \(2, 6\)"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_shapes_that_do_not_fit(change: dict[str, tuple[int, ...]], message: str) -> None:
    shapes = GOOD | change
    x = {name: jnp.asarray(np.zeros(shape), bool if name == "mask" else jnp.float32) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=message):
        attention(x["q"], x["k"], x["v"], bias=x.get("bias"), mask=x.get("mask"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": jnp.int32}, "q must be of dtype float16, bfloat16, float32 or float64, got int32"),
        ({"v": jnp.complex64}, "v must be of dtype .*, got complex64"),
        ({"k": jnp.float16}, "q, k and v must be of one dtype, got float32, float16 and float32"),
        ({"bias": jnp.bool_}, "bias must be of dtype .*, got bool"),
        ({"mask": jnp.float32}, "mask must be of dtype bool, got float32"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_dtypes_that_do_not_fit(change: dict[str, npt.DTypeLike], message: str) -> None:
    shapes = GOOD | {name: (1, 1, 3, 6) for name in change if name not in GOOD}
    x = {name: jnp.asarray(np.zeros(shape).astype(change.get(name, np.float32))) for name, shape in shapes.items()}
    with pytest.raises(ValueError, match=message):
        attention(x["q"], x["k"], x["v"], bias=x.get("bias"), mask=x.get("mask"))


@pytest.mark.parametrize(
    ("shapes", "dtype", "message"),
    [
        ([(2, 3)], jnp.int32, r"segment_ids of the keys must be of shape \(2, 6\), got \(2, 3\)"),
        ([(2, 6), (2, 6)], jnp.int32, r"segment_ids of the queries must be of shape \(2, 3\), got \(2, 6\)"),
        ([(2, 3), (2, 6)], jnp.float32, "segment_ids must be of an integer dtype, got float32"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_segments_that_do_not_fit(shapes: list[tuple[int, ...]], dtype: npt.DTypeLike, message: str) -> None:
    q, k, v = (jnp.zeros(GOOD[name]) for name in ("q", "k", "v"))
    ids = [jnp.asarray(np.zeros(shape, dtype)) for shape in shapes]
    with pytest.raises(ValueError, match=message):
        attention(q, k, v, segment_ids=ids[0] if len(ids) == 1 else (ids[0], ids[1]))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_scale_must_be_a_number(scale: float) -> None:
    q = jnp.ones((1, 2, 1, 4))
    with pytest.raises(ValueError, match="scale must be finite, got"):
        attention(q, q, q, scale=scale)


def test_a_tile_needs_scores_and_rows() -> None:
    with pytest.raises(ValueError, match="scores and rows must be positive, got 0 and 128"):
        Tiling(scores=0)
