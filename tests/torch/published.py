"""Parameter counts and defaults of published configs by diffusers, the reference of ``test_published_configs``.

Run in an environment with ``requirements.txt``: ``python tests/torch/published.py``. It fills in the counts and
digests of ``tests/backbones/published.json``, whose configs are those of published folders, and writes
``tests/backbones/defaults.json``.
"""

import hashlib
import inspect
import json
from pathlib import Path

import diffusers
import torch

FOLDER = Path(__file__).parents[1] / "backbones"
NAMES = {"Transformer2DModel": "DiTTransformer2DModel"}  # which diffusers gives it by its ``norm_type``
CLASSES = ("AutoencoderKL", "DiTTransformer2DModel", "SD3Transformer2DModel", "UNet2DConditionModel", "UNet2DModel")


def digest(shapes: dict[str, tuple[int, ...]]) -> str:
    """Of all names and shapes."""
    return hashlib.sha256(json.dumps(sorted((key, list(shape)) for key, shape in shapes.items())).encode()).hexdigest()


if __name__ == "__main__":
    found = json.loads((FOLDER / "published.json").read_text())
    for name, entry in found.items():
        kind = entry["config"]["_class_name"]
        with torch.device("meta"):
            model = getattr(diffusers, NAMES.get(kind, kind)).from_config(entry["config"])
        entry["parameters"] = sum(value.numel() for value in model.parameters())
        entry["tensors"] = digest({key: tuple(value.shape) for key, value in model.state_dict().items()})
        print(name, f"{entry['parameters']:,}")
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items())
    (FOLDER / "published.json").write_text(f"{{\n{lines}\n}}\n")
    defaults = {
        kind: {
            key: value.default
            for key, value in inspect.signature(getattr(diffusers, kind).__init__).parameters.items()
            if key != "self"
        }
        for kind in CLASSES
    }
    (FOLDER / "defaults.json").write_text(json.dumps(defaults, indent=1) + "\n")
