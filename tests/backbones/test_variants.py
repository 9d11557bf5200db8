"""Folders in which one network has plain files and another ``fp16``, pickled, or no files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from artifex.backbones.interop import CheckpointError, load_diffusers, load_pipeline
from artifex.backbones.interop.checkpoint import open_folder, variants

GOLDEN = Path(__file__).parent / "golden"
STEM = "diffusion_pytorch_model"
PLAIN, HALF = f"{STEM}.safetensors", f"{STEM}.fp16.safetensors"


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A plain autoencoder, and a network with only ``fp16`` files."""
    shutil.copytree(GOLDEN / "vae", tmp_path / "vae")
    shutil.copytree(GOLDEN / "dit-published", tmp_path / "transformer")
    (tmp_path / "transformer" / PLAIN).rename(tmp_path / "transformer" / HALF)
    index = {
        "_class_name": "DiTPipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "transformer": ["diffusers", "Transformer2DModel"],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (None, rf"not every network has plain files; read transformer from {HALF}$"),
        ("fp16", rf"not every network has files of variant='fp16'; read vae from {PLAIN}$"),
    ],
)
def test_each_network_is_read_from_the_files_that_it_has(pipeline: Path, variant: str | None, message: str) -> None:
    with pytest.warns(UserWarning, match=message):
        found = load_pipeline(pipeline, variant=variant)
    assert found.variants == {"vae": None, "transformer": "fp16"}
    assert set(found.networks) == {"vae", "transformer"}


@pytest.mark.slow
def test_what_all_networks_have_is_read_without_a_warning(pipeline: Path) -> None:
    shutil.copy(pipeline / "vae" / PLAIN, pipeline / "vae" / HALF)
    assert load_pipeline(pipeline, variant="fp16").variants == {"vae": "fp16", "transformer": "fp16"}
    (pipeline / "transformer" / HALF).rename(pipeline / "transformer" / PLAIN)
    assert load_pipeline(pipeline).variants == {"vae": None, "transformer": None}


def test_what_no_network_has_is_refused(pipeline: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no .*\.fp61\.safetensors and .*/vae, .*: read it without a variant$"):
        load_pipeline(pipeline, variant="fp61")
    shutil.copy(pipeline / "vae" / PLAIN, pipeline / "vae" / HALF)
    (pipeline / "vae" / PLAIN).unlink()
    with pytest.raises(CheckpointError, match=r"/vae, .*: read it with variant='fp16'$"):
        load_pipeline(pipeline)


@pytest.mark.slow
def test_other_weights_are_no_substitute(pipeline: Path) -> None:
    """Files without EMA are of another network, not the same one rounded."""
    (pipeline / "transformer" / HALF).rename(pipeline / "transformer" / f"{STEM}.non_ema.safetensors")
    with pytest.raises(CheckpointError, match=r"/transformer, .*: read it with variant='non_ema'$"):
        load_pipeline(pipeline)


@pytest.mark.slow
def test_a_component_that_is_not_there_is_named(pipeline: Path) -> None:
    shutil.rmtree(pipeline / "transformer")
    with pytest.raises(CheckpointError, match=r"no file .*transformer/config\.json"):
        load_pipeline(pipeline)


def test_what_is_given_is_not_advised(pipeline: Path) -> None:
    (pipeline / "transformer" / HALF).unlink()
    with pytest.raises(CheckpointError) as error:
        load_diffusers(pipeline / "transformer", variant="fp16")
    assert "variant" not in str(error.value)
    with pytest.raises(CheckpointError, match=rf"no {HALF} and no .*, which has .*: read it without a variant$"):
        load_diffusers(pipeline / "vae", variant="fp16")


@pytest.mark.parametrize("index", [f"{PLAIN}.index.fp16.json", f"{STEM}.safetensors.fp16.index.json"])
def test_a_variant_in_parts(tmp_path: Path, index: str) -> None:
    """The second format of the index's name is that of older folders."""
    tensors = load_file(GOLDEN / "vae" / PLAIN)
    names = [f"{STEM}.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    where = {key: names[i % 2] for i, key in enumerate(tensors)}
    for name in names:
        save_file({key: value for key, value in tensors.items() if where[key] == name}, tmp_path / name)
    (tmp_path / index).write_text(json.dumps({"weight_map": where}))
    assert variants(tmp_path) == {"fp16": tmp_path / index}
    checkpoint = open_folder(tmp_path, "fp16")
    for key, value in tensors.items():
        np.testing.assert_array_equal(checkpoint.read(key), value)
    with pytest.raises(CheckpointError, match=r"read it with variant='fp16'$"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([f"{STEM}.bin"], r"\.bin is a pickle.*convert it first.*save_file\(torch.load"),
        ([f"{STEM}.fp16.bin"], r"fp16\.bin is a pickle.*convert it first.*save_file\(torch.load"),
        (
            [f"{STEM}-0000{i}-of-00002.bin" for i in (1, 2)],
            r"00001-of-00002.bin is one of several pickles.*diffusers or transformers: from_pretrained\('.*'\), th",
        ),
        (["diffusion_flax_model.msgpack"], r"no .*, which has \['diffusion_flax_model.msgpack'\]$"),
        ([f"{STEM}.bin", HALF], "read it with variant='fp16'$"),
    ],
)
def test_folders_without_readable_weights_are_refused_with_the_way_on(
    tmp_path: Path, names: list[str], message: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=message) as error:
        open_folder(tmp_path)
    assert "\n" not in str(error.value)
