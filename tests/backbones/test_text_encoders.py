"""Text encoders against the outputs of transformers 5 and PyTorch 2.13, stored by ``tests/torch/golden_text.py``."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from artifex.backbones import CLIPText, T5Encoder, TextFeatures
from artifex.backbones.interop import load_transformers, save_transformers
from artifex.backbones.interop.transformers import TextEncoder
from tests.backbones.helpers.text_weights import weights

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
CASES: dict[str, Any] = json.loads((FOLDER / "text_encoders.json").read_text())
CLIPS = [name for name in CASES if name.startswith("clip")]


@cache
def truth(name: str) -> dict[str, np.ndarray]:
    stored = np.load(FOLDER / "text_encoders.npz")
    return {key.split("/")[1]: stored[key] for key in stored.files if key.startswith(f"{name}/")}


def write(name: str, folder: Path) -> TextEncoder:
    """A folder as transformers writes it, read here."""
    (folder / "config.json").write_text(json.dumps(CASES[name]["config"]))
    save_file(weights(CASES[name]["tensors"]), folder / "model.safetensors", metadata={"format": "pt"})
    return load_transformers(folder)


def close(got: jax.Array, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    assert float(np.abs(np.asarray(got) - expected).max()) <= 1e-5 * float(expected.std())


def given(name: str) -> list[jax.Array | None]:
    found = truth(name)
    return [jnp.asarray(found["ids"]), jnp.asarray(found["mask"], jnp.int32) if "mask" in found else None]


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_pytorch(name: str, tmp_path: Path) -> None:
    model = write(name, tmp_path)
    out = jax.jit(lambda model, ids, mask: model(ids, mask))(model, *given(name))
    if isinstance(model, T5Encoder):
        close(out, truth(name)["out"])
    else:
        close(out.hidden, truth(name)["out"])
        close(out.pooled, truth(name)["pooled"])


@pytest.mark.parametrize("name", CLIPS)
def test_every_layer_is_that_of_pytorch(name: str, tmp_path: Path) -> None:
    model, found = write(name, tmp_path), truth(name)
    assert isinstance(model, CLIPText)
    skips = range(model.config.depth + 1)
    assert {f"hidden.{skip}" for skip in skips} == {key for key in found if key.startswith("hidden")}

    def run(model: CLIPText, ids: jax.Array, mask: jax.Array | None) -> list[tuple[TextFeatures, TextFeatures]]:
        return [(model(ids, mask, skip=skip, norm=False), model(ids, mask, skip=skip)) for skip in skips]

    for skip, (plain, normed) in enumerate(jax.jit(run)(model, *given(name))):
        close(plain.hidden, found[f"hidden.{skip}"])
        close(normed.hidden, found[f"normed.{skip}"])
        close(plain.pooled, found["pooled"])
        close(normed.pooled, found["pooled"])


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_back_is_bit_identical(name: str, tmp_path: Path) -> None:
    save_transformers(write(name, tmp_path), tmp_path / "again")
    before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path, tmp_path / "again"))
    prefix = "text_model." if CASES[name]["config"]["architectures"] == ["CLIPTextModel"] else ""
    assert set(after) == {prefix + key for key in before}
    for key, value in before.items():
        np.testing.assert_array_equal(after[prefix + key], value)
    one, two = (load_transformers(folder) for folder in (tmp_path, tmp_path / "again"))
    assert type(one) is type(two)
    assert one.config == two.config
    assert nnx.graphdef(one) == nnx.graphdef(two)
