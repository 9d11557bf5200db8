"""Conversion of the U-Net of ``openai/guided-diffusion``, whose keys number its blocks consecutively."""

import dataclasses
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


def key_mapping(config: UNetConfig) -> KeyMapping:
    """The key mapping of its parameters."""
    mapping: dict[str, Name] = {
        "embed.first": name("time_embed.0"),
        "embed.second": name("time_embed.2"),
        "embed.labels": name("label_emb"),
        "core.stem": name("input_blocks.0.0"),
        "core.norm": name("out.0"),
        "core.out": name("out.2"),
    }

    def heads(level: int) -> int:
        return 1 if config.head_dim is None else config.channels[level] // config.head_dim

    def stage(ours: str, theirs: str, level: int) -> None:
        mapping.update(with_prefix(f"{ours}.res", f"{theirs}.0", RES))
        mapping.update(with_prefix(f"{ours}.attention", f"{theirs}.1", attention(heads(level))))

    def resampling(ours: str, theirs: str, conv: str) -> None:
        mapping.update(
            with_prefix(ours, theirs, RES) if config.resample == "block" else {ours: name(f"{theirs}.{conv}")}
        )

    last, index = len(config.channels) - 1, 0
    for level in range(last + 1):
        for j in range(config.num_res_blocks):
            index += 1
            stage(f"core.down.{level}.blocks.{j}", f"input_blocks.{index}", level)
        if level < last:
            index += 1
            resampling(f"core.down.{level}.resample", f"input_blocks.{index}.0", "op")
    mapping.update(with_prefix("core.middle.0.res", "middle_block.0", RES))
    mapping.update(with_prefix("core.middle.0.attention", "middle_block.1", attention(heads(last))))
    mapping.update(
        with_prefix("core.middle.1.res", "middle_block.2" if config.middle_attention else "middle_block.1", RES)
    )
    for i, level in enumerate(reversed(range(last + 1))):
        for j in range(config.num_res_blocks + 1):
            block = f"output_blocks.{i * (config.num_res_blocks + 1) + j}"
            stage(f"core.up.{i}.blocks.{j}", block, level)
        if level:
            resampling(f"core.up.{i}.resample", f"{block}.{1 + (level in config.attention_levels)}", "conv")
    return mapping


GUIDED_DIFFUSION: Final = dataclasses.replace(UNET_2D, class_name="openai/guided-diffusion", key_mapping=key_mapping)
