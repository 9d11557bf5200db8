"""The U-Net and the autoencoder of ``CompVis/latent-diffusion`` and Stability's code, whose files hold no config."""

import dataclasses
from typing import Final

from artifex.backbones.autoencoder_kl import AutoencoderKL
from artifex.backbones.autoencoder_kl_config import AutoencoderKLConfig
from artifex.backbones.interop.array_shapes import Shapes
from artifex.backbones.interop.autoencoder_kl import AUTOENCODER_KL
from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.conversion import Conversion
from artifex.backbones.interop.guided_diffusion import core_mapping
from artifex.backbones.interop.key_mapping import KeyMapping, Name, name, with_prefix
from artifex.backbones.interop.unet_2d_condition import UNET_2D_CONDITION, shares, transformer
from artifex.backbones.unet_conditional import UNetConditionalConfig

HEAD_DIM: Final = 64
"""Channels per head of networks with linear projections (Stable Diffusion 2 and XL); others have 8 heads."""
HEADS: Final = 8
ID_FEATURES: Final = 256
RES: Final[KeyMapping] = {
    "norm1": name("norm1"),
    "conv1": name("conv1"),
    "norm2": name("norm2"),
    "conv2": name("conv2"),
    "skip": name("nin_shortcut", spatial=(1, 1)),
}


def unet_config(shapes: Shapes) -> UNetConditionalConfig:
    """The config of a U-Net by the shapes of its arrays, which do not determine the number of heads.

    Raises:
        CheckpointError: if an array is missing that the config depends on.
        ValueError: if the config is not supported.
    """
    base, in_channels, *_ = shapes.of("input_blocks.0.0.weight", 4)
    inputs = shapes.count("input_blocks")
    ends = [index for index in range(inputs) if f"input_blocks.{index}.0.op.weight" in shapes]
    blocks = (ends[0] if ends else inputs) - 1
    firsts = [1 + level * (blocks + 1) for level in range(len(ends) + 1)]
    channels = [shapes.of(f"input_blocks.{index}.0.out_layers.3.weight", 4)[0] for index in firsts]
    if not base or any(width % base for width in channels):
        raise CheckpointError(f"the channels of the levels must be multiples of the first, {base}, got {channels}")
    linear = len(shapes.of("middle_block.1.proj_in.weight", 2, 4)) == 2
    context = shapes.of("middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2)[1]
    pooled, ids = None, 0
    if "label_emb.0.0.weight" in shapes:
        pooled, ids = shares(shapes.of("label_emb.0.0.weight", 2)[1], ID_FEATURES, context)
    return UNetConditionalConfig(
        in_channels=in_channels,
        out_channels=shapes.of("out.2.weight", 4)[0],
        base_channels=base,
        channel_mults=tuple(width // base for width in channels),
        num_res_blocks=blocks,
        depths=tuple(shapes.count(f"input_blocks.{index}.1.transformer_blocks") for index in firsts),
        middle_depth=shapes.count("middle_block.1.transformer_blocks"),
        heads=tuple(max(1, width // HEAD_DIM) if linear else HEADS for width in channels),
        context_features=context,
        pooled_features=pooled,
        ids=ids,
        id_features=ID_FEATURES,
        linear_projection=linear,
    )


def unet_mapping(config: UNetConditionalConfig) -> KeyMapping:
    """The key mapping of a U-Net's parameters."""
    attention = transformer(() if config.linear_projection else (1, 1))

    def attention_at(level: int | None) -> KeyMapping:
        return attention if level is None or config.depths[level] else {}

    return {
        **core_mapping(len(config.channels), config.num_res_blocks, attention_at),
        "pooled.first": name("label_emb.0.0"),
        "pooled.second": name("label_emb.0.2"),
    }


LATENT_DIFFUSION: Final = dataclasses.replace(
    UNET_2D_CONDITION, class_name="CompVis/latent-diffusion", key_mapping=unet_mapping
)


def autoencoder_config(shapes: Shapes) -> AutoencoderKLConfig:
    """The config of an autoencoder by the shapes of its arrays.

    Raises:
        CheckpointError: if an array is missing that the config depends on.
        ValueError: if the config is not supported.
    """
    levels = shapes.count("encoder.down")
    return AutoencoderKLConfig(
        in_channels=shapes.of("encoder.conv_in.weight", 4)[1],
        latent_channels=shapes.of("decoder.conv_in.weight", 4)[1],
        channels=tuple(shapes.of(f"encoder.down.{level}.block.0.conv2.weight", 4)[0] for level in range(levels)),
        num_res_blocks=shapes.count("encoder.down.0.block"),
        middle_attention="encoder.mid.attn_1.q.weight" in shapes,
        quant_conv="quant_conv.weight" in shapes,
        post_quant_conv="post_quant_conv.weight" in shapes,
    )


def autoencoder(shapes: Shapes) -> Conversion[AutoencoderKLConfig, AutoencoderKL]:
    """The conversion of an autoencoder, whose attention is of 1x1 convolutions or, in some files, of matrices."""
    key = "encoder.mid.attn_1.q.weight"
    spatial = (1,) * (len(shapes.of(key, 2, 3, 4)) - 2) if key in shapes else ()
    attention: KeyMapping = {
        "norm": name("norm"),
        "attention.qkv": name("q", "k", "v", spatial=spatial, qkv=True),
        "attention.out": name("proj_out", spatial=spatial),
    }

    def key_mapping(config: AutoencoderKLConfig) -> KeyMapping:
        mapping: dict[str, Name] = {"quant_conv": name("quant_conv"), "post_quant_conv": name("post_quant_conv")}
        for side in ("encoder", "decoder"):
            mapping |= {
                f"{side}.stem": name(f"{side}.conv_in"),
                f"{side}.norm": name(f"{side}.norm_out"),
                f"{side}.out": name(f"{side}.conv_out"),
                **with_prefix(f"{side}.middle.0.res", f"{side}.mid.block_1", RES),
                **with_prefix(f"{side}.middle.0.attention", f"{side}.mid.attn_1", attention),
                **with_prefix(f"{side}.middle.1.res", f"{side}.mid.block_2", RES),
            }
        for level in range(len(config.channels)):
            # Levels are numbered by resolution there, in the decoder too.
            for ours, theirs, layer in (
                (f"encoder.down.{level}", f"encoder.down.{level}", "downsample"),
                (f"decoder.up.{len(config.channels) - 1 - level}", f"decoder.up.{level}", "upsample"),
            ):
                mapping |= with_prefix(f"{ours}.blocks.*.res", f"{theirs}.block.*", RES)
                mapping[f"{ours}.resample"] = name(f"{theirs}.{layer}.conv")
        return mapping

    return dataclasses.replace(AUTOENCODER_KL, class_name="CompVis/latent-diffusion", key_mapping=key_mapping)
