"""diffusers' pipelines, small, with weights by name; their calls with given noise."""

import importlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import diffusers
import numpy as np
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from tests.pipelines.helpers.cases import PROMPT, SCHEDULERS, Case
from tests.pipelines.helpers.folders import FOLDERS, vocabulary, write_tokenizer
from tests.pipelines.helpers.weights import mask, noise, picture, weight

NAMES: Final = {
    "steps": "num_inference_steps", "guidance": "guidance_scale", "negative": "negative_prompt",
    "rescale": "guidance_rescale", "image_guidance": "image_guidance_scale", "end": "denoising_end",
    "begin": "denoising_start", "crop": "crops_coords_top_left",
}  # fmt: skip
KINDS: Final = {"image": "Img2Img", "mask": "Inpaint"}


def unet(channels: int, **fields: Any) -> Any:  # noqa: ANN401
    """A small network with cross attention."""
    config: dict[str, Any] = {
        "sample_size": 8, "in_channels": channels, "out_channels": 4, "layers_per_block": 1,
        "block_out_channels": (8, 16), "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 16, "attention_head_dim": 2,
        "norm_num_groups": 4,
    }  # fmt: skip
    return diffusers.UNet2DConditionModel(**{**config, **fields})


def unet_xl(channels: int, pooled: int = 12, ids: int = 6, **fields: Any) -> Any:  # noqa: ANN401
    """The same with a text's vector and numbers as a condition."""
    extra = {
        "addition_embed_type": "text_time", "addition_time_embed_dim": 8, "use_linear_projection": True,
        "projection_class_embeddings_input_dim": pooled + 8 * ids, "transformer_layers_per_block": (1, 2),
    }  # fmt: skip
    return unet(channels, **{"cross_attention_dim": 28, **extra, **fields})


def vae() -> Any:  # noqa: ANN401
    """A small autoencoder."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4, norm_num_groups=4, sample_size=16, scaling_factor=0.4,
    )  # fmt: skip


def clip(width: int, projection: int | None = None, **fields: Any) -> Any:  # noqa: ANN401
    """A small text encoder."""
    size = len(vocabulary())
    config = CLIPTextConfig(
        vocab_size=size, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=77, bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1,
        projection_dim=projection or width, **fields,
    )  # fmt: skip
    return CLIPTextModel(config) if projection is None else CLIPTextModelWithProjection(config)


def dit() -> Any:  # noqa: ANN401
    """A small transformer of classes."""
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8,
        num_embeds_ada_norm=1000,
    )  # fmt: skip


def pixels() -> Any:  # noqa: ANN401
    """A small network on pixels, without a condition."""
    return diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
    )  # fmt: skip


PARTS: Final[Mapping[str, Callable[[], Any]]] = {
    "unet": lambda: unet(4),
    "unet-8": lambda: unet(8),
    "unet-9": lambda: unet(9),
    "unet-xl": lambda: unet_xl(4),
    "unet-xl-9": lambda: unet_xl(9),
    "unet-refiner": lambda: unet_xl(4, ids=5, cross_attention_dim=12),
    "unet-pixels": pixels,
    "dit": dit,
    "vae": vae,
    "clip": lambda: clip(16),
    "clip-1": lambda: clip(16, hidden_act="quick_gelu"),
    "clip-2": lambda: clip(12, 12, hidden_act="gelu"),
}


def built(part: str) -> Any:  # noqa: ANN401
    """A component with the weights of ``weight``."""
    model = PARTS[part]().eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.copy_(torch.from_numpy(weight(key, value.shape)))
    if part == "clip":
        model.__dict__["text_model"] = model  # where the pipeline still looks for the last norm
    return model


def pipeline(case: Case) -> Any:  # noqa: ANN401
    """The pipeline of a case's folder and mode."""
    folder = FOLDERS[case.folder]
    parts: dict[str, Any] = {component: built(part) for component, part in folder.parts.items()}
    config = SCHEDULERS[case.scheduler]
    parts["scheduler"] = getattr(diffusers, config["_class_name"]).from_config(config)
    kind = folder.kind
    if kind.startswith("StableDiffusion") and "InstructPix2Pix" not in kind:
        mode = "Inpaint" if "mask" in case.options else "Img2Img" if {"image", "begin"} & set(case.options) else ""
        kind = ("StableDiffusionXL" if "XL" in kind else "StableDiffusion") + mode + "Pipeline"
        parts["text_encoder"] = parts.get("text_encoder")
    with tempfile.TemporaryDirectory() as tokenizers:
        for component in [name for name in parts if name.startswith("text_encoder")]:
            name = component.replace("text_encoder", "tokenizer")
            parts[name] = None
            if parts[component] is not None:
                write_tokenizer(Path(tokenizers) / name, "!" if name == "tokenizer_2" else "<|endoftext|>")
                parts[name] = CLIPTokenizer.from_pretrained(Path(tokenizers) / name)
    if "XL" in kind:
        fields = dict(folder.fields)
        if kind.removeprefix("StableDiffusionXL") == "Pipeline":
            fields.pop("requires_aesthetics_score", None)
        parts |= fields | {"add_watermarker": False}
    elif kind.startswith("StableDiffusion"):
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if kind == "DDPMPipeline" and config["_class_name"] == "DDIMScheduler":
        kind = "DDIMPipeline"
    found = getattr(diffusers, kind)(**parts)
    found.set_progress_bar_config(disable=True)
    return found


