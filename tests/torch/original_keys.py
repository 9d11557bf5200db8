"""The keys of the original Stable Diffusion for those of diffusers and transformers, written from the original modules.

Blocks of the U-Net are numbered consecutively there, the levels of the decoder by resolution, and OpenCLIP keeps query,
key and value in one array. ``golden_single_file`` holds these keys to the converters of diffusers.
"""

import re
from collections.abc import Iterable
from typing import Final

RES: Final = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET: Final = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION: Final = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP: Final = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def unet(keys: Iterable[str], per_level: int) -> dict[str, str]:
    """The key there of each key of a ``UNet2DConditionModel`` with ``per_level`` residual blocks on the way down."""
    keys = list(keys)
    attending = {match[1] for key in keys if (match := re.match(r"up_blocks\.(\d+)\.attentions", key))}
    step = per_level + 1

    def theirs(key: str) -> str:
        module, leaf = key.rsplit(".", 1)
        if module in UNET:
            return f"{UNET[module]}.{leaf}"
        if match := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", key):
            if match[1] == "attentions":
                return f"middle_block.1.{match[3]}"
            return f"middle_block.{2 * int(match[2])}.{_res(match[3])}"
        match = re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", key)
        assert match is not None, key
        way, level, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        block = f"input_blocks.{1 + level * step + index}" if way == "down" else f"output_blocks.{level * step + index}"
        if kind == "resnets":
            return f"{block}.0.{_res(rest)}"
        if kind == "attentions":
            return f"{block}.1.{rest}"
        if kind == "downsamplers":
            return f"input_blocks.{(level + 1) * step}.0.op.{leaf}"
        assert kind == "upsamplers"
        return f"output_blocks.{level * step + per_level}.{1 + (match[2] in attending)}.conv.{leaf}"

    return {key: theirs(key) for key in keys}


def _res(rest: str) -> str:
    module, leaf = rest.rsplit(".", 1)
    return f"{RES[module]}.{leaf}"


def vae(keys: Iterable[str], levels: int) -> dict[str, str]:
    """The key there of each key of an ``AutoencoderKL``."""

    def theirs(key: str) -> str:
        key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        if match := re.match(r"(.*)\.mid_block\.resnets\.(\d)\.(.+)", key):
            return f"{match[1]}.mid.block_{int(match[2]) + 1}.{match[3]}"
        if match := re.match(r"(.*)\.mid_block\.attentions\.0\.(.+)\.(weight|bias)", key):
            return f"{match[1]}.mid.attn_1.{VAE_ATTENTION[match[2]]}.{match[3]}"
        if match := re.match(r"encoder\.down_blocks\.(\d+)\.(.+)", key):
            return f"encoder.down.{match[1]}.{_layer(match[2])}"
        if match := re.match(r"decoder\.up_blocks\.(\d+)\.(.+)", key):
            return f"decoder.up.{levels - 1 - int(match[1])}.{_layer(match[2])}"
        return key

    return {key: theirs(key) for key in keys}


def _layer(rest: str) -> str:
    return (
        rest.replace("resnets.", "block.").replace("downsamplers.0", "downsample").replace("upsamplers.0", "upsample")
    )


def open_clip(keys: Iterable[str]) -> dict[str, str]:
    """The key there of each key of a ``CLIPTextModel`` with or without a projection; three keys have the same one."""

    def theirs(key: str) -> str:
        key = key.removeprefix("text_model.")
        if match := re.match(r"encoder\.layers\.(\d+)\.self_attn\.[qkv]_proj\.(weight|bias)", key):
            return f"transformer.resblocks.{match[1]}.attn.in_proj_{match[2]}"
        if match := re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", key):
            return f"transformer.resblocks.{match[1]}.{OPEN_CLIP[match[2]]}.{match[3]}"
        return {
            "embeddings.token_embedding.weight": "token_embedding.weight",
            "embeddings.position_embedding.weight": "positional_embedding",
            "final_layer_norm.weight": "ln_final.weight",
            "final_layer_norm.bias": "ln_final.bias",
            "text_projection.weight": "text_projection",
        }[key]

    return {key: theirs(key) for key in keys}


def clip(keys: Iterable[str]) -> dict[str, str]:
    """The key there of each key of a ``CLIPTextModel``, which transformers writes with and without a prefix."""
    return {key: key if key.startswith("text_model.") else f"text_model.{key}" for key in keys}
