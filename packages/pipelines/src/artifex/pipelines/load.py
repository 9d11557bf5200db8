"""Published folders and files to pipelines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from artifex.backbones import AutoencoderKL, interop
from artifex.backbones.interop import CheckpointError
from artifex.backbones.interop.checkpoint import read_json, refuse_pickle
from artifex.generative_models.interop import Scheduler, read_scheduler
from artifex.pipelines.base import Pipeline
from artifex.pipelines.hub import local_folder
from artifex.pipelines.instruct_pix2pix import InstructPix2Pix
from artifex.pipelines.latents import LatentSpace, PixelSpace, Space
from artifex.pipelines.stable_diffusion import StableDiffusion
from artifex.pipelines.stable_diffusion_xl import StableDiffusionXL
from artifex.pipelines.text import ClipEncoder
from artifex.pipelines.tokenizers import read_clip_tokenizer, read_tokenizer
from artifex.pipelines.unconditional import ClassConditional, Unconditional

IGNORED: Final = ("safety_checker", "image_encoder")
HALF: Final = (jnp.dtype(jnp.float16), jnp.dtype(jnp.bfloat16))


@dataclass(frozen=True)
class Parts:
    """The parts of a folder.

    Attributes:
        folder: the folder.
        index: the fields of its ``model_index.json``.
        networks: the networks by component, without the autoencoder.
        scheduler: schedule, prediction, sampler and grid.
        autoencoder: the network between pictures and latents, or None.
        tokenizer: a folder with CLIP's tokenizer, for a single file; None is that of each encoder in ``folder``.
    """

    folder: Path
    index: Mapping[str, Any]
    networks: Mapping[str, Any]
    scheduler: Scheduler
    autoencoder: AutoencoderKL | None
    tokenizer: Path | None = None

    def network(self, component: str) -> Any:  # noqa: ANN401 -- any backbone
        """The network of a component; a CheckpointError if there is none."""
        if component not in self.networks:
            raise CheckpointError(f"{self.folder} has no {component}, expected one in {self._place}")
        return self.networks[component]

    def latents(self) -> LatentSpace:
        """The latents of the autoencoder."""
        if self.autoencoder is None:
            raise CheckpointError(f"{self.folder} has no vae, expected one in {self._place}")
        return LatentSpace(self.autoencoder)

    def encoder(self, number: str = "") -> ClipEncoder:
        """A text encoder with its tokenizer."""
        network = self.network(f"text_encoder{number}")
        if self.tokenizer is None:
            tokenizer = read_tokenizer(self.folder / f"tokenizer{number}")
        else:
            tokenizer = read_clip_tokenizer(self.tokenizer, open_clip=network.config.activation == "gelu")
        return ClipEncoder(tokenizer, network, f"text_encoder{number}")

    @property
    def _place(self) -> str:
        return "the file" if self.tokenizer is not None else "its model_index.json"


def _stable_diffusion(parts: Parts) -> Pipeline:
    return StableDiffusion(parts.network("unet"), parts.scheduler, parts.latents(), parts.encoder())


def _stable_diffusion_xl(parts: Parts) -> Pipeline:
    numbers = [number for number in ("", "_2") if f"text_encoder{number}" in parts.networks]
    return StableDiffusionXL(
        parts.network("unet"),
        parts.scheduler,
        parts.latents(),
        [parts.encoder(number) for number in numbers] or [parts.encoder("_2")],
        zeros_for_empty=bool(parts.index.get("force_zeros_for_empty_prompt", True)),
    )


def _instruct_pix2pix(parts: Parts) -> Pipeline:
    return InstructPix2Pix(parts.network("unet"), parts.scheduler, parts.latents(), parts.encoder())


def _unconditional(parts: Parts) -> Pipeline:
    network = parts.network("unet")
    space: Space = PixelSpace(network.config.in_channels) if parts.autoencoder is None else parts.latents()
    if network.config.num_classes is not None:
        return ClassConditional(network, parts.scheduler, space)
    return Unconditional(network, parts.scheduler, space)


def _class_conditional(parts: Parts) -> Pipeline:
    names = parts.index.get("id2label") or {}
    numbers = {name.strip(): int(number) for number, text in names.items() for name in str(text).split(",")}
    return ClassConditional(parts.network("transformer"), parts.scheduler, parts.latents(), names=numbers)


FAMILIES: Final[Mapping[str, Callable[[Parts], Pipeline]]] = {
    "StableDiffusionPipeline": _stable_diffusion,
    "StableDiffusionImg2ImgPipeline": _stable_diffusion,
    "StableDiffusionInpaintPipeline": _stable_diffusion,
    "StableDiffusionInstructPix2PixPipeline": _instruct_pix2pix,
    "StableDiffusionXLPipeline": _stable_diffusion_xl,
    "StableDiffusionXLImg2ImgPipeline": _stable_diffusion_xl,
    "StableDiffusionXLInpaintPipeline": _stable_diffusion_xl,
    "DDPMPipeline": _unconditional,
    "DDIMPipeline": _unconditional,
    "PNDMPipeline": _unconditional,
    "ScoreSdeVePipeline": _unconditional,
    "DiTPipeline": _class_conditional,
}
"""Classes of diffusers' pipelines."""


