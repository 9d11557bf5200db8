"""U-ViT and EDM2 against their papers' formulas in float64, as diffusers has no implementation.

The formulas are written in NumPy for one image at a time, and share nothing with the networks but their parameters.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from artifex.backbones import EDM2Config, EDM2UNet, UViT, UViTConfig, force_weight_norm

pytestmark = pytest.mark.slow

erf = np.vectorize(math.erf, otypes=[float])
HostArray = np.ndarray[Any, np.dtype[np.float64]]


def randomised(make: Any, config: Any) -> Any:  # noqa: ANN401 -- either network
    """A network whose parameters all differ from their initial values, half of which have no effect."""
    graph, shapes = nnx.split(nnx.eval_shape(lambda: make(config, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype), shapes)
    return nnx.merge(graph, state)


@partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
def apply(graph: Any, state: Any, *args: Array) -> Array:  # noqa: ANN401 -- likewise
    out: Array = nnx.merge(graph, state)(*args)
    return out


def run(model: Any, *args: Array) -> Array:  # noqa: ANN401 -- likewise
    out: Array = apply(*nnx.split(model), *args)
    return out


def array(variable: Any) -> HostArray:  # noqa: ANN401 -- a variable of nnx
    return np.asarray(variable[...], np.float64)


def linear(x: HostArray, layer: nnx.Linear) -> HostArray:
    out = x @ array(layer.kernel)
    return out if layer.bias is None else out + array(layer.bias)


def convolve(x: HostArray, kernel: HostArray) -> HostArray:
    """Convolve ``(h, w, c)`` with ``(k, k, c, o)``, with zero padding."""
    k = kernel.shape[0]
    wide = np.pad(x, ((k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    h, w = x.shape[:2]
    return np.asarray(sum(wide[i : i + h, j : j + w] @ kernel[i, j] for i in range(k) for j in range(k)))


def heads(x: HostArray, n: int) -> HostArray:
    """``(tokens, n d)`` as ``(n, tokens, d)``."""
    return x.reshape(len(x), n, -1).transpose(1, 0, 2)


def attend(q: HostArray, k: HostArray, v: HostArray) -> HostArray:
    scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]))
    found = scores / scores.sum(-1, keepdims=True) @ v
    return np.asarray(found.transpose(1, 0, 2).reshape(q.shape[1], -1))


def layer_norm(x: HostArray, layer: nnx.LayerNorm) -> HostArray:
    centred = x - x.mean(-1, keepdims=True)
    unit = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5)
    out: HostArray = unit * array(layer.scale) + array(layer.bias)
    return out


def uvit(model: UViT, x: HostArray, t: float, label: int) -> HostArray:
    """Bao et al. 2022, https://arxiv.org/abs/2209.12152, section 3."""
    config = model.config
    p, n = config.patch, config.size // config.patch
    omega = 10_000.0 ** (-np.arange(config.hidden // 2) / (config.hidden // 2))
    assert model.labels is not None
    tokens = [np.concatenate([np.cos(t * omega), np.sin(t * omega)]), array(model.labels.table)[label]]
    for row in range(n):
        for column in range(n):
            patch = x[row * p : (row + 1) * p, column * p : (column + 1) * p]
            tokens.append(linear(patch.reshape(-1), model.stem))
    h = np.stack(tokens) + array(model.positions)

    def block(block: Any, h: HostArray, skip: HostArray | None = None) -> HostArray:  # noqa: ANN401 -- a block of the network
        if skip is not None:
            h = linear(np.concatenate([h, skip], axis=-1), block.skip_linear)
        kernel = array(block.attention.qkv.kernel).reshape(config.hidden, 3 * config.hidden)
        q, k, v = np.split(layer_norm(h, block.norm1) @ kernel, 3, axis=-1)
        h = h + linear(attend(*(heads(a, config.heads) for a in (q, k, v))), block.attention.out)
        inner = linear(layer_norm(h, block.norm2), block.mlp_in)
        return h + linear(inner * (1 + erf(inner / np.sqrt(2))) / 2, block.mlp_out)

    skips = []
    for one in model.down:
        h = block(one, h)
        skips.append(h)
    h = block(model.middle, h)
    for one, skip in zip(model.up, reversed(skips), strict=True):
        h = block(one, h, skip)
    out = np.zeros_like(x)
    for i, patch in enumerate(linear(layer_norm(h, model.norm), model.out)[2:]):
        row, column = divmod(i, n)
        out[row * p : (row + 1) * p, column * p : (column + 1) * p] = patch.reshape(p, p, -1)
    return convolve(out, array(model.final_conv.kernel)) + array(model.final_conv.bias)


def silu(x: HostArray) -> HostArray:
    out: HostArray = x * (1 + np.tanh(x / 2)) / 2 / 0.596
    return out


def mp_sum(a: HostArray, b: HostArray, t: float) -> HostArray:
    out: HostArray = ((1 - t) * a + t * b) / np.sqrt((1 - t) ** 2 + t**2)
    return out


def pixel_norm(x: HostArray) -> HostArray:
    out: HostArray = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True))
    return out


