from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import Backbone, DirectionParam, EDM2Config, EDM2UNet, edm2
from artifex.backbones.magnitude_preserving import mp_cat, mp_silu, mp_sum

pytestmark = pytest.mark.slow

SMALL = EDM2Config(
    in_channels=3, base_channels=64, channel_mults=(1, 1), num_blocks=1, attention_levels=(), head_dim=32, num_classes=5
)


def value(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Attention of each position to itself only."""
    return v


def test_activations_have_unit_magnitude_at_every_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edm2, "attention", value)

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        model = EDM2UNet(SMALL, rngs=nnx.Rngs(0))
        out, activations = model.run(x, jnp.linspace(-1.0, 1.0, 2), jnp.array([0, 5]))
        return out, jnp.stack([jnp.sqrt(jnp.mean(h * h)) for h in activations])

    # Zero padding reduces the magnitude of small images more.
    out, magnitude = run(jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 32, 3)), jnp.float32))
    np.testing.assert_array_equal(out, np.zeros(out.shape))
    assert magnitude.shape == (1 + 3 + 7,)
    np.testing.assert_allclose(magnitude, 1.0, atol=0.1)


def test_sums_and_concatenations_keep_unit_variance() -> None:
    a, b = (jnp.asarray(np.random.default_rng(i).normal(size=(1, 64, 64, 16 * i)), jnp.float32) for i in (1, 2))
    joined = mp_cat(a, b, 0.3)
    assert float(joined.var()) == pytest.approx(1.0, abs=0.02)
    parts = [float((part**2).sum()) for part in (joined[..., :16], joined[..., 16:])]
    assert parts[0] / parts[1] == pytest.approx(0.7**2 / 0.3**2, rel=0.02)
    assert float(mp_sum(a, b[..., :16], 0.3).var()) == pytest.approx(1.0, abs=0.02)
    wide = jnp.asarray(np.random.default_rng(3).normal(size=100_000), jnp.float32)
    assert float((mp_silu(wide) ** 2).mean()) == pytest.approx(1.0, abs=0.02)


def test_published_sizes() -> None:
    for config, millions in ((EDM2Config.xs(), 125), (EDM2Config.s(), 280), (EDM2Config.xxl(), 1523)):
        model = nnx.eval_shape(lambda config=config: EDM2UNet(config, rngs=nnx.Rngs(0)))
        assert isinstance(model, Backbone)
        parameters = [part for _, part in nnx.iter_graph(model) if isinstance(part, nnx.Param)]
        # The norms of all weights are forced, gains are free.
        assert all(isinstance(part, DirectionParam) == (part.ndim > 0) for part in parameters)
        leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
        assert round(sum(int(np.prod(leaf.shape)) for leaf in leaves) / 1e6) == millions


def test_bad_configs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"residual_balance must be in \(0, 1\), got 1.0"):
        EDM2Config(residual_balance=1.0)
    with pytest.raises(ValueError, match=r"head_dim must divide the channels .*, got 100"):
        EDM2Config(head_dim=100)
