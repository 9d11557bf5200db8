"""Folders of transformers, of text encoders."""

from pathlib import Path
from typing import Final

from jax.typing import DTypeLike

from artifex.backbones.clip_text import CLIPText
from artifex.backbones.interop.checkpoint import CheckpointError, open_folder, read_json, refuse_pickle
from artifex.backbones.interop.clip_text import CLIP_TEXT, CLIP_TEXT_PROJECTED, prefixed_key
from artifex.backbones.interop.conversion import SHARD_BYTES
from artifex.backbones.interop.t5 import T5, UMT5, shared_key
from artifex.backbones.t5 import T5Encoder

TextEncoder = CLIPText | T5Encoder
CONVERSIONS: Final = (CLIP_TEXT, CLIP_TEXT_PROJECTED, T5, UMT5)
BY_NAME: Final = {
    name: conversion for conversion in CONVERSIONS for name in (conversion.class_name, *conversion.aliases)
}


def load_transformers(
    path: str | Path,
    *,
    dtype: DTypeLike | None = None,
    compute_dtype: DTypeLike | None = None,
    variant: str | None = None,
) -> TextEncoder:
    """Read a folder of transformers with a text encoder.

    Arrays are read one at a time, after names and shapes have been checked. Of a whole model, such as ``CLIPModel`` or
    ``T5ForConditionalGeneration``, the text encoder is read.

    Args:
        path: the folder.
        dtype: dtype of the parameters; None is that of the checkpoint.
        compute_dtype: dtype of the computation; None is that of the parameters.
        variant: such as ``"fp16"``; None for plain files.

    Returns:
        A ``CLIPText`` (for CLIPTextModel and CLIPTextModelWithProjection) or a ``T5Encoder`` (T5EncoderModel and
        UMT5EncoderModel).

    Raises:
        CheckpointError: if the folder is incomplete, or its class or an option is not supported; if its files are
            pickled or broken; or if its tensors do not match its config.
    """
    return load_text_encoder(Path(path), dtype, compute_dtype, variant)


def load_text_encoder(
    folder: Path,
    dtype: DTypeLike | None,
    compute_dtype: DTypeLike | None,
    variant: str | None,
    class_name: str | None = None,
) -> TextEncoder:
    """Read a folder as one of ``class_name``; None is the class that its config names. See ``load_transformers``."""
    refuse_pickle(folder)
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file, expected a folder with config.json")
    fields = read_json(folder / "config.json")
    names = fields.get("architectures") if class_name is None else [class_name]
    found = [name for name in names if name in BY_NAME] if isinstance(names, list) else []
    if not found:
        known = ", ".join(BY_NAME)
        raise CheckpointError(f"architectures in {folder / 'config.json'} must name one of {known}; got {names!r}")
    conversion = BY_NAME[found[0]]
    checkpoint = open_folder(folder, variant, stem=conversion.stem, ignored=conversion.ignored)
    rename = shared_key if conversion in (T5, UMT5) else prefixed_key
    try:
        return conversion.open(fields, checkpoint, dtype=dtype, compute_dtype=compute_dtype, rename=rename)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error


def save_transformers(model: TextEncoder, path: str | Path, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a text encoder as a folder of transformers.

    Files appear completely or not at all, ``config.json`` last.

    Args:
        model: the encoder; its parameters keep their dtype.
        path: the folder; it is created if it does not exist.
        shard_bytes: maximum size of a weights file; larger weights are split over several.

    Raises:
        TypeError: if ``model`` is no text encoder.
    """
    if isinstance(model, CLIPText):
        clip = CLIP_TEXT if model.config.projection is None else CLIP_TEXT_PROJECTED
        return clip.save(model, Path(path), shard_bytes)
    if isinstance(model, T5Encoder):
        t5 = UMT5 if model.config.bias_per_layer else T5
        return t5.save(model, Path(path), shard_bytes)
    raise TypeError(f"model must be a CLIPText or a T5Encoder, got {type(model).__name__}")
