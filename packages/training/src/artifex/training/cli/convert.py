"""``artifex convert``: convert a network's checkpoint from one format to another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_args

import jax
from flax import nnx

from artifex.backbones import DiT, DiTConfig, UNet, UNetConfig
from artifex.backbones.interop import (
    CheckpointError,
    Pipeline,
    load_diffusers,
    load_original,
    save_diffusers,
    save_original,
)
from artifex.command import CommandError, as_command_error, message_of
from artifex.training import errors
from artifex.training.run.export import Dtype, export_network
from artifex.training.run.folder import RunFolder
from artifex.training.run.trainer import Trainer

CONFIGS: Final[Mapping[str, DiTConfig | UNetConfig]] = {
    **{f"dit-{size}-{patch}": getattr(DiTConfig, f"{size}_{patch}")() for size in ("s", "b", "l", "xl")
       for patch in (2, 4, 8)},
    "adm-imagenet64": UNetConfig.adm_imagenet64(),
    "adm-imagenet128": UNetConfig.adm_imagenet128(),
    "adm-imagenet256": UNetConfig.adm_imagenet256(),
    "adm-imagenet256-uncond": UNetConfig.adm_imagenet256(num_classes=None),
}  # fmt: skip
DTYPES: Final[Mapping[str, Dtype]] = {name: name for name in get_args(Dtype)}


@as_command_error(errors.CheckpointError)
def run(source: Path, target: Path, config: str | None, dtype: str | None) -> None:
    """Read ``source`` and write ``target``.

    Args:
        source: a diffusers folder of one network, a safetensors file with a paper's own names, or the folder of a run,
            whose averaged parameters are read.
        target: a new folder, or a new ``.safetensors`` file; that of a run is written by ``export_network``.
        config: name of the network in ``source``; required for a file.
        dtype: of the written parameters; None keeps that of ``source``.

    Raises:
        CommandError: if an argument is not one of these.
    """
    if target.exists():
        raise CommandError(f"DST must not be there yet, got {target}")
    if not source.exists():
        raise CommandError(f"SRC must be a folder or file, got {source}")
    if dtype is not None and dtype not in DTYPES:
        raise CommandError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if RunFolder(source).config.is_file():
        _convert_run(source, target, config, None if dtype is None else DTYPES[dtype])
        return
    try:
        if source.is_dir():
            if config is not None:
                raise CommandError("--config is for a file: a folder has a config of its own")
            model = load_diffusers(source, dtype=dtype)
        else:
            if config is None or config not in CONFIGS:
                raise CommandError(f"--config must be one of {', '.join(CONFIGS)} for a file, got {config!r}")
            model = load_original(source, CONFIGS[config], dtype=dtype)
        if isinstance(model, Pipeline):
            parts = ", ".join(model.networks)
            raise CommandError(f"SRC must be the folder of one network, got a pipeline's, with {parts}")
        if target.suffix != ".safetensors":
            save_diffusers(model, target)
        elif isinstance(model, DiT | UNet):
            save_original(model, target)
        else:
            raise CommandError(f"{type(model).__name__} is written as a folder: DST must not end in .safetensors")
    except CheckpointError as error:
        raise CommandError(message_of(error)) from error


def _convert_run(source: Path, target: Path, config: str | None, dtype: Dtype | None) -> None:
    """Write the averaged network of a run, by ``export_network`` or in diffusers' format."""
    if config is not None:
        raise CommandError("--config is for a file: a run has a config of its own")
    try:
        trainer = Trainer.from_folder(source, any_devices=True)
        if target.suffix == ".safetensors":
            export_network(trainer, target, dtype=dtype)
        else:
            network = trainer.load().module
            if not isinstance(network, DiT | UNet):
                raise CommandError(f"diffusers has no {type(network).__name__}: DST must end in .safetensors")
            if dtype is not None:
                nnx.update(network, jax.tree.map(lambda leaf: leaf.astype(dtype), nnx.state(network, nnx.Param)))
            save_diffusers(network, target)
    except (ValueError, OSError) as error:
        raise CommandError(message_of(error)) from error
