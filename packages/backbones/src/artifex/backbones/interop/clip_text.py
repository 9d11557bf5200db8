"""Conversion of transformers' ``CLIPTextModel`` and ``CLIPTextModelWithProjection``."""

from functools import partial
from typing import Final

from artifex.backbones.clip_text import CLIPText, CLIPTextConfig
from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.config_fields import Fields, Json
from artifex.backbones.interop.conversion import Conversion
from artifex.backbones.interop.key_mapping import KeyMapping, name, with_prefix
from artifex.backbones.interop.transformers_fields import FIXED, STEM, class_fields, drop_generic

LAYER: Final[KeyMapping] = {
    "norm1": name("layer_norm1"),
    "qkv": name("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": name("self_attn.out_proj"),
    "norm2": name("layer_norm2"),
    "mlp_in": name("mlp.fc1"),
    "mlp_out": name("mlp.fc2"),
}
KEY_MAPPING: Final[KeyMapping] = {
    **with_prefix(
        "",
        "text_model",
        {
            "tokens": name("embeddings.token_embedding.weight"),
            "positions": name("embeddings.position_embedding.weight"),
            **with_prefix("layers.*", "encoder.layers.*", LAYER),
            "norm": name("final_layer_norm"),
        },
    ),
    "project": name("text_projection"),
}
# Saved by older versions, and what a whole CLIP has besides its text model.
IGNORED: Final = ("*embeddings.position_ids", "vision_model.*", "visual_projection.*", "logit_scale")
BARE: Final = ("embeddings.", "encoder.", "final_layer_norm.")


def prefixed_key(key: str) -> str:
    """The key with ``text_model.``, which transformers leaves out of a ``CLIPTextModel`` from version 5.6 on.

    Keys are written with it: versions before and after read those, and so do other libraries.
    """
    return f"text_model.{key}" if key.startswith(BARE) else key


def read(fields: Fields, *, projected: bool) -> CLIPTextConfig:
    """Config from transformers' fields, which are nested in ``text_config`` in the config of a whole CLIP."""
    whole = fields.take("text_config", None)
    if whole is not None:
        if not isinstance(whole, dict):
            raise CheckpointError(f"text_config must be an object, got {whole!r}")
        fields = Fields({"projection_dim": fields.take("projection_dim", 512), **whole})
    projection = drop_generic(fields).optional("projection_dim", 512)
    if projected and projection is None:
        raise CheckpointError("projection_dim must be a whole number for a class with a projection, got None")
    activation = fields.choice("hidden_act", ("quick_gelu", "gelu"), "quick_gelu")
    config = CLIPTextConfig(
        vocab_size=fields.integer("vocab_size", 49408),
        max_length=fields.integer("max_position_embeddings", 77),
        hidden=fields.integer("hidden_size", 512),
        mlp_hidden=fields.integer("intermediate_size", 2048),
        depth=fields.integer("num_hidden_layers", 12),
        heads=fields.integer("num_attention_heads", 8),
        activation="gelu" if activation == "gelu" else "quick_gelu",
        projection=projection if projected else None,
        end_id=fields.integer("eos_token_id", 49407),
        epsilon=fields.number("layer_norm_eps", 1e-5),
    )
    fields.done(FIXED)
    return config


def write(config: CLIPTextConfig) -> Json:
    """Transformers' fields of a config."""
    return {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_length,
        "hidden_size": config.hidden,
        "intermediate_size": config.mlp_hidden,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "hidden_act": config.activation,
        "projection_dim": config.hidden if config.projection is None else config.projection,
        "eos_token_id": config.end_id,
        "layer_norm_eps": config.epsilon,
    }


def _conversion(class_name: str, *aliases: str, projected: bool) -> Conversion[CLIPTextConfig, CLIPText]:
    return Conversion(
        class_name=class_name,
        network=CLIPText,
        build=lambda config, rngs: CLIPText(config, rngs=rngs),
        config=lambda model: model.config,
        read=partial(read, projected=projected),
        write=write,
        key_mapping=lambda _: KEY_MAPPING,
        aliases=aliases,
        stem=STEM,
        ignored=IGNORED if projected else (*IGNORED, "text_projection.*"),
        class_fields=class_fields(class_name, "clip_text_model"),
    )


CLIP_TEXT: Final = _conversion("CLIPTextModel", projected=False)
CLIP_TEXT_PROJECTED: Final = _conversion("CLIPTextModelWithProjection", "CLIPModel", projected=True)
