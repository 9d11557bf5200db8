"""Configs of published folders, and as other versions of diffusers write them.

What diffusers makes of them, counts and names and shapes of tensors, is data that ``tests/torch/published.py`` made.
"""

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
from flax import nnx

from artifex.backbones import (
    AutoencoderKL,
    AutoencoderKLConfig,
    DiTConfig,
    MMDiTConfig,
    TextCondition,
    UNetConditionalConfig,
    UNetConfig,
    init_rngs,
)
from artifex.backbones.interop import CheckpointError, load_diffusers, save_diffusers
from artifex.backbones.interop.config_fields import Fields
from artifex.backbones.interop.conversion import SAVED
from artifex.backbones.interop.diffusers import BY_NAME, CONVERSIONS
from artifex.backbones.interop.extra_fields import EXTRA_FIELDS, extra_fields, with_extra_fields
from artifex.backbones.interop.key_mapping import entries
from artifex.backbones.unet_conditional import PooledEmbedding

FOLDER = Path(__file__).parent
PUBLISHED = json.loads((FOLDER / "published.json").read_text())
DEFAULTS = json.loads((FOLDER / "defaults.json").read_text())
Json = dict[str, Any]
BY_LEVEL = ("attention_head_dim", "cross_attention_dim", "layers_per_block", "transformer_layers_per_block")
# Each is one network in diffusers, whichever of them its config has.
SYNONYMS: dict[str, dict[Any, Any]] = {
    "act_fn": {"swish": "silu"},
    "upcast_attention": {None: False},
    "shift_factor": {0.0: None},
}


def conversion(name: str) -> Any:  # noqa: ANN401
    return BY_NAME[name]


def meaning(class_name: str, fields: Json) -> Json:
    """All fields of diffusers' class, in one format per network."""
    whole = {key: fields.get(key, default) for key, default in DEFAULTS[class_name].items()}
    whole = {key: SYNONYMS.get(key, {}).get(value, value) if not isinstance(value, list) else value
             for key, value in whole.items()}  # fmt: skip
    if class_name == "UNet2DConditionModel":
        levels = range(len(whole["block_out_channels"]))
        attends = [kind.startswith("CrossAttn") for kind in whole["down_block_types"]]
        for key in BY_LEVEL:
            whole[key] = [whole[key] for _ in levels] if isinstance(whole[key], int) else [*whole[key]]
        for level in levels[:-1]:  # without attention there are no layers; the last has those of the middle
            whole["transformer_layers_per_block"][level] *= attends[level]
    if "num_layers" in whole and whole["out_channels"] is None:
        whole["out_channels"] = whole["in_channels"]
    return {key: [kind.removeprefix("UNetRes") for kind in value] if key.endswith("types") else value
            for key, value in whole.items()}  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("name", {truth["tensors"]: name for name, truth in PUBLISHED.items()}.values())
