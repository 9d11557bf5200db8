import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import MLP, MLPConfig, MMDiTConfig, UNetConfig
from artifex.training import BackboneConfig
from artifex.training.config.backbones import known_fields, presets
from artifex.training.config.network_plan import LabeledMMDiT

pytestmark = pytest.mark.slow

SMALL = {"heads": 2, "depth": 1}
# Everything small, and what the data decides: shape, fields.
KINDS: dict[str, tuple[tuple[int, ...], dict[str, object]]] = {
    "unet": ((8, 8, 1), {"base_channels": 8, "channel_mults": [1], "groups": 4, "head_dim": None,
             "attention_levels": [0], "num_res_blocks": 1, "remat": True}),
    "dit": ((8, 8, 2), {**SMALL, "hidden": 16}),
    "mmdit": ((8, 8, 2), {**SMALL, "head_dim": 8, "context_features": 6, "pooled_features": 5, "sample_size": 8}),
    "uvit": ((8, 8, 2), {**SMALL, "hidden": 16}),
    "edm2": ((8, 8, 2), {"base_channels": 8, "channel_mults": [1], "num_blocks": 1, "head_dim": 8,
             "attention_levels": []}),
    "mlp": ((2,), {"hidden": 8, "depth": 1}),
}  # fmt: skip


def backbone(kind: str, **fields: object) -> BackboneConfig:
    return BackboneConfig.model_validate({"kind": kind, **fields})


@pytest.mark.parametrize("kind", KINDS)
def test_every_network_fits_the_data_in_shape_and_classes(kind: str) -> None:
    shape, fields = KINDS[kind]
    made = backbone(kind, **fields).build(shape, 3, "bfloat16")
    assert made.num_classes == 3
    assert made.config.dtype == jnp.bfloat16
    assert made.config.param_dtype == jnp.float32
    if kind == "unet":
        assert isinstance(made.config, UNetConfig)
        assert (made.config.in_channels, made.config.num_classes, made.config.remat) == (1, 3, True)
    assert backbone(kind, **fields, num_classes=None).build(shape, 3, "float32").num_classes is None


def test_a_network_is_drawn_from_its_key() -> None:
    made = backbone("mlp", hidden=8, depth=1).build((2,), 3, "float32")
    drawn = [jax.tree.leaves(nnx.state(made.init(jax.random.key(seed)), nnx.Param)) for seed in (0, 0, 1)]
    plain = jax.tree.leaves(nnx.state(MLP(MLPConfig(hidden=8, depth=1, num_classes=3), rngs=nnx.Rngs(0)), nnx.Param))
    assert all(np.array_equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(drawn[0], drawn[2], strict=True))
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(drawn[0], plain, strict=True))


def test_labels_reach_an_mmdit_as_its_text() -> None:
    shape, fields = KINDS["mmdit"]
    config = backbone("mmdit", **fields).build(shape, 3, "float32").config
    assert isinstance(config, MMDiTConfig)
    x, t = jnp.broadcast_to(jax.random.normal(jax.random.key(2), (1, *shape)), (4, *shape)), jnp.full(4, 10.0)

    @jax.jit
    def call(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        graphdef, state = nnx.split(LabeledMMDiT(config, 3, rngs=nnx.Rngs(key)))
        # The last layer is zero at first, and so is every gate.
        module = nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf + 0.05, state))
        return module(x, t, jnp.arange(4)), module(x, t)

    by_label, without = call(jax.random.key(0))
    assert not np.allclose(by_label[0], by_label[1], atol=1e-6)
    assert np.allclose(by_label[3], without[0], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "fields", "shape", "says"),
    [
        ("unet", {}, (2,), r"backbone.kind 'unet' does not take the data's points \(d,\), \(2,\); 'mlp' does"),
        ("mlp", {}, (8, 8, 1), r"backbone.kind 'mlp' does not take the data's images \(h, w, c\), \(8, 8, 1\); 'unet'"),
        ("unet", {"in_channels": 3}, (8, 8, 1), r"backbone.in_channels must be 1, as in the data of shape .*, got 3"),
        ("uvit", {"size": 16}, (8, 8, 1), r"backbone.size must be 8, as in the data of shape \(8, 8, 1\), got 16"),
        ("unet", {"num_classes": 2}, (8, 8, 1), r"backbone.num_classes must be null or at least the data's 3, got 2"),
        ("unet", {"groups": 5}, (8, 8, 1), r"backbone: groups must divide the channels"),
        ("uvit", {"patch": 3, "depth": 1}, (8, 8, 1), r"backbone: patch must divide size = 8, got 3"),
        ("unet", {"preset": "digits"}, (9, 9, 1), r"backbone: unet can't take data of shape \(9, 9, 1\): "),
        ("dit", {**SMALL, "hidden": 16, "patch": 3}, (8, 8, 1), r"backbone: dit can't take data of shape"),
    ],
)  # fmt: skip
def test_networks_that_do_not_fit_the_data_are_refused(
    kind: str, fields: dict[str, object], shape: tuple[int, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        backbone(kind, **fields).build(shape, 3, "float32")


def test_presets_are_the_published_sizes_and_fields_those_of_the_config() -> None:
    assert "digits" in presets("unet")
    assert {"s_2", "xl_8"} <= set(presets("dit"))
    assert presets("mlp") == []
    assert not {"dtype", "param_dtype", "learn_sigma"} & set(known_fields("unet"))
    assert "num_classes" in known_fields("mmdit")
