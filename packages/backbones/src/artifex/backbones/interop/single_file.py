"""Single files with all networks of a Stable Diffusion, with the keys of the original code."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from jax.typing import DTypeLike

from artifex.backbones.autoencoder_kl_config import AutoencoderKLConfig
from artifex.backbones.clip_text import CLIPTextConfig
from artifex.backbones.interop.array_shapes import Shapes
from artifex.backbones.interop.checkpoint import Checkpoint, CheckpointError
from artifex.backbones.interop.clip_text import CLIP_TEXT, prefixed_key
from artifex.backbones.interop.config_fields import Json
from artifex.backbones.interop.conversion import Conversion, load
from artifex.backbones.interop.diffusers import Pipeline
from artifex.backbones.interop.latent_diffusion import (
    LATENT_DIFFUSION,
    autoencoder,
    autoencoder_config,
    unet_config,
)
from artifex.backbones.interop.open_clip import OPEN_CLIP, clip_config, open_clip_config, without_last_layer
from artifex.backbones.unet_conditional import UNetConditionalConfig

Config = UNetConditionalConfig | AutoencoderKLConfig | CLIPTextConfig
Prediction = Literal["epsilon", "v"]
PREDICTIONS: Final[Mapping[Prediction, str]] = {"epsilon": "epsilon", "v": "v_prediction"}
# Tables of the schedule, averages of the weights, losses and the state of training, and what no network needs.
IGNORED: Final = (
    "model_ema.*", "betas", "alphas_cumprod*", "sqrt_*", "log_one_minus_alphas_cumprod", "posterior_*", "logvar",
    "lvlb_weights", "scale_factor", "denoiser.*", "global_step", "epoch", "optimizer*", "lr_schedulers*", "callbacks*",
    "loops*", "loss.*", "first_stage_model.loss.*", "first_stage_model.model_ema.*", "*.position_ids", "*logit_scale",
    "*.transformer.text_projection.weight",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """One network of a file.

    Attributes:
        component: its name in a pipeline.
        config_type: the class of its config.
        config: its config by the shapes of its arrays.
        conversion: its conversion, likewise.
        select: its arrays among those under its prefix.
        rename: see ``conversion.load``.
    """

    component: str
    config_type: type[Config]
    config: Callable[[Shapes], Config]
    conversion: Callable[[Shapes], Conversion[Any, Any]]
    select: Callable[[Checkpoint], Checkpoint] = lambda checkpoint: checkpoint
    rename: Callable[[str], str] = lambda key: key


VAE: Final = Layout("vae", AutoencoderKLConfig, autoencoder_config, autoencoder)
UNET: Final = Layout("unet", UNetConditionalConfig, unet_config, lambda _: LATENT_DIFFUSION)
LAYOUTS: Final[Mapping[str, Layout]] = {
    "cond_stage_model.transformer.": Layout(
        "text_encoder", CLIPTextConfig, clip_config, lambda _: CLIP_TEXT, rename=prefixed_key
    ),
    "cond_stage_model.model.": Layout(
        "text_encoder", CLIPTextConfig, open_clip_config, lambda _: OPEN_CLIP, select=without_last_layer
    ),
    "conditioner.embedders.0.transformer.": Layout(
        "text_encoder", CLIPTextConfig, clip_config, lambda _: CLIP_TEXT, rename=prefixed_key
    ),
    "conditioner.embedders.0.model.": Layout("text_encoder_2", CLIPTextConfig, open_clip_config, lambda _: OPEN_CLIP),
    "conditioner.embedders.1.model.": Layout("text_encoder_2", CLIPTextConfig, open_clip_config, lambda _: OPEN_CLIP),
    "first_stage_model.": VAE,
    "model.diffusion_model.": UNET,
}
"""The networks by the prefix of their names; the largest comes last, when all else has been found sound."""


def load_single_file(
    path: str | Path,
    *,
    dtype: DTypeLike | None = None,
    compute_dtype: DTypeLike | None = None,
    prediction: Prediction = "epsilon",
    configs: Mapping[str, Config] | None = None,
) -> Pipeline:
    """Read a safetensors file of Stable Diffusion 1, 2 or XL with the keys of the original code.

    The configs follow from the shapes of the arrays. They leave open the heads of attention: 8, or 64 channels each
    where the projections around transformers are matrices (Stable Diffusion 2 and XL); and constants, which are those
    of the published networks. Averages of the weights, tables of the schedule and the state of training are not read.

    Args:
        path: the file: of a whole Stable Diffusion, also for inpainting (9 channels), of InstructPix2Pix (8 channels)
            or of XL's refiner; or of its autoencoder alone. Encoders or the autoencoder may be left out.
        dtype: dtype of the parameters; None is that of the most values of each network.
        compute_dtype: dtype of the computation; None is that of the parameters.
        prediction: what the U-Net predicts, which the file does not hold: ``"v"`` for Stable Diffusion 2 at 768
            pixels and some fine-tuned networks, else ``"epsilon"``.
        configs: configs by component (``"unet"``, ``"vae"``, ``"text_encoder"``, ``"text_encoder_2"``) to use instead
            of those that were found; their dtypes are ignored.

    Returns:
        The networks and the fields of a scheduler with the betas of their training, with the class that diffusers
        would give them; for an autoencoder alone, ``"AutoencoderKL"`` and no scheduler.

    Raises:
        CheckpointError: if the file is pickled or broken, or has missing or unknown arrays or arrays of another shape.
        ValueError: if ``prediction`` or a key of ``configs`` is not one of the above.
        TypeError: if one of ``configs`` is of another class.
    """
    if prediction not in PREDICTIONS:
        raise ValueError(f"prediction must be one of {', '.join(PREDICTIONS)}, got {prediction!r}")
    checkpoint = Checkpoint([Path(path)], IGNORED)
    layouts = _layouts(Path(path), checkpoint)
    given = _checked(dict(configs or {}), {layout.component: layout for layout in layouts.values()})
    parts: dict[str, Checkpoint] = {}
    found: dict[str, Config] = {}
    for prefix, layout in layouts.items():
        with _located(path, prefix):
            parts[prefix] = layout.select(checkpoint.part(prefix))
            if layout.component not in given:
                found[layout.component] = layout.config(Shapes(parts[prefix].shapes))
    unet = (found | given).get("unet")
    if isinstance(unet, UNetConditionalConfig):
        found = _trained(found, unet, prediction)
    networks: dict[str, Any] = {}
    for prefix, layout in layouts.items():
        with _located(path, prefix):
            networks[layout.component] = load(
                layout.conversion(Shapes(parts[prefix].shapes)),
                (found | given)[layout.component],
                parts[prefix],
                dtype=dtype,
                compute_dtype=compute_dtype,
                rename=layout.rename,
            )
    if not isinstance(unet, UNetConditionalConfig):
        return Pipeline("AutoencoderKL", networks, None, {}, dict.fromkeys(networks))
    tokenizers = {name.replace("text_encoder", "tokenizer"): "CLIPTokenizer" for name in networks if "text" in name}
    return Pipeline(_class_name(unet), networks, _scheduler(unet, prediction), tokenizers, dict.fromkeys(networks))


def _layouts(path: Path, checkpoint: Checkpoint) -> dict[str, Layout]:
    """The networks of a file by their prefix."""
    names = checkpoint.shapes
    found = {prefix: layout for prefix, layout in LAYOUTS.items() if any(name.startswith(prefix) for name in names)}
    if not found and "decoder.mid.block_1.conv1.weight" in names:
        return {"": VAE}
    if UNET not in found.values() and list(found.values()) != [VAE]:
        raise CheckpointError(
            f"{path} has no tensors model.diffusion_model.*, expected the keys of the original Stable Diffusion; got "
            f"{', '.join(list(names)[:4]) or 'none'}"
        )
    if others := [name for name in names if not name.startswith(tuple(found))]:
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        raise CheckpointError(f"{path}: tensors are not part of a Stable Diffusion: {', '.join(others[:4])}{more}")
    places: dict[str, str] = {}
    for prefix, layout in found.items():
        if (other := places.setdefault(layout.component, prefix)) != prefix:
            raise CheckpointError(f"{path} must have one {layout.component}, got both {other}* and {prefix}*")
    return found


def _checked(configs: dict[str, Config], layouts: Mapping[str, Layout]) -> dict[str, Config]:
    if unknown := sorted(set(configs) - set(layouts)):
        raise ValueError(f"configs must be of {', '.join(sorted(layouts))}; got {', '.join(unknown)}")
    for component, config in configs.items():
        if not isinstance(config, expected := layouts[component].config_type):
            raise TypeError(f"the config of {component} must be a {expected.__name__}, got {type(config).__name__}")
    return configs


def _trained(configs: Mapping[str, Config], unet: UNetConditionalConfig, prediction: Prediction) -> dict[str, Config]:
    """The configs with the sizes of training and the scale of latents, which do not follow from shapes."""
    xl = unet.pooled_features is not None
    size = 128 if xl else 96 if unet.linear_projection and prediction == "v" else 64
    changes: dict[str, Any] = {
        "unet": {"sample_size": size},
        "vae": {"sample_size": 8 * size, "scaling_factor": 0.13025 if xl else 0.18215},
    }
    return {name: dataclasses.replace(config, **changes.get(name, {})) for name, config in configs.items()}


def _class_name(unet: UNetConditionalConfig) -> str:
    """Diffusers' class of pipelines for a network."""
    kind = {unet.out_channels + 1: "Inpaint", unet.out_channels: "InstructPix2Pix"}.get(
        unet.in_channels - unet.out_channels, "Img2Img" if unet.ids == 5 else ""
    )
    return f"StableDiffusion{'' if unet.pooled_features is None else 'XL'}{kind}Pipeline"


def _scheduler(unet: UNetConditionalConfig, prediction: Prediction) -> Json:
    """The fields of ``scheduler_config.json``, with the class that diffusers gives such a file."""
    own: Json = (
        {"_class_name": "DDIMScheduler", "clip_sample": False, "set_alpha_to_one": False}
        if unet.pooled_features is None
        else {"_class_name": "EulerDiscreteScheduler"}
    )
    return own | {
        "num_train_timesteps": 1000,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "prediction_type": PREDICTIONS[prediction],
        "steps_offset": 1,
        "timestep_spacing": "leading",
    }


@contextmanager
def _located(path: str | Path, prefix: str) -> Iterator[None]:
    """Name the place of an error, which may be one of a config."""
    try:
        yield
    except ValueError as error:
        raise CheckpointError(f"{path}: {prefix.removesuffix('.')}{': ' if prefix else ''}{error}") from error
