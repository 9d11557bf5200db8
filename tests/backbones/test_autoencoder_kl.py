import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import AutoencoderKL, AutoencoderKLConfig

pytestmark = pytest.mark.slow

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SMALL = AutoencoderKLConfig(latent_channels=2, channels=(4, 8), num_res_blocks=1, groups=2)


def count(config: AutoencoderKLConfig) -> int:
    model = nnx.eval_shape(lambda: AutoencoderKL(config, rngs=nnx.Rngs(0)))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (AutoencoderKLConfig.f4(), 55_312_063),
        (AutoencoderKLConfig.f8(), 83_653_863),
        (AutoencoderKLConfig.sd3(), 83_819_683),
    ],
)
def test_published_parameter_counts(config: AutoencoderKLConfig, published: int) -> None:
    assert count(config) == published


@pytest.mark.parametrize(("config", "factor"), [(AutoencoderKLConfig.f4(), 4), (AutoencoderKLConfig.f8(), 8)])
def test_published_factors(config: AutoencoderKLConfig, factor: int) -> None:
    shapes = nnx.eval_shape(
        lambda: AutoencoderKL(config, rngs=nnx.Rngs(0)).encode(jnp.zeros((1, 4 * factor, 8 * factor, 3)))
    )
    assert [leaf.shape for leaf in shapes] == [(1, 4, 8, config.latent_channels)] * 2


def test_every_block_rematerialises() -> None:
    graph, state = nnx.split(
        nnx.eval_shape(lambda: AutoencoderKL(dataclasses.replace(SMALL, remat=True), rngs=nnx.Rngs(0)))
    )

    def loss(state: nnx.State, x: jax.Array) -> jax.Array:  # type: ignore[type-arg]
        model = nnx.merge(graph, state)
        return jnp.sum(model.decode(model.encode(x)[0]))

    encoder, decoder, middle = 2, 2 * 2, 2  # blocks
    program = jax.make_jaxpr(jax.grad(loss))(state, jnp.zeros((1, 4, 4, 3)))
    # What a norm recomputes for itself is further inside.
    recomputed = [equation for equation in program.eqns if "remat" in equation.primitive.name]
    assert len(recomputed) == encoder + middle + middle + decoder


def test_log_variances_are_bounded() -> None:
    @jit
    def run(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        model = AutoencoderKL(dataclasses.replace(SMALL, quant_conv=False), rngs=nnx.Rngs(0))
        model.encoder.out.bias[...] = jnp.array([0.0, 40.0, -40.0, 40.0])
        model.encoder.out.kernel[...] = jnp.zeros_like(model.encoder.out.kernel[...])
        return model.encode(x)

    mean, logvar = run(jnp.ones((1, 2, 2, 3)))
    np.testing.assert_array_equal(mean[0, 0, 0], [0.0, 40.0])
    np.testing.assert_array_equal(logvar[0, 0, 0], [-30.0, 20.0])


@pytest.mark.usefixtures("unhooked")
def test_wrong_inputs_are_refused() -> None:
    model = nnx.eval_shape(lambda: AutoencoderKL(SMALL, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"x must have shape \(batch, height, width, 3\), got \(1, 8, 8, 2\)"):
        model.encode(jnp.zeros((1, 8, 8, 2)))
    with pytest.raises(ValueError, match="height and width must be at least 2, got 8 and 1"):
        model.encode(jnp.zeros((1, 8, 1, 3)))
    with pytest.raises(ValueError, match=r"z must have shape \(batch, height, width, 2\), got \(8, 8, 2\)"):
        model.decode(jnp.zeros((8, 8, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent_channels": 0}, "latent_channels must be at least 1, got 0"),
        ({"channels": ()}, r"channels must be positive and not empty, got \(\)"),
        ({"groups": 3}, r"groups must divide the channels \(4, 8\) of every level, got 3"),
        ({"scaling_factor": 0.0}, "scaling_factor must be positive and finite, got 0.0"),
    ],
)
def test_bad_configs_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]
