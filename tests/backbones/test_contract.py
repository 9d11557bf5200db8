"""What every backbone owes: one table of networks, one list of duties."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import MLP, Backbone, DiT, DiTConfig, MLPConfig, UNet, UNetConfig
from artifex.schedules import EDM, CosineVP, EDMPreconditioned, FlowVelocity, NetworkDenoiser, RectifiedFlow, V

UNET = UNetConfig(
    in_channels=1, base_channels=8, channel_mults=(1, 2), num_res_blocks=1, attention_levels=(), head_dim=8, groups=4,
    num_classes=10,
)  # fmt: skip
POOL = replace(UNET, scale_shift=False, resample="pool", channel_mults=(1, 1), attention_levels=(0,))
DIT = DiTConfig(in_channels=1, patch=2, hidden=16, depth=1, heads=2, learn_sigma=False, num_classes=10)
PERCEPTRON = MLPConfig(features=3, hidden=8, depth=1, num_classes=10)

Config = UNetConfig | DiTConfig | MLPConfig
State = nnx.State[int | str, Any]
Graph = nnx.GraphDef[UNet | DiT | MLP]
NETWORKS = [
    pytest.param(UNET, id="unet"),
    pytest.param(DIT, id="dit"),
    pytest.param(PERCEPTRON, id="mlp"),
]
VARIANTS = [*NETWORKS, pytest.param(POOL, id="unet-pool")]

T = jnp.array([10, 500])
LABELS = jnp.array([3, 7])

# What these tests cost is compiling, not computing.
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def sample(config: Config) -> jax.Array:
    shape = (2, 3) if isinstance(config, MLPConfig) else (2, 4, 4, 1)
    return jnp.asarray(np.random.default_rng(2).normal(size=shape), jnp.float32)


def build(config: Config) -> UNet | DiT | MLP:
    if isinstance(config, UNetConfig):
        return UNet(config, rngs=nnx.Rngs(0))
    return DiT(config, rngs=nnx.Rngs(0)) if isinstance(config, DiTConfig) else MLP(config, rngs=nnx.Rngs(0))


@cache
def trained(config: Config) -> tuple[Graph, State]:
    """A network with noise for parameters, as if it had been trained: nothing is zero any more."""
    rng = np.random.default_rng(1)

    def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        scale = 0.2 if len(leaf.shape) < 2 else np.prod(leaf.shape[:-1]) ** -0.5
        return jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype)

    graph, state = nnx.split(nnx.eval_shape(lambda: build(config)))
    return graph, jax.tree.map(fill, state)


@cache
def forward(config: Config) -> Callable[[State, jax.Array, jax.Array, jax.Array | None], jax.Array]:
    graph, _ = trained(config)

    def run(state: State, x: jax.Array, t: jax.Array, cond: jax.Array | None) -> jax.Array:
        return nnx.merge(graph, state)(x, t, cond)

    return jit(run)


def loss(graph: Graph, state: State, x: jax.Array) -> jax.Array:
    return jnp.mean((nnx.merge(graph, state)(x, T, LABELS) - 1.0) ** 2)


@cache
def gradient(config: Config) -> Callable[[State, jax.Array], tuple[jax.Array, State]]:
    return jit(jax.value_and_grad(partial(loss, trained(config)[0])))


@pytest.mark.parametrize("config", NETWORKS)
def test_training_starts_from_zero_and_lowers_the_loss(config: Config) -> None:
    assert isinstance(nnx.eval_shape(lambda: build(config)), Backbone)
    state = jit(lambda: nnx.split(build(config))[1])()
    x = sample(config)
    np.testing.assert_array_equal(forward(config)(state, x, T, LABELS), np.zeros(x.shape))
    losses = []
    for _ in range(3):
        value, grads = gradient(config)(state, x)
        losses.append(float(value))
        state = jax.tree.map(lambda p, g: p - 0.05 * g, state, grads)
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize("config", NETWORKS)
def test_output_depends_on_each_input_of_its_own_sample_only(config: Config) -> None:
    run, state, x = forward(config), trained(config)[1], sample(config)
    out = run(state, x, T, LABELS)
    for changed in (
        run(state, x.at[0].add(1.0), T, LABELS),
        run(state, x, T.at[0].set(11), LABELS),
        run(state, x, T, LABELS.at[0].set(4)),
    ):
        assert float(jnp.abs(changed[0] - out[0]).max()) > 1e-4
        np.testing.assert_allclose(changed[1], out[1], atol=1e-5)
    null = run(state, x, T, jnp.array([10, 10]))
    np.testing.assert_allclose(run(state, x, T, None), null, atol=1e-5)
    assert float(jnp.abs(out - null).max()) > 1e-3


@pytest.mark.parametrize("config", NETWORKS)
def test_edms_preconditioning_goes_around_it(config: Config) -> None:
    r"""$D = c_\mathrm{skip} x + c_\mathrm{out} F(c_\mathrm{in} x, \log(\sigma) / 4)$: table 1 of Karras et al. 2022."""
    run, state, x, data = forward(config), trained(config)[1], sample(config), 0.5
    sigma = np.array([0.05, 20.0])
    column = sigma.reshape(-1, *[1] * (x.ndim - 1))
    q = column**2 + data**2
    out = run(state, jnp.asarray(x / np.sqrt(q), jnp.float32), jnp.asarray(np.log(sigma) / 4, jnp.float32), LABELS)
    expected = data**2 / q * np.asarray(x) + column * data / np.sqrt(q) * np.asarray(out)
    denoiser = NetworkDenoiser(run, EDMPreconditioned(data), state)
    got = denoiser(x, EDM().at(jnp.asarray(sigma, jnp.float32)), LABELS)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_a_dit_that_predicts_velocities_is_sit() -> None:
    r"""$v = \dot\alpha x_0 + \dot\sigma \epsilon$ along the linear and the trigonometric path of Ma et al. 2024.

    The second one's velocity is by time, and so $\pi / 2$ times ours, which is by angle.
    """
    run, state, x, t = forward(DIT), trained(DIT)[1], sample(DIT), np.array([0.3, 0.8])
    v = np.asarray(run(state, x, jnp.asarray(t, jnp.float32), LABELS), np.float64)
    column = t[:, None, None, None]
    cos, sin = np.cos(np.pi / 2 * column), np.sin(np.pi / 2 * column)
    for schedule, prediction, (a, s, da, ds), speed in (
        (RectifiedFlow(), FlowVelocity(), (1 - column, column, -1.0, 1.0), 1.0),
        (CosineVP(), V(), (cos, sin, -np.pi / 2 * sin, np.pi / 2 * cos), np.pi / 2),
    ):
        level = schedule.at(jnp.asarray(t, jnp.float32))
        x0 = np.asarray(NetworkDenoiser(run, prediction, state)(x, level, LABELS), np.float64)
        eps = (np.asarray(x) - a * x0) / s
        np.testing.assert_allclose(da * x0 + ds * eps, speed * v, atol=2e-5 * np.abs(v).max())


@pytest.mark.parametrize("config", NETWORKS)
def test_bad_inputs_are_refused(config: Config) -> None:
    model, x = nnx.merge(*trained(config)), sample(config)
    with pytest.raises(ValueError, match="x must have shape"):
        model(x[..., 0], T, LABELS)
    with pytest.raises(ValueError, match="x must have shape"):
        model(jnp.concatenate([x, x], axis=-1), T, LABELS)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 10\], 10 being null, got 3 to 11"):
        model(x, T, jnp.array([3, 11]))
    with pytest.raises(ValueError, match="cond must be None for a network with num_classes=None"):
        nnx.eval_shape(lambda: build(replace(config, num_classes=None))(x, T, LABELS))
    jaxtyping.config.update("jaxtyping_disable", True)  # or its own, earlier error hides ours
    try:
        with pytest.raises(ValueError, match=r"t must have shape \(2,\), one time a sample, got \(3,\)"):
            model(x, jnp.zeros(3), LABELS)
        with pytest.raises(ValueError, match=r"cond must have shape \(2,\), one label a sample, got \(1,\)"):
            model(x, T, LABELS[:1])
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("config", NETWORKS)
def test_without_classes_there_is_no_label(config: Config) -> None:
    free = replace(config, num_classes=None)
    assert len(jax.tree.leaves(trained(config)[1])) == len(jax.tree.leaves(trained(free)[1])) + 1
    x = sample(config)
    assert nnx.eval_shape(lambda: build(free)(x, T)).shape == x.shape


@pytest.mark.parametrize("config", NETWORKS)
def test_dropout_only_when_it_is_asked_for(config: Config) -> None:
    graph, state = trained(replace(config, dropout=0.5))

    def run(state: State, x: jax.Array, deterministic: bool) -> jax.Array:
        return nnx.merge(graph, state)(x, T, LABELS, deterministic=deterministic)

    x = sample(config)
    assert "random_bits" in str(jax.make_jaxpr(run, static_argnums=2)(state, x, False))
    assert "random_bits" not in str(jax.make_jaxpr(run, static_argnums=2)(state, x, True))


@pytest.mark.parametrize("config", NETWORKS)
def test_computing_in_bfloat16_keeps_float32_outside(config: Config) -> None:
    narrow = replace(config, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(trained(narrow)[1])} == {jnp.dtype(jnp.float32)}
    out, wide = (forward(c)(trained(c)[1], sample(c), T, LABELS) for c in (narrow, config))
    assert out.dtype == jnp.float32
    assert 0 < float(jnp.abs(out - wide).max()) < 0.1 * float(jnp.abs(wide).max())
    stored = nnx.state(nnx.eval_shape(lambda: build(replace(config, param_dtype=jnp.bfloat16))))
    assert {leaf.dtype for leaf in jax.tree.leaves(stored)} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("config", VARIANTS)
def test_graphs_hash_and_compare(config: Config) -> None:
    one, two = (nnx.split(nnx.eval_shape(lambda: build(replace(config, dropout=0.1))))[0] for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize("config", NETWORKS)
def test_every_parameter_is_used(config: Config) -> None:
    _, grads = gradient(config)(trained(config)[1], sample(config))
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert float(jnp.abs(grad).max()) > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize("config", NETWORKS)
def test_losses_of_many_batches_are_those_of_each(config: Config) -> None:
    graph, state = trained(config)
    x = sample(config)
    many = jit(jax.vmap(partial(loss, graph), in_axes=(None, 0)))(state, jnp.stack([x, 2 * x]))
    assert float(many[0]) == pytest.approx(float(gradient(config)(state, x)[0]), rel=1e-4)
    assert float(many[1]) != pytest.approx(float(many[0]), rel=1e-3)


@pytest.mark.parametrize("config", NETWORKS[:2])
def test_rematerialising_changes_nothing(config: UNetConfig | DiTConfig) -> None:
    x = sample(config)

    def recomputed(config: Config) -> int:
        graph, state = trained(config)
        return str(jax.make_jaxpr(partial(loss, graph))(state, x)).count("remat")

    again = replace(config, remat=True)
    assert recomputed(again) > recomputed(config)
    graph, state = trained(again)
    # Recomputed as a whole, too, as a caller may.
    got = jit(jax.value_and_grad(jax.checkpoint(partial(loss, graph))))(state, x)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), got, gradient(config)(state, x))