def edm2(model: EDM2UNet, x: HostArray, c_noise: float, label: int) -> HostArray:
    """Karras et al. 2024, https://arxiv.org/abs/2312.02696, appendix B: configuration G."""
    config = model.config

    def weight(layer: Any, x: HostArray) -> HostArray:  # noqa: ANN401 -- a layer of the network
        w = array(layer.kernel)
        w = w / np.sqrt(np.sum(w**2, axis=tuple(range(w.ndim - 1))))
        return x @ w if w.ndim == 2 else convolve(x, w)

    def block(block: Any, x: HostArray, emb: HostArray) -> HostArray:  # noqa: ANN401 -- a block of the network
        if block.resample == "down":
            x = (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
        if block.resample == "up":
            x = x.repeat(2, axis=0).repeat(2, axis=1)
        if block.is_down:
            x = pixel_norm(x if block.skip is None else weight(block.skip, x))
        y = weight(block.conv1, silu(x))
        y = weight(block.conv2, silu(y * (1 + array(block.gain) * weight(block.emb, emb))))
        if not block.is_down and block.skip is not None:
            x = weight(block.skip, x)
        x = mp_sum(x, y, config.residual_balance)
        if block.qkv is not None:
            h, w, c = x.shape
            parts = np.split(weight(block.qkv, x).reshape(h * w, 3 * c), 3, axis=-1)
            q, k, v = (pixel_norm(heads(part, c // config.head_dim)) for part in parts)
            x = mp_sum(x, weight(block.out, attend(q, k, v).reshape(h, w, c)), config.residual_balance)
        return np.clip(x, -256, 256)

    emb = weight(
        model.embed, np.sqrt(2) * np.cos(2 * np.pi * (c_noise * array(model.frequencies) + array(model.phases)))
    )
    assert config.num_classes is not None
    one_hot = np.eye(config.num_classes + 1)[label] * np.sqrt(config.num_classes + 1)
    emb = silu(mp_sum(emb, weight(model.labels, one_hot), 0.5))
    h = weight(model.stem, np.concatenate([x, np.ones_like(x[..., :1])], axis=-1))
    skips = [h]
    for one in model.down:
        h = block(one, h, emb)
        skips.append(h)
    up: Iterator[Any] = iter(model.up)
    h = block(next(up), h, emb)
    h = block(next(up), h, emb)
    for one in up:
        if one.resample is None:
            skip, t = skips.pop(), config.skip_balance
            n, m = h.shape[-1], skip.shape[-1]
            scale = np.sqrt((n + m) / ((1 - t) ** 2 + t**2))
            h = np.concatenate([h * scale * (1 - t) / np.sqrt(n), skip * scale * t / np.sqrt(m)], axis=-1)
        h = block(one, h, emb)
    return weight(model.out, h) * array(model.gain)


def test_uvit_is_its_papers_formula() -> None:
    model = randomised(UViT, UViTConfig(in_channels=2, size=4, patch=2, hidden=8, depth=5, heads=2, num_classes=5))
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 2))
    got = run(model, jnp.asarray(x, jnp.float32), jnp.array([3.0, 700.0]), jnp.array([4, 5]))
    expected = np.stack([uvit(model, x[0], 3.0, 4), uvit(model, x[1], 700.0, 5)])
    np.testing.assert_allclose(got, expected, atol=1e-4 * expected.std())


def test_edm2_is_its_papers_formula() -> None:
    model = randomised(
        EDM2UNet,
        EDM2Config(
            in_channels=2, base_channels=8, channel_mults=(1, 2), num_blocks=1, attention_levels=(1,), head_dim=8,
            skip_balance=0.4, num_classes=3,
        ),
    )  # fmt: skip
    # One image is so large that the limit of 256 acts.
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 2))
    x[1] *= 2000
    args = jnp.asarray(x, jnp.float32), jnp.array([-0.5, 0.3]), jnp.array([1, 3])
    got = run(model, *args)
    expected = np.stack([edm2(model, x[0], -0.5, 1), edm2(model, x[1], 0.3, 3)])
    for one, two in zip(got, expected, strict=True):
        # The network adds 1e-4 to mean squares before it divides by their root.
        np.testing.assert_allclose(one, two, atol=1e-3 * two.std())
    # Weights of another length are the same network.
    before = array(model.stem.kernel)
    nnx.update(model, force_weight_norm(nnx.state(model)))
    assert np.abs(array(model.stem.kernel) / before - 1).min() > 0.1
    for one, two in zip(run(model, *args), got, strict=True):
        np.testing.assert_allclose(one, two, atol=float(1e-5 * two.std()))