def load_pipeline(
    path: str | Path,
    *,
    dtype: DTypeLike | None = None,
    variant: str | None = None,
    scheduler: Scheduler | None = None,
    tokenizer: str | Path | None = None,
    prediction: Literal["epsilon", "v"] = "epsilon",
) -> Pipeline:
    """Read a folder of diffusers or a file of Stable Diffusion with all that turns a prompt into pictures.

    Args:
        path: the folder, with ``model_index.json``; or a name on the Hugging Face Hub, as ``owner/name``, which needs
            ``artifex-pipelines[hub]``; or a safetensors file in the original layout, see ``load_single_file`` of
            ``artifex.backbones.interop``.
        dtype: dtype of parameters and computation; None is that of the files. The autoencoder computes in float32
            where its config has ``force_upcast``.
        variant: such as ``"fp16"``; None for plain files.
        scheduler: used instead of the folder's, such as that of ``read_scheduler``.
        tokenizer: for a single file alone, which has none: a folder with CLIP's tokenizer.
        prediction: what the network of a single file predicts: ``"v"`` for Stable Diffusion 2 at 768 pixels.

    Raises:
        CheckpointError: if the folder or file is incomplete, its class or a part of it is not supported, or its parts
            don't fit each other.
        ValueError: if a folder is given ``tokenizer`` or ``prediction``, which it has.
    """
    folder = local_folder(path, variant)
    if folder.is_file():
        return _from_file(folder, dtype, scheduler, tokenizer, prediction)
    if tokenizer is not None or prediction != "epsilon":
        raise ValueError(
            f"tokenizer and prediction are those of a single file, got the folder {folder}, which has both"
        )
    if (folder / "config.yaml").is_file():
        raise CheckpointError(
            f"{folder} is a run of artifex train, expected a folder of diffusers: artifex sample draws from it, and "
            "ClassConditional or Unconditional make a pipeline of its network"
        )
    index = read_json(folder / "model_index.json")
    kind = index.get("_class_name")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise CheckpointError(f"_class_name in {folder / 'model_index.json'} must be one of {known}; got {kind!r}")
    found = interop.load_pipeline(
        folder, dtype=dtype, variant=variant, skip=[name for name in IGNORED if name in index]
    )
    return _assemble(folder, index, found, scheduler)


def _from_file(
    path: Path,
    dtype: DTypeLike | None,
    scheduler: Scheduler | None,
    tokenizer: str | Path | None,
    prediction: Literal["epsilon", "v"],
) -> Pipeline:
    refuse_pickle(path)
    if tokenizer is None:
        raise CheckpointError(
            f"{path} holds no tokenizer: pass tokenizer=FOLDER with CLIP's, such as that of "
            "openai/clip-vit-large-patch14 on the Hub"
        )
    found = interop.load_single_file(path, dtype=dtype, prediction=prediction)
    if found.class_name not in FAMILIES:
        raise CheckpointError(f"{path} must hold one of {', '.join(FAMILIES)}; got {found.class_name}")
    # The refiner's unconditional prompt is the empty text; that of XL itself is zeros.
    index = {"force_zeros_for_empty_prompt": "text_encoder" in found.networks}
    return _assemble(path, index, found, scheduler, Path(tokenizer).expanduser())


def _assemble(
    folder: Path,
    index: Mapping[str, Any],
    found: interop.Pipeline,
    scheduler: Scheduler | None,
    tokenizer: Path | None = None,
) -> Pipeline:
    """The pipeline of the networks of a folder or file."""
    networks = dict(found.networks)
    autoencoder = networks.pop("vae", None)
    if autoencoder is not None and not isinstance(autoencoder, AutoencoderKL):
        raise CheckpointError(f"vae in {folder} must be an AutoencoderKL, got {type(autoencoder).__name__}")
    if autoencoder is not None and autoencoder.config.force_upcast and jnp.dtype(autoencoder.config.dtype) in HALF:
        autoencoder = in_float32(autoencoder)
    if scheduler is None:
        if found.scheduler is None:
            raise CheckpointError(f"{folder} has no scheduler, expected scheduler/scheduler_config.json")
        scheduler = read_scheduler(found.scheduler)
    return FAMILIES[found.class_name](Parts(folder, index, networks, scheduler, autoencoder, tokenizer))


def in_float32(autoencoder: AutoencoderKL) -> AutoencoderKL:
    """The same network and arrays, which computes in float32."""
    config = replace(autoencoder.config, dtype=jnp.float32)
    graph, _ = nnx.split(nnx.eval_shape(lambda: AutoencoderKL(config, rngs=nnx.Rngs(0))))
    out: AutoencoderKL = nnx.merge(graph, nnx.state(autoencoder))
    return out
