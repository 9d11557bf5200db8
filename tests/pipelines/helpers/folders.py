"""Small folders of pipelines as diffusers writes them: configs and names of tensors from it, weights by name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from safetensors.numpy import save_file

from tests.pipelines.helpers.cases import SCHEDULERS
from tests.pipelines.helpers.weights import weight

PARTS: Final = Path(__file__).parents[1] / "golden" / "parts.json"
LENGTH: Final = 77
MERGES: Final = (
    "l i", "li g", "lig h", "ligh t</w>", "a t</w>", "t h", "th e</w>", "h o", "ho u", "hou s", "hous e</w>",
)  # fmt: skip
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True)
class Folder:
    """The class of a pipeline, its components as names in ``parts.json``, and further fields of its index."""

    kind: str
    parts: Mapping[str, str]
    scheduler: str
    fields: Mapping[str, Any]


def _sd(kind: str, unet: str) -> Folder:
    return Folder(kind, {"unet": unet, "vae": "vae", "text_encoder": "clip"}, "ddim", {})


def _xl(kind: str, unet: str, **fields: Any) -> Folder:  # noqa: ANN401
    parts = {"unet": unet, "vae": "vae", "text_encoder": "clip-1", "text_encoder_2": "clip-2"}
    return Folder(f"StableDiffusionXL{kind}", parts, "euler", fields)


FOLDERS: Final[Mapping[str, Folder]] = {
    "sd": _sd("StableDiffusionPipeline", "unet"),
    "sd-inpaint": _sd("StableDiffusionInpaintPipeline", "unet-9"),
    "pix2pix": _sd("StableDiffusionInstructPix2PixPipeline", "unet-8"),
    "xl": _xl("Pipeline", "unet-xl", force_zeros_for_empty_prompt=True),
    "xl-texts": _xl("Pipeline", "unet-xl", force_zeros_for_empty_prompt=False),
    "xl-inpaint": _xl("InpaintPipeline", "unet-xl-9", force_zeros_for_empty_prompt=True),
    "xl-refiner": Folder(
        "StableDiffusionXLImg2ImgPipeline",
        {"unet": "unet-refiner", "vae": "vae", "text_encoder_2": "clip-2"},
        "euler",
        {"force_zeros_for_empty_prompt": False, "requires_aesthetics_score": True},
    ),
    "ddpm": Folder("DDPMPipeline", {"unet": "unet-pixels"}, "ddpm-pixels", {}),
    "dit": Folder("DiTPipeline", {"transformer": "dit", "vae": "vae"}, "ddim", {"id2label": {"3": "cat, kitten"}}),
}


def vocabulary() -> dict[str, int]:
    """The bytes, as in GPT-2's alphabet, alone and at the end of a word; what ``MERGES`` makes; special tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    merged = [pair.replace(" ", "") for pair in MERGES]
    return {token: i for i, token in enumerate([*letters, *(c + "</w>" for c in letters), *merged, BEGIN, END])}


def write_tokenizer(folder: Path, pad: str = END, length: int = LENGTH) -> None:
    """Write CLIP's tokenizer with a small vocabulary."""
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary(), ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    fields = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, "pad_token": pad}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, **fields}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@cache
def parts() -> dict[str, Any]:
    """Configs and shapes of tensors of all components, as diffusers and transformers have them."""
    found: dict[str, Any] = json.loads(PARTS.read_text())
    return found


def write_part(folder: Path, name: str, **changed: Any) -> None:  # noqa: ANN401
    """Write a component, with other values of some fields of its config."""
    folder.mkdir(parents=True)
    found = parts()[name]
    (folder / "config.json").write_text(json.dumps({**found["config"], **changed}))
    tensors = {key: weight(key, shape) for key, shape in found["tensors"].items()}
    text = name.startswith("clip")
    save_file(tensors, folder / ("model.safetensors" if text else "diffusion_pytorch_model.safetensors"))


def write_folder(root: Path, name: str, scheduler: str | None = None) -> Path:
    """Write a whole folder, with its own scheduler or another of ``SCHEDULERS``; return its path."""
    folder = FOLDERS[name]
    path = root / name
    path.mkdir(parents=True)
    index: dict[str, Any] = {"_class_name": folder.kind, **folder.fields}
    config = SCHEDULERS[scheduler or folder.scheduler]
    index["scheduler"] = ["diffusers", config["_class_name"]]
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    for component, part in folder.parts.items():
        write_part(path / component, part)
        found = parts()[part]["config"]
        text = part.startswith("clip")
        kind = found["architectures"][0] if text else found["_class_name"]
        index[component] = ["transformers" if text else "diffusers", kind]
        if text:
            tokenizer = component.replace("text_encoder", "tokenizer")
            write_tokenizer(path / tokenizer, "!" if tokenizer == "tokenizer_2" else END)
            index[tokenizer] = ["transformers", "CLIPTokenizer"]
    (path / "model_index.json").write_text(json.dumps(index))
    return path
