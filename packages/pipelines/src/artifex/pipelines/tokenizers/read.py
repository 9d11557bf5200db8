"""The tokenizer of a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.checkpoint import read_json
from artifex.pipelines.tokenizers.base import Tokenizer
from artifex.pipelines.tokenizers.clip import CLIPTokenizer
from artifex.pipelines.tokenizers.settings import CONFIG
from artifex.pipelines.tokenizers.t5 import T5Tokenizer

CLASSES: Final[Mapping[str, type[CLIPTokenizer] | type[T5Tokenizer]]] = {
    "CLIPTokenizer": CLIPTokenizer,
    "CLIPTokenizerFast": CLIPTokenizer,
    "T5Tokenizer": T5Tokenizer,
    "T5TokenizerFast": T5Tokenizer,
}


def read_tokenizer(folder: str | Path) -> Tokenizer:
    """Read the tokenizer of a folder, of the class that ``tokenizer_config.json`` names.

    Where it names none, ``spiece.model`` is T5's, ``vocab.json`` is CLIP's, and so is a ``tokenizer.json`` of byte
    pairs.

    Raises:
        CheckpointError: If a file is missing or broken, or if the class is not known.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"no folder {folder}")
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    name = config.get("tokenizer_class")
    if name is None:
        name = _class_by_files(folder)
    if not isinstance(name, str) or name not in CLASSES:
        raise CheckpointError(f"tokenizer_class in {folder / CONFIG} must be one of {', '.join(CLASSES)}; got {name!r}")
    return CLASSES[name].from_folder(folder)


def _class_by_files(folder: Path) -> str:
    if (folder / "spiece.model").is_file():
        return "T5Tokenizer"
    if (folder / "vocab.json").is_file():
        return "CLIPTokenizer"
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(f"no tokenizer.json, vocab.json or spiece.model in {folder}")
    model = read_json(folder / "tokenizer.json").get("model")
    return "T5Tokenizer" if isinstance(model, dict) and model.get("type") == "Unigram" else "CLIPTokenizer"
