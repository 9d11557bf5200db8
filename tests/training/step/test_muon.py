"""Muon on each matrix of a network as its paper has it, in float64; AdamW on the rest; and what decays."""

import inspect
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from artifex.backbones import DiTConfig, EDM2Config, MMDiTConfig, parameter_roles
from artifex.backbones.dit import DiTBlock
from artifex.backbones.edm2 import EDM2Block
from artifex.backbones.mmdit import MMDiTBlock
from artifex.backbones.spatial_transformer import SpatialTransformer
from artifex.backbones.unet_blocks import ResBlock
from artifex.training import OptimizerConfig
from artifex.training.config.optimizer import _OPTIMIZERS, Name, make_optimizer
from artifex.training.named_leaves import map_by_name

pytestmark = pytest.mark.slow

HostArray = np.ndarray[Any, np.dtype[np.float64]]
H = 8
STEADY: dict[str, Any] = {"learning_rate": 1.0, "schedule": "constant", "warmup_steps": 0, "clip_norm": None}
A, B, C = 3.4445, -4.7750, 2.0315
# Five steps of slope A multiply what is rounded off of a singular value near 0.
ROUNDING = A**5 * 2.0**-23

DIT = DiTConfig(in_channels=1, hidden=H, depth=1, heads=2, num_classes=3)
MMDIT = MMDiTConfig(
    in_channels=1, heads=2, head_dim=4, depth=2, context_features=6, pooled_features=5, max_size=4, sample_size=8,
    dual_layers=(0,),
)  # fmt: skip
EDM2 = EDM2Config(in_channels=1, base_channels=8, channel_mults=(1,), num_blocks=1, head_dim=8, attention_levels=())
BLOCKS: dict[str, Callable[[], nnx.Module]] = {
    "dit": lambda: DiTBlock(DIT, rngs=nnx.Rngs(0)),
    "mmdit": lambda: MMDiTBlock(MMDIT, 0, rngs=nnx.Rngs(0)),
    "transformer of a unet": lambda: SpatialTransformer(8, 6, 2, 1, groups=4, rngs=nnx.Rngs(0)),
    "residual of a unet": lambda: ResBlock(8, 4, 6, groups=4, rngs=nnx.Rngs(0)),
    "edm2": lambda: EDM2Block(EDM2, 12, 8, down=False, has_attention=True, rngs=nnx.Rngs(0)),
}
# They run once: what they cost is their compilation.
QUICKLY = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None


def newton_schulz(g: HostArray) -> HostArray:
    """Jordan's iteration, of a matrix or its transpose."""
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / np.linalg.norm(x)
    for _ in range(5):
        a = x @ x.T
        x = A * x + (B * a + C * a @ a) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def step_of(matrix: HostArray) -> HostArray:
    """The update at a learning rate of 1, of a matrix (in, out)."""
    scale: float = max(1.0, matrix.shape[1] / matrix.shape[0]) ** 0.5
    out: HostArray = -scale * newton_schulz(matrix)
    return out


def cut(path: str, kernel: HostArray) -> list[HostArray]:
    """The matrices (in, out) of a kernel, by hand."""
    if fnmatchcase(path, "*qkv.kernel"):
        inner = kernel.shape[0] if kernel.shape[1] == 3 else kernel.shape[-2]
        flat = kernel.reshape(inner, 3, -1)
        return [flat[:, i] for i in range(3)]
    if fnmatchcase(path, "*cross_attention.kv.kernel") or fnmatchcase(path, "blocks.*mlp_in.kernel"):
        return np.split(kernel, 2, axis=-1)
    return [kernel.reshape(-1, kernel.shape[-1])]


@pytest.mark.parametrize("name", BLOCKS)
def test_each_matrix_of_a_network_has_the_update_of_the_paper(name: str) -> None:
    network = BLOCKS[name]()
    optimizer = make_optimizer(OptimizerConfig(name="muon", **STEADY), 10, network)
    state, roles = nnx.state(network, nnx.Param), parameter_roles(network)
    rng = np.random.default_rng(0)
    gradient = map_by_name(lambda _, leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), state)
    updates, after = jax.jit(optimizer.update, compiler_options=QUICKLY)(gradient, optimizer.init(state), state)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, optimizer.init(state))
    given, found = dict[str, HostArray](), dict[str, HostArray]()
    map_by_name(lambda path, leaf: given.update({path: np.asarray(leaf, np.float64)}), gradient)
    map_by_name(lambda path, leaf: found.update({path: np.asarray(leaf, np.float64)}), updates)
    hidden = [path for path, role in roles.items() if role.name == "hidden"]
    assert len(hidden) > 2
    for path in hidden:
        pairs = zip(cut(path, given[path]), cut(path, found[path]), strict=True)
        for g, update in pairs:
            np.testing.assert_allclose(update, step_of(g), atol=ROUNDING, err_msg=path)
    for path in roles.keys() - hidden:
        # Adam's first update is the sign of the gradient.
        np.testing.assert_allclose(found[path], -np.sign(given[path]), atol=1e-3, err_msg=path)


