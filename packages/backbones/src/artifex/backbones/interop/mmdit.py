"""Conversion of diffusers' ``SD3Transformer2DModel``."""

from typing import Final

from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.config_fields import Fields, Json
from artifex.backbones.interop.conversion import Conversion
from artifex.backbones.interop.key_mapping import KeyMapping, name, with_prefix
from artifex.backbones.mmdit import MMDiT, MMDiTConfig


def key_mapping(config: MMDiTConfig) -> KeyMapping:
    """The key mapping of its parameters."""
    block: KeyMapping = {
        "modulation": name("norm1.linear"),
        "text_modulation": name("norm1_context.linear"),
        "image.qkv": name("attn.to_q", "attn.to_k", "attn.to_v"),
        "image.norm_q": name("attn.norm_q"),
        "image.norm_k": name("attn.norm_k"),
        "image.out": name("attn.to_out.0"),
        "text.qkv": name("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
        "text.norm_q": name("attn.norm_added_q"),
        "text.norm_k": name("attn.norm_added_k"),
        "text.out": name("attn.to_add_out"),
        "dual.qkv": name("attn2.to_q", "attn2.to_k", "attn2.to_v"),
        "dual.norm_q": name("attn2.norm_q"),
        "dual.norm_k": name("attn2.norm_k"),
        "dual.out": name("attn2.to_out.0"),
        "mlp.proj_in": name("ff.net.0.proj"),
        "mlp.proj_out": name("ff.net.2"),
        "text_mlp.proj_in": name("ff_context.net.0.proj"),
        "text_mlp.proj_out": name("ff_context.net.2"),
    }
    return {
        "stem": name("pos_embed.proj", spatial=(config.patch, config.patch)),
        "positions": name("pos_embed.pos_embed"),
        "embed.first": name("time_text_embed.timestep_embedder.linear_1"),
        "embed.second": name("time_text_embed.timestep_embedder.linear_2"),
        "pooled_first": name("time_text_embed.text_embedder.linear_1"),
        "pooled_second": name("time_text_embed.text_embedder.linear_2"),
        "context": name("context_embedder"),
        **with_prefix("blocks.*", "transformer_blocks.*", block),
        "modulation": name("norm_out.linear"),
        "out": name("proj_out"),
    }


def read(fields: Fields) -> MMDiTConfig:
    """Config from diffusers' fields."""
    in_channels, out_channels = fields.integer("in_channels", 16), fields.optional("out_channels", 16)
    if out_channels not in (None, in_channels):
        raise CheckpointError(f"out_channels must be in_channels = {in_channels}, got {out_channels}")
    norm = fields.take("qk_norm", None)
    if norm not in (None, "rms_norm"):
        raise CheckpointError(f"qk_norm must be None or 'rms_norm', got {norm!r}")
    config = MMDiTConfig(
        in_channels=in_channels,
        patch=fields.integer("patch_size", 2),
        heads=fields.integer("num_attention_heads", 18),
        head_dim=fields.integer("attention_head_dim", 64),
        depth=fields.integer("num_layers", 18),
        context_features=fields.integer("joint_attention_dim", 4096),
        pooled_features=fields.integer("pooled_projection_dim", 2048),
        dual_layers=fields.integers("dual_attention_layers", ()),
        qk_norm=norm is not None,
        max_size=fields.integer("pos_embed_max_size", 96),
        sample_size=fields.integer("sample_size", 128),
    )
    width = fields.integer("caption_projection_dim", 1152)
    if width != config.hidden:
        raise CheckpointError(f"caption_projection_dim must be the width of a token, {config.hidden}, got {width}")
    fields.done({})
    return config


def write(config: MMDiTConfig) -> Json:
    """Diffusers' fields of a config."""
    return {
        "sample_size": config.sample_size,
        "patch_size": config.patch,
        "in_channels": config.in_channels,
        "out_channels": config.in_channels,
        "num_layers": config.depth,
        "attention_head_dim": config.head_dim,
        "num_attention_heads": config.heads,
        "joint_attention_dim": config.context_features,
        "caption_projection_dim": config.hidden,
        "pooled_projection_dim": config.pooled_features,
        "pos_embed_max_size": config.max_size,
        "dual_attention_layers": list(config.dual_layers),
        "qk_norm": "rms_norm" if config.qk_norm else None,
    }


MMDIT: Final = Conversion(
    class_name="SD3Transformer2DModel",
    network=MMDiT,
    build=lambda config, rngs: MMDiT(config, rngs=rngs),
    config=lambda model: model.config,
    read=read,
    write=write,
    key_mapping=key_mapping,
)
