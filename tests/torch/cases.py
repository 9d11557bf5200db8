"""diffusers' networks with random weights: one small config for every option that changes what is computed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import diffusers
import torch

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A class, its arguments, its inputs' shapes; ``golden`` puts it in the data, ``grad`` its gradients."""

    name: str
    kind: str
    fields: dict[str, Any]
    x: tuple[int, ...]
    cond: dict[str, tuple[int, ...]] = field(default_factory=dict)
    classes: int | None = None
    grad: bool = False
    golden: bool = True


UNET: Final = {"sample_size": 8, "block_out_channels": (4, 8), "layers_per_block": 1, "norm_num_groups": 2}
SD: Final = {**UNET, "attention_head_dim": 2, "cross_attention_dim": 6, "in_channels": 4, "out_channels": 4}
VAE: Final = {
    "block_out_channels": (4, 8),
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "latent_channels": 2,
    "sample_size": 8,
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
DIT: Final = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "in_channels": 2,
    "num_layers": 2,
    "sample_size": 8,
    "num_embeds_ada_norm": 5,
}
SD3: Final = {
    "sample_size": 8,
    "patch_size": 2,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 6,
    "caption_projection_dim": 16,
    "pooled_projection_dim": 5,
    "pos_embed_max_size": 6,
}
CROSS: Final = ("CrossAttnDownBlock2D", "DownBlock2D")
SORC: Final = ("UpBlock2D", "CrossAttnUpBlock2D")

ODD: Final = {  # levels whose sizes do not halve
    **SD,
    "block_out_channels": (4, 4, 4),
    "attention_head_dim": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}
VAE3: Final = {
    **VAE,
    "block_out_channels": (4, 4, 4),
    "mid_block_add_attention": False,
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
}

CASES: Final = [
    Case("vae", "AutoencoderKL", {**VAE}, (2, 3, 8, 12)),
    Case(
        "vae-bare",
        "AutoencoderKL",
        {
            **VAE,
            "layers_per_block": 2,
            "mid_block_add_attention": False,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
            "shift_factor": 0.0609,
            "scaling_factor": 1.5305,
            "latent_channels": 3,
        },
        (1, 3, 8, 8),
    ),
    Case(
        "unet-ddpm",
        "UNet2DModel",
        {
            **UNET,
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "flip_sin_to_cos": False,
            "freq_shift": 1,
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": None,
            "downsample_padding": 0,
            "norm_eps": 1e-6,
        },
        (2, 3, 8, 4),
        grad=True,
    ),
    Case(
        "unet-adm",
        "UNet2DModel",
        {
            **UNET,
            "block_out_channels": (4, 8, 8),
            "attention_head_dim": 4,
            "num_class_embeds": 5,
            "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"),
            "downsample_type": "resnet",
            "upsample_type": "resnet",
            "resnet_time_scale_shift": "scale_shift",
            "out_channels": 6,
            "attn_norm_num_groups": 2,
        },
        (2, 3, 8, 8),
        classes=5,
    ),
    Case(
        "unet-plain",
        "UNet2DModel",
        {
            **UNET,
            "layers_per_block": 2,
            "down_block_types": ("DownBlock2D", "DownBlock2D"),
            "in_channels": 1,
            "out_channels": 1,
            "up_block_types": ("UpBlock2D", "UpBlock2D"),
            "add_attention": False,
        },
        (1, 1, 4, 8),
        golden=False,
    ),
    Case(
        "unet-sd1",
        "UNet2DConditionModel",
        {**SD, "down_block_types": CROSS, "up_block_types": SORC},
        (2, 4, 8, 4),
        cond={"context": (2, 3, 6)},
    ),
    Case(
        "unet-sd2",
        "UNet2DConditionModel",
        {
            **SD,
            "down_block_types": CROSS,
            "up_block_types": SORC,
            "attention_head_dim": (1, 2),
            "in_channels": 5,
            "use_linear_projection": True,
            "resnet_time_scale_shift": "scale_shift",
            "upcast_attention": True,
        },
        (1, 5, 8, 8),
        cond={"context": (1, 4, 6)},
        golden=False,
    ),
    Case(
        "unet-sdxl",
        "UNet2DConditionModel",
        {
            **SD,
            "down_block_types": CROSS[::-1],
            "up_block_types": SORC[::-1],
            "attention_head_dim": (1, 2),
            "transformer_layers_per_block": (1, 2),
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 29,
        },
        (2, 4, 4, 8),
        cond={"context": (2, 3, 6), "pooled": (2, 5), "ids": (2, 6)},
    ),
    Case(
        "unet-refiner",
        "UNet2DConditionModel",
        {
            **SD,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "block_out_channels": (4, 8, 8),
            "attention_head_dim": (1, 2, 2),
            "transformer_layers_per_block": 2,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 26,
            "sample_size": (8, 12),
        },
        (1, 4, 8, 12),
        cond={"context": (1, 3, 6), "pooled": (1, 6), "ids": (1, 5)},
        golden=False,
    ),
    Case(
        "unet-odd",
        "UNet2DConditionModel",
        {**ODD},
        (2, 4, 9, 11),
        cond={"context": (2, 3, 6)},
        grad=True,
    ),
    Case(
        "unet-odd-after",
        "UNet2DConditionModel",
        {**ODD, "downsample_padding": 0},
        (1, 4, 14, 11),
        cond={"context": (1, 3, 6)},
    ),
    Case("vae-odd", "AutoencoderKL", {**VAE3}, (2, 3, 13, 10), grad=True),
    Case("dit", "DiTTransformer2DModel", {**DIT}, (2, 2, 8, 8), classes=5, grad=True),
    Case(
        "dit-published",
        "Transformer2DModel",
        {
            **DIT,
            "out_channels": 4,
            "patch_size": 2,
            "activation_fn": "gelu-approximate",
            "attention_bias": True,
            "norm_type": "ada_norm_zero",
            "norm_elementwise_affine": False,
        },
        (1, 2, 8, 8),
        classes=5,
    ),
    Case(
        "dit-sigma",
        "DiTTransformer2DModel",
        {**DIT, "out_channels": 4, "patch_size": 4, "norm_eps": 1e-3, "attention_bias": False},
        (2, 2, 16, 16),
        classes=5,
    ),
    Case(
        "mmdit",
        "SD3Transformer2DModel",
        {**SD3},
        (2, 4, 8, 4),
        cond={"context": (2, 3, 6), "pooled": (2, 5)},
    ),
    Case(
        "mmdit-dual",
        "SD3Transformer2DModel",
        {**SD3, "num_layers": 3, "dual_attention_layers": (0, 1), "qk_norm": "rms_norm", "sample_size": 12},
        (1, 4, 6, 8),
        cond={"context": (1, 4, 6), "pooled": (1, 5)},
    ),
]


