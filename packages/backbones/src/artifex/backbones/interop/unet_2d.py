"""Conversion of diffusers' ``UNet2DModel``."""

from typing import Final

from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.config_fields import Fields, Fixed, Json, plain
from artifex.backbones.interop.conversion import Conversion
from artifex.backbones.interop.diffusers_blocks import ATTENTION, RES, check_ignored, middle
from artifex.backbones.interop.key_mapping import KeyMapping, name, with_prefix
from artifex.backbones.unet import UNet, UNetConfig

FIXED: Final[Fixed] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "time_embedding_dim": (None,),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "act_fn": ("silu", "swish"),
    "class_embed_type": (None,),
    "num_train_timesteps": (None,),
}
CORE: Final[KeyMapping] = {
    "embed.first": name("time_embedding.linear_1"),
    "embed.second": name("time_embedding.linear_2"),
    "core.stem": name("conv_in"),
    **with_prefix("core.down.*.blocks.*.res", "down_blocks.*.resnets.*", RES),
    **with_prefix("core.up.*.blocks.*.res", "up_blocks.*.resnets.*", RES),
    "core.norm": name("conv_norm_out"),
    "core.out": name("conv_out"),
}
CONVOLUTIONS: Final[KeyMapping] = {
    "core.down.*.resample": name("down_blocks.*.downsamplers.0.conv"),
    "core.up.*.resample": name("up_blocks.*.upsamplers.0.conv"),
}
BLOCKS: Final[KeyMapping] = {
    **with_prefix("core.down.*.resample", "down_blocks.*.downsamplers.0", RES),
    **with_prefix("core.up.*.resample", "up_blocks.*.upsamplers.0", RES),
}
KEY_MAPPING: Final[KeyMapping] = {
    **CORE,
    **with_prefix("core.down.*.blocks.*.attention", "down_blocks.*.attentions.*", ATTENTION),
    **with_prefix("core.up.*.blocks.*.attention", "up_blocks.*.attentions.*", ATTENTION),
    **middle("core.middle", "mid_block", ATTENTION),
    "embed.labels": name("class_embedding"),
}
# Types of blocks by (attention, resampling within residual blocks).
DOWN: Final = {
    (False, False): "DownBlock2D",
    (True, False): "AttnDownBlock2D",
    (False, True): "ResnetDownsampleBlock2D",
    (True, True): "AttnDownBlock2D",
}
UP: Final = {
    (False, False): "UpBlock2D",
    (True, False): "AttnUpBlock2D",
    (False, True): "ResnetUpsampleBlock2D",
    (True, True): "AttnUpBlock2D",
}


