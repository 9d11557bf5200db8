"""Small pipelines of every kind that a single file of the original Stable Diffusion can hold, and published ones."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CROSS, DOWN, UP = "CrossAttnDownBlock2D", "DownBlock2D", "UpBlock2D"
PUBLISHED: Final = json.loads((Path(__file__).parents[1] / "backbones" / "published.json").read_text())


@dataclass(frozen=True)
class Case:
    """A pipeline: its class, the config of each network, and the prefix of each in the file."""

    kind: str
    configs: dict[str, dict[str, Any]]
    prefixes: dict[str, str]


PREFIXES: Final = {"unet": "model.diffusion_model.", "vae": "first_stage_model."}
SD1: Final = {**PREFIXES, "text_encoder": "cond_stage_model.transformer."}
SD2: Final = {**PREFIXES, "text_encoder": "cond_stage_model.model."}
XL: Final = {
    **PREFIXES,
    "text_encoder": "conditioner.embedders.0.transformer.",
    "text_encoder_2": "conditioner.embedders.1.model.",
}
REFINER: Final = {**PREFIXES, "text_encoder_2": "conditioner.embedders.0.model."}


def unet(channels: list[int], attends: list[int], context: int, layers: int, **more: object) -> dict[str, Any]:
    """A U-Net of diffusers, with attention where ``attends`` is 1."""
    down = [CROSS if attend else DOWN for attend in attends]
    up = [kind.replace("Down", "Up") for kind in reversed(down)]
    own = {"block_out_channels": channels, "down_block_types": down, "up_block_types": up, "layers_per_block": layers}
    return {"_class_name": "UNet2DConditionModel", "cross_attention_dim": context, "sample_size": 64, **own, **more}


def vae(channels: list[int], layers: int, **more: object) -> dict[str, Any]:
    """An autoencoder of diffusers."""
    own = {"block_out_channels": channels, "layers_per_block": layers, "latent_channels": 4, "sample_size": 512}
    own["down_block_types"] = ["DownEncoderBlock2D"] * len(channels)
    own["up_block_types"] = ["UpDecoderBlock2D"] * len(channels)
    return {"_class_name": "AutoencoderKL", **own, **more}


def clip(hidden: int, layers: int, act: str, projection: int | None = None, **more: object) -> dict[str, Any]:
    """A text encoder of transformers."""
    return {
        "architectures": ["CLIPTextModel" if projection is None else "CLIPTextModelWithProjection"],
        "model_type": "clip_text_model",
        "vocab_size": 60,
        "max_position_embeddings": 7,
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "hidden_act": act,
        "projection_dim": projection or hidden,
        "eos_token_id": 2,
        **more,
    }


def added(pooled: int, ids: int) -> dict[str, Any]:
    """The fields of the added condition of Stable Diffusion XL."""
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": pooled + 256 * ids,
        "use_linear_projection": True,
        "sample_size": 128,
    }


SMALL: Final = {
    "sd1": Case(
        "StableDiffusionPipeline",
        {
            "unet": unet([32, 64], [1, 0], 128, 2, attention_head_dim=8),
            "vae": vae([32, 64], 1),
            "text_encoder": clip(128, 2, "quick_gelu"),
        },
        SD1,
    ),
    "sd1-inpainting": Case(
        "StableDiffusionInpaintPipeline",
        {
            "unet": unet([32, 32, 64], [0, 1, 1], 64, 1, attention_head_dim=8, in_channels=9),
            "vae": vae([32, 32, 32], 2),
            "text_encoder": clip(64, 1, "quick_gelu"),
        },
        SD1,
    ),
    "sd2": Case(
        "StableDiffusionPipeline",
        {
            "unet": unet([64, 128], [1, 0], 128, 1, attention_head_dim=[1, 2], use_linear_projection=True),
            "vae": vae([32, 32], 1),
            "text_encoder": clip(128, 2, "gelu"),
        },
        SD2,
    ),
    "sdxl": Case(
        "StableDiffusionXLPipeline",
        {
            "unet": unet(
                [64, 128, 128],
                [0, 1, 1],
                192,
                1,
                attention_head_dim=[1, 2, 2],
                transformer_layers_per_block=[1, 1, 2],
                **added(96, 6),
            ),
            "vae": vae([32, 32], 1, scaling_factor=0.13025, sample_size=1024),
            "text_encoder": clip(64, 2, "quick_gelu"),
            "text_encoder_2": clip(128, 2, "gelu", 96),
        },
        XL,
    ),
    "refiner": Case(
        "StableDiffusionXLImg2ImgPipeline",
        {
            "unet": unet(
                [64, 64, 128],
                [0, 1, 0],
                128,
                1,
                attention_head_dim=[1, 1, 2],
                transformer_layers_per_block=2,
                **added(128, 5),
            ),
            "vae": vae([32, 32], 1, scaling_factor=0.13025, sample_size=1024),
            "text_encoder_2": clip(128, 2, "gelu", 128),
        },
        REFINER,
    ),
}
REAL: Final = {"vocab_size": 49408, "max_position_embeddings": 77}
CLIP_L: Final = clip(768, 12, "quick_gelu", **REAL)
BIG_G: Final = clip(1280, 32, "gelu", 1280, **REAL)
LARGE: Final = {
    "sd-1.5": Case(
        "StableDiffusionPipeline",
        {"unet": PUBLISHED["sd-1.4-unet"]["config"], "vae": PUBLISHED["sd-1.4-vae"]["config"], "text_encoder": CLIP_L},
        SD1,
    ),
    "sd-1.5-inpainting": Case(
        "StableDiffusionInpaintPipeline", {"unet": PUBLISHED["sd-1.5-inpainting-unet"]["config"]}, SD1
    ),
    "sd-2.1": Case(
        "StableDiffusionPipeline",
        {
            "unet": PUBLISHED["sd-2.1-unet"]["config"],
            "vae": PUBLISHED["sd-1.4-vae"]["config"],
            "text_encoder": clip(1024, 23, "gelu", **REAL),
        },
        SD2,
    ),
    "sdxl-base": Case(
        "StableDiffusionXLPipeline",
        {
            "unet": PUBLISHED["sdxl-unet"]["config"],
            "vae": PUBLISHED["sdxl-vae"]["config"],
            "text_encoder": CLIP_L,
            "text_encoder_2": BIG_G,
        },
        XL,
    ),
    "sdxl-refiner": Case(
        "StableDiffusionXLImg2ImgPipeline",
        {
            "unet": PUBLISHED["sdxl-refiner-unet"]["config"],
            "vae": PUBLISHED["sdxl-vae"]["config"],
            "text_encoder_2": BIG_G,
        },
        REFINER,
    ),
}