def build(case: Case) -> torch.nn.Module:
    """A network in which nothing is zero or one, with values that half precision holds exactly."""
    torch.manual_seed(0)
    model: torch.nn.Module = getattr(diffusers, case.kind)(**case.fields).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_((value + 0.1 * torch.randn_like(value)).half())
        for value in model.state_dict().values():  # saved buffers too
            value.copy_(value.half())
    return model


def inputs(case: Case) -> Tensors:
    """Inputs in diffusers' layout: ``x``, ``t``, labels ``y`` or parts of a text condition, latents ``z``."""
    generator = torch.Generator().manual_seed(1)
    # PyTorch's sinusoids are off by 6e-5 at t = 751: their frequencies are rounded to float32 before the exponential.
    late = 151.0 if case.grad else 751.0
    found = {"x": torch.randn(case.x, generator=generator), "t": torch.tensor([3.0, late][: case.x[0]])}
    if case.kind == "AutoencoderKL":
        found["z"] = torch.randn(case.x[0], case.fields["latent_channels"], 4, 2, generator=generator)
    if case.classes is not None:
        found["y"] = torch.tensor([1, 4][: case.x[0]])
    found |= {key: torch.randn(shape, generator=generator) for key, shape in case.cond.items()}
    if "ids" in found:
        found["ids"] = (found["ids"] * 100).round()
    return found


def outputs(case: Case, model: torch.nn.Module, given: Tensors) -> Tensors:
    """The outputs of the network, in diffusers' layout."""
    if case.kind == "AutoencoderKL":
        posterior = model.encode(given["x"]).latent_dist
        return {"mean": posterior.mean, "logvar": posterior.logvar, "decoded": model.decode(given["z"]).sample}
    call: dict[str, Callable[[], Any]] = {
        "UNet2DModel": lambda: model(given["x"], given["t"], given.get("y")),
        "UNet2DConditionModel": lambda: model(
            given["x"],
            given["t"],
            given["context"],
            added_cond_kwargs={"text_embeds": given.get("pooled"), "time_ids": given.get("ids")},
        ),
        "DiTTransformer2DModel": lambda: model(given["x"], given["t"], given["y"]),
        "Transformer2DModel": lambda: model(given["x"], timestep=given["t"], class_labels=given["y"]),
        "SD3Transformer2DModel": lambda: model(given["x"], given["context"], given["pooled"], given["t"]),
    }
    return {"out": call[case.kind]().sample}


def gradients(case: Case, model: torch.nn.Module, given: Tensors) -> Tensors:
    """The gradient of the outputs' sum of squares by each parameter."""
    model.zero_grad()
    torch.stack([value.square().sum() for value in outputs(case, model, given).values()]).sum().backward()
    return {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
