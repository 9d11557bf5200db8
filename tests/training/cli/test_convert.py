import re
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from artifex.backbones import UNet
from artifex.backbones.interop import load_diffusers
from artifex.command.app import main
from artifex.training.cli import convert

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[2] / "backbones" / "golden"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def test_folder_to_file_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unet = load_diffusers(GOLDEN / "unet-adm")
    assert isinstance(unet, UNet)
    monkeypatch.setattr(convert, "CONFIGS", {"small": unet.config})
    file, folder = tmp_path / "adm.safetensors", tmp_path / "adm"
    assert main(["convert", str(GOLDEN / "unet-adm"), str(file)]) == 0
    assert main(["convert", str(file), str(folder), "--config", "small", "--dtype", "float32"]) == 0
    half = tmp_path / "half"
    assert main(["convert", str(folder), str(half), "--dtype", "float16"]) == 0
    assert {value.dtype.name for value in load_file(half / WEIGHTS).values()} == {"float16"}
    before, after = load_file(GOLDEN / "unet-adm" / WEIGHTS), load_file(folder / WEIGHTS)
    assert set(before) == set(after)
    for key, value in before.items():
        assert (after[key] == value).all()
        assert after[key].dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{golden}/vae", "{tmp}/vae.safetensors"], "AutoencoderKL is written as a folder"),
        (["{golden}/vae", "{golden}/dit"], "DST must not be there yet, got"),
        (["{tmp}/none", "{tmp}/out"], "SRC must be a folder or file, got"),
        (["{golden}/vae", "{tmp}/out", "--dtype", "int8"], "--dtype must be one of float32, float16, bfloat16, got"),
        (["{golden}/vae", "{tmp}/out", "--config", "dit-xl-2"], "--config is for a file"),
        (["{golden}/vae/config.json", "{tmp}/out"], "--config must be one of dit-s-2, .* got None"),
        (["{golden}/vae/config.json", "{tmp}/out", "--config", "dit-xl-2"], "is cut short, or no safetensors file"),
    ],
)
def test_what_can_not_be_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["convert", *(text.format(golden=GOLDEN, tmp=tmp_path) for text in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error
    assert not list(tmp_path.iterdir())
