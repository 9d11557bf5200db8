"""Conversion of diffusers' ``DiTTransformer2DModel``, and of the original DiT checkpoints."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from artifex.backbones.dit import DiT, DiTConfig
from artifex.backbones.embeddings import sincos_2d
from artifex.backbones.interop.checkpoint import Checkpoint, CheckpointError
from artifex.backbones.interop.config_fields import Fields, Fixed, Json, plain
from artifex.backbones.interop.conversion import Conversion
from artifex.backbones.interop.key_mapping import KeyMapping, name, with_prefix

FIXED: Final[Fixed] = {
    "norm_num_groups": (32,),  # ignored there
    "activation_fn": ("gelu-approximate",),
    "upcast_attention": (False, True),  # the softmax is always in float32 here
    "norm_type": ("ada_norm_zero",),
    "norm_elementwise_affine": (False,),
}
TRANSFORMER_2D: Final[Fixed] = {  # of Transformer2DModel, the single class of all transformers in early diffusers
    "attention_type": ("default",),
    "caption_channels": (None,),
    "cross_attention_dim": (None,),
    "double_self_attention": (False,),
    "interpolation_scale": (None, 1),
    "num_vector_embeds": (None,),
    "only_cross_attention": (False,),
    "use_additional_conditions": (None, False),
    "use_linear_projection": (False, True),  # ignored there for patches
}
EMBED: Final[KeyMapping] = {
    "first": name("timestep_embedder.linear_1"),
    "second": name("timestep_embedder.linear_2"),
    "labels": name("class_embedder.embedding_table"),
}


def diffusers_key_mapping(config: DiTConfig) -> KeyMapping:
    """The key mapping of diffusers, where each block has its own embedding; in published checkpoints they are equal."""
    blocks = [f"transformer_blocks.{i}.norm1.emb" for i in range(config.depth)]
    shared = {
        key: name(*(f"{block}.{value.parts[0]}" for block in blocks), copies=True) for key, value in EMBED.items()
    }
    return {
        "stem": name("pos_embed.proj", spatial=(config.patch, config.patch)),
        **with_prefix("embed", "", shared),
        **with_prefix("blocks.*.embed", "transformer_blocks.*.norm1.emb", EMBED),
        "blocks.*.modulation": name("transformer_blocks.*.norm1.linear"),
        "blocks.*.attention.qkv": name(*(f"transformer_blocks.*.attn1.to_{part}" for part in "qkv"), qkv=True),
        "blocks.*.attention.out": name("transformer_blocks.*.attn1.to_out.0"),
        "blocks.*.mlp_in": name("transformer_blocks.*.ff.net.0.proj"),
        "blocks.*.mlp_out": name("transformer_blocks.*.ff.net.2"),
        "modulation": name("proj_out_1"),
        "out": name("proj_out_2"),
    }


def original_key_mapping(config: DiTConfig) -> KeyMapping:
    """The key mapping of the original code."""
    return {
        "stem": name("x_embedder.proj", spatial=(config.patch, config.patch)),
        "embed.first": name("t_embedder.mlp.0"),
        "embed.second": name("t_embedder.mlp.2"),
        "embed.labels": name("y_embedder.embedding_table"),
        "blocks.*.modulation": name("blocks.*.adaLN_modulation.1"),
        "blocks.*.attention.qkv": name("blocks.*.attn.qkv", qkv=True),
        "blocks.*.attention.out": name("blocks.*.attn.proj"),
        "blocks.*.mlp_in": name("blocks.*.mlp.fc1"),
        "blocks.*.mlp_out": name("blocks.*.mlp.fc2"),
        "modulation": name("final_layer.adaLN_modulation.1"),
        "out": name("final_layer.linear"),
    }


def original_constants(config: DiTConfig) -> Mapping[str, np.ndarray]:
    """The table of positions, which the original code saves."""
    if config.sample_size is None:
        return {}
    rows = config.sample_size // config.patch
    return {"pos_embed": sincos_2d(config.hidden, rows, rows)[None]}


def adapt_original(config: DiTConfig, checkpoint: Checkpoint) -> DiTConfig:
    """Take the size of the images from the table of positions, if the config has none."""
    table = checkpoint.shapes.get("pos_embed", ())
    if config.sample_size is not None or len(table) != 3:
        return config
    return dataclasses.replace(config, sample_size=max(1, math.isqrt(table[1])) * config.patch)


def adapt(config: DiTConfig, checkpoint: Checkpoint) -> DiTConfig:
    """Use one embedding for all blocks unless the blocks of the checkpoint differ in it."""
    keys = [f"{part}.{leaf}" for part in ("timestep_embedder.linear_1", "timestep_embedder.linear_2")
            for leaf in ("weight", "bias")]  # fmt: skip
    for key in (*keys, "class_embedder.embedding_table.weight"):
        copies = [f"transformer_blocks.{i}.norm1.emb.{key}" for i in range(config.depth)]
        if any(copy not in checkpoint.shapes for copy in copies):
            return config
        first = checkpoint.read(copies[0])
        if any(not np.array_equal(first, checkpoint.read(copy)) for copy in copies[1:]):
            return dataclasses.replace(config, embed_per_block=True)
    return config


def read(fields: Fields) -> DiTConfig:
    """Config from diffusers' fields."""
    heads, head_dim = fields.integer("num_attention_heads", 16), fields.integer("attention_head_dim", 72)
    in_channels = fields.integer("in_channels", 4)
    out_channels = fields.optional("out_channels")
    if out_channels not in (None, in_channels, 2 * in_channels):
        raise CheckpointError(f"out_channels must be in_channels = {in_channels} or twice it, got {out_channels}")
    config = DiTConfig(
        in_channels=in_channels,
        patch=fields.integer("patch_size", 2),
        hidden=heads * head_dim,
        depth=fields.integer("num_layers", 28),
        heads=heads,
        learn_sigma=out_channels == 2 * in_channels,
        dropout=fields.number("dropout", 0.0),
        num_classes=fields.integer("num_embeds_ada_norm", 1000),
        epsilon=fields.number("norm_eps", 1e-5),
        freq_shift=1.0,
        qkv_bias=fields.flag("attention_bias", True),
        sample_size=fields.integer("sample_size", 32),
    )
    fields.done(FIXED, TRANSFORMER_2D)
    return config


