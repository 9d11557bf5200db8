from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array

from artifex.kernels import DynamicThreshold, ImplementationName, guided_combine
from artifex.kernels.guided_combine import api
from artifex.kernels.guided_combine.pallas import pallas
from artifex.kernels.platform import Target, shaped
from artifex.schedules import DynamicallyThresholded, NoiseLevel
from tests.kernels.guided_combines import (
    THRESHOLD,
    check,
    check_bounds,
    check_flat,
    check_quantile,
    check_transforms,
    compiled,
    exact,
    normal,
)
from tests.kernels.lowering import Platform, lowered
from tests.kernels.stand_in import stand_in

pytestmark = pytest.mark.slow

IMPLEMENTATIONS: Final[tuple[ImplementationName, ...]] = ("reference", "xla", "pallas")
each_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


@pytest.fixture(autouse=True, scope="module")
def _interpreted() -> Iterator[None]:
    """Runs the Pallas implementation here."""
    with stand_in(api.IMPLEMENTATIONS, "pallas", partial(pallas, target="interpret")):
        yield


@settings(max_examples=3, deadline=None)
@given(
    implementation=st.sampled_from(IMPLEMENTATIONS),
    shape=st.sampled_from([(2, 3, 5), (3, 37)]),
    kind=st.sampled_from(["rescale", "threshold", "both"]),
    seed=st.integers(0, 2**32 - 1),
)
@example(implementation="reference", shape=(2, 3, 5), kind="both", seed=0)
@example(implementation="xla", shape=(2, 3, 5), kind="both", seed=0)
@example(implementation="pallas", shape=(2, 130), kind="both", seed=0)  # more than the smallest row, padded
def test_every_implementation_is_the_formula_forward_and_backward(
    implementation: ImplementationName, shape: tuple[int, ...], kind: str, seed: int
) -> None:
    check(
        implementation, shape, kind in ("rescale", "both"), THRESHOLD if kind in ("threshold", "both") else None, seed
    )


@pytest.mark.parametrize(
    ("implementation", "dtype"),
    [("reference", jnp.bfloat16), ("pallas", jnp.bfloat16), ("pallas", jnp.float16)],
)
def test_narrow_outputs_are_put_together_wide(implementation: ImplementationName, dtype: DTypeLike) -> None:
    check(implementation, (2, 3, 5), True, THRESHOLD, 0, dtype)


@pytest.mark.parametrize("implementation", ["reference", "xla"])
def test_float64_stays_float64(implementation: ImplementationName) -> None:
    with jax.enable_x64(True):
        parts = [np.random.default_rng(i).normal(size=size) for i, size in enumerate([(2, 9), (2, 9), (2,)])]
        out = compiled(implementation, THRESHOLD)(*(jnp.asarray(x) for x in parts))
        assert out.dtype == jnp.float64
        np.testing.assert_allclose(out, exact(parts, THRESHOLD), rtol=1e-12)


@each_implementation
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_scale_1_is_conditional_rescaling_keeps_the_spread_and_the_threshold_bounds(
    implementation: ImplementationName, seed: int
) -> None:
    check_bounds(implementation, seed)


@each_implementation
@pytest.mark.parametrize("quantile", [0.001, 0.73, 1.0])
def test_the_quantile_is_interpolated_and_ties_are_counted(implementation: ImplementationName, quantile: float) -> None:
    check_quantile(implementation, quantile)


def test_agrees_with_the_thresholded_denoiser() -> None:
    c, u, scale = 2 * normal(0, 3, 4, 5), normal(1, 3, 4, 5), jnp.asarray([0.5, 2.0, 8.0])
    guided = compiled("xla")(c, u, scale)
    threshold = DynamicThreshold(quantile=0.9, limit=1.5, ceiling=6.0)
    denoiser = DynamicallyThresholded(lambda x_t, level: guided, 0.9, 1.5, 6.0)
    want = denoiser(c, NoiseLevel(scale, scale, scale))
    np.testing.assert_allclose(compiled("xla", threshold)(c, u, scale), want, rtol=1e-6)


@each_implementation
def test_a_sample_without_spread_stays_finite(implementation: ImplementationName) -> None:
    check_flat(implementation)


@pytest.mark.parametrize("implementation", ["xla", "pallas"])
def test_under_vmap_scan_and_checkpoint(implementation: ImplementationName) -> None:
    check_transforms(implementation)


@pytest.mark.parametrize(("target", "machine", "call"), [("gpu", "cuda", "triton"), ("tpu", "tpu", "tpu_custom_call")])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_pallas_lowered_for_a_device_that_is_not_there(
    target: Target, machine: Platform, call: str, dtype: DTypeLike
) -> None:
    def combine(c: Array, u: Array, scale: Array, rescale: Array) -> Array:
        out: Array = pallas(c, u, scale, rescale, THRESHOLD, target=target)
        return out

    shapes = [((3, 300), dtype)] * 2 + [((3,), jnp.float32)] * 2
    (name,) = lowered(combine, *(shaped(*x) for x in shapes), platform=machine)
    assert call in name


X: Final = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("c", "u", "scale", "rescale", "message"),
    [
        (X, X[:1], 1.0, None, r"conditional and unconditional must be of one shape, got \(2, 3\) and \(1, 3\)"),
        (X[:, :0], X[:, :0], 1.0, None, r"conditional must be \(batch, ...\) with no empty axis, got shape \(2, 0\)"),
        (X[0, 0], X[0, 0], 1.0, None, r"conditional must be \(batch, ...\) with no empty axis, got shape \(\)"),
        (X.astype(int), X, 1.0, None, "conditional must be of dtype float16, .* or float64, got int32"),
        (X, X.astype(int), 1.0, None, "unconditional must be of dtype float16, .* or float64, got int32"),
        (X, X, [1.0, 1.0, 1.0], None, r"scale must be one number or of shape \(2,\), got \(3,\)"),
        (X, X, [[1.0], [1.0]], None, r"scale must be one number or of shape \(2,\), got \(2, 1\)"),
        (X, X, 1.0, [0.5] * 3, r"rescale must be one number or of shape \(2,\), got \(3,\)"),
        (X, X, 1.0, 1.5, r"rescale must be in \[0, 1\], got 1.5"),
        (X, X, 1.0, float("nan"), r"rescale must be in \[0, 1\], got nan"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_bad_input(
    c: npt.NDArray[Any], u: npt.NDArray[Any], scale: ArrayLike, rescale: ArrayLike | None, message: str
) -> None:
    phi = rescale if rescale is None else jnp.asarray(rescale)
    with pytest.raises(ValueError, match=message):
        guided_combine(jnp.asarray(c), jnp.asarray(u), jnp.asarray(scale), rescale=phi)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantile": 0.0}, r"quantile must be in \(0, 1\], got 0.0"),
        ({"quantile": 1.1}, r"quantile must be in \(0, 1\], got 1.1"),
        ({"limit": 0.0}, "limit must be positive, finite and at most ceiling, got 0.0 and inf"),
        ({"limit": float("inf")}, "limit must be positive, finite and at most ceiling, got inf and inf"),
        ({"limit": 2.0, "ceiling": 1.0}, "limit must be positive, finite and at most ceiling, got 2.0 and 1.0"),
    ],
)
def test_bad_threshold(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DynamicThreshold(**options)
