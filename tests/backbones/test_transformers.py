"""Folders of transformers: published configs, formats and errors; ``test_text_encoders`` compares numbers.

What transformers makes of the configs is data that ``tests/torch/published.py`` made.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from artifex.backbones import MLP, CLIPText, CLIPTextConfig, MLPConfig, T5Config, T5Encoder, init_rngs
from artifex.backbones.interop import CheckpointError, load_pipeline, load_transformers, save_transformers
from artifex.backbones.interop.config_fields import Fields
from artifex.backbones.interop.extra_fields import extra_fields
from artifex.backbones.interop.key_mapping import entries
from artifex.backbones.interop.transformers import BY_NAME, CONVERSIONS, TextEncoder

PUBLISHED: dict[str, Any] = json.loads((Path(__file__).parent / "published_text.json").read_text())
SIZES = {
    "sd-1.5-text": CLIPTextConfig.vit_l_14(),
    "sd-2.1-text": CLIPTextConfig.open_clip_h(),
    "sdxl-text-2": CLIPTextConfig.open_clip_big_g(),
    "sd-3-text": dataclasses.replace(CLIPTextConfig.vit_l_14(), projection=768),
    "clip-vit-l-14": dataclasses.replace(CLIPTextConfig.vit_l_14(), projection=768),
    "t5-v1.1-small": T5Config.t5_v1_1_small(),
    "t5-v1.1-base": T5Config.t5_v1_1_base(),
    "t5-v1.1-large": T5Config.t5_v1_1_large(),
    "t5-v1.1-xl": T5Config.t5_v1_1_xl(),
    "sd-3-text-3": T5Config.t5_v1_1_xxl(),
    "umt5-small": T5Config.umt5_small(),
    "umt5-xxl": T5Config.umt5_xxl(),
}
CLIP = CLIPTextConfig(vocab_size=9, max_length=5, hidden=4, mlp_hidden=8, depth=2, heads=2)
T5 = T5Config(vocab_size=9, hidden=4, mlp_hidden=8, depth=2, heads=2, head_dim=3)
WEIGHTS = "model.safetensors"
Tensors = dict[str, np.ndarray]
Edit = Callable[[Path], object]


def read(name: str, key: str = "config") -> Any:  # noqa: ANN401
    entry = PUBLISHED[name]
    return BY_NAME[entry["config"]["architectures"][0]].read(Fields(entry[key]))


@pytest.mark.slow
@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_are_read_as_transformers_reads_them(name: str) -> None:
    truth = PUBLISHED[name]
    home: Any = BY_NAME[truth["config"]["architectures"][0]]
    config = read(name)
    assert config == SIZES.get(name, config)
    assert read(name, "complete") == config
    state = nnx.state(nnx.eval_shape(lambda: home.build(config, init_rngs(0))), nnx.Param)
    flat = [(".".join(map(str, path)), leaf.shape) for path, leaf in nnx.to_flat_state(state)]
    table = entries(flat, home.key_mapping(config))
    tensors = sorted((part, [*entry.theirs]) for entry in table for part in entry.parts)
    assert sum(math.prod(shape) for _, shape in tensors) == truth["parameters"]
    assert hashlib.sha256(json.dumps(tensors).encode()).hexdigest() == truth["tensors"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_come_back(name: str) -> None:
    config, home = read(name), BY_NAME[PUBLISHED[name]["config"]["architectures"][0]]
    written: Any = json.loads(json.dumps(home.write(config)))
    complete = PUBLISHED[name]["complete"]
    others = {"projection_dim"} if home.class_name == "CLIPTextModel" else set()  # which does not have one
    assert {key: value for key, value in written.items() if complete[key] != value}.keys() <= others
    assert home.read(Fields(written)) == config
    assert extra_fields(config, config) == {}


def test_every_published_size_is_here() -> None:
    for config in (CLIPTextConfig, T5Config):
        names = [name for name, value in vars(config).items() if isinstance(value, classmethod)]
        assert names
        assert {getattr(config, name)() for name in names} <= set(SIZES.values())


def make(config: CLIPTextConfig | T5Config, folder: Path) -> TextEncoder:
    """A network with random parameters, and its folder."""
    kind = CLIPText if isinstance(config, CLIPTextConfig) else T5Encoder
    model: TextEncoder = kind(config, rngs=nnx.Rngs(0))  # type: ignore[arg-type]
    save_transformers(model, folder)
    return model


def same(one: nnx.Module, two: nnx.Module) -> None:
    (graph, left), (other, right) = nnx.split(one), nnx.split(two)
    assert graph == other
    jax.tree.map(np.testing.assert_array_equal, left, right)


def rewrite(change: Callable[[Tensors], object]) -> Edit:
    """An edit of the tensors of a folder."""

    def edit(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return edit


def config_with(**changes: object) -> Edit:
    """An edit of the fields of a folder; None deletes one."""

    def edit(folder: Path) -> None:
        fields = {**json.loads((folder / "config.json").read_text()), **changes}
        (folder / "config.json").write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))

    return edit


def with_second(key: str, value: float) -> Edit:
    """An edit that stores the table of tokens once more, with ``value`` added."""
    return rewrite(lambda tensors: tensors.update({key: tensors["shared.weight"] + np.float32(value)}))


def whole_clip(folder: Path) -> None:
    """Turn a text model into one part of a CLIP."""
    fields = json.loads((folder / "config.json").read_text())
    width = fields.pop("projection_dim")
    whole = {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": width, "text_config": fields,
             "vision_config": {"hidden_size": 4}, "logit_scale_init_value": 2.6}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(whole))
    extra = {"vision_model.post_layernorm.weight": np.ones(4), "visual_projection.weight": np.ones((6, 4)),
             "logit_scale": np.ones(())}  # fmt: skip
    rewrite(lambda tensors: tensors.update(extra))(folder)


def bare(tensors: Tensors) -> None:
    """Turn keys into those of transformers from 5.6 on, with the constant that older versions save."""
    tensors.update(IDS)
    for key in list(tensors):
        tensors[key.removeprefix("text_model.")] = tensors.pop(key)


IDS: Tensors = {"text_model.embeddings.position_ids": np.arange(5)[None]}
DECODER: Tensors = {
    "decoder.block.0.layer.0.layer_norm.weight": np.ones(4, np.float32),
    "lm_head.weight": np.ones((9, 4)),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "edit"),
    [
        (CLIP, rewrite(bare)),
        (CLIP, rewrite(lambda tensors: tensors.update(IDS))),
        (CLIP, rewrite(lambda tensors: tensors.update({"text_projection.weight": np.ones((4, 4), np.float32)}))),
        (dataclasses.replace(CLIP, projection=6), whole_clip),
        (T5, with_second("encoder.embed_tokens.weight", 0.0)),
        (T5, rewrite(lambda tensors: tensors.update({"encoder.embed_tokens.weight": tensors.pop("shared.weight")}))),
        (T5, rewrite(lambda tensors: tensors.update(DECODER))),
        (T5, config_with(architectures=["T5ForConditionalGeneration"], n_positions=512)),
        (dataclasses.replace(T5, bias_per_layer=True, feed_forward="relu"), config_with(scalable_attention=True)),
        (T5, lambda folder: save_transformers(load_transformers(folder), folder, shard_bytes=200)),
    ],
    ids=["bare", "positions", "projection", "whole-clip", "copies", "copy", "decoder", "whole-t5",
         "relu", "shards"],
)  # fmt: skip
def test_every_format_is_read(config: CLIPTextConfig | T5Config, edit: Edit, tmp_path: Path) -> None:
    model = make(config, tmp_path)
    edit(tmp_path)
    same(load_transformers(tmp_path), model)


@pytest.mark.slow
def test_a_folder_with_a_variant_is_read_by_it(tmp_path: Path) -> None:
    for name, config in (("text_encoder", CLIP), ("text_encoder_2", dataclasses.replace(CLIP, projection=6)),
                         ("text_encoder_3", T5)):  # fmt: skip
        make(config, tmp_path / name)
        folder = tmp_path / name
        half = {key: value.astype(np.float16) for key, value in load_file(folder / WEIGHTS).items()}
        save_file(half, folder / "model.fp16.safetensors")
        assert load_transformers(folder, variant="fp16").config.param_dtype == jnp.float16
        assert load_transformers(folder, variant="fp16", compute_dtype=jnp.float32).config.dtype == jnp.float32
        assert load_transformers(folder, dtype=jnp.bfloat16).config.dtype == jnp.bfloat16
    index = {"_class_name": "StableDiffusion3Pipeline", "tokenizer": ["transformers", "CLIPTokenizer"],
             "text_encoder": ["transformers", "CLIPTextModel"], "image_encoder": ["transformers", "CLIPVisionModel"],
             "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
             "text_encoder_3": ["transformers", "T5EncoderModel"]}  # fmt: skip
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    found = load_pipeline(tmp_path, variant="fp16")
    assert {key: type(value) for key, value in found.networks.items()} == {
        "text_encoder": CLIPText, "text_encoder_2": CLIPText, "text_encoder_3": T5Encoder,
    }  # fmt: skip
    assert found.variants == dict.fromkeys(found.networks, "fp16")
    assert set(found.not_loaded) == {"tokenizer", "image_encoder"}
    (tmp_path / "text_encoder_3" / "model.fp16.safetensors").unlink()
    with pytest.warns(UserWarning, match=r"files of variant='fp16'; read text_encoder_3 from model\.safetensors$"):
        assert load_pipeline(tmp_path, variant="fp16").variants["text_encoder_3"] is None
    config_with(architectures=["T5ForConditionalGeneration"])(tmp_path / "text_encoder_3")
    assert set(load_pipeline(tmp_path, skip=("text_encoder",)).networks) == {"text_encoder_2", "text_encoder_3"}


BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "edit", "message"),
    [
        (CLIP, lambda folder: (folder / "config.json").unlink(), r"no file .*config\.json"),
        (CLIP, lambda folder: (folder / WEIGHTS).unlink(), r"no model\.safetensors and no model\.safetensors\.ind"),
        (CLIP, lambda folder: (folder / WEIGHTS).rename(folder / "pytorch_model.bin"), r"bin is a pickle, which can"),
        (CLIP, lambda folder: (folder / WEIGHTS).write_bytes(b"12"), "is cut short, or no safetensors file at all"),
        (CLIP, config_with(architectures=["BertModel"]), r"must name one of CLIPTextModel, .*; got \['BertModel'\]$"),
        (CLIP, config_with(architectures=None), r"architectures in .* must name one of CLIPTextModel, .*; got None$"),
        (CLIP, config_with(hidden_act="relu"), r"hidden_act must be one of \('quick_gelu', 'gelu'\) here, got 'relu'"),
        (CLIP, config_with(eos_token_id=[2, 3]), r"eos_token_id must be a whole number, got \[2, 3\]"),
        (CLIP, config_with(is_decoder=True), "is_decoder must be False: nothing else is supported; got True"),
        (CLIP, config_with(pruned_heads={"0": [1]}), r"pruned_heads must be \{\}: nothing else"),
        (CLIP, config_with(use_attention_mask=True), "use_attention_mask must be False or None: nothing else"),
        (CLIP, config_with(quantization_config={}), "fields that are not known: quantization_config$"),
        (CLIP, config_with(text_config=3), "text_config must be an object, got 3"),
        (CLIP, config_with(num_attention_heads=3), r"config\.json: heads must divide hidden = 4, got 3"),
        (CLIP, config_with(num_hidden_layers=3), "tensors are missing: text_model.encoder.layers.2.mlp.fc1"),
        (CLIP, config_with(num_hidden_layers=1), "tensors are not part of this network: text_model.encoder.layers.1"),
        (CLIP, config_with(vocab_size=10), r"token_embedding.weight must have shape \(10, 4\) for this config, got"),
        (CLIP, config_with(architectures=["CLIPTextModelWithProjection"]), "missing: text_projection.weight$"),
        (T5, config_with(feed_forward_proj="gated-silu"), r"feed_forward_proj must be one of \('gated-gelu', 'relu'\)"),
        (T5, config_with(dense_act_fn="relu"), "dense_act_fn must be 'gelu_new': nothing else is supported"),
        (T5, config_with(relative_attention_num_buckets=5), "buckets must be even, got 5"),
        (T5, config_with(architectures=["UMT5EncoderModel"]), r"missing: encoder\.block\.1.*relative_attention_bias"),
        (T5, rewrite(lambda tensors: tensors.pop(BIAS)), rf"tensors are missing: {BIAS}$"),
        (T5, with_second("encoder.embed_tokens.weight", 0.5), "are the same array here, expected the same values"),
        (T5, with_second("encoder.block.9.weight", 0.0), r"not part of this network: encoder\.block\.9\.weight$"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(
    config: CLIPTextConfig | T5Config, edit: Edit, message: str, tmp_path: Path
) -> None:
    make(config, tmp_path)
    edit(tmp_path)
    with pytest.raises(CheckpointError, match=message) as error:
        load_transformers(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_indices_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_transformers(make(T5, tmp_path), tmp_path, shard_bytes=500)
    assert not (tmp_path / WEIGHTS).exists()
    index = tmp_path / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    key = next(key for key, file in places.items() if list(places.values()).count(file) > 1)
    index.write_text(json.dumps({"weight_map": {other: file for other, file in places.items() if other != key}}))
    with pytest.raises(CheckpointError, match=rf"the files that it names disagree on \['{key}'\]$"):
        load_transformers(tmp_path)
    (tmp_path / places[key]).unlink()
    with pytest.raises(CheckpointError, match=r"no file .*model-0.*\.safetensors"):
        load_transformers(tmp_path)


@pytest.mark.usefixtures("unhooked")
def test_only_text_encoders_are_written(tmp_path: Path) -> None:
    mlp: Any = nnx.eval_shape(lambda: MLP(MLPConfig(), rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match="model must be a CLIPText or a T5Encoder, got MLP"):
        save_transformers(mlp, tmp_path / "mlp")
    assert not (tmp_path / "mlp").exists()
    assert {conversion.class_name for conversion in CONVERSIONS} <= set(BY_NAME)
