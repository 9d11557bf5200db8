"""Parameter counts and defaults of published configs by diffusers and transformers.

Run in an environment with ``requirements.txt``: ``python tests/torch/published.py``. It fills in the counts and
digests of ``tests/backbones/published.json`` and ``published_text.json``, whose configs are those of published folders,
and writes ``tests/backbones/defaults.json``.
"""

import hashlib
import inspect
import json
import math
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

FOLDER = Path(__file__).parents[1] / "backbones"
NAMES = {"Transformer2DModel": "DiTTransformer2DModel"}  # which diffusers gives it by its ``norm_type``
ENCODERS = {"CLIPModel": "CLIPTextModelWithProjection", "T5ForConditionalGeneration": "T5EncoderModel"}
Json = dict[str, Any]
CLASSES = ("AutoencoderKL", "DiTTransformer2DModel", "SD3Transformer2DModel", "UNet2DConditionModel", "UNet2DModel")


def digest(shapes: dict[str, tuple[int, ...]]) -> str:
    """Of all names and shapes."""
    return hashlib.sha256(json.dumps(sorted((key, list(shape)) for key, shape in shapes.items())).encode()).hexdigest()


def text_encoder(config: Json) -> torch.nn.Module:
    """The text encoder of a config, which may be that of a whole CLIP or T5."""
    kind = ENCODERS.get(config["architectures"][0], config["architectures"][0])
    fields = config.get("text_config", config)
    model: torch.nn.Module = getattr(transformers, kind)(getattr(transformers, kind).config_class(**fields))
    return model


def text_shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Names with the prefix that CLIP's have in published files, without the second name of T5's table of tokens."""
    prefix = "text_model." if isinstance(model, transformers.CLIPTextModel) else ""
    shapes = {prefix + key: tuple(value.shape) for key, value in model.state_dict().items()}
    shapes.pop("encoder.embed_tokens.weight", None)
    return shapes


def write(path: Path, found: Json) -> None:
    """One line per config."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items())
    path.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    found = json.loads((FOLDER / "published.json").read_text())
    for name, entry in found.items():
        kind = entry["config"]["_class_name"]
        with torch.device("meta"):
            model = getattr(diffusers, NAMES.get(kind, kind)).from_config(entry["config"])
        entry["parameters"] = sum(value.numel() for value in model.parameters())
        entry["tensors"] = digest({key: tuple(value.shape) for key, value in model.state_dict().items()})
        print(name, f"{entry['parameters']:,}")
    write(FOLDER / "published.json", found)
    found = json.loads((FOLDER / "published_text.json").read_text())
    for name, entry in found.items():
        with torch.device("meta"):
            model = text_encoder(entry["config"])
        shapes = text_shapes(model)
        entry["parameters"] = sum(math.prod(shape) for shape in shapes.values())
        entry["tensors"] = digest(shapes)
        entry["complete"] = model.config.to_dict()
        print(name, f"{entry['parameters']:,}")
    write(FOLDER / "published_text.json", found)
    defaults = {
        kind: {
            key: value.default
            for key, value in inspect.signature(getattr(diffusers, kind).__init__).parameters.items()
            if key != "self"
        }
        for kind in CLASSES
    }
    (FOLDER / "defaults.json").write_text(json.dumps(defaults, indent=1) + "\n")
