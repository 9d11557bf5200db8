"""Folders of diffusers, of networks and of pipelines."""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jax.typing import DTypeLike

from artifex.backbones.autoencoder_kl import AutoencoderKL
from artifex.backbones.dit import DiT
from artifex.backbones.interop.autoencoder_kl import AUTOENCODER_KL
from artifex.backbones.interop.checkpoint import (
    STEM,
    CheckpointError,
    is_name,
    open_folder,
    read_json,
    refuse_pickle,
    variants,
)
from artifex.backbones.interop.config_fields import Json
from artifex.backbones.interop.conversion import SHARD_BYTES
from artifex.backbones.interop.diffusers_blocks import current_key
from artifex.backbones.interop.dit import DIT
from artifex.backbones.interop.mmdit import MMDIT
from artifex.backbones.interop.transformers import CONVERSIONS as TEXT_ENCODERS
from artifex.backbones.interop.transformers import TextEncoder, load_text_encoder
from artifex.backbones.interop.transformers_fields import STEM as TRANSFORMERS_STEM
from artifex.backbones.interop.unet_2d import UNET_2D
from artifex.backbones.interop.unet_2d_condition import UNET_2D_CONDITION
from artifex.backbones.mmdit import MMDiT
from artifex.backbones.unet import UNet
from artifex.backbones.unet_conditional import UNetConditional

Model = AutoencoderKL | DiT | MMDiT | UNet | UNetConditional
CONVERSIONS: Final = (AUTOENCODER_KL, DIT, MMDIT, UNET_2D, UNET_2D_CONDITION)
BY_NAME: Final = {
    name: conversion for conversion in CONVERSIONS for name in (conversion.class_name, *conversion.aliases)
}
STEMS: Final = {"diffusers": STEM, "transformers": TRANSFORMERS_STEM}
PRECISIONS: Final = ("fp16", "bf16")  # variants that differ from the plain files by rounding only


@dataclass(frozen=True)
class Pipeline:
    """The content of a pipeline's folder.

    Attributes:
        class_name: the pipeline's class in diffusers.
        networks: the networks, by component: ``"unet"`` or ``"transformer"``, ``"vae"``, ``"text_encoder"``.
        scheduler: the fields of ``scheduler_config.json``, or None without such a file.
        not_loaded: the classes of the components that are not loaded, such as tokenizers.
        variants: the variant that each network was read from, None for plain files.
    """

    class_name: str
    networks: Mapping[str, Model | TextEncoder]
    scheduler: Json | None
    not_loaded: Mapping[str, str]
    variants: Mapping[str, str | None] = field(default_factory=dict)


def load_diffusers(
    path: str | Path,
    *,
    dtype: DTypeLike | None = None,
    compute_dtype: DTypeLike | None = None,
    variant: str | None = None,
) -> Model | Pipeline:
    """Read a folder of diffusers: of a network, with ``config.json``, or of a pipeline, with ``model_index.json``.

    Arrays are read one at a time, after names and shapes have been checked.

    Args:
        path: the folder.
        dtype: dtype of the parameters; None is that of the checkpoint.
        compute_dtype: dtype of the computation; None is that of the parameters.
        variant: such as ``"fp16"``; None for plain files.

    Returns:
        An ``AutoencoderKL``, a ``UNet`` (for UNet2DModel), a ``UNetConditional`` (UNet2DConditionModel), a ``DiT``
        (DiTTransformer2DModel, or Transformer2DModel in older folders) or an ``MMDiT`` (SD3Transformer2DModel); or a
        ``Pipeline``.

    Raises:
        CheckpointError: if the folder is incomplete, or its class or an option is not supported; if its files are
            pickled or broken; or if its tensors do not match its config.
    """
    folder = Path(path)
    if (folder / "model_index.json").is_file():
        return load_pipeline(folder, dtype=dtype, compute_dtype=compute_dtype, variant=variant)
    return _load_network(folder, dtype, compute_dtype, variant)