def blocks(fields: Fields, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """Types of blocks, without the prefix of early versions."""
    return tuple(kind.removeprefix("UNetRes") for kind in fields.words(key, default))


def read(fields: Fields) -> UNetConfig:
    """Config from diffusers' fields."""
    channels = fields.integers("block_out_channels", (224, 448, 672, 896))
    down = blocks(fields, "down_block_types", (DOWN[False, False], *[DOWN[True, False]] * 3))
    up = blocks(fields, "up_block_types", (*[UP[True, False]] * 3, UP[False, False]))
    changes = {key: fields.choice(key, ("conv", "resnet"), "conv") for key in ("downsample_type", "upsample_type")}
    attention = tuple(level for level, kind in enumerate(down) if kind == DOWN[True, False])
    # Without attention the type of a block determines the resampling, and the fields are ignored.
    plain_types = {kind for kind in (*down[:-1], *up[:-1]) if not kind.startswith("Attn")}
    within = "resnet" in changes.values() if not plain_types else plain_types <= {DOWN[False, True], UP[False, True]}
    for key, got in (("down_block_types", down), ("up_block_types", up)):
        expected = _types(key, attention, len(channels), within)
        if len(got) != len(channels) or any(kind not in kinds for kind, kinds in zip(got, expected, strict=True)):
            raise CheckpointError(f"{key} must be {[kinds[0] for kinds in expected]}, got {list(got)}")
    # The last level has no downsampling and the first no upsampling: their fields are ignored.
    ends = {"downsample_type": len(channels) - 1, "upsample_type": 0}
    for key, change in changes.items():
        if {*attention} - {ends[key]} and (change == "resnet") != within:
            raise CheckpointError(f"{key} must agree with the types of the blocks {down} and {up}, got {change!r}")
    base = channels[0] if channels else 1
    if base < 1 or any(width % base for width in channels):
        raise CheckpointError(f"block_out_channels must be positive multiples of the first, got {channels}")
    in_channels, out_channels = fields.integer("in_channels", 3), fields.integer("out_channels", 3)
    if out_channels not in (in_channels, 2 * in_channels):
        raise CheckpointError(f"out_channels must be in_channels = {in_channels} or twice it, got {out_channels}")
    groups = fields.integer("norm_num_groups", 32)
    scale_shift = fields.choice("resnet_time_scale_shift", ("default", "scale_shift"), "default") == "scale_shift"
    middle_groups = fields.optional("attn_norm_num_groups")
    # None means no norm with scale-shift norms, and norm_num_groups otherwise.
    if middle_groups not in ((groups,) if scale_shift else (groups, None)):
        raise CheckpointError(f"attn_norm_num_groups must be norm_num_groups = {groups}, got {middle_groups}")
    check_ignored(fields, base)
    num_classes = fields.optional("num_class_embeds")
    config = UNetConfig(
        in_channels=in_channels,
        base_channels=base,
        channel_mults=tuple(width // base for width in channels),
        num_res_blocks=fields.integer("layers_per_block", 2),
        attention_levels=attention,
        middle_attention=fields.flag("add_attention", True),
        head_dim=fields.optional("attention_head_dim", 8),
        groups=groups,
        scale_shift=scale_shift,
        epsilon=fields.number("norm_eps", 1e-5),
        resample="block" if within else "conv",
        pad="both" if fields.choice_of("downsample_padding", (0, 1), 1) else "after",
        cosine_first=fields.flag("flip_sin_to_cos", True),
        freq_shift=fields.number("freq_shift", 0),
        learn_sigma=out_channels != in_channels,
        dropout=fields.number("dropout", 0.0),
        num_classes=num_classes,
        null_class=num_classes is None,
        sample_size=fields.sides("sample_size"),
    )
    fields.done(FIXED)
    return config


def write(config: UNetConfig) -> Json:
    """Diffusers' fields of a config."""
    if config.resample == "pool":
        raise CheckpointError("UNet2DModel has no resample='pool': it always convolves where resolution changes")
    within = config.resample == "block"
    count = len(config.channels)
    return {
        "sample_size": config.sample_size,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "freq_shift": config.freq_shift,
        "flip_sin_to_cos": config.cosine_first,
        **{
            key: [kinds[0] for kinds in _types(key, config.attention_levels, count, within)]
            for key in ("down_block_types", "up_block_types")
        },
        "block_out_channels": list(config.channels),
        "layers_per_block": config.num_res_blocks,
        "downsample_padding": 1 if config.pad == "both" else 0,
        "downsample_type": "resnet" if within else "conv",
        "upsample_type": "resnet" if within else "conv",
        "dropout": config.dropout,
        "attention_head_dim": config.head_dim,
        "norm_num_groups": config.groups,
        "attn_norm_num_groups": config.groups if config.scale_shift else None,
        "norm_eps": config.epsilon,
        "resnet_time_scale_shift": "scale_shift" if config.scale_shift else "default",
        "add_attention": config.middle_attention,
        # The null label is a class there.
        "num_class_embeds": None if config.num_classes is None else config.num_classes + config.null_class,
        **plain(FIXED),
    }


def _types(key: str, attention: tuple[int, ...], count: int, within: bool) -> list[tuple[str, ...]]:
    """The allowed types of each block; the last one does not resample, so that both kinds are allowed."""
    down = key == "down_block_types"
    table, levels = (DOWN, range(count)) if down else (UP, range(count - 1, -1, -1))
    kinds = [(table[level in attention, within],) for level in levels]
    last = levels[-1] in attention if count else False
    return [*kinds[:-1], (*kinds[-1], table[last, not within])] if kinds else []


UNET_2D: Final = Conversion(
    class_name="UNet2DModel",
    network=UNet,
    build=lambda config, rngs: UNet(config, rngs=rngs),
    config=lambda model: model.config,
    read=read,
    write=write,
    key_mapping=lambda config: {**KEY_MAPPING, **(BLOCKS if config.resample == "block" else CONVOLUTIONS)},
)
