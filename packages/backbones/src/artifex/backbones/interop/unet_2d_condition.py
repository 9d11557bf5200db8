"""Conversion of diffusers' ``UNet2DConditionModel``, as in Stable Diffusion 1, 2 and XL."""

from typing import Final

from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.config_fields import Fields, Fixed, Json, plain
from artifex.backbones.interop.conversion import Conversion
from artifex.backbones.interop.diffusers_blocks import check_ignored, middle
from artifex.backbones.interop.key_mapping import KeyMapping, Name, Shape, name, with_prefix
from artifex.backbones.interop.unet_2d import CONVOLUTIONS, CORE
from artifex.backbones.unet_conditional import UNetConditional, UNetConditionalConfig

FIXED: Final[Fixed] = {
    "center_input_sample": (False,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "only_cross_attention": (False,),
    "mid_block_scale_factor": (1,),
    "act_fn": ("silu", "swish"),
    "reverse_transformer_layers_per_block": (None,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "num_attention_heads": (None,),
    "dual_cross_attention": (False,),
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "resnet_skip_time_act": (False,),
    "resnet_out_scale_factor": (1.0,),
    "time_embedding_type": ("positional",),
    "time_embedding_dim": (None,),
    "time_embedding_act_fn": (None,),
    "timestep_post_act": (None,),
    "time_cond_proj_dim": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "attention_type": ("default",),
    "class_embeddings_concat": (False,),
    "mid_block_only_cross_attention": (None, False, True),  # ignored there for this type of middle
    "cross_attention_norm": (None,),
    "addition_embed_type_num_heads": (64,),
}


def transformer(spatial: Shape) -> dict[str, Name]:
    """The key mapping of a spatial transformer, whose outer projections are convolutions if ``spatial`` is (1, 1)."""
    return {
        "norm": name("norm"),
        "proj_in": name("proj_in", spatial=spatial),
        "proj_out": name("proj_out", spatial=spatial),
        **with_prefix(
            "blocks.*",
            "transformer_blocks.*",
            {
                "norm1": name("norm1"),
                "attention.qkv": name("attn1.to_q", "attn1.to_k", "attn1.to_v", qkv=True),
                "attention.out": name("attn1.to_out.0"),
                "norm2": name("norm2"),
                "cross_attention.q": name("attn2.to_q"),
                "cross_attention.kv": name("attn2.to_k", "attn2.to_v"),
                "cross_attention.out": name("attn2.to_out.0"),
                "norm3": name("norm3"),
                "mlp_in": name("ff.net.0.proj"),
                "mlp_out": name("ff.net.2"),
            },
        ),
    }


def shares(width: int, features: int, context: int) -> tuple[int, int]:
    """Split the width of SDXL's added input into that of the pooled text and the number of ids.

    The config has only the sum, of the vector and of ``features`` per id. SDXL has six ids; its refiner has five, with
    a vector as long as the context, as is usual with one text encoder; with two equal ones the context is twice as
    long. Where neither fits, as for SDXL itself, whose encoders differ, it is six.
    """
    candidates = [(width - ids * features, ids) for ids in (6, 5, 4, 3, 2, 1) if width > ids * features]
    matching = [(pooled, ids) for pooled, ids in candidates if ids > 4 and context in (pooled, 2 * pooled)]
    return (matching or candidates or [(width - features, 1)])[0]


def key_mapping(config: UNetConditionalConfig) -> KeyMapping:
    """The key mapping of its parameters."""
    attention = transformer(() if config.linear_projection else (1, 1))
    return {
        **CORE,
        **CONVOLUTIONS,
        **with_prefix("core.down.*.blocks.*.attention", "down_blocks.*.attentions.*", attention),
        **with_prefix("core.up.*.blocks.*.attention", "up_blocks.*.attentions.*", attention),
        **middle("core.middle", "mid_block", attention),
        "pooled.first": name("add_embedding.linear_1"),
        "pooled.second": name("add_embedding.linear_2"),
    }


def read(fields: Fields) -> UNetConditionalConfig:
    """Config from diffusers' fields."""
    channels = fields.integers("block_out_channels", (320, 640, 1280, 1280))
    count = len(channels)
    base = channels[0] if channels else 1
    if base < 1 or any(width % base for width in channels):
        raise CheckpointError(f"block_out_channels must be positive multiples of the first, got {channels}")
    down = fields.words("down_block_types", (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"))
    attends = tuple(kind == "CrossAttnDownBlock2D" for kind in down)
    for key, got, expected in (
        ("down_block_types", down, _types(attends, "Down")),
        (
            "up_block_types",
            fields.words("up_block_types", ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3)),
            _types(attends[::-1], "Up"),
        ),
    ):
        if got != expected or len(got) != count:
            raise CheckpointError(f"{key} must be {expected} for {count} levels, got {got}")
    depths = fields.each("transformer_layers_per_block", count, 1)
    context = fields.each("cross_attention_dim", count, 1280)
    layers = fields.each("layers_per_block", count, 2)
    for key, values in (("cross_attention_dim", context), ("layers_per_block", layers)):
        if len(set(values)) != 1:
            raise CheckpointError(f"{key} must be the same at each level, got {values}")
    added = fields.take("addition_embed_type", None)
    times, width = fields.optional("addition_time_embed_dim"), fields.optional("projection_class_embeddings_input_dim")
    pooled, ids = None, 0
    if added == "text_time":
        if times is None or width is None:
            raise CheckpointError("addition_embed_type 'text_time' needs addition_time_embed_dim and its input's width")
        pooled, ids = shares(width, times, context[0])
    elif added is not None:
        raise CheckpointError(f"addition_embed_type must be None or 'text_time', got {added!r}")
    upcast = fields.take("upcast_attention", None)
    config = UNetConditionalConfig(
        in_channels=fields.integer("in_channels", 4),
        out_channels=fields.integer("out_channels", 4),
        base_channels=base,
        channel_mults=tuple(wide // base for wide in channels),
        num_res_blocks=layers[0],
        depths=tuple(depth if attend else 0 for depth, attend in zip(depths, attends, strict=True)),
        middle_depth=depths[-1],
        heads=fields.each("attention_head_dim", count, 8),  # the number of heads, misnamed there
        context_features=context[0],
        pooled_features=pooled,
        ids=ids,
        id_features=256 if times is None else times,
        upcast_attention=False if upcast is None else Fields({"upcast_attention": upcast}).flag("upcast_attention"),
        linear_projection=fields.flag("use_linear_projection", False),
        groups=fields.integer("norm_num_groups", 32),
        scale_shift=fields.choice("resnet_time_scale_shift", ("default", "scale_shift"), "default") == "scale_shift",
        epsilon=fields.number("norm_eps", 1e-5),
        pad="both" if fields.choice_of("downsample_padding", (0, 1), 1) else "after",
        cosine_first=fields.flag("flip_sin_to_cos", True),
        freq_shift=fields.number("freq_shift", 0),
        dropout=fields.number("dropout", 0.0),
        sample_size=fields.sides("sample_size"),
    )
    check_ignored(fields, base)
    fields.collapse("only_cross_attention")
    upwards = fields.take("reverse_transformer_layers_per_block", None)
    if upwards not in (None, [*depths[::-1]]):
        raise CheckpointError(f"reverse_transformer_layers_per_block must be None or {[*depths[::-1]]}, got {upwards}")
    fields.done(FIXED)
    return config


def write(config: UNetConditionalConfig) -> Json:
    """Diffusers' fields of a config."""
    if config.resample != "conv":
        raise CheckpointError(f"UNet2DConditionModel needs resample='conv', got {config.resample!r}")
    attends = tuple(depth > 0 for depth in config.depths)
    depths = [depth or 1 for depth in config.depths]
    if config.depths[-1] == 0:
        depths[-1] = config.middle_depth
    if depths[-1] != config.middle_depth:
        raise CheckpointError(f"middle_depth must be the last of depths = {config.depths}, got {config.middle_depth}")
    added = config.pooled_features is not None
    return {
        "sample_size": config.sample_size,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "flip_sin_to_cos": config.cosine_first,
        "freq_shift": config.freq_shift,
        "down_block_types": list(_types(attends, "Down")),
        "up_block_types": list(_types(attends[::-1], "Up")),
        "block_out_channels": list(config.channels),
        "layers_per_block": config.num_res_blocks,
        "downsample_padding": 1 if config.pad == "both" else 0,
        "dropout": config.dropout,
        "norm_num_groups": config.groups,
        "norm_eps": config.epsilon,
        "cross_attention_dim": config.context_features,
        "transformer_layers_per_block": depths,
        "attention_head_dim": list(config.heads),
        "use_linear_projection": config.linear_projection,
        "addition_embed_type": "text_time" if added else None,
        "addition_time_embed_dim": config.id_features if added else None,
        "projection_class_embeddings_input_dim": (
            config.pooled_features + config.ids * config.id_features if config.pooled_features is not None else None
        ),
        "upcast_attention": config.upcast_attention,
        "resnet_time_scale_shift": "scale_shift" if config.scale_shift else "default",
        **plain(FIXED),
    }


def _types(attends: tuple[bool, ...], way: str) -> tuple[str, ...]:
    return tuple(f"CrossAttn{way}Block2D" if attend else f"{way}Block2D" for attend in attends)


UNET_2D_CONDITION: Final = Conversion(
    class_name="UNet2DConditionModel",
    network=UNetConditional,
    build=lambda config, rngs: UNetConditional(config, rngs=rngs),
    config=lambda model: model.config,
    read=read,
    write=write,
    key_mapping=key_mapping,
)
