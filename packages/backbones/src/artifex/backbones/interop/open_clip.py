"""CLIP's text encoders in files of the original Stable Diffusion: OpenCLIP's keys, or those of transformers."""

import dataclasses
from typing import Final

from artifex.backbones.clip_text import CLIPTextConfig
from artifex.backbones.interop.array_shapes import Shapes
from artifex.backbones.interop.checkpoint import Checkpoint
from artifex.backbones.interop.clip_text import CLIP_TEXT_PROJECTED, prefixed_key
from artifex.backbones.interop.key_mapping import KeyMapping, name, with_prefix

HEAD_DIM: Final = 64
"""Channels per head of all published encoders."""
LAYERS: Final = "transformer.resblocks"
OPEN_CLIP_H_LAYERS: Final = 24
KEY_MAPPING: Final[KeyMapping] = {
    "tokens": name("token_embedding.weight"),
    "positions": name("positional_embedding"),
    **with_prefix(
        "layers.*",
        f"{LAYERS}.*",
        {
            "norm1": name("ln_1"),
            "qkv.kernel": name("attn.in_proj_weight"),
            "qkv.bias": name("attn.in_proj_bias"),
            "out": name("attn.out_proj"),
            "norm2": name("ln_2"),
            "mlp_in": name("mlp.c_fc"),
            "mlp_out": name("mlp.c_proj"),
        },
    ),
    "norm": name("ln_final"),
    "project.kernel": name("text_projection", transposed=True),
}
OPEN_CLIP: Final = dataclasses.replace(
    CLIP_TEXT_PROJECTED, class_name="mlfoundations/open_clip", key_mapping=lambda _: KEY_MAPPING
)


def open_clip_config(shapes: Shapes) -> CLIPTextConfig:
    """The config of an encoder with OpenCLIP's keys; its activation is the exact GELU.

    Raises:
        CheckpointError: if an array is missing that the config depends on.
        ValueError: if the config is not supported.
    """
    vocab, hidden = shapes.of("token_embedding.weight", 2)
    return CLIPTextConfig(
        vocab_size=vocab,
        max_length=shapes.of("positional_embedding", 2)[0],
        hidden=hidden,
        mlp_hidden=shapes.of(f"{LAYERS}.0.mlp.c_fc.weight", 2)[0],
        depth=shapes.count(LAYERS),
        heads=max(1, hidden // HEAD_DIM),
        activation="gelu",
        projection=shapes.of("text_projection", 2)[1] if "text_projection" in shapes else None,
    )


def clip_config(shapes: Shapes) -> CLIPTextConfig:
    """The config of an encoder with the keys of transformers, which is OpenAI's; see ``open_clip_config``."""
    shapes = Shapes({prefixed_key(key): shape for key, shape in shapes.values.items()})
    vocab, hidden = shapes.of("text_model.embeddings.token_embedding.weight", 2)
    return CLIPTextConfig(
        vocab_size=vocab,
        max_length=shapes.of("text_model.embeddings.position_embedding.weight", 2)[0],
        hidden=hidden,
        mlp_hidden=shapes.of("text_model.encoder.layers.0.mlp.fc1.weight", 2)[0],
        depth=shapes.count("text_model.encoder.layers"),
        heads=max(1, hidden // HEAD_DIM),
    )


def without_last_layer(checkpoint: Checkpoint) -> Checkpoint:
    """The arrays that Stable Diffusion 2 needs of an OpenCLIP: all but the last layer and the projection.

    Files that other tools wrote may lack them already.
    """
    depth = Shapes(checkpoint.shapes).count(LAYERS)
    if "text_projection" not in checkpoint.shapes and depth != OPEN_CLIP_H_LAYERS:
        return checkpoint
    return checkpoint.part("", ignored=(f"{LAYERS}.{depth - 1}.*", "text_projection"))
