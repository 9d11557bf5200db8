"""Reading and writing of checkpoints: files and errors; ``test_golden`` compares numbers."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from artifex.backbones import (
    MLP,
    AutoencoderKL,
    CLIPText,
    CLIPTextConfig,
    DiT,
    DiTConfig,
    MLPConfig,
    UNet,
    UNetConfig,
    sincos_2d,
)
from artifex.backbones.interop import (
    CheckpointError,
    Pipeline,
    conversion,
    load_diffusers,
    load_original,
    load_pipeline,
    save_diffusers,
    save_original,
    save_transformers,
)

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "golden"
WEIGHTS = "diffusion_pytorch_model.safetensors"
Edit = Callable[[Path], None]


def state(model: nnx.Module) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in
            jax.tree_util.tree_leaves_with_path(nnx.state(model, nnx.Param))}  # fmt: skip


def same(one: nnx.Module, two: nnx.Module) -> None:
    left, right = state(one), state(two)
    assert set(left) == set(right)
    for key, value in left.items():
        np.testing.assert_array_equal(right[key], value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN / "vae", tmp_path / "vae")
    return tmp_path / "vae"


def edit_config(**changes: object) -> Edit:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return edit


def edit_weights(change: Callable[[dict[str, np.ndarray]], object]) -> Edit:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return edit


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-7])


def garble(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\x80\x02}q\x00" * 50)


def pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")


def lie(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "part.safetensors")
    index = {"weight_map": {"quant_conv.bias": "part.safetensors"}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def name_in_index(name: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"quant_conv.bias": name}}))

    return edit


def nest(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_weights(lambda t: t.pop("quant_conv.bias")), "tensors are missing: quant_conv.bias"),
        (edit_weights(lambda t: t.update(more=np.zeros(1, np.float32))), "tensors are not part of this network: more"),
        (
            edit_weights(lambda t: t.update({"quant_conv.bias": np.zeros((2, 2), np.float32)})),
            r"quant_conv.bias must have shape \(4,\) for this config, got \(2, 2\)",
        ),
        (edit_weights(lambda t: t.update(more=np.zeros(1, np.int64))), "more in .* is of dtype I64, expected one of"),
        (cut, "is cut short, or no safetensors file at all"),
        (garble, "is cut short, or no safetensors file at all"),
        (pickle, r"is a pickle.*convert it first.*save_file\(torch.load\('diffusion_pytorch_model.bin', weights_only"),
        (lie, r"and the files that it names disagree on \["),
        (name_in_index("../other"), r"must name files beside it, got \['../other'\]"),
        (
            lambda folder: (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.fp16.safetensors"),
            rf"no {WEIGHTS} and no {WEIGHTS}.index.json in .*, which has \['config.json', .*fp16.*variant='fp16'",
        ),
        (name_in_index(".."), r"must name files beside it, got \['..'\]"),
        (name_in_index("a" * 300), "is cut short, or no safetensors file at all: .*File name too long"),
        (nest, "config.json is no JSON: maximum recursion depth"),
        (edit_config(scaling_factor=float("inf")), "scaling_factor must be a finite number, got inf"),
        (lambda folder: (folder / "config.json").unlink(), "no file .*config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is no JSON"),
        (lambda folder: (folder / "config.json").write_text("[1]"), "must hold a JSON object, got list"),
        (edit_config(_class_name="AutoencoderTiny"), "must be one of AutoencoderKL, .*; got 'AutoencoderTiny'"),
        (edit_config(new_option=True), "fields that are not known: new_option"),
        (edit_config(act_fn="gelu"), "act_fn must be 'silu' or 'swish': nothing else is supported; got 'gelu'"),
        (edit_config(layers_per_block="2"), "layers_per_block must be a whole number, got '2'"),
        (edit_config(norm_num_groups=3), "config.json: groups must divide the channels"),
        (edit_config(up_block_types=["UpBlock2D"] * 2), "up_block_types must be 2 times UpDecoderBlock2D, got"),
        (edit_config(out_channels=1), "out_channels must be in_channels = 3, got 1"),
    ],
)
def test_what_is_broken_or_unknown_is_refused(folder: Path, edit: Edit, message: str) -> None:
    edit(folder)
    with pytest.raises(CheckpointError, match=message):
        load_diffusers(folder)


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        ("unet-ddpm", {"center_input_sample": True}, "center_input_sample must be False"),
        ("unet-ddpm", {"up_block_types": ["UpBlock2D"] * 2}, "up_block_types must be .* got"),
        ("unet-ddpm", {"block_out_channels": [4, 6]}, "must be positive multiples of the first"),
        ("unet-ddpm", {"block_out_channels": [0, 0]}, "must be positive multiples of the first, got"),
        ("unet-ddpm", {"out_channels": 5}, "out_channels must be in_channels = 3 or twice it, got 5"),
        ("unet-adm", {"attn_norm_num_groups": None}, "attn_norm_num_groups must be norm_num_groups = 2, got None"),
        ("unet-adm", {"downsample_type": "conv"}, "downsample_type must agree with the types of the blocks"),
        ("unet-sd1", {"only_cross_attention": True}, "only_cross_attention must be False"),
        ("unet-sd1", {"addition_embed_type": "image"}, "addition_embed_type must be None or 'text_time', got 'image'"),
        ("unet-sd1", {"layers_per_block": [1, 2]}, "layers_per_block must be the same at each level"),
        ("unet-sd1", {"freq_shift": 2}, "config.json: freq_shift must be below base_channels / 2, got 2"),
        ("unet-ddpm", {"freq_shift": 2}, "config.json: freq_shift must be below base_channels / 2, got 2"),
        ("unet-sdxl", {"projection_class_embeddings_input_dim": 0}, "pooled_features must be None or at least 1, got"),
        ("dit", {"norm_type": "ada_norm"}, "norm_type must be 'ada_norm_zero'"),
        ("mmdit", {"qk_norm": "layer_norm"}, "qk_norm must be None or 'rms_norm', got 'layer_norm'"),
        ("mmdit", {"caption_projection_dim": 8}, "caption_projection_dim must be the width of a token, 16, got 8"),
    ],
)
def test_options_that_are_not_supported_are_refused(
    tmp_path: Path, case: str, changes: dict[str, object], message: str
) -> None:
    shutil.copytree(GOLDEN / case, tmp_path / case)
    edit_config(**changes)(tmp_path / case)
    with pytest.raises(CheckpointError, match=message):
        load_diffusers(tmp_path / case)


def test_a_checkpoint_in_parts_is_one(folder: Path, tmp_path: Path) -> None:
    model = load_diffusers(folder)
    assert isinstance(model, AutoencoderKL)
    save_diffusers(model, tmp_path / "parts", shard_bytes=5000)
    parts = sorted(path.name for path in (tmp_path / "parts").glob("*.safetensors"))
    assert len(parts) > 2
    assert parts[0] == f"diffusion_pytorch_model-00001-of-{len(parts):05}.safetensors"
    sizes = [sum(a.nbytes for a in load_file(tmp_path / "parts" / part).values()) for part in parts]
    assert max(sizes) <= 5000
    again = load_diffusers(tmp_path / "parts")
    assert isinstance(again, AutoencoderKL)
    same(model, again)
    assert not list((tmp_path / "parts").glob(".*"))


@pytest.mark.parametrize("sizes", [(10**9, 5000), (5000, 10**9), (3000, 5000)], ids=["more", "one", "fewer"])
def test_what_was_saved_last_is_read(folder: Path, tmp_path: Path, sizes: tuple[int, int]) -> None:
    """In any number of files; other weights files in the folder are kept."""
    old, new, target = load_diffusers(folder), load_diffusers(folder), tmp_path / "both"
    assert isinstance(old, AutoencoderKL)
    assert isinstance(new, AutoencoderKL)
    new.encoder.stem.bias[...] = jnp.asarray(np.asarray(new.encoder.stem.bias[...]) + 1)  # no float16 program
    target.mkdir()
    (target / "diffusion_pytorch_model.fp16.safetensors").touch()
    save_diffusers(old, target, shard_bytes=sizes[0])
    save_diffusers(new, target, shard_bytes=sizes[1])
    again = load_diffusers(target)
    assert isinstance(again, AutoencoderKL)
    same(new, again)
    save_diffusers(new, tmp_path / "alone", shard_bytes=sizes[1])
    alone = {path.name for path in (tmp_path / "alone").iterdir()}
    assert {path.name for path in target.iterdir()} == alone | {"diffusion_pytorch_model.fp16.safetensors"}


def test_dtypes_are_the_files_or_those_asked_for(folder: Path) -> None:
    for load, param_dtype, dtype in (
        (load_diffusers, jnp.float16, jnp.float16),
        (partial(load_diffusers, dtype=jnp.bfloat16), jnp.bfloat16, jnp.bfloat16),
        (partial(load_diffusers, dtype=jnp.float32, compute_dtype=jnp.bfloat16), jnp.float32, jnp.bfloat16),
    ):
        model = load(folder)
        assert isinstance(model, AutoencoderKL)
        assert (model.config.param_dtype, model.config.dtype) == (param_dtype, dtype)
        assert {value.dtype for value in state(model).values()} == {jnp.dtype(param_dtype)}


def test_attention_of_before_2023_has_other_names(folder: Path) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    expected = load_diffusers(folder)

    def rename(tensors: dict[str, np.ndarray]) -> None:
        for key in list(tensors):
            for new, name in old.items():
                if f".{new}." in key:
                    tensors[key.replace(f".{new}.", f".{name}.")] = tensors.pop(key)

    edit_weights(rename)(folder)
    assert "encoder.mid_block.attentions.0.query.weight" in load_file(folder / WEIGHTS)
    model = load_diffusers(folder)
    assert isinstance(expected, AutoencoderKL)
    assert isinstance(model, AutoencoderKL)
    same(expected, model)


def test_a_pipeline_is_its_networks_its_scheduler_and_what_is_left(folder: Path) -> None:
    pipeline = folder.parent
    shutil.copytree(GOLDEN / "unet-sd1", pipeline / "unet")
    (pipeline / "scheduler").mkdir()
    (pipeline / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "DDIMScheduler"}')
    index = {
        "_class_name": "StableDiffusionPipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "safety_checker": [None, None],
    }
    (pipeline / "model_index.json").write_text(json.dumps(index))
    config = CLIPTextConfig(vocab_size=9, max_length=5, hidden=4, mlp_hidden=8, depth=1, heads=1)
    save_transformers(CLIPText(config, rngs=nnx.Rngs(0)), pipeline / "text_encoder")
    found = load_diffusers(pipeline)
    assert isinstance(found, Pipeline)
    assert found.class_name == "StableDiffusionPipeline"
    assert {key: type(value).__name__ for key, value in found.networks.items()} == {
        "vae": "AutoencoderKL",
        "unet": "UNetConditional",
        "text_encoder": "CLIPText",
    }
    assert found.scheduler == {"_class_name": "DDIMScheduler"}
    assert found.not_loaded == {"tokenizer": "CLIPTokenizer"}
    some = load_pipeline(pipeline, skip=("text_encoder", "scheduler", "safety_checker"))
    assert set(some.networks) == {"vae", "unet"}
    assert some.scheduler is None
    assert set(some.not_loaded) == {"text_encoder", "tokenizer", "scheduler"}
    with pytest.raises(CheckpointError, match=r"skip must name components of .*model_index\.json, got text_encoder_2$"):
        load_pipeline(pipeline, skip=["text_encoder_2", "unet"])
    shutil.rmtree(pipeline / "text_encoder")
    with pytest.raises(CheckpointError, match=r"no file .*text_encoder/config\.json"):
        load_pipeline(pipeline)
    del index["text_encoder"]
    shutil.copy(GOLDEN / "unet-sd1" / "config.json", pipeline.parent)
    for outside in ("../unet", ".."):
        (pipeline / "model_index.json").write_text(json.dumps({**index, outside: ["diffusers", "UNet2DModel"]}))
        with pytest.raises(CheckpointError, match=rf"{outside} in model_index.json must be \[library, class\]"):
            load_pipeline(pipeline)
    (pipeline / "model_index.json").write_text(json.dumps({**index, "more": ["diffusers", "AutoencoderKL"]}))
    with pytest.raises(CheckpointError, match=r"no file .*more/config\.json"):
        load_pipeline(pipeline)


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a file, expected a folder with config\.json; load_original reads"):
        load_diffusers(folder / WEIGHTS)


@pytest.mark.parametrize("fault", [OSError("no space left"), KeyboardInterrupt()])
def test_what_can_not_be_written_leaves_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    model = load_diffusers(folder)
    assert isinstance(model, AutoencoderKL)
    save_diffusers(model, folder, shard_bytes=5000)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    model.encoder.stem.bias[...] = jnp.asarray(np.asarray(model.encoder.stem.bias[...]) + 1)
    written = []

    def fail_at_second(tensors: dict[str, np.ndarray], path: Path, metadata: dict[str, str]) -> None:
        save_file(tensors, path, metadata)
        written.append(path)
        if len(written) == 2:
            raise fault

    monkeypatch.setattr(conversion, "save_file", fail_at_second)
    with pytest.raises(type(fault)):
        save_diffusers(model, folder, shard_bytes=5000)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.usefixtures("unhooked")
def test_only_what_diffusers_has_is_written(tmp_path: Path) -> None:
    mlp = nnx.eval_shape(lambda: MLP(MLPConfig(), rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match="model must be of a class that diffusers has, got MLP"):
        save_diffusers(mlp, tmp_path / "mlp")  # type: ignore[arg-type]
    unet = nnx.eval_shape(lambda: UNet(UNetConfig.digits(), rngs=nnx.Rngs(0)))
    with pytest.raises(CheckpointError, match="UNet2DModel has no resample='pool'"):
        save_diffusers(unet, tmp_path / "unet")
    assert not list(tmp_path.iterdir())


def test_the_names_of_guided_diffusion(tmp_path: Path) -> None:
    unet = load_diffusers(GOLDEN / "unet-adm")
    assert isinstance(unet, UNet)
    save_original(unet, tmp_path / "adm.safetensors")
    got, diffusers = load_file(tmp_path / "adm.safetensors"), load_file(GOLDEN / "unet-adm" / WEIGHTS)
    res = {"in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"}
    attention = {"norm", "qkv", "proj_out"}
    # Levels of 4, 8 and 8 channels, one block each down and two up, attention at the second and third.
    stages = {
        "input_blocks.1.0": res, "input_blocks.2.0": res, "input_blocks.3.0": res | {"skip_connection"},
        "input_blocks.3.1": attention, "input_blocks.4.0": res, "input_blocks.5.0": res, "input_blocks.5.1": attention,
        "middle_block.0": res, "middle_block.1": attention, "middle_block.2": res,
        **{f"output_blocks.{i}.0": res | {"skip_connection"} for i in range(6)},
        **{f"output_blocks.{i}.1": attention for i in range(4)},
        "output_blocks.1.2": res, "output_blocks.3.2": res,
    }  # fmt: skip
    modules = {"time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2"}
    modules |= {f"{stage}.{part}" for stage, parts in stages.items() for part in parts}
    assert set(got) == {f"{module}.{leaf}" for module in modules for leaf in ("weight", "bias")} | {"label_emb.weight"}
    # There, the rows of the fused projection are grouped by head before query, key and value: 2 heads of 4 here.
    qkv = got["middle_block.1.qkv.weight"]
    assert qkv.shape == (24, 8, 1)
    for i, part in enumerate("qkv"):
        rows = [head * 12 + i * 4 + row for head in range(2) for row in range(4)]
        np.testing.assert_array_equal(qkv[rows, :, 0], diffusers[f"mid_block.attentions.0.to_{part}.weight"])
    np.testing.assert_array_equal(
        got["output_blocks.1.2.in_layers.2.weight"], diffusers["up_blocks.0.upsamplers.0.conv1.weight"]
    )
    same(unet, load_original(tmp_path / "adm.safetensors", unet.config))


def test_the_names_of_dit(tmp_path: Path) -> None:
    config = DiTConfig(in_channels=2, hidden=16, depth=2, heads=2, num_classes=5, sample_size=6)
    dit = DiT(config, rngs=nnx.Rngs(0))
    path = tmp_path / "dit.safetensors"
    save_original(dit, path)
    got = load_file(path)
    block = {"adaLN_modulation.1", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}
    modules = {"x_embedder.proj", "t_embedder.mlp.0", "t_embedder.mlp.2"}
    modules |= {"final_layer.adaLN_modulation.1", "final_layer.linear"}
    modules |= {f"blocks.{i}.{part}" for i in range(2) for part in block}
    expected = {f"{module}.{leaf}" for module in modules for leaf in ("weight", "bias")}
    assert set(got) == expected | {"y_embedder.embedding_table.weight", "pos_embed"}
    np.testing.assert_array_equal(got["pos_embed"], sincos_2d(16, 3, 3)[None])
    stem = np.asarray(dit.stem.kernel[...]).reshape(2, 2, 2, 16)  # row, column, channel, width
    np.testing.assert_array_equal(got["x_embedder.proj.weight"], stem.transpose(3, 2, 0, 1))
    same(dit, load_original(path, config))
    save_file({**got, "pos_embed": got["pos_embed"] + 0.1}, path)
    with pytest.raises(CheckpointError, match="pos_embed must be the table that this network computes"):
        load_original(path, config)
    with pytest.raises(
        CheckpointError, match=r"blocks.0.attn.proj.bias must have shape \(32,\) for this config, got \(16,\)"
    ):
        load_original(path, DiTConfig(in_channels=2, hidden=32, depth=2, heads=2, num_classes=5, sample_size=6))
    with pytest.raises(CheckpointError, match=r"facebookresearch/DiT needs .*; got embed_per_block=True, freq_s"):
        save_original(load_dit(), tmp_path / "other.safetensors")


def test_a_table_of_positions_says_the_size(tmp_path: Path) -> None:
    """As in published files, whose configs have no such field."""
    config = DiTConfig(in_channels=2, hidden=16, depth=1, heads=2, num_classes=5)
    dit = DiT(replace(config, sample_size=6), rngs=nnx.Rngs(0))
    path = tmp_path / "dit.safetensors"
    save_original(dit, path)
    loaded = load_original(path, config)
    assert loaded.config.sample_size == 6
    same(dit, loaded)
    tensors = load_file(path)
    save_file({**tensors, "pos_embed": tensors["pos_embed"][:, :7]}, path)
    with pytest.raises(
        CheckpointError, match=r"pos_embed must have shape \(1, 4, 16\) for this config, got \(1, 7, 16\)"
    ):
        load_original(path, config)


def test_the_frequencies_of_dit_are_not_those_of_diffusers(tmp_path: Path) -> None:
    """The error names a conversion that works."""
    config = DiTConfig(in_channels=2, hidden=16, depth=1, heads=2, num_classes=5, sample_size=6)
    dit = DiT(config, rngs=nnx.Rngs(0))
    with pytest.raises(
        CheckpointError, match=r"10000\^\(-i / 127\), this network at 10000\^\(-i / 128\).*freq_shift=1.0"
    ):
        save_diffusers(dit, tmp_path / "folder")
    assert not list(tmp_path.iterdir())
    save_original(dit, tmp_path / "dit.safetensors")
    save_diffusers(load_original(tmp_path / "dit.safetensors", replace(config, freq_shift=1.0)), tmp_path / "folder")
    there = load_diffusers(tmp_path / "folder")
    assert isinstance(there, DiT)
    assert (there.config.freq_shift, there.config.epsilon) == (1.0, 1e-6)
    same(dit, there)


def test_what_a_file_of_tensors_does_not_say_must_be_as_the_papers_code_has_it(tmp_path: Path) -> None:
    dit = DiTConfig(in_channels=2, hidden=16, depth=1, heads=2, num_classes=5)
    for config, other in (
        (replace(dit, epsilon=1e-5), "epsilon=1e-05"),
        (replace(dit, qkv_bias=False), "qkv_bias=False"),
    ):
        network = nnx.eval_shape(lambda config=config: DiT(config, rngs=nnx.Rngs(0)))
        with pytest.raises(CheckpointError, match=f"facebookresearch/DiT needs .*; got {other}$"):
            save_original(network, tmp_path / "dit.safetensors")
    unet = nnx.eval_shape(
        lambda: UNet(replace(UNetConfig.digits(), resample="conv", pad="after", cosine_first=True), rngs=nnx.Rngs(0))
    )
    with pytest.raises(
        CheckpointError, match=r"openai/guided-diffusion needs .*; got freq_shift=1.0, pad='after', epsilon=1e-06$"
    ):
        save_original(unet, tmp_path / "unet.safetensors")
    with pytest.raises(CheckpointError, match=r"path must end in .safetensors, got .*dit\.pt"):
        save_original(network, tmp_path / "dit.pt")
    assert not list(tmp_path.iterdir())


def load_dit() -> DiT:
    dit = load_diffusers(GOLDEN / "dit")
    assert isinstance(dit, DiT)
    return dit


def test_blocks_that_agree_share_one_embedding(tmp_path: Path) -> None:
    assert load_dit().config.embed_per_block
    shutil.copytree(GOLDEN / "dit", tmp_path / "dit")

    def share(tensors: dict[str, np.ndarray]) -> None:
        for key in [key for key in tensors if key.startswith("transformer_blocks.1.norm1.emb.")]:
            tensors[key] = tensors[key.replace("blocks.1", "blocks.0")]

    edit_weights(share)(tmp_path / "dit")
    shared = load_diffusers(tmp_path / "dit")
    assert isinstance(shared, DiT)
    assert not shared.config.embed_per_block
    save_diffusers(shared, tmp_path / "back")
    before, after = load_file(tmp_path / "dit" / WEIGHTS), load_file(tmp_path / "back" / WEIGHTS)
    assert set(before) == set(after)
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)
