"""The names of ``openai/guided-diffusion``'s U-Net, which come from a walk through its blocks."""

import dataclasses
from typing import Final

from artifex.backbones.interop.names import Name, Table, name, under
from artifex.backbones.interop.unet_2d import UNET_2D
from artifex.backbones.unet import UNetConfig

RES: Final[Table] = {
    "norm1": name("in_layers.0"),
    "conv1": name("in_layers.2"),
    "emb": name("emb_layers.1"),
    "norm2": name("out_layers.0"),
    "conv2": name("out_layers.3"),
    "skip": name("skip_connection", spatial=(1, 1)),
}


def attention(heads: int) -> Table:
    """An attention block's parts; its queries, keys and values are grouped by head."""
    return {
        "norm": name("norm"),
        "attend.qkv": name("qkv", spatial=(1,), heads=heads, qkv=True),
        "attend.out": name("proj_out", spatial=(1,)),
    }


def table(config: UNetConfig) -> Table:
    """The names of its parameters."""
    found: dict[str, Name] = {
        "embed.first": name("time_embed.0"),
        "embed.second": name("time_embed.2"),
        "embed.labels": name("label_emb"),
        "trunk.stem": name("input_blocks.0.0"),
        "trunk.norm": name("out.0"),
        "trunk.out": name("out.2"),
    }

    def heads(level: int) -> int:
        return 1 if config.head_dim is None else config.channels[level] // config.head_dim

    def stage(ours: str, theirs: str, level: int) -> None:
        found.update(under(f"{ours}.res", f"{theirs}.0", RES))
        found.update(under(f"{ours}.attention", f"{theirs}.1", attention(heads(level))))

    def change(ours: str, theirs: str, conv: str) -> None:
        found.update(under(ours, theirs, RES) if config.resample == "block" else {ours: name(f"{theirs}.{conv}")})

    last, place = len(config.channels) - 1, 0
    for level in range(last + 1):
        for j in range(config.num_res_blocks):
            place += 1
            stage(f"trunk.down.{level}.blocks.{j}", f"input_blocks.{place}", level)
        if level < last:
            place += 1
            change(f"trunk.down.{level}.resample", f"input_blocks.{place}.0", "op")
    found.update(under("trunk.middle.0.res", "middle_block.0", RES))
    found.update(under("trunk.middle.0.attention", "middle_block.1", attention(heads(last))))
    found.update(under("trunk.middle.1.res", "middle_block.2" if config.middle_attention else "middle_block.1", RES))
    for i, level in enumerate(reversed(range(last + 1))):
        for j in range(config.num_res_blocks + 1):
            block = f"output_blocks.{i * (config.num_res_blocks + 1) + j}"
            stage(f"trunk.up.{i}.blocks.{j}", block, level)
        if level:
            change(f"trunk.up.{i}.resample", f"{block}.{1 + (level in config.attention_levels)}", "conv")
    return found


GUIDED_DIFFUSION: Final = dataclasses.replace(UNET_2D, class_name="openai/guided-diffusion", table=table)
