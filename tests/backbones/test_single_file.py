"""Single files of the original Stable Diffusion against data of diffusers by ``tests/torch/golden_single_file.py``."""

import dataclasses
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import (
    AutoencoderKL,
    AutoencoderKLConfig,
    CLIPText,
    CLIPTextConfig,
    TextCondition,
    UNetConditional,
    UNetConditionalConfig,
    init_rngs,
)
from artifex.backbones.interop import CheckpointError, load_pipeline, load_single_file, single_file
from artifex.backbones.interop.checkpoint import Checkpoint
from artifex.backbones.interop.conversion import SAVED
from artifex.backbones.interop.key_mapping import entries
from tests.backbones.helpers.original_file import TABLE, Tensors, tensors, write_file, write_folder

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
SMALL = [name for name, entry in TABLE.items() if "tensors" in entry]
LARGE = [name for name in TABLE if name not in SMALL]
QKV = "transformer.resblocks.0.attn.in_proj_"
Edit = Callable[[Tensors], object]


def leaves(model: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
    found = jax.tree_util.tree_leaves_with_path(nnx.state(model, nnx.Param))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in found}


def same(one: Any, two: Any) -> bool:  # noqa: ANN401
    left, right = leaves(one), leaves(two)
    return set(left) == set(right) and all(np.array_equal(value, right[key]) for key, value in left.items())


@pytest.mark.parametrize("name", SMALL)
def test_a_file_is_the_folder_bit_for_bit(name: str, tmp_path: Path) -> None:
    folder = load_pipeline(write_folder(name, tmp_path / "folder"))
    file = load_single_file(write_file(tmp_path, tensors(name)))
    assert file.class_name == folder.class_name == TABLE[name]["class"]
    assert set(file.networks) == set(folder.networks)
    for component, network in folder.networks.items():
        assert file.networks[component].config == network.config
        assert nnx.graphdef(file.networks[component]) == nnx.graphdef(network)
        assert same(file.networks[component], network)


@cache
def truth() -> dict[str, np.ndarray]:
    stored = np.load(FOLDER / "single_file.npz")
    return {key: stored[key] for key in stored.files}


def image(value: np.ndarray) -> jax.Array:
    return jnp.moveaxis(jnp.asarray(value), 1, -1)


def run(model: Any, given: dict[str, np.ndarray]) -> dict[str, jax.Array]:  # noqa: ANN401
    """The outputs of a network, in the layout of PyTorch."""
    if isinstance(model, CLIPText):
        out = model(jnp.asarray(given["ids"]))
        return {"hidden": out.hidden, "pooled": out.pooled}
    if isinstance(model, AutoencoderKL):
        found = {"mean": model.encode(image(given["x"]))[0], "decoded": model.decode(image(given["z"]))}
        return {key: jnp.moveaxis(value, -1, 1) for key, value in found.items()}
    context, *rest = (jnp.asarray(given[key]) for key in ("context", "pooled", "ids") if key in given)
    cond = TextCondition(context, *rest)
    return {"out": jnp.moveaxis(model(image(given["x"]), jnp.asarray(given["t"]), cond), -1, 1)}


@pytest.mark.parametrize("name", SMALL)
def test_outputs_are_those_of_pytorch(name: str, tmp_path: Path) -> None:
    networks = load_single_file(write_file(tmp_path, tensors(name))).networks
    for component, model in networks.items():
        start = f"{name}/{component}/"
        given = {key.removeprefix(start): value for key, value in truth().items() if key.startswith(start)}
        graph, state = nnx.split(model)
        found = jax.jit(
            lambda state, graph=graph, given=given: run(nnx.merge(graph, state), given),
            compiler_options={"xla_backend_optimization_level": 0},
        )(state)
        for key, value in found.items():
            bound = 1e-4 if component in ("unet", "vae") else 1e-5
            assert float(np.abs(np.asarray(value) - given[key]).max()) <= bound * float(given[key].std())


def swapped_query_and_key(arrays: Tensors) -> None:
    for leaf in ("weight", "bias"):
        key = f"conditioner.embedders.0.model.{QKV}{leaf}"
        q, k, v = np.split(arrays[key], 3)
        arrays[key] = np.concatenate([k, q, v])


def transposed_projection(arrays: Tensors) -> None:
    key = "conditioner.embedders.0.model.text_projection"
    arrays[key] = np.ascontiguousarray(arrays[key].T)