class Block(nnx.Module):
    def __init__(self, widths: dict[str, int]) -> None:
        for name, width in widths.items():
            setattr(self, name, nnx.Linear(H, width, use_bias=False, rngs=nnx.Rngs(0)))


class Net(nnx.Module):
    def __init__(self, **widths: int) -> None:
        self.blocks = nnx.List([Block(widths)])


def kernels(parameters: Any) -> dict[str, Any]:  # noqa: ANN401
    """The kernels of the block, by name."""
    found: dict[str, Any] = {name: layer["kernel"][...] for name, layer in parameters["blocks"][0].items()}
    return found


def named_part(parts: dict[str, Any], path: str, _: Any) -> Any:  # noqa: ANN401
    """The part of a kernel's layer."""
    return parts[path.split(".")[2]]


def test_muon_on_a_fused_kernel_is_muon_on_its_three_matrices() -> None:
    """Over three steps, with momentum, a schedule and weight decay."""
    config = OptimizerConfig(name="muon", learning_rate=0.1, warmup_steps=0, weight_decay=0.5)
    runs: list[list[Any]] = []
    for network in (Net(qkv=3 * H), Net(q=H, k=H, v=H)):
        made, state = make_optimizer(config, 5, network), nnx.state(network, nnx.Param)
        runs.append([jax.jit(made.update, compiler_options=QUICKLY), made.init(state), state])
    whole = jax.random.normal(jax.random.key(9), (H, 3 * H))
    for k in range(4):
        given = whole if k == 0 else jax.random.normal(jax.random.key(k), whole.shape)
        parts = {"qkv": given, **dict(zip("qkv", jnp.split(given, 3, axis=1), strict=True))}
        for run in runs:
            tree = map_by_name(partial(named_part, parts), run[2])
            if k == 0:
                run[2] = tree
                continue
            updates, run[1] = run[0](tree, run[1], run[2])
            run[2] = optax.apply_updates(run[2], updates)
        three = kernels(runs[1][2])
        joined = jnp.concatenate([three[name] for name in "qkv"], axis=1)
        np.testing.assert_allclose(kernels(runs[0][2])["qkv"], joined, atol=3 * 0.1 * ROUNDING)
    assert float(jnp.abs(joined - whole).max()) > 0.02


def test_the_rest_is_exactly_adamw_and_its_learning_rate_follows_the_schedule() -> None:
    network = BLOCKS["dit"]()
    options = {"adam_learning_rate": 0.5, "adam_b2": 0.95, "adam_weight_decay": 0.1}
    config = OptimizerConfig(name="muon", learning_rate=1.0, warmup_steps=3, clip_norm=None, options=options)
    plain = OptimizerConfig(
        name="adamw", learning_rate=0.5, warmup_steps=3, clip_norm=None, weight_decay=0.1, options={"b2": 0.95}
    )
    state = nnx.state(network, nnx.Param)
    rng = np.random.default_rng(2)
    gradient = map_by_name(lambda _, leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), state)
    got, expected = (
        [dict[str, Any](), jax.jit(made.update, compiler_options=QUICKLY), made.init(state)]
        for made in (make_optimizer(c, 40, network) for c in (config, plain))
    )
    for _ in range(6):
        for run in (got, expected):
            updates, run[2] = run[1](gradient, run[2], state)
            map_by_name(run[0].__setitem__, updates)
    for path, role in parameter_roles(network).items():
        same = np.allclose(got[0][path], expected[0][path], atol=1e-6)
        assert same == (role.name != "hidden"), path


def test_the_momentum_is_nesterovs_in_float64() -> None:
    network = Net(q=H)
    optimizer = make_optimizer(OptimizerConfig(name="muon", **STEADY), 10, network)
    state, rng = nnx.state(network, nnx.Param), np.random.default_rng(1)
    carry, mean = optimizer.init(state), np.zeros((H, H))
    for k in range(1, 4):
        g = rng.normal(size=(H, H))
        mean = 0.95 * mean + 0.05 * g
        nesterov = 0.95 * mean / (1 - 0.95 ** (k + 1)) + 0.05 * g / (1 - 0.95**k)
        updates, carry = optimizer.update(jax.tree.map(lambda _, g=g: jnp.asarray(g, jnp.float32), state), carry, state)
        np.testing.assert_allclose(kernels(updates)["q"], step_of(nesterov), atol=ROUNDING)