@contextmanager
def given_noise() -> Iterator[None]:
    """A context in which all noise is ``noise`` of its shape, and that of a scheduler's steps is zero."""

    def given(shape: Any, **_: Any) -> torch.Tensor:  # noqa: ANN401
        b, c, h, w = shape
        return torch.from_numpy(noise((b, h, w, c)).transpose(0, 3, 1, 2).copy())

    def none(shape: Any, **_: Any) -> torch.Tensor:  # noqa: ANN401
        return torch.zeros(tuple(shape))

    base = "diffusers.pipelines"
    modules = [f"{base}.ddpm.pipeline_ddpm", f"{base}.ddim.pipeline_ddim", f"{base}.dit.pipeline_dit"]
    modules += [f"{base}.stable_diffusion.pipeline_stable_diffusion{mode}" for mode in ("", "_img2img", "_inpaint")]
    modules += [f"{base}.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix"]
    modules += [
        f"{base}.stable_diffusion_xl.pipeline_stable_diffusion_xl{mode}" for mode in ("", "_img2img", "_inpaint")
    ]
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(patch.object(importlib.import_module(module), "randn_tensor", given))
        stack.enter_context(patch("diffusers.schedulers.scheduling_ddpm.randn_tensor", none))
        yield


def arguments(case: Case, pipe: Any) -> dict[str, Any]:  # noqa: ANN401
    """The arguments of diffusers' call."""
    options = dict(case.options)
    out: dict[str, Any] = {"prompt": PROMPT}
    kind = type(pipe).__name__
    if "cls" in options:
        out = {"class_labels": [options.pop("cls")]}
    elif not kind.startswith("StableDiffusion"):
        # Else the noise that DDIM predicts does not belong to the clipped data: see `docs/parity.md`.
        out = {"use_clipped_model_output": True} if kind == "DDIMPipeline" else {}
    if size := options.pop("size", None):
        out["height"], out["width"] = size
    elif "mask" in options:
        out["height"], out["width"] = options["image"]
    if "image" in options:
        out["image"] = picture(*options.pop("image"))
    if "mask" in options:
        out["mask_image"] = mask(*options.pop("mask"))
    if "begin" in options:
        out["image"] = torch.from_numpy(noise((1, 8, 8, 4)).transpose(0, 3, 1, 2).copy())
    for name, value in options.items():
        out[NAMES.get(name, name)] = value
    return out


def run(case: Case) -> tuple[dict[str, np.ndarray], float]:
    """The final latents and the pictures; and the standard deviation of the first latents without data.

    The last is in coordinates in which data and noise have variance 1: those of the schedule's own path.
    """
    pipe = pipeline(case)
    decoded: list[torch.Tensor] = []
    latent = "end" in case.options
    network = getattr(pipe, "vae", None)
    if network is not None:
        decode = network.decode

        def recorded(z: torch.Tensor, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            decoded.append(z * network.config.scaling_factor)
            return decode(z, *args, **kwargs)

        network.decode = recorded
    else:
        step = pipe.scheduler.step

        def stepped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            found = step(*args, **kwargs)
            decoded.append(found.prev_sample)
            return found

        pipe.scheduler.step = stepped
        pipe.register_modules(scheduler=pipe.scheduler)
    with given_noise(), torch.no_grad():
        out = pipe(**arguments(case, pipe), output_type="latent" if latent else "np").images
    scale = 1.0
    if "Euler" in type(pipe.scheduler).__name__:
        first = pipe.scheduler.sigmas[pipe.scheduler.begin_index or 0]
        scale = float((1.0 if "begin" in case.options else pipe.scheduler.init_noise_sigma) / (first**2 + 1) ** 0.5)
    if latent:
        found = out.permute(0, 2, 3, 1).numpy()
        if "Euler" in type(pipe.scheduler).__name__:
            found = found / float((pipe.scheduler.sigmas[pipe.scheduler.step_index] ** 2 + 1) ** 0.5)
        return {"latents": found.astype(np.float32)}, scale
    latents = decoded[-1].permute(0, 2, 3, 1).numpy()
    return {"latents": latents, "picture": np.round(out[0] * 255).astype(np.uint8)}, scale