def swapped(one: str, two: str) -> Edit:
    """A fault that exchanges the arrays of two modules."""

    def edit(arrays: Tensors) -> None:
        moved = {two + key.removeprefix(one): value for key, value in arrays.items() if key.startswith(one)}
        moved |= {one + key.removeprefix(two): value for key, value in arrays.items() if key.startswith(two)}
        assert moved
        arrays.update(moved)

    return edit


@pytest.mark.parametrize(
    "fault",
    [
        swapped_query_and_key,
        transposed_projection,
        swapped("model.diffusion_model.output_blocks.4.", "model.diffusion_model.output_blocks.5."),
        swapped("model.diffusion_model.input_blocks.1.0.", "model.diffusion_model.middle_block.0."),
        swapped("first_stage_model.decoder.up.0.block.1.", "first_stage_model.decoder.up.1.block.1."),
        swapped("first_stage_model.encoder.mid.attn_1.q.", "first_stage_model.encoder.mid.attn_1.k."),
    ],
)
def test_a_planted_fault_is_seen(fault: Edit, tmp_path: Path) -> None:
    """Arrays in another place are of another shape, or make another network."""
    arrays = tensors("refiner")
    fault(arrays)
    try:
        found = load_single_file(write_file(tmp_path, arrays))
    except CheckpointError:
        return
    truth = load_pipeline(write_folder("refiner", tmp_path / "folder"))
    assert not all(same(network, found.networks[name]) for name, network in truth.networks.items())


def sparse(path: Path, shapes: dict[str, list[int]], more: dict[str, tuple[str, list[int]]]) -> Path:
    """A file of the right size without any data."""
    header, offset = {}, 0
    listed = {**{key: ("F16", shape) for key, shape in shapes.items()}, **more}
    for key, (dtype, shape) in listed.items():
        size = math.prod(shape) * {"F16": 2, "F32": 4, "I64": 8}[dtype]
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
    return path


