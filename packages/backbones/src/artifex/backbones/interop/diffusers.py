"""diffusers' folders: a network's, and a pipeline's."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jax.typing import DTypeLike

from artifex.backbones.autoencoder_kl import AutoencoderKL
from artifex.backbones.dit import DiT
from artifex.backbones.interop.autoencoder_kl import AUTOENCODER_KL
from artifex.backbones.interop.checkpoint import (
    CheckpointError,
    is_name,
    open_folder,
    read_json,
    refuse_pickle,
    variants,
)
from artifex.backbones.interop.dit import DIT
from artifex.backbones.interop.family import SHARD_BYTES
from artifex.backbones.interop.fields import Json
from artifex.backbones.interop.mmdit import MMDIT
from artifex.backbones.interop.parts import current
from artifex.backbones.interop.unet_2d import UNET_2D
from artifex.backbones.interop.unet_2d_condition import UNET_2D_CONDITION
from artifex.backbones.mmdit import MMDiT
from artifex.backbones.unet import UNet
from artifex.backbones.unet_conditional import UNetConditional

Model = AutoencoderKL | DiT | MMDiT | UNet | UNetConditional
FAMILIES: Final = (AUTOENCODER_KL, DIT, MMDIT, UNET_2D, UNET_2D_CONDITION)
BY_NAME: Final = {name: family for family in FAMILIES for name in (family.class_name, *family.older)}
PRECISIONS: Final = ("fp16", "bf16")  # variants that are the same weights, but for rounding


@dataclass(frozen=True)
class Pipeline:
    """What is in a pipeline's folder.

    Attributes:
        class_name: The pipeline's class in diffusers.
        networks: The networks, by component: ``"unet"`` or ``"transformer"``, ``"vae"``.
        scheduler: The fields of ``scheduler_config.json``, or None where there is none.
        left: The components that are not read here, with their classes: text encoders, tokenizers and so on.
        variants: The variant of the files that each network was read from, None for plain ones.
    """

    class_name: str
    networks: Mapping[str, Model]
    scheduler: Json | None
    left: Mapping[str, str]
    variants: Mapping[str, str | None] = field(default_factory=dict)


def load_diffusers(
    path: str | Path,
    *,
    dtype: DTypeLike | None = None,
    compute_dtype: DTypeLike | None = None,
    variant: str | None = None,
) -> Model | Pipeline:
    """Read a diffusers folder: a network's, with its ``config.json``, or a pipeline's, with its ``model_index.json``.

    Arrays are read one at a time and the network is filled only once names and shapes are known to fit, so a broken
    checkpoint costs no memory and leaves nothing half-loaded.

    Args:
        path: The folder.
        dtype: What parameters are kept in; None keeps what the checkpoint has.
        compute_dtype: What is computed in; None is as the parameters.
        variant: ``"fp16"`` for the files so named, None for plain ones.

    Returns:
        An `AutoencoderKL`, a `UNet` (for UNet2DModel), a `UNetConditional` (UNet2DConditionModel), a `DiT`
        (DiTTransformer2DModel, or Transformer2DModel in older folders) or an `MMDiT` (SD3Transformer2DModel); or a
        `Pipeline`.

    Raises:
        CheckpointError: If the folder is incomplete, of a class or with an option that is not known here, its files are
            pickles or broken, or its tensors are not those of its config.
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
) -> Pipeline:
    """Read a pipeline's folder; see `load_diffusers`.

    Components of other libraries, such as text encoders, and components without weights are left. A network that has
    no files of ``variant``, where others have, is read from its plain files or, without plain ones, from those of
    ``"fp16"`` or ``"bf16"``. A UserWarning names it.

    Raises:
        CheckpointError: As `load_diffusers`, for each network of diffusers in the pipeline.
    """
    folder = Path(path)
    index = read_json(folder / "model_index.json")
    classes: dict[str, str] = {}
    scheduler: Json | None = None
    left: dict[str, str] = {}
    for component, kind in index.items():
        if component.startswith("_") or not isinstance(kind, list) or kind == [None, None]:
            continue
        if len(kind) != 2 or not all(isinstance(part, str) for part in kind) or not is_name(component):
            raise CheckpointError(f"{component} in model_index.json must be [library, class], got {kind!r}")
        library, class_name = kind
        if component == "scheduler":
            scheduler = read_json(folder / component / "scheduler_config.json")
        elif library == "diffusers" and (class_name in BY_NAME or (folder / component / "config.json").is_file()):
            classes[component] = class_name
        else:
            left[component] = class_name
    chosen = _choose(folder, tuple(classes), variant)
    networks = {
        component: _load_network(folder / component, dtype, compute_dtype, chosen[component], class_name)
        for component, class_name in classes.items()
    }
    return Pipeline(str(index.get("_class_name")), networks, scheduler, left, chosen)


def save_diffusers(model: Model, path: str | Path, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a network as a folder that diffusers reads.

    Each file appears whole or not at all, ``config.json`` last.

    Args:
        model: The network; its parameters are written in the dtype that they are in.
        path: The folder; it is made where it does not exist.
        shard_bytes: Weights above this size are spread over several files.

    Raises:
        CheckpointError: If the network has an option that diffusers' class has not.
        TypeError: If the network is of a class that diffusers has not.
    """
    for family in FAMILIES:
        if isinstance(model, family.network):
            return family.save(model, Path(path), shard_bytes)  # type: ignore[arg-type]
    raise TypeError(f"model must be of a class that diffusers has, got {type(model).__name__}")


def _choose(folder: Path, components: tuple[str, ...], variant: str | None) -> dict[str, str | None]:
    """The variant to read each component in, with a warning for those that lack the one that is asked for."""
    found = {component: variants(folder / component) for component in components}
    chosen: dict[str, str | None] = dict.fromkeys(components, variant)
    others = []
    if any(variant in files for files in found.values()):
        for component, files in found.items():
            if variant not in files and (there := [name for name in (None, *PRECISIONS) if name in files]):
                chosen[component] = there[0]
                others.append(f"{component} from {files[there[0]].name}")
    if others:
        asked = "plain files" if variant is None else f"files of variant={variant!r}"
        warnings.warn(f"{folder}: not every network has {asked}; read {', '.join(others)}", stacklevel=3)
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
    family = BY_NAME.get(class_name) if isinstance(class_name, str) else None
    if family is None:
        known = ", ".join(family.class_name for family in FAMILIES)
        raise CheckpointError(f"_class_name in {folder / 'config.json'} must be one of {known}; got {class_name!r}")
    checkpoint = open_folder(folder, variant)
    try:
        return family.open(fields, checkpoint, dtype=dtype, compute_dtype=compute_dtype, rename=current)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error
