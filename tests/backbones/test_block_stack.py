"""Equal blocks are traced once."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import DiT, DiTConfig, MMDiT, MMDiTConfig, TextCondition, UViT, UViTConfig, perturbed
from artifex.backbones.block_stack import apply_blocks

pytestmark = pytest.mark.slow

DIT = DiTConfig(in_channels=1, hidden=8, depth=4, heads=2, num_classes=5, dropout=0.5, embed_per_block=True)
MMDIT = MMDiTConfig(
    in_channels=1, heads=2, head_dim=4, depth=4, context_features=3, pooled_features=2, dual_layers=(0,),
    qk_norm=True, max_size=4, sample_size=4,
)  # fmt: skip
UVIT = UViTConfig(in_channels=1, size=4, hidden=8, depth=5, heads=2, num_classes=5)
CONFIGS = [pytest.param(DIT, id="dit"), pytest.param(MMDIT, id="mmdit"), pytest.param(UVIT, id="uvit")]

QUICKLY: dict[str, str | bool] = {"xla_backend_optimization_level": "0"}

Config = DiTConfig | MMDiTConfig | UViTConfig
Network = DiT | MMDiT | UViT
State = nnx.State[Any, Any]

RNG = np.random.default_rng(0)
X, T = jnp.asarray(RNG.normal(size=(2, 4, 4, 1)), jnp.float32), jnp.array([10.0, 500.0])
TEXT = TextCondition(jnp.asarray(RNG.normal(size=(2, 3, 3))), jnp.asarray(RNG.normal(size=(2, 2))))


def call(network: Network, *, deterministic: bool = True) -> jax.Array:
    if isinstance(network, MMDiT):
        return network(X, T, TEXT)
    return network(X, T, jnp.array([1, 2]), deterministic=deterministic)


def abstract(config: Config) -> Network:
    """A network of abstract arrays."""
    kinds: dict[type[Config], Callable[..., Network]] = {DiTConfig: DiT, MMDiTConfig: MMDiT, UViTConfig: UViT}
    network: Network = nnx.eval_shape(lambda: kinds[type(config)](config, rngs=nnx.Rngs(0)))
    return network


@cache
def trained(config: Config) -> Network:
    """A network with random parameters, none of which is zero."""
    rng = np.random.default_rng(1)

    def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.uint32(0) if leaf.dtype == jnp.uint32 else jax.random.key(3)
        scale = 0.2 if len(leaf.shape) < 2 else np.prod(leaf.shape[:-1]) ** -0.5
        return jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype)

    graph, state = nnx.split(abstract(config))
    network: Network = nnx.merge(graph, jax.tree.map(fill, state))
    return network


@cache
def program(config: Config) -> jax.stages.Lowered:
    """The program from parameters to loss, output, counts of random draws and gradient, with dropout if any."""
    graph, state, *rest = nnx.split(trained(config), nnx.Param, ...)

    def loss(state: State) -> tuple[jax.Array, tuple[jax.Array, State]]:
        model = nnx.merge(graph, state, *jax.tree.map(lambda leaf: leaf, rest))
        out = call(model, deterministic=False)
        return jnp.mean((out - 1) ** 2), (out, nnx.state(model, nnx.RngCount))

    return jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(state)


@cache
def numbers(config: Config) -> tuple[tuple[jax.Array, tuple[jax.Array, State]], State]:
    """The results of ``program`` with the parameters of ``trained``."""
    compiled = program(config).compile(QUICKLY)
    out: tuple[tuple[jax.Array, tuple[jax.Array, State]], State] = compiled(nnx.state(trained(config), nnx.Param))
    return out


@pytest.mark.parametrize(
    ("config", "remat", "stretches"),
    [(DIT, False, 1), (DIT, True, 1), (MMDIT, False, 1), (UVIT, False, 2)],
    ids=["dit", "remat", "mmdit", "uvit"],
)
def test_numbers_are_those_of_the_loop(config: Config, remat: bool, stretches: int) -> None:
    """A run of equal blocks is one loop in the program, and one in its gradient."""
    scanned = replace(config, scan=True, remat=remat)
    loop, scan = (program(c).as_text().count("stablehlo.while") for c in (config, scanned))
    assert scan - loop == 2 * stretches
    ((_, (out, counts)), gradient), ((_, (other, others)), found) = numbers(config), numbers(scanned)
    jax.tree.map(np.testing.assert_array_equal, others, counts)
    assert all(leaf == 1 for leaf in jax.tree.leaves(counts))
    for got, expected in zip(jax.tree.leaves((other, found)), jax.tree.leaves((out, gradient)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=5e-6 * float(jnp.abs(expected).max()))


def test_a_program_grows_with_its_arrays_alone() -> None:
    """Each array of a block adds one line to stack it and two to split its gradient, and no computation."""
    texts = [program(replace(DIT, scan=scan, depth=depth)).as_text() for scan in (False, True) for depth in (4, 8)]
    (loop, deep_loop), (scan, deep_scan) = np.array([text.count("\n") for text in texts]).reshape(2, 2)
    products = [text.count("dot_general") for text in texts]
    shallow, deep = (len(jax.tree.leaves(nnx.state(abstract(replace(DIT, depth=depth))))) for depth in (4, 8))
    assert products[3] == products[2] < products[0] < products[1]
    assert deep_scan - scan < 3.5 * (deep - shallow)
    assert deep_loop - loop > 10 * (deep - shallow)


@pytest.mark.parametrize("config", CONFIGS)
def test_parameters_keep_their_names_and_bfloat16_its_place(config: Config) -> None:
    paths = [
        [(path, leaf.shape, leaf.dtype) for path, leaf in jax.tree_util.tree_leaves_with_path(nnx.state(network))]
        for network in (abstract(config), abstract(replace(config, scan=True)))
    ]
    assert paths[0] == paths[1]
    narrow = abstract(replace(config, scan=True, dtype=jnp.bfloat16))
    assert nnx.eval_shape(call, narrow).dtype == jnp.float32


def test_blocks_that_differ_are_called_by_themselves() -> None:
    """Without dropout no variable is written, which is not allowed for a network from outside of the program."""
    for config, options, expected in (
        (DIT, {}, 1),
        (DIT, {"skip": ["blocks.2"], "identity_attention": ["blocks.3"]}, 1),
        (UVIT, {"identity_attention": ["down.0", "up.1"]}, 1),
    ):
        networks = [perturbed(trained(replace(config, scan=scan)), **options) for scan in (False, True)]
        loop, scanned = (jax.jit(partial(call, network)).trace() for network in networks)
        assert [sum(e.primitive.name == "scan" for e in p.jaxpr.eqns) for p in (loop, scanned)] == [0, expected]
        one, other = (program.lower().compile(QUICKLY)() for program in (loop, scanned))
        np.testing.assert_allclose(other, one, rtol=0, atol=2e-6 * float(jnp.abs(one).max()))


class Layer(nnx.Module):
    """$h \\mapsto \\pm w h$, counting calls."""

    def __init__(self, w: float, sign: int = 1) -> None:
        self.w, self.calls, self.sign = nnx.Param(jnp.float32(w)), nnx.BatchStat(jnp.zeros(())), sign

    def __call__(self, h: jax.Array) -> jax.Array:
        self.calls[...] += 1
        return self.sign * self.w[...] * h


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("scan", [False, True])
def test_each_layer_has_its_own_input_and_output_and_keeps_what_it_writes(scan: bool, remat: bool) -> None:
    layers = [Layer(2.0), Layer(3.0), Layer(5.0, -1), Layer(7.0), Layer(11.0)]
    xs = [jnp.float32(x) for x in (0.1, 0.2, 0.3, 0.4, 0.5)]

    def step(layer: Layer, h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = layer(h) + x
        return h, -h

    h, ys = apply_blocks(step, layers, jnp.float32(1), xs, remat=remat, scan=scan)
    np.testing.assert_allclose([h, *ys], [-2474.5, -2.1, -6.5, 32.2, 225, 2474.5], rtol=1e-6)
    assert [float(layer.calls[...]) for layer in layers] == [1, 1, 1, 1, 1]
    graph, state = nnx.split(nnx.List(layers))

    def last(state: State) -> jax.Array:
        merged: nnx.List[Layer] = nnx.merge(graph, state)
        h: jax.Array = apply_blocks(step, merged, jnp.float32(1), xs, remat=remat, scan=scan)[0]
        return h

    text = str(jax.make_jaxpr(last)(state))
    assert [text.count(f"{name}[") for name in ("scan", "remat2")] == [2 * scan, (3 if scan else 5) * remat]