def test_published_configs_are_read_as_diffusers_reads_them(name: str) -> None:
    truth = PUBLISHED[name]
    home = conversion(truth["config"]["_class_name"])
    config = home.read(Fields(truth["config"]))
    config = dataclasses.replace(config, embed_per_block=True) if isinstance(config, DiTConfig) else config
    state = nnx.state(nnx.eval_shape(lambda: home.build(config, init_rngs(0))))
    flat = [(path, leaf) for path, leaf in nnx.to_flat_state(state) if isinstance(leaf, SAVED)]
    table = entries(((".".join(map(str, path)), leaf.shape) for path, leaf in flat), home.key_mapping(config))
    tensors = sorted((part, [*entry.theirs]) for entry in table for part in entry.parts)
    assert hashlib.sha256(json.dumps(tensors).encode()).hexdigest() == truth["tensors"]
    assert (
        sum(math.prod(entry.theirs) * len(entry.parts) for entry in table if entry.path != "positions")
        == truth["parameters"]
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_come_back(name: str) -> None:
    before = PUBLISHED[name]["config"]
    home = conversion(before["_class_name"])
    config = home.read(Fields(before))
    after = json.loads(json.dumps(home.write(config)))
    assert set(after) <= set(DEFAULTS[home.class_name])
    assert meaning(home.class_name, after) == meaning(home.class_name, before)
    assert home.read(Fields(after)) == config
    assert extra_fields(config, config) == {}


@pytest.mark.parametrize("class_name", DEFAULTS)
def test_what_a_config_leaves_out_is_what_diffusers_takes(class_name: str) -> None:
    home = conversion(class_name)
    config = home.read(Fields({}))
    assert home.read(Fields(DEFAULTS[class_name])) == config
    written = json.loads(json.dumps(home.write(config)))
    assert meaning(class_name, written) == meaning(class_name, {})
    assert set(written) == set(DEFAULTS[class_name])


def test_the_refiner_takes_its_own_condition() -> None:
    """The config has only the width of the input: 1280 and five ids of 256, or 1024 and six."""
    read = conversion("UNet2DConditionModel").read
    refiner, sdxl = (read(Fields(PUBLISHED[name]["config"])) for name in ("sdxl-refiner-unet", "sdxl-unet"))
    assert (refiner.pooled_features, refiner.ids, refiner.depths, refiner.middle_depth) == (1280, 5, (0, 4, 4, 0), 4)
    assert (sdxl.pooled_features, sdxl.ids) == (1280, 6)
    assert sdxl == UNetConditionalConfig.sdxl()
    tiny = {**PUBLISHED["sdxl-unet"]["config"], "addition_time_embed_dim": 8, "cross_attention_dim": 64}
    for width, ids in ((80, 6), (72, 5)):  # of diffusers' own tests: 32 and six or five numbers, two encoders of 32
        config = read(Fields({**tiny, "projection_class_embeddings_input_dim": width}))
        assert (config.pooled_features, config.ids) == (32, ids)


@pytest.mark.usefixtures("unhooked")
def test_what_fills_the_input_is_taken() -> None:
    """As in diffusers, whose config has only the width."""
    config = dataclasses.replace(SD, pooled_features=6, ids=5, id_features=4)
    embed = nnx.eval_shape(lambda: PooledEmbedding(config, 6, rngs=init_rngs(0)))

    def shape(pooled: int, ids: int) -> tuple[int, ...]:
        cond = TextCondition(jnp.zeros((1, 2, 6)), jnp.zeros((1, pooled)), jnp.zeros((1, ids)))
        return tuple(nnx.eval_shape(lambda embed: embed(cond), embed).shape)

    assert shape(6, 5) == shape(2, 6) == (1, 16)
    with pytest.raises(ValueError, match=r"must have shapes \(1, 6\) and \(1, 5\), got \(1, 6\) and \(1, 6\)"):
        shape(6, 6)


UNET = UNetConfig(base_channels=4, channel_mults=(1, 2), num_res_blocks=1, attention_levels=(1,), head_dim=4, groups=2)
SD = UNetConditionalConfig(
    base_channels=4, channel_mults=(1, 2), num_res_blocks=1, depths=(1, 0), heads=(1, 2), context_features=6, groups=2
)
DIT = DiTConfig(hidden=8, depth=1, heads=2, num_classes=5, sample_size=8, freq_shift=1.0)
SD3 = MMDiTConfig(heads=1, head_dim=4, depth=2, context_features=3, pooled_features=2, max_size=4, sample_size=4)
VAE = AutoencoderKLConfig(latent_channels=2, channels=(4, 8), num_res_blocks=1, groups=2)


def changed(config: Any, *changes: Json) -> list[Any]:  # noqa: ANN401
    return [config, *(dataclasses.replace(config, **change) for change in changes)]


def home_of(config: Any) -> Any:  # noqa: ANN401
    return next(home for home in CONVERSIONS if type(home.read(Fields({}))) is type(config))


@pytest.mark.parametrize(
    "config",
    [
        *changed(
            UNET, {"num_classes": 3}, {"num_classes": 3, "null_class": False}, {"null_class": False}, {"remat": True},
            {"sample_size": (8, 16)}, {"sample_size": 8}, {"attention_levels": (1, 0)}, {"head_dim": None},
            {"resample": "block"}, {"resample": "block", "channel_mults": (1,), "attention_levels": ()},
            {"resample": "block", "attention_levels": (0, 1)}, {"pad": "after"}, {"middle_attention": False},
            {"scale_shift": False}, {"learn_sigma": True, "dropout": 0.1}, {"cosine_first": True, "freq_shift": 0.0},
        ),
        *changed(
            SD, *({"pooled_features": pooled, "ids": ids, "id_features": 4}
                  for pooled, ids in ((5, 6), (5, 5), (3, 6), (6, 5), (12, 5), (1, 1), (50, 3))),
            {"sample_size": (8, 16)}, {"remat": True}, {"upcast_attention": True}, {"linear_projection": True},
            {"depths": (2, 1), "middle_depth": 1}, {"depths": (1, 0), "middle_depth": 3}, {"out_channels": 8},
        ),
        *changed(DIT, {"remat": True, "scan": True}, {"embed_per_block": True}, {"learn_sigma": False}),
        *changed(SD3, {"dual_layers": (0,), "qk_norm": True}, {"remat": True, "scan": True}),
        *changed(
            VAE, {"sample_size": 16}, {"sample_size": (16, 8)}, {"shift_factor": 0.5}, {"force_upcast": False},
            {"latents_mean": (0.5, 1.0), "latents_std": (1.0, 2.0)}, {"remat": True}, {"quant_conv": False},
        ),
    ],
)  # fmt: skip
def test_a_network_saved_and_loaded_has_its_config(config: Any) -> None:  # noqa: ANN401
    home = home_of(config)
    written: Json = home.write(config)
    noted = extra_fields(config, home.round_trip(config))
    fields = json.loads(json.dumps({**written, **noted}))
    assert not {key for key in fields if not key.startswith("_")} - set(DEFAULTS[home.class_name])
    assert None not in (fields.get("sample_size", 0),) or home.class_name.startswith("UNet")  # others can't do without
    again = home.read(Fields(fields))
    again = with_extra_fields(again, fields[EXTRA_FIELDS], home.round_trip) if EXTRA_FIELDS in fields else again
    assert again == config


def test_no_note_is_written_without_need() -> None:
    for config in (UNET, SD, DIT, SD3):
        assert extra_fields(config, home_of(config).round_trip(config)) == {}


@pytest.mark.slow
def test_what_diffusers_can_not_say_is_in_a_note(tmp_path: Path) -> None:
    model = load_diffusers(FOLDER / "golden" / "vae")
    assert isinstance(model, AutoencoderKL)
    model.config = dataclasses.replace(model.config, sample_size=None)
    save_diffusers(model, tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    assert fields[EXTRA_FIELDS] == {"sample_size": None}
    again = load_diffusers(tmp_path)
    assert isinstance(again, AutoencoderKL)
    assert again.config == model.config
    for wrong, message in (
        ([], r"_artifex must hold fields of AutoencoderKLConfig, got \[\]"),
        ({"more": 1}, "_artifex must hold fields of"),
        ({"dtype": "float16"}, "_artifex must hold fields of"),
        ({"remat": 1}, "_artifex must hold fields of"),
        ({"channels": [4, "8"]}, "_artifex must hold fields of"),
        ({"sample_size": [1, 2, 3]}, "_artifex must hold fields of"),
        ({"groups": 4}, r"_artifex must agree with the other fields, got \{'groups': 4\}"),
        ({"groups": 3}, "groups must divide the channels"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**fields, EXTRA_FIELDS: wrong}))
        with pytest.raises(CheckpointError, match=message):
            load_diffusers(tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("dit-xl-2-256", {"norm_type": "ada_norm_single"}, "norm_type must be 'ada_norm_zero'"),
        ("dit-xl-2-256", {"cross_attention_dim": 768}, "cross_attention_dim must be None"),
        ("dit-xl-2-256", {"interpolation_scale": 2}, "interpolation_scale must be None or 1"),
        ("dit-xl-2-256", {"sample_size": [32, 32]}, r"sample_size must be a whole number, got \[32, 32\]"),
        ("ddpm-cifar10-32", {"sample_size": [8, 16, 8]}, r"sample_size must be a whole number, got \[8, 16, 8\]"),
        ("ddpm-cifar10-32", {"time_embedding_dim": 256}, "time_embedding_dim must be None or 512"),
        ("ddpm-cifar10-32", {"time_embedding_type": "fourier"}, "time_embedding_type must be 'positional'"),
        ("sd-1.4-unet", {"only_cross_attention": [True, True, True, False]}, "only_cross_attention must be False"),
        ("sd-1.4-unet", {"reverse_transformer_layers_per_block": [1, 1, 1, 2]}, r"must be None or \[1, 1, 1, 1\]"),
        ("sd-1.4-unet", {"time_cond_proj_dim": 256}, "time_cond_proj_dim must be None"),
        ("sd-3-vae", {"latents_mean": [0.0, 1.0]}, "latents_mean must be None or 16 numbers"),
    ],
)
def test_another_network_is_refused(name: str, changes: Json, message: str) -> None:
    fields = {**PUBLISHED[name]["config"], **changes}
    with pytest.raises(ValueError, match=message):
        conversion(fields["_class_name"]).read(Fields(fields))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("sd-1.4-unet", {"only_cross_attention": [False] * 4, "cross_attention_dim": [768] * 4}),
        ("sd-1.4-unet", {"layers_per_block": [2] * 4, "attention_head_dim": [8] * 4, "act_fn": "swish"}),
        ("sd-1.4-unet", {"transformer_layers_per_block": [1, 1, 1, 1], "time_embedding_dim": 1280}),
        ("sd-1.4-unet", {"reverse_transformer_layers_per_block": [1, 1, 1, 1], "mid_block_only_cross_attention": True}),
        ("ddpm-cifar10-32", {"num_train_timesteps": 1000, "time_embedding_dim": 512, "mid_block_scale_factor": 1.0}),
        ("ddpm-cifar10-32", {"attn_norm_num_groups": 32, "use_memory_efficient_attention": False}),
    ],
)
def test_other_ways_to_write_a_config(name: str, changes: Json) -> None:
    fields = PUBLISHED[name]["config"]
    read = conversion(fields["_class_name"]).read
    assert read(Fields({**fields, **changes})) == read(Fields(fields))


def test_height_and_width_apart() -> None:
    for name in ("ddpm-cifar10-32", "sd-1.4-unet", "sd-1.4-vae"):
        fields = PUBLISHED[name]["config"]
        assert conversion(fields["_class_name"]).read(Fields({**fields, "sample_size": [8, 16]})).sample_size == (8, 16)
