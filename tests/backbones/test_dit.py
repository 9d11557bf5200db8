import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import DiT, DiTConfig
from artifex.backbones.dit import DiTBlock, patchify, unpatchify

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SMALL = DiTConfig(in_channels=3, hidden=16, depth=2, heads=2, learn_sigma=False, num_classes=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "published"),
    [
        (DiTConfig.s_2(), 32_963_360),
        (DiTConfig.b_2(), 130_512_416),
        (DiTConfig.l_2(), 458_102_816),
        (DiTConfig.xl_2(), 675_129_632),
    ],
)
def test_published_parameter_counts(config: DiTConfig, published: int) -> None:
    shapes = nnx.state(nnx.eval_shape(lambda: DiT(config, rngs=nnx.Rngs(0))), nnx.Param)
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))
    # The published figure counts the fixed table of positions of 16 x 16 patches, which is no parameter here.
    assert count + 256 * config.hidden == published


def test_published_sizes() -> None:
    sizes = {"s": (384, 12, 6), "b": (768, 12, 12), "l": (1024, 24, 16), "xl": (1152, 28, 16)}
    for name, (hidden, depth, heads) in sizes.items():
        for patch in (2, 4, 8):
            config = getattr(DiTConfig, f"{name}_{patch}")()
            assert config == DiTConfig(patch=patch, hidden=hidden, depth=depth, heads=heads)


@pytest.mark.slow
def test_patches_are_squares_row_by_row() -> None:
    x = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3).astype(jnp.float32)
    tokens = patchify(x, 2)
    assert tokens.shape == (2, 6, 12)
    np.testing.assert_array_equal(tokens[1, 4], x[1, 2:4, 2:4].reshape(12))
    np.testing.assert_array_equal(unpatchify(tokens, 2, 4, 6), x)


@pytest.mark.slow
def test_a_block_starts_as_the_identity() -> None:
    rng = np.random.default_rng(0)
    x, c = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((2, 5, 16), (2, 16)))
    np.testing.assert_array_equal(jit(lambda x, c: DiTBlock(SMALL, rngs=nnx.Rngs(0))(x, c))(x, c), x)


@pytest.mark.slow
def test_a_block_is_its_formula() -> None:
    @jit
    def run(kernel: jax.Array, x: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
        block = DiTBlock(SMALL, rngs=nnx.Rngs(0))
        block.modulation.kernel[...] = kernel
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = jnp.split((c @ kernel)[:, None], 6, axis=-1)
        normal = partial(jax.nn.standardize, epsilon=1e-6)
        h = x + gate_msa * block.attention(normal(x) * (1 + scale_msa) + shift_msa)
        mlp = block.mlp_out(nnx.gelu(block.mlp_in(normal(h) * (1 + scale_mlp) + shift_mlp), approximate=True))
        return block(x, c), h + gate_mlp * mlp

    rng, hidden = np.random.default_rng(0), SMALL.hidden
    shapes = (hidden, 6 * hidden), (2, 5, hidden), (2, hidden)
    got, want = run(*(jnp.asarray(rng.normal(size=shape) / 2, jnp.float32) for shape in shapes))
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.slow
def test_places_are_told_apart() -> None:
    """Without positions, a moved patch would only have a moved output."""

    @jit
    def run(x: jax.Array) -> jax.Array:
        model = DiT(dataclasses.replace(SMALL, depth=1), rngs=nnx.Rngs(0))
        model.out.kernel[...] = jnp.ones_like(model.out.kernel[...]).at[::2].set(-1.0)
        return model(x, jnp.zeros(1))

    x = jnp.zeros((1, 4, 4, 3)).at[:, :2, :2].set(1.0)
    moved = run(jnp.roll(x, 2, axis=1))
    assert float(jnp.abs(moved - jnp.roll(run(x), 2, axis=1)).max()) > 1e-2


def test_a_learned_variance_doubles_the_channels() -> None:
    config = dataclasses.replace(SMALL, learn_sigma=True)
    out = nnx.eval_shape(lambda: DiT(config, rngs=nnx.Rngs(0))(jnp.zeros((2, 8, 6, 3)), jnp.zeros(2)))
    assert out.shape == (2, 8, 6, 6)


def test_sizes_that_the_patch_does_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="height and width must be divisible by 2, got 8 and 7"):
        nnx.eval_shape(lambda: DiT(SMALL, rngs=nnx.Rngs(0))(jnp.zeros((1, 8, 7, 3)), jnp.zeros(1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"heads": 3}, "hidden must be a multiple of 4 and of heads=3, got 16"),
        ({"hidden": 18}, "hidden must be a multiple of 4 and of heads=2, got 18"),
        ({"num_classes": 0}, "num_classes must be None or at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_configs_are_refused(change: dict[str, int | float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]