DECAYING = [
    name for name in get_args(Name)
    if {"weight_decay", "weight_decay_rate"} & inspect.signature(_OPTIMIZERS[name]).parameters.keys()
]  # fmt: skip


class Decaying(nnx.Module):
    def __init__(self) -> None:
        self.table = nnx.Embed(3, 4, rngs=nnx.Rngs(0))
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=nnx.Rngs(0)), nnx.LayerNorm(4, rngs=nnx.Rngs(0))])
        self.gain = nnx.Param(jnp.ones((2, 2)))


@pytest.mark.parametrize("name", DECAYING)
def test_biases_norms_and_gains_do_not_decay(name: Name) -> None:
    """Without a gradient an update is the decay alone."""
    given: dict[str, Any] = {"weight_decay": 0.1}
    if name == "adafactor":
        given = {"options": {"weight_decay_rate": 0.1}}
    elif name == "muon":
        given = {"weight_decay": 0.1, "options": {"adam_weight_decay": 0.1}}
    network = Decaying()
    state = jax.tree.map(jnp.ones_like, nnx.state(network, nnx.Param))
    optimizer = make_optimizer(OptimizerConfig(name=name, **given, **STEADY), 10, network)
    nothing = jax.tree.map(jnp.zeros_like, state)
    updates, _ = jax.jit(optimizer.update, compiler_options=QUICKLY)(nothing, optimizer.init(state), state)
    moved = dict[str, bool]()
    map_by_name(lambda path, leaf: moved.update({path: bool(jnp.abs(leaf).max() > 1e-6)}), updates)
    assert moved == {
        "table.embedding": True, "layers.0.kernel": True, "layers.0.bias": False, "layers.1.scale": False,
        "layers.1.bias": False, "gain": False,
    }  # fmt: skip


def test_lars_trusts_matrices_alone() -> None:
    """You et al. leave biases and norms at the plain learning rate: minus the gradient."""
    network = Decaying()
    state = jax.tree.map(jnp.ones_like, nnx.state(network, nnx.Param))
    optimizer = make_optimizer(OptimizerConfig(name="lars", options={"momentum": 0.0}, **STEADY), 10, network)
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, state), optimizer.init(state), state)
    assert np.allclose(updates["layers"][0]["bias"][...], -1)
    assert np.allclose(updates["layers"][0]["kernel"][...], -0.001)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("adamw", {"mask": True}, "options.mask is not known of optax's adamw; the nearest known is "),
        ("lars", {"trust_ratio_mask": True}, "options.trust_ratio_mask is not known of optax's lars; the nearest"),
        ("muon", {"muon_weight_dimension_numbers": None}, "options.muon_weight_dimension_numbers is not known of"),
        ("adam", {"mu_dtype": "float33"}, "options.mu_dtype must be float32 or bfloat16, got 'float33'"),
        ("adam", {"mu_dtype": "int8"}, "options.mu_dtype must be float32 or bfloat16, got int8"),
        ("muon", {"mu_dtype": "float16"}, "options.mu_dtype must be float32 or bfloat16, got float16, in which small"),
        ("sgd", {"momentum": 0.9, "accumulator_dtype": "float64"},
         "options.accumulator_dtype must be float32 or bfloat16 unless jax_enable_x64 is set, got float64"),
        ("adafactor", {"dtype_momentum": "bool"}, "options.dtype_momentum must be float32 or bfloat16, got bool"),
        ("adam", {"b1": "much"}, "options {'b1': 'much'} are not what optax's adam takes: "),
        ("adam", {"nesterov": "yes"}, "options.nesterov must be true or false for optax's adam, got 'yes'"),
        ("muon", {"ns_steps": True}, "options.ns_steps must be no boolean for optax's muon, got True"),
        ("muon", {"ns_coeffs": "mine"}, "options {'ns_coeffs': 'mine'} are not what optax's muon takes: Unknown ns_co"),
    ],
)  # fmt: skip
def test_options_that_optax_would_not_honour_are_refused_in_one_line(
    name: str, options: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=r"(?s).*") as refused:
        OptimizerConfig.model_validate({"name": name, "options": options})
    assert says in str(refused.value)


def test_options_that_are_honoured() -> None:
    network = BLOCKS["dit"]()
    config = OptimizerConfig(name="muon", options={"mu_dtype": "bfloat16", "ns_coeffs": "dion", "consistent_rms": 0.2})
    kept = jax.eval_shape(make_optimizer(config, 10, network).init, nnx.state(network, nnx.Param))
    assert {leaf.dtype for leaf in jax.tree.leaves(kept) if leaf.ndim > 1} == {
        jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32)
    }  # fmt: skip