def write(config: DiTConfig) -> Json:
    """Diffusers' fields of a config."""
    if config.num_classes is None or config.mlp_ratio != 4 or config.sample_size is None:
        raise CheckpointError(
            "DiTTransformer2DModel needs num_classes, sample_size and mlp_ratio=4, got "
            f"{config.num_classes}, {config.sample_size} and {config.mlp_ratio}"
        )
    if config.freq_shift != 1.0:
        raise CheckpointError(
            "DiTTransformer2DModel embeds times at the frequencies 10000^(-i / 127), this network at "
            f"10000^(-i / {128 - config.freq_shift:g}), i = 0 to 127: its output there would be another. save_original "
            "(a DST ending in .safetensors) keeps it as it is; load_original(path, dataclasses.replace(config, "
            "freq_shift=1.0)) takes the same weights at the frequencies of diffusers, as its own script for DiT does"
        )
    return {
        "num_attention_heads": config.heads,
        "attention_head_dim": config.hidden // config.heads,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "num_layers": config.depth,
        "dropout": config.dropout,
        "attention_bias": config.qkv_bias,
        "sample_size": config.sample_size,
        "patch_size": config.patch,
        "num_embeds_ada_norm": config.num_classes,
        "norm_eps": config.epsilon,
        **plain(FIXED),
    }


DIT: Final = Conversion(
    class_name="DiTTransformer2DModel",
    network=DiT,
    build=lambda config, rngs: DiT(config, rngs=rngs),
    config=lambda model: model.config,
    read=read,
    write=write,
    key_mapping=diffusers_key_mapping,
    adapt_config=adapt,
    aliases=("Transformer2DModel",),
)
ORIGINAL_DIT: Final = dataclasses.replace(
    DIT, class_name="facebookresearch/DiT", key_mapping=original_key_mapping, constants=original_constants,
    adapt_config=adapt_original,
)  # fmt: skip
