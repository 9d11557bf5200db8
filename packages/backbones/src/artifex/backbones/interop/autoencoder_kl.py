"""Conversion of diffusers' ``AutoencoderKL``."""

from typing import Final

from artifex.backbones.autoencoder_kl import AutoencoderKL
from artifex.backbones.autoencoder_kl_config import AutoencoderKLConfig
from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.config_fields import Fields, Fixed, Json, plain
from artifex.backbones.interop.conversion import Conversion
from artifex.backbones.interop.diffusers_blocks import ATTENTION, RES, middle
from artifex.backbones.interop.key_mapping import KeyMapping, name, with_prefix

FIXED: Final[Fixed] = {
    "act_fn": ("silu", "swish"),
}
KEY_MAPPING: Final[KeyMapping] = {
    "encoder.stem": name("encoder.conv_in"),
    **with_prefix("encoder.down.*.blocks.*.res", "encoder.down_blocks.*.resnets.*", RES),
    "encoder.down.*.resample": name("encoder.down_blocks.*.downsamplers.0.conv"),
    **middle("encoder.middle", "encoder.mid_block", ATTENTION),
    "encoder.norm": name("encoder.conv_norm_out"),
    "encoder.out": name("encoder.conv_out"),
    "decoder.stem": name("decoder.conv_in"),
    **middle("decoder.middle", "decoder.mid_block", ATTENTION),
    **with_prefix("decoder.up.*.blocks.*.res", "decoder.up_blocks.*.resnets.*", RES),
    "decoder.up.*.resample": name("decoder.up_blocks.*.upsamplers.0.conv"),
    "decoder.norm": name("decoder.conv_norm_out"),
    "decoder.out": name("decoder.conv_out"),
    "quant_conv": name("quant_conv"),
    "post_quant_conv": name("post_quant_conv"),
}


def read(fields: Fields) -> AutoencoderKLConfig:
    """Config from diffusers' fields."""
    channels = fields.integers("block_out_channels", (64,))
    for key, block in (("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")):
        types = fields.words(key, (block,))
        if types != (block,) * len(channels):
            raise CheckpointError(f"{key} must be {len(channels)} times {block}, got {types}")
    in_channels, out_channels = fields.integer("in_channels", 3), fields.integer("out_channels", 3)
    if in_channels != out_channels:
        raise CheckpointError(f"out_channels must be in_channels = {in_channels}, got {out_channels}")
    shift = fields.take("shift_factor", None)
    config = AutoencoderKLConfig(
        in_channels=in_channels,
        latent_channels=fields.integer("latent_channels", 4),
        channels=channels,
        num_res_blocks=fields.integer("layers_per_block", 1),
        groups=fields.integer("norm_num_groups", 32),
        middle_attention=fields.flag("mid_block_add_attention", True),
        quant_conv=fields.flag("use_quant_conv", True),
        post_quant_conv=fields.flag("use_post_quant_conv", True),
        scaling_factor=fields.number("scaling_factor", 0.18215),
        shift_factor=0.0 if shift is None else Fields({"shift_factor": shift}).number("shift_factor"),
        latents_mean=fields.numbers("latents_mean"),
        latents_std=fields.numbers("latents_std"),
        force_upcast=fields.flag("force_upcast", True),
        sample_size=fields.sides("sample_size", 32),
    )
    fields.done(FIXED)
    return config


def write(config: AutoencoderKLConfig) -> Json:
    """Diffusers' fields of a config."""
    return {
        "in_channels": config.in_channels,
        "out_channels": config.in_channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(config.channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(config.channels),
        "block_out_channels": list(config.channels),
        "layers_per_block": config.num_res_blocks,
        "latent_channels": config.latent_channels,
        "norm_num_groups": config.groups,
        **({} if config.sample_size is None else {"sample_size": config.sample_size}),  # required there
        "scaling_factor": config.scaling_factor,
        "shift_factor": config.shift_factor or None,
        "latents_mean": config.latents_mean,
        "latents_std": config.latents_std,
        "force_upcast": config.force_upcast,
        "mid_block_add_attention": config.middle_attention,
        "use_quant_conv": config.quant_conv,
        "use_post_quant_conv": config.post_quant_conv,
        **plain(FIXED),
    }


AUTOENCODER_KL: Final = Conversion(
    class_name="AutoencoderKL",
    network=AutoencoderKL,
    build=lambda config, rngs: AutoencoderKL(config, rngs=rngs),
    config=lambda model: model.config,
    read=read,
    write=write,
    key_mapping=lambda _: KEY_MAPPING,
)