UNUSED: dict[str, dict[str, tuple[str, list[int]]]] = {
    "sd-1.5": {
        "cond_stage_model.transformer.text_model.embeddings.position_ids": ("I64", [1, 77]),
        "model_ema.decay": ("F32", []),
        "model_ema.num_updates": ("I64", []),
        "model_ema.diffusion_modelinput_blocks00weight": ("F32", [320, 4, 3, 3]),
        "betas": ("F32", [1000]),
        "alphas_cumprod": ("F32", [1000]),
        "alphas_cumprod_prev": ("F32", [1000]),
        "sqrt_one_minus_alphas_cumprod": ("F32", [1000]),
        "log_one_minus_alphas_cumprod": ("F32", [1000]),
        "posterior_mean_coef1": ("F32", [1000]),
    },
    "sd-2.1": {"cond_stage_model.model.logit_scale": ("F32", []), "global_step": ("I64", [])},
    "sdxl-base": {
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": ("I64", [1, 77]),
        "conditioner.embedders.1.model.logit_scale": ("F16", []),
        "denoiser.sigmas": ("F32", [1000]),
    },
    "sdxl-refiner": {"conditioner.embedders.0.model.logit_scale": ("F16", []), "denoiser.sigmas": ("F32", [1000])},
}
CONFIGS = {
    "sd-1.5": UNetConditionalConfig.sd_1(),
    "sd-1.5-inpainting": dataclasses.replace(UNetConditionalConfig.sd_1(), in_channels=9),
    "sd-2.1": UNetConditionalConfig.sd_2(),
    "sdxl-base": UNetConditionalConfig.sdxl(),
    "sdxl-refiner": UNetConditionalConfig(
        base_channels=384, depths=(0, 4, 4, 0), middle_depth=4, heads=(6, 12, 24, 24), context_features=1280,
        pooled_features=1280, ids=5, linear_projection=True, sample_size=128,
    ),
}  # fmt: skip
ENCODERS = {
    "sd-1.5": (CLIPTextConfig.vit_l_14(), None),
    "sd-1.5-inpainting": (None, None),
    "sd-2.1": (CLIPTextConfig.open_clip_h(), None),
    "sdxl-base": (CLIPTextConfig.vit_l_14(), CLIPTextConfig.open_clip_big_g()),
    "sdxl-refiner": (None, CLIPTextConfig.open_clip_big_g()),
}


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("name", LARGE)
def test_published_files_have_what_the_networks_need(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and shapes of whole files, without their data and without memory for the networks."""

    class Empty(nnx.Module):
        def __init__(self, config: Any) -> None:  # noqa: ANN401
            self.config = config

    def check(
        conversion: Any,  # noqa: ANN401
        config: Any,  # noqa: ANN401
        checkpoint: Checkpoint,
        *,
        rename: Callable[[str], str],
        **_: object,
    ) -> Empty:
        state = nnx.state(nnx.eval_shape(lambda: conversion.build(config, init_rngs(0))))
        flat = [(path, leaf) for path, leaf in nnx.to_flat_state(state) if isinstance(leaf, SAVED)]
        table = entries(((".".join(map(str, path)), leaf.shape) for path, leaf in flat), conversion.key_mapping(config))
        expected = {part: entry.theirs for entry in table for part in entry.parts}
        assert {rename(key): shape for key, shape in checkpoint.shapes.items()} == expected
        return Empty(config)

    monkeypatch.setattr(single_file, "load", check)
    path = sparse(tmp_path / "file.safetensors", TABLE[name]["original"], UNUSED.get(name, {}))
    found = load_single_file(path, prediction="v" if name == "sd-2.1" else "epsilon")
    assert found.class_name == TABLE[name]["class"]
    assert set(found.networks) == set(TABLE[name]["configs"])
    assert found.networks["unet"].config == CONFIGS[name]
    for number, config in zip(("", "_2"), ENCODERS[name], strict=True):
        if config is not None:
            assert found.networks[f"text_encoder{number}"].config == config
    if "vae" in found.networks:
        size, scale = {"sd-1.5": (512, 0.18215), "sd-2.1": (768, 0.18215)}.get(name, (1024, 0.13025))
        expected = AutoencoderKLConfig(sample_size=size, scaling_factor=scale)
        assert found.networks["vae"].config == expected


def test_half_precision_and_the_scheduler(tmp_path: Path) -> None:
    arrays: Tensors = {key: value.astype(np.float16) for key, value in tensors("sd1").items()}
    arrays["cond_stage_model.transformer.text_model.embeddings.position_ids"] = np.arange(7)[None]
    arrays["model_ema.num_updates"] = np.array(3)
    path = write_file(tmp_path, arrays)
    half, full = load_single_file(path), load_single_file(path, dtype=jnp.float32, prediction="v")
    for component, network in half.networks.items():
        values = leaves(network)
        assert {value.dtype for value in values.values()} == {np.dtype(np.float16)}
        for key, value in leaves(full.networks[component]).items():
            np.testing.assert_array_equal(value, values[key].astype(np.float32))
    assert half.scheduler == {
        "_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "epsilon", "steps_offset": 1,
        "timestep_spacing": "leading", "clip_sample": False, "set_alpha_to_one": False,
    }  # fmt: skip
    assert full.scheduler is not None
    assert full.scheduler["prediction_type"] == "v_prediction"
    assert half.not_loaded == {"tokenizer": "CLIPTokenizer"}


@pytest.mark.parametrize(("prefix", "rank"), [("first_stage_model.", 4), ("", 3), ("", 2)])
def test_an_autoencoder_alone(prefix: str, rank: int, tmp_path: Path) -> None:
    start = "first_stage_model."
    arrays = {key.removeprefix(start): value for key, value in tensors("sd1").items() if key.startswith(start)}
    arrays = {key: value.reshape(value.shape[:rank]) if ".attn_1." in key else value for key, value in arrays.items()}
    arrays |= {"loss.logvar": np.zeros(()), "model_ema.decay": np.zeros(())}
    found = load_single_file(write_file(tmp_path, {prefix + key: value for key, value in arrays.items()}))
    whole = load_pipeline(write_folder("sd1", tmp_path / "folder"))
    assert (found.class_name, found.scheduler, set(found.networks)) == ("AutoencoderKL", None, {"vae"})
    assert same(found.networks["vae"], whole.networks["vae"])


def test_keys_of_other_tools(tmp_path: Path) -> None:
    """Without the last layer and the projection of OpenCLIP; of OpenAI's encoder without ``text_model``."""
    kept = {key: value for key, value in tensors("sd2").items()
            if "resblocks.2." not in key and not key.endswith("text_projection")}  # fmt: skip
    whole = load_single_file(write_file(tmp_path, tensors("sd2")))
    assert same(load_single_file(write_file(tmp_path, kept)).networks["text_encoder"], whole.networks["text_encoder"])
    bare = {key.replace("text_model.", ""): value for key, value in tensors("sd1").items()}
    whole = load_single_file(write_file(tmp_path, tensors("sd1")))
    assert same(load_single_file(write_file(tmp_path, bare)).networks["text_encoder"], whole.networks["text_encoder"])


def test_parts_may_be_left_out_and_configs_given(tmp_path: Path) -> None:
    arrays = {key: value for key, value in tensors("sd1").items() if key.startswith("model.")}
    config = UNetConditionalConfig(
        base_channels=32, channel_mults=(1, 2), depths=(1, 0), heads=(4, 4), context_features=128, sample_size=48
    )
    found = load_single_file(write_file(tmp_path, arrays), configs={"unet": config})
    assert set(found.networks) == {"unet"}
    assert isinstance(found.networks["unet"], UNetConditional)
    assert found.networks["unet"].config == config


def drop(part: str) -> Edit:
    def edit(arrays: Tensors) -> None:
        keys = [key for key in arrays if part in key]
        assert keys
        for key in keys:
            del arrays[key]

    return edit


def put(key: str, value: np.ndarray) -> Edit:
    return lambda arrays: arrays.update({key: value})


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("sd1", put("model.diffusion_model.extra.weight", np.zeros(2, np.float32)),
         r"model.diffusion_model: tensors are not part of this network: extra.weight$"),
        ("sd1", put("depth_model.x", np.zeros(2, np.float32)),
         r"tensors are not part of a Stable Diffusion: depth_model.x$"),
        ("sd1", drop("output_blocks.3.0.skip"),
         r"tensors are missing: output_blocks.3.0.skip_connection.bias, output_blocks.3.0.skip_connection.weight$"),
        ("sd2", drop("resblocks.1."), r"cond_stage_model.model: tensors are missing: transformer.resblocks.1.\*$"),
        ("sd1", drop("input_blocks.0.0."), r"tensors are missing: input_blocks.0.0.weight$"),
        ("sd1", drop("model.diffusion_model."), r"has no tensors model.diffusion_model.\*, expected the keys of"),
        ("sd1", lambda arrays: (arrays.clear(), arrays.update(w=np.zeros(1, np.float32))), r"; got w$"),
        ("sd1", put("model.diffusion_model.out.2.weight", np.zeros((4, 8, 3, 3), np.float32)),
         r"out.2.weight must have shape \(4, 32, 3, 3\) for this config, got \(4, 8, 3, 3\)$"),
        ("sd1", put("model.diffusion_model.out.2.weight", np.zeros(4, np.float32)),
         r"out.2.weight must have 4 axes, got shape \(4,\)$"),
        ("sd1", put("model.diffusion_model.out.2.bias", np.zeros(4, np.int32)), r"is of dtype I32, expected one of"),
        ("sd1", put("cond_stage_model.model.ln_final.bias", np.zeros(4, np.float32)),
         r"must have one text_encoder, got both cond_stage_model.transformer.\* and cond_stage_model.model.\*$"),
        ("sd1", put("model.diffusion_model.input_blocks.4.0.out_layers.3.weight", np.zeros((48, 48, 3, 3), np.float32)),
         r"the channels of the levels must be multiples of the first, 32, got \[32, 48\]$"),
    ],
)  # fmt: skip
def test_bad_files(name: str, edit: Edit, message: str, tmp_path: Path) -> None:
    arrays = tensors(name)
    edit(arrays)
    with pytest.raises(CheckpointError, match=message) as error:
        load_single_file(write_file(tmp_path, arrays))
    assert "\n" not in str(error.value)
    assert "file.safetensors" in str(error.value)


@pytest.mark.usefixtures("unhooked")
def test_bad_arguments(tmp_path: Path) -> None:
    path = write_file(tmp_path, tensors("sd1"))
    with pytest.raises(ValueError, match=r"prediction must be one of epsilon, v, got 'x0'$"):
        load_single_file(path, prediction="x0")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"configs must be of text_encoder, unet, vae; got transformer$"):
        load_single_file(path, configs={"transformer": CLIPTextConfig()})
    with pytest.raises(TypeError, match=r"config of unet must be a UNetConditionalConfig, got CLIPTextConfig$"):
        load_single_file(path, configs={"unet": CLIPTextConfig()})
    with pytest.raises(CheckpointError, match="is a pickle, which can run code"):
        load_single_file(tmp_path / "v1-5-pruned.ckpt")
    with pytest.raises(CheckpointError, match=r"^no file "):
        load_single_file(tmp_path / "nothing.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is cut short"):
        load_single_file(tmp_path / "cut.safetensors")
