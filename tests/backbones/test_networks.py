"""Requirements of every network, tested on one small instance of each."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx

from artifex import backbones
from artifex.backbones import Backbone
from artifex.schedules import EDM, CosineVP, EDMPreconditioned, FlowVelocity, NetworkDenoiser, RectifiedFlow, V
from tests.backbones.helpers.networks import (
    LABELS,
    NETWORKS,
    Condition,
    Graph,
    Network,
    State,
    T,
    forward,
    gradient,
    jit,
    loss,
    trained,
)

pytestmark = pytest.mark.slow

COMPARED = [NETWORKS[name] for name in ("unet", "dit", "mlp")]
"""Networks for tests that compile further programs."""
CLASSES = [network for network in NETWORKS.values() if network.has_classes]
POOL = {"scale_shift": False, "resample": "pool", "channel_mults": (1, 1), "attention_levels": (0,)}


def name_of(network: Network) -> str:
    return next(name for name, other in NETWORKS.items() if other is network)


every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=name_of)


def test_all_networks_are_here() -> None:
    exported = [value for name in backbones.__all__ if inspect.isclass(value := getattr(backbones, name))]
    called = {value for value in exported if issubclass(value, nnx.Module) and "cond" in signature(value)}
    assert called == {network.build for network in NETWORKS.values()}
    assert all(issubclass(value, Backbone) for value in called)


def signature(network: type[nnx.Module]) -> list[str]:
    call = getattr(network, "__call__", None)  # noqa: B004
    return [] if call is None else list(inspect.signature(call).parameters)


@every_network
def test_training_starts_from_zero_and_lowers_the_loss(network: Network) -> None:
    assert isinstance(nnx.eval_shape(network.make), Backbone)
    state = jit(lambda: nnx.split(network.make())[1])()
    x = network.sample()
    np.testing.assert_array_equal(forward(network)(state, x, T, network.cond), np.zeros(x.shape))
    losses = []
    for _ in range(3):
        value, grads = gradient(network)(state, x)
        losses.append(float(value))
        state = jax.tree.map(lambda p, g: p - 0.05 * g, state, grads)
    assert losses[0] > losses[1] > losses[2]


@every_network
def test_output_depends_on_each_input_of_its_own_sample_only(network: Network) -> None:
    run, state, x = forward(network), trained(network)[1], network.sample()
    out = run(state, x, T, network.cond)
    for changed in (
        run(state, x.at[0].add(1.0), T, network.cond),
        run(state, x, T.at[0].set(11), network.cond),
        run(state, x, T, network.other),
    ):
        assert float(jnp.abs(changed[0] - out[0]).max()) > 1e-4
        np.testing.assert_allclose(changed[1], out[1], atol=1e-5)
    if network.has_classes:
        null = run(state, x, T, jnp.array([10, 10]))
        np.testing.assert_allclose(run(state, x, T, None), null, atol=1e-5)
        assert float(jnp.abs(out - null).max()) > 1e-3


@every_network
def test_edms_preconditioning_goes_around_it(network: Network) -> None:
    r"""$D = c_\mathrm{skip} x + c_\mathrm{out} F(c_\mathrm{in} x, \log(\sigma) / 4)$: table 1 of Karras et al. 2022."""
    run, state, x, data = forward(network), trained(network)[1], network.sample(), 0.5
    sigma = np.array([0.05, 20.0])
    column = sigma.reshape(-1, *[1] * (x.ndim - 1))
    q = column**2 + data**2
    time = jnp.asarray(np.log(sigma) / 4, jnp.float32)
    out = run(state, jnp.asarray(x / np.sqrt(q), jnp.float32), time, network.cond)
    expected = data**2 / q * np.asarray(x) + column * data / np.sqrt(q) * np.asarray(out)
    denoiser: NetworkDenoiser[State, Condition] = NetworkDenoiser(run, EDMPreconditioned(data), state)
    got = denoiser(x, EDM().at(jnp.asarray(sigma, jnp.float32)), network.cond)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_a_dit_that_predicts_velocities_is_sit() -> None:
    r"""$v = \dot\alpha x_0 + \dot\sigma \epsilon$ along the linear and the trigonometric path of Ma et al. 2024.

    The second one's velocity is by time, and so $\pi / 2$ times ours, which is by angle.
    """
    dit = NETWORKS["dit"]
    run, state, x, t = forward(dit), trained(dit)[1], dit.sample(), np.array([0.3, 0.8])
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


@every_network
def test_bad_inputs_are_refused(network: Network) -> None:
    model, x = nnx.merge(*trained(network)), network.sample()
    with pytest.raises(ValueError, match="x must have shape"):
        model(x[..., 0], T, network.cond)
    with pytest.raises(ValueError, match="x must have shape"):
        model(jnp.concatenate([x, x], axis=-1), T, network.cond)
    if network.has_classes:
        with pytest.raises(ValueError, match=r"labels must be in \[0, 10\], 10 being null, got 3 to 11"):
            model(x, T, jnp.array([3, 11]))
        with pytest.raises(ValueError, match="cond must be None for a network with num_classes=None"):
            nnx.eval_shape(lambda: network.make(num_classes=None)(x, T, LABELS))
    else:
        with pytest.raises(ValueError, match="cond must be a TextCondition"):
            model(x, T, None)
    jaxtyping.config.update("jaxtyping_disable", True)  # or its own, earlier error hides ours
    try:
        with pytest.raises(ValueError, match=r"t must have shape \(2,\), one time per sample, got \(3,\)"):
            model(x, jnp.zeros(3), network.cond)
        if network.has_classes:
            with pytest.raises(ValueError, match=r"cond must have shape \(2,\), one label per sample, got \(1,\)"):
                model(x, T, LABELS[:1])
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("network", CLASSES, ids=name_of)
def test_without_classes_there_is_no_label(network: Network) -> None:
    x = network.sample()
    free = nnx.eval_shape(lambda: network.make(num_classes=None))
    assert len(jax.tree.leaves(trained(network)[1])) == len(jax.tree.leaves(nnx.state(free))) + 1
    assert nnx.eval_shape(lambda: network.make(num_classes=None)(x, T)).shape == x.shape


@every_network
def test_dropout_only_when_it_is_asked_for(network: Network) -> None:
    if not hasattr(network.config, "dropout"):
        pytest.skip("no dropout")
    graph, state = trained(network, dropout=0.5)

    def run(state: State, x: jax.Array, deterministic: bool) -> jax.Array:
        out: jax.Array = nnx.merge(graph, state)(x, T, network.cond, deterministic=deterministic)
        return out

    x = network.sample()
    assert "random_bits" in str(jax.make_jaxpr(run, static_argnums=2)(state, x, False))
    assert "random_bits" not in str(jax.make_jaxpr(run, static_argnums=2)(state, x, True))


@pytest.mark.parametrize("network", COMPARED, ids=name_of)
def test_computing_in_bfloat16_keeps_float32_outside(network: Network) -> None:
    out, wide = (
        forward(network, **changes)(trained(network, **changes)[1], network.sample(), T, network.cond)
        for changes in ({"dtype": jnp.bfloat16}, dict[str, object]())
    )
    assert out.dtype == jnp.float32
    assert 0 < float(jnp.abs(out - wide).max()) < 0.1 * float(jnp.abs(wide).max())


@every_network
def test_parameters_have_their_own_dtype(network: Network) -> None:
    for changes, dtype in (({"dtype": jnp.bfloat16}, jnp.float32), ({"param_dtype": jnp.bfloat16}, jnp.bfloat16)):
        stored = nnx.state(nnx.eval_shape(partial(network.make, **changes)), nnx.Param)
        assert {leaf.dtype for leaf in jax.tree.leaves(stored)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("changes", [{}, POOL], ids=["", "pool"])
@every_network
def test_graphs_hash_and_compare(network: Network, changes: dict[str, object]) -> None:
    if changes and network is not NETWORKS["unet"]:
        pytest.skip("an option of the U-Net")
    dropout = {"dropout": 0.1} if hasattr(network.config, "dropout") else {}
    one, two = (nnx.split(nnx.eval_shape(partial(network.make, **changes, **dropout)))[0] for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)


@every_network
def test_every_parameter_is_used(network: Network) -> None:
    _, grads = gradient(network)(trained(network)[1], network.sample())
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert float(jnp.abs(grad).max()) > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize("network", COMPARED, ids=name_of)
def test_losses_of_many_batches_are_those_of_each(network: Network) -> None:
    graph, state = trained(network)
    x = network.sample()
    many = jit(jax.vmap(partial(loss, network, graph), in_axes=(None, 0)))(state, jnp.stack([x, 2 * x]))
    assert float(many[0]) == pytest.approx(float(gradient(network)(state, x)[0]), rel=1e-4)
    assert float(many[1]) != pytest.approx(float(many[0]), rel=1e-3)


@every_network
def test_rematerialization_recomputes(network: Network) -> None:
    if not hasattr(network.config, "remat"):
        pytest.skip("no remat")

    def recomputed(**changes: object) -> int:
        graph, state = trained(network, **changes)
        return str(jax.make_jaxpr(partial(loss, network, graph))(state, network.sample())).count("remat")

    assert recomputed(remat=True) > recomputed()


@pytest.mark.parametrize("network", COMPARED[:2], ids=name_of)
def test_rematerialization_changes_nothing(network: Network) -> None:
    x = network.sample()
    graph: Graph
    graph, state = trained(network, remat=True)
    # Recomputed as a whole, too, as a caller may.
    got = jit(jax.value_and_grad(jax.checkpoint(partial(loss, network, graph))))(state, x)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), got, gradient(network)(state, x))
