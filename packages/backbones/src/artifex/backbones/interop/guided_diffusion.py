"""Conversion of the U-Net of ``openai/guided-diffusion``, whose keys number its blocks consecutively."""

import dataclasses
from collections.abc import Callable
from typing import Final

from artifex.backbones.interop.key_mapping import KeyMapping, Name, name, with_prefix
from artifex.backbones.interop.unet_2d import UNET_2D
from artifex.backbones.unet import UNetConfig

RES: Final[KeyMapping] = {
    "norm1": name("in_layers.0"),
    "conv1": name("in_layers.2"),
    "emb": name("emb_layers.1"),
    "norm2": name("out_layers.0"),
    "conv2": name("out_layers.3"),
    "skip": name("skip_connection", spatial=(1, 1)),
}


def attention(heads: int) -> KeyMapping:
    """The key mapping of an attention block, whose queries, keys and values are grouped by head."""
    return {
        "norm": name("norm"),
        "attention.qkv": name("qkv", spatial=(1,), heads=heads, qkv=True),
        "attention.out": name("proj_out", spatial=(1,)),
    }


def core_mapping(
    levels: int,
    num_res_blocks: int,
    attention_at: Callable[[int | None], KeyMapping],
    *,
    resample_blocks: bool = False,
) -> dict[str, Name]:
    """The key mapping of a ``UNetCore`` and of the embedding of times.

    Args:
        levels: number of levels.
        num_res_blocks: residual blocks per level on the way down.
        attention_at: the key mapping of the attention at a level, or in the middle (None); empty for no attention.
        resample_blocks: whether the resolution changes within residual blocks, and not by convolutions.
    """
    mapping: dict[str, Name] = {
        "embed.first": name("time_embed.0"),
        "embed.second": name("time_embed.2"),
        "core.stem": name("input_blocks.0.0"),
        "core.norm": name("out.0"),
        "core.out": name("out.2"),
    }

    def stage(ours: str, theirs: str, level: int | None) -> int:
        mapping.update(with_prefix(f"{ours}.res", f"{theirs}.0", RES))
        mapping.update(with_prefix(f"{ours}.attention", f"{theirs}.1", attention_at(level)))
        return 2 if attention_at(level) else 1

    def resampling(ours: str, theirs: str, conv: str) -> None:
        mapping.update(with_prefix(ours, theirs, RES) if resample_blocks else {ours: name(f"{theirs}.{conv}")})

    index = 0
    for level in range(levels):
        for j in range(num_res_blocks):
            index += 1
            stage(f"core.down.{level}.blocks.{j}", f"input_blocks.{index}", level)
        if level < levels - 1:
            index += 1
            resampling(f"core.down.{level}.resample", f"input_blocks.{index}.0", "op")
    mapping.update(with_prefix("core.middle.0.res", "middle_block.0", RES))
    mapping.update(with_prefix("core.middle.0.attention", "middle_block.1", attention_at(None)))
    mapping.update(with_prefix("core.middle.1.res", f"middle_block.{2 if attention_at(None) else 1}", RES))
    for i, level in enumerate(reversed(range(levels))):
        for j in range(num_res_blocks + 1):
            block = f"output_blocks.{i * (num_res_blocks + 1) + j}"
            layers = stage(f"core.up.{i}.blocks.{j}", block, level)
        if level:
            resampling(f"core.up.{i}.resample", f"{block}.{layers}", "conv")
    return mapping


def key_mapping(config: UNetConfig) -> KeyMapping:
    """The key mapping of its parameters."""

    def attention_at(level: int | None) -> KeyMapping:
        attends = config.middle_attention if level is None else level in config.attention_levels
        channels = config.channels[-1 if level is None else level]
        return attention(1 if config.head_dim is None else channels // config.head_dim) if attends else {}

    mapping = core_mapping(
        len(config.channels), config.num_res_blocks, attention_at, resample_blocks=config.resample == "block"
    )
    return {**mapping, "embed.labels": name("label_emb")}


GUIDED_DIFFUSION: Final = dataclasses.replace(UNET_2D, class_name="openai/guided-diffusion", key_mapping=key_mapping)
