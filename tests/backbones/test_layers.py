import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones.layers import Conv, GroupNorm, Linear, SelfAttention, gelu

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """The definition, one output pixel at a time, in float64."""
    size, pad = kernel.shape[0], kernel.shape[0] // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows = range(0, x.shape[1], stride)
    columns = range(0, x.shape[2], stride)
    return np.stack(
        [
            np.stack(
                [np.einsum("bijc,ijco->bo", padded[:, r : r + size, s : s + size], kernel) for s in columns], axis=1
            )
            for r in rows
        ],
        axis=1,
    )


@pytest.mark.parametrize(
    ("kernel_size", "stride", "height", "width"),
    [(3, 1, 4, 4), (3, 1, 5, 7), (3, 2, 8, 8), (3, 2, 5, 7), (1, 1, 4, 6), (5, 1, 4, 6)],
)
def test_convolution_and_its_gradients(kernel_size: int, stride: int, height: int, width: int) -> None:
    conv = Conv(3, 4, kernel_size, stride=stride, rngs=nnx.Rngs(0))
    conv.bias[...] = jnp.arange(4.0)
    x = RNG.normal(size=(2, height, width, 3)).astype(np.float32)
    graph, params = nnx.split(conv)
    kernel = np.asarray(params["kernel"][...], np.float64)
    y, pull = jax.vjp(lambda params, x: nnx.merge(graph, params)(x), params, jnp.asarray(x))
    expected = convolve(x, kernel, stride)
    np.testing.assert_allclose(y, expected + np.arange(4), atol=1e-5)

    cotangent = RNG.normal(size=y.shape).astype(np.float32)
    d_params, d_x = pull(jnp.asarray(cotangent))
    # The convolution is linear in both: <cotangent, conv(u, kernel)> = <d_x, u> for each u, and so for the kernel.
    u, v = RNG.normal(size=x.shape), RNG.normal(size=kernel.shape)
    np.testing.assert_allclose(np.vdot(d_x, u), np.vdot(cotangent, convolve(u, kernel, stride)), rtol=1e-4)
    np.testing.assert_allclose(
        np.vdot(d_params["kernel"][...], v), np.vdot(cotangent, convolve(x, v, stride)), rtol=1e-4
    )
    np.testing.assert_allclose(d_params["bias"][...], cotangent.sum((0, 1, 2)), atol=1e-4)


def test_convolution_needs_a_centre() -> None:
    with pytest.raises(ValueError, match="kernel_size must be odd and positive, got 2"):
        Conv(1, 1, 2, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("modulated", [False, True])
def test_group_norm(modulated: bool) -> None:
    norm = GroupNorm(6, 2)
    gamma, beta = RNG.normal(size=(2, 6))
    norm.gamma[...], norm.beta[...] = jnp.asarray(gamma), jnp.asarray(beta)
    x = RNG.normal(3.0, 2.0, size=(2, 4, 5, 6))
    scale, shift = RNG.normal(size=(2, 2, 6)) if modulated else np.zeros((2, 2, 6))
    grouped = x.reshape(2, 20, 2, 3)
    mean, var = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
    normal = ((grouped - mean) / np.sqrt(var + 1e-6)).reshape(x.shape)
    expected = (normal * gamma + beta) * (1 + scale[:, None, None]) + shift[:, None, None]
    modulation = (jnp.asarray(scale, jnp.float32), jnp.asarray(shift, jnp.float32)) if modulated else ()
    np.testing.assert_allclose(norm(jnp.asarray(x, jnp.float32), *modulation), expected, atol=2e-5)


def test_group_norm_keeps_statistics_in_float32() -> None:
    # 30 of bfloat16's 256 values a unit: sums in bfloat16 would be off by whole units.
    x = jnp.asarray(RNG.normal(30.0, 1.0, size=(1, 32, 32, 4)), jnp.bfloat16)
    y = GroupNorm(4, 1, dtype=jnp.bfloat16)(x)
    assert y.dtype == jnp.bfloat16
    wide = np.asarray(x, np.float64)
    np.testing.assert_allclose(np.asarray(y, np.float64), (wide - wide.mean()) / wide.std(), atol=0.02)


def test_groups_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="groups must divide the 6 channels, got 4"):
        GroupNorm(6, 4)


def test_attention_is_softmax_attention_by_head() -> None:
    attention = SelfAttention(6, 2, rngs=nnx.Rngs(0))
    x = RNG.normal(size=(2, 5, 6))
    weights = {name: np.asarray(layer.kernel[...], np.float64) for name, layer in
               (("qkv", attention.qkv), ("out", attention.out))}  # fmt: skip
    q, k, v = np.einsum("btc,cihd->ibthd", x, weights["qkv"])
    scores = np.exp(np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(3))
    mixed = np.einsum("bhts,bshd->bthd", scores / scores.sum(-1, keepdims=True), v).reshape(2, 5, 6)
    np.testing.assert_allclose(attention(jnp.asarray(x, jnp.float32)), mixed @ weights["out"], atol=1e-5)


def test_heads_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="heads must divide the 6 channels, got 4"):
        SelfAttention(6, 4, rngs=nnx.Rngs(0))


def test_a_linear_layer_takes_any_axes_in_front() -> None:
    layer = Linear(3, 5, rngs=nnx.Rngs(0))
    assert layer.bias is not None
    layer.bias[...] = jnp.arange(5.0)
    x = RNG.normal(size=(2, 3, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(layer(jnp.asarray(x)), x @ np.asarray(layer.kernel[...]) + np.arange(5.0), atol=1e-5)
    assert layer(jnp.zeros(3)).shape == (5,)


def test_the_gradient_is_of_a_shape_that_cpus_are_quick_at() -> None:
    attention = SelfAttention(4, 2, rngs=nnx.Rngs(0))
    graph, params = nnx.split(attention)

    def loss(params: nnx.State[str, nnx.Param[jax.Array]], x: jax.Array) -> jax.Array:
        return jnp.sum(nnx.merge(graph, params)(x))

    found = str(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(params, jnp.ones((2, 3, 4))))
    assert "concatenate" in found
    assert "pad[" not in found
    # A product that sums over two axes at once is one of several that are not merged.
    assert "dimension_numbers=(([0, 1]" not in found
    assert "dimension_numbers=(([0], [0])" in found


def test_gelu_keeps_its_argument_alone() -> None:
    _, pull = jax.vjp(lambda x: gelu(x, approximate=True), jnp.ones((1, 7, 1)))
    assert [leaf.shape for leaf in jax.tree.leaves(pull) if leaf.ndim] == [(1, 7, 1)]