def load_pipeline(
    path: str | Path,
    *,
    dtype: DTypeLike | None = None,
    compute_dtype: DTypeLike | None = None,
    variant: str | None = None,
    skip: Collection[str] = (),
) -> Pipeline:
    """Read the folder of a pipeline; see ``load_diffusers`` and, for text encoders, ``load_transformers``.

    Components of other classes of transformers, such as tokenizers, and components without weights are not loaded. If
    only some networks have files of ``variant``, the others are read from their plain files or, failing that, from
    those of ``"fp16"`` or ``"bf16"``, with a UserWarning.

    Args:
        path: the folder.
        dtype: dtype of the parameters; None is that of each checkpoint.
        compute_dtype: dtype of the computation; None is that of the parameters.
        variant: such as ``"fp16"``; None for plain files.
        skip: components not to load, such as ``("text_encoder_3",)``.

    Raises:
        CheckpointError: as ``load_diffusers``, for each network; or if ``skip`` has a name that the folder has not.
    """
    folder = Path(path)
    index = read_json(folder / "model_index.json")
    if unknown := sorted(set(skip) - set(index)):
        raise CheckpointError(f"skip must name components of {folder / 'model_index.json'}, got {', '.join(unknown)}")
    classes: dict[str, tuple[str, str]] = {}
    scheduler: Json | None = None
    not_loaded: dict[str, str] = {}
    for component, kind in index.items():
        if component.startswith("_") or not isinstance(kind, list) or kind == [None, None]:
            continue
        if len(kind) != 2 or not all(isinstance(part, str) for part in kind) or not is_name(component):
            raise CheckpointError(f"{component} in model_index.json must be [library, class], got {kind!r}")
        library, class_name = kind
        if component in skip:
            not_loaded[component] = class_name
        elif component == "scheduler":
            scheduler = read_json(folder / component / "scheduler_config.json")
        elif _is_network(folder / component, library, class_name):
            classes[component] = library, class_name
        else:
            not_loaded[component] = class_name
    chosen = _choose(folder, {name: library for name, (library, _) in classes.items()}, variant)
    networks: dict[str, Model | TextEncoder] = {}
    for component, (library, class_name) in classes.items():
        load = load_text_encoder if library == "transformers" else _load_network
        networks[component] = load(folder / component, dtype, compute_dtype, chosen[component], class_name)
    return Pipeline(str(index.get("_class_name")), networks, scheduler, not_loaded, chosen)


def save_diffusers(model: Model, path: str | Path, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a network as a folder of diffusers.

    Files appear completely or not at all, ``config.json`` last.

    Args:
        model: the network; its parameters keep their dtype.
        path: the folder; it is created if it does not exist.
        shard_bytes: maximum size of a weights file; larger weights are split over several.

    Raises:
        CheckpointError: if diffusers' class has no such option.
        TypeError: if diffusers has no such class.
    """
    for conversion in CONVERSIONS:
        if isinstance(model, conversion.network):
            return conversion.save(model, Path(path), shard_bytes)  # type: ignore[arg-type]
    raise TypeError(f"model must be of a class that diffusers has, got {type(model).__name__}")


def _is_network(folder: Path, library: str, class_name: str) -> bool:
    """True for a component that ``load_pipeline`` reads."""
    if library == "transformers":
        return class_name in {conversion.class_name for conversion in TEXT_ENCODERS}
    return library == "diffusers" and (class_name in BY_NAME or (folder / "config.json").is_file())


def _choose(folder: Path, components: Mapping[str, str], variant: str | None) -> dict[str, str | None]:
    """Choose the variant to read for each component, given its library; warn about those without the requested one."""
    found = {name: variants(folder / name, STEMS[library]) for name, library in components.items()}
    chosen: dict[str, str | None] = dict.fromkeys(components, variant)
    others = []
    if any(variant in files for files in found.values()):
        for component, files in found.items():
            if variant not in files and (there := [name for name in (None, *PRECISIONS) if name in files]):
                chosen[component] = there[0]
                others.append(f"{component} from {files[there[0]].name}")
    if others:
        requested = "plain files" if variant is None else f"files of variant={variant!r}"
        warnings.warn(f"{folder}: not every network has {requested}; read {', '.join(others)}", stacklevel=3)
    return chosen


def _load_network(
    folder: Path,
    dtype: DTypeLike | None,
    compute_dtype: DTypeLike | None,
    variant: str | None,
    class_name: object = None,
) -> Model:
    refuse_pickle(folder)
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file, expected a folder with config.json; load_original reads one file")
    fields = read_json(folder / "config.json")
    class_name = fields.get("_class_name", class_name)
    conversion = BY_NAME.get(class_name) if isinstance(class_name, str) else None
    if conversion is None:
        known = ", ".join(conversion.class_name for conversion in CONVERSIONS)
        raise CheckpointError(f"_class_name in {folder / 'config.json'} must be one of {known}; got {class_name!r}")
    checkpoint = open_folder(folder, variant)
    try:
        return conversion.open(fields, checkpoint, dtype=dtype, compute_dtype=compute_dtype, rename=current_key)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error
