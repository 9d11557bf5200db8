"""Checkpoints of the papers' original code: tensors without a config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, overload

from jax.typing import DTypeLike

from artifex.backbones.dit import DiT, DiTConfig
from artifex.backbones.interop.checkpoint import PICKLES, CheckpointError, open_file
from artifex.backbones.interop.conversion import arrays, load, write_file
from artifex.backbones.interop.dit import ORIGINAL_DIT
from artifex.backbones.interop.guided_diffusion import GUIDED_DIFFUSION
from artifex.backbones.unet import UNet, UNetConfig

# Fields of the config that the original code fixes.
DIT_HAS: Final[Mapping[str, object]] = {
    "embed_per_block": False, "freq_shift": 0.0, "mlp_ratio": 4, "epsilon": 1e-6, "qkv_bias": True,
}  # fmt: skip
GUIDED_DIFFUSION_HAS: Final[Mapping[str, object]] = {
    "cosine_first": True, "freq_shift": 0.0, "pad": "both", "epsilon": 1e-5,
}  # fmt: skip


@overload
def load_original(
    path: str | Path, config: DiTConfig, *, dtype: DTypeLike | None = None, compute_dtype: DTypeLike | None = None
) -> DiT: ...
@overload
def load_original(
    path: str | Path, config: UNetConfig, *, dtype: DTypeLike | None = None, compute_dtype: DTypeLike | None = None
) -> UNet: ...
def load_original(
    path: str | Path,
    config: DiTConfig | UNetConfig,
    *,
    dtype: DTypeLike | None = None,
    compute_dtype: DTypeLike | None = None,
) -> DiT | UNet:
    """Read a safetensors file with the keys of ``facebookresearch/DiT`` or ``openai/guided-diffusion``.

    Args:
        path: the file.
        config: the config of the network, such as ``DiTConfig.xl_2()`` or ``UNetConfig.adm_imagenet256()``; its dtypes
            are ignored. A table of positions in the file must be that of ``sample_size``, or determines it if None.
        dtype: dtype of the parameters; None is that of the file.
        compute_dtype: dtype of the computation; None is that of the parameters.

    Raises:
        CheckpointError: if the file is pickled or broken, or its tensors do not match ``config``.
    """
    try:
        if isinstance(config, DiTConfig):
            return load(ORIGINAL_DIT, config, open_file(Path(path)), dtype=dtype, compute_dtype=compute_dtype)
        return load(GUIDED_DIFFUSION, config, open_file(Path(path)), dtype=dtype, compute_dtype=compute_dtype)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def save_original(model: DiT | UNet, path: str | Path) -> None:
    """Write a safetensors file with the keys of ``facebookresearch/DiT`` or ``openai/guided-diffusion``.

    Args:
        model: a DiT without ``embed_per_block``, or a U-Net without ``resample="pool"``.
        path: the file; it appears completely or not at all.

    Raises:
        CheckpointError: if the original code has no such option.
    """
    if Path(path).suffix in PICKLES:
        raise CheckpointError(f"path must end in .safetensors, got {path}")
    if isinstance(model, DiT):
        _check_has("facebookresearch/DiT", model.config, DIT_HAS)
        tensors = arrays(ORIGINAL_DIT, model)
    else:
        _check_has("openai/guided-diffusion", model.config, GUIDED_DIFFUSION_HAS)
        tensors = arrays(GUIDED_DIFFUSION, model)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_file(Path(path), tensors)


def _check_has(home: str, config: DiTConfig | UNetConfig, needed: Mapping[str, object]) -> None:
    """Raise CheckpointError unless the fields of a config have the needed values."""
    got = {name: getattr(config, name) for name in needed}
    if got != needed:
        expected = ", ".join(f"{name}={value!r}" for name, value in needed.items())
        other = ", ".join(f"{name}={got[name]!r}" for name, value in needed.items() if got[name] != value)
        raise CheckpointError(f"{home} needs {expected}; got {other}")
