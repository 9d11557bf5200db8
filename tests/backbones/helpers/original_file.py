"""Arrays of a file of the original Stable Diffusion, made of those that diffusers and transformers have."""

import gzip
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save_file

from tests.backbones.helpers.text_weights import weight

Tensors = dict[str, np.ndarray]
STORED: Final = Path(__file__).parents[1] / "single_file.json.gz"
TABLE: Final[dict[str, Any]] = json.loads(gzip.decompress(STORED.read_bytes())) if STORED.is_file() else {}
"""The data of ``tests/torch/golden_single_file.py``."""


def diffusers_arrays(component: str, shapes: Mapping[str, Sequence[int]]) -> Tensors:
    """The arrays of a network of diffusers or transformers."""
    return {key: weight(f"{component}.{key.removeprefix('text_model.')}", shape) for key, shape in shapes.items()}


def merged(original: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Sequence[int]]]) -> Tensors:
    """The arrays of a file, given each one's network, shape and parts there; an array without parts is not used."""
    found: Tensors = {}
    for key, (component, shape, parts) in original.items():
        if not parts:
            found[key] = weight(key, shape)
            continue
        arrays = diffusers_arrays(component, {part: tensors[component][part] for part in parts})
        value = np.concatenate([arrays[part] for part in parts])
        found[key] = np.ascontiguousarray((value.T if key.endswith(".text_projection") else value).reshape(shape))
    return found


@cache
def _tensors(name: str) -> Tensors:
    return merged(TABLE[name]["original"], TABLE[name]["tensors"])


def tensors(name: str) -> Tensors:
    """The arrays of the file of a small pipeline."""
    return {**_tensors(name)}


def write_file(folder: Path, arrays: Tensors) -> Path:
    """Write a single file."""
    save_file(arrays, folder / "file.safetensors")
    return folder / "file.safetensors"


def write_folder(name: str, folder: Path) -> Path:
    """Write a small pipeline as diffusers and transformers do, without scheduler and tokenizers."""
    entry = TABLE[name]
    index: dict[str, Any] = {"_class_name": entry["class"]}
    for component, config in entry["configs"].items():
        ours = "_class_name" in config
        kind = config["_class_name"] if ours else config["architectures"][0]
        index[component] = ["diffusers" if ours else "transformers", kind]
        (folder / component).mkdir(parents=True)
        (folder / component / "config.json").write_text(json.dumps(config))
        stem = "diffusion_pytorch_model" if ours else "model"
        arrays = diffusers_arrays(component, entry["tensors"][component])
        save_file(arrays, folder / component / f"{stem}.safetensors", metadata={"format": "pt"})
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
