"""The tokenizer of a folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from tokenizers import AddedToken

from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.checkpoint import read_json
from artifex.pipelines.tokenizers.base import Tokenizer
from artifex.pipelines.tokenizers.clip import CLIPTokenizer
from artifex.pipelines.tokenizers.settings import CONFIG
from artifex.pipelines.tokenizers.t5 import T5Tokenizer

PAD: Final = "!"
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


def read_clip_tokenizer(folder: str | Path, *, open_clip: bool = False) -> CLIPTokenizer:
    """Read CLIP's tokenizer for an encoder of OpenAI, or of OpenCLIP, whose published folders pad with ``!``, id 0.

    Raises:
        CheckpointError: If a file is missing or broken, or if the tokenizer is not CLIP's own, which pads with its end
            token.
    """
    found = read_tokenizer(folder)
    if not isinstance(found, CLIPTokenizer):
        raise CheckpointError(f"{folder} must hold CLIP's tokenizer, got a {type(found).__name__}")
    if (found.pad_id,) != found.end:
        raise CheckpointError(
            f"the tokenizer in {folder} must pad with its end token, {found.end[0]}, got {found.pad_id}"
        )
    if not open_clip:
        return found
    found.backend.add_tokens([AddedToken(PAD, special=True, normalized=False)])
    return replace(found, pad_id=found.backend.get_vocab()[PAD])


def _class_by_files(folder: Path) -> str:
    if (folder / "spiece.model").is_file():
        return "T5Tokenizer"
    if (folder / "vocab.json").is_file():
        return "CLIPTokenizer"
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError(f"no tokenizer.json, vocab.json or spiece.model in {folder}")
    model = read_json(folder / "tokenizer.json").get("model")
    return "T5Tokenizer" if isinstance(model, dict) and model.get("type") == "Unigram" else "CLIPTokenizer"
