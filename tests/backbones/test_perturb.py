"""Networks with parts switched off."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import DiT, DiTConfig, MMDiT, MMDiTConfig, UNet, UNetConfig, perturbed
from artifex.backbones.layers import SelfAttention

pytestmark = pytest.mark.slow

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
DIT = DiTConfig(in_channels=1, patch=2, hidden=8, depth=3, heads=2, learn_sigma=False, num_classes=None)
UNET = UNetConfig(
    in_channels=1, base_channels=8, channel_mults=(1, 1), num_res_blocks=1, attention_levels=(0,), head_dim=8, groups=4
)
X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 1)), jnp.float32)
T = jnp.array([10.0, 500.0])


@partial(jit, static_argnums=0)
def forward(graphdef: nnx.GraphDef[DiT], state: nnx.State[Any, Any], x: jax.Array) -> jax.Array:
    return nnx.merge(graphdef, state)(x, T)


def trained() -> DiT:
    """A network with random parameters, none of which is zero."""
    rng = np.random.default_rng(1)
    graphdef, state = nnx.split(nnx.eval_shape(lambda: DiT(DIT, rngs=nnx.Rngs(0))))
    state = jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 0.3, size=a.shape), a.dtype), state)
    out: DiT = nnx.merge(graphdef, state)
    return out


def run(network: DiT, x: jax.Array = X) -> jax.Array:
    out: jax.Array = forward(*nnx.split(network), x)
    return out


def test_identity_attention_lets_each_token_see_itself_alone() -> None:
    attention = SelfAttention(6, 2, rngs=nnx.Rngs(0))
    x = np.random.default_rng(2).normal(size=(2, 5, 6))
    weights = [np.asarray(layer.kernel[...], np.float64) for layer in (attention.qkv, attention.out)]
    alone = perturbed(nnx.List([attention]), identity_attention=["0"])[0]
    np.testing.assert_allclose(
        alone(jnp.asarray(x, jnp.float32)), x @ weights[0][:, 2].reshape(6, 6) @ weights[1], atol=1e-5
    )


def test_a_transformer_of_lone_tokens_mixes_no_patches() -> None:
    dit = trained()
    alone, whole = (run(network, X.at[:, 3, 3].add(1.0)) - run(network) for network in
                    (perturbed(dit, identity_attention=["blocks"]), dit))  # fmt: skip
    assert np.all(np.asarray(whole) != 0)
    moved = np.any(np.asarray(alone) != 0, axis=(0, 3))
    np.testing.assert_array_equal(moved, np.kron([[0, 0], [0, 1]], np.ones((2, 2))))


def test_a_skipped_block_is_not_there() -> None:
    dit = trained()
    got = run(perturbed(dit, skip=["blocks.1"]))
    dit.blocks = nnx.List([dit.blocks[0], dit.blocks[2]])
    np.testing.assert_array_equal(got, run(dit))


def test_a_skipped_block_of_image_and_text_passes_both_on() -> None:
    config = MMDiTConfig(heads=1, head_dim=4, depth=2, context_features=3, pooled_features=2, max_size=4, sample_size=4)
    mmdit = nnx.eval_shape(lambda: MMDiT(config, rngs=nnx.Rngs(0)))
    x, text, c = jnp.ones((2, 3, 4)), jnp.ones((2, 5, 4)), jnp.ones((2, 4))
    assert perturbed(mmdit, skip=["blocks.0"]).blocks[0](x, text, c) == (x, text)


def test_names_reach_all_that_is_below_them_and_leave_the_network_as_it_is() -> None:
    unet = nnx.eval_shape(lambda: UNet(UNET, rngs=nnx.Rngs(0)))

    def alone(network: UNet) -> list[str]:
        modules = nnx.iter_modules(network)
        return sorted(str(path[1]) for path, module in modules if isinstance(module, SelfAttention) and module.identity)

    assert alone(perturbed(unet, identity_attention=["middle", "down.0"])) == ["down", "middle"]
    assert alone(unet) == []


def test_no_such_part() -> None:
    dit = trained()
    with pytest.raises(ValueError, match=r"no self-attention at 'blocks.3'; they are at \['blocks.0.attention', "):
        perturbed(dit, identity_attention=["blocks.3"])
    with pytest.raises(ValueError, match=r"no block to leave out at 'middle'; they are at \[\]"):
        perturbed(nnx.eval_shape(lambda: UNet(UNET, rngs=nnx.Rngs(0))), skip=["middle"])
