"""Conversion of transformers' ``T5EncoderModel`` and ``UMT5EncoderModel``."""

from functools import partial
from typing import Final

from artifex.backbones.interop.config_fields import Fields, Json
from artifex.backbones.interop.conversion import Conversion
from artifex.backbones.interop.key_mapping import KeyMapping, name, with_prefix
from artifex.backbones.interop.transformers_fields import FIXED, STEM, class_fields, drop_generic
from artifex.backbones.t5 import T5Config, T5Encoder

ATTENTION: Final = "layer.0.SelfAttention"
LAYER: Final[KeyMapping] = {
    "norm1": name("layer.0.layer_norm"),
    "qkv": name(f"{ATTENTION}.q", f"{ATTENTION}.k", f"{ATTENTION}.v"),
    "out": name(f"{ATTENTION}.o"),
    "bias_table": name(f"{ATTENTION}.relative_attention_bias.weight"),
    "norm2": name("layer.1.layer_norm"),
    "gate_in": name("layer.1.DenseReluDense.wi_0", "layer.1.DenseReluDense.wi_1"),
    "mlp_in": name("layer.1.DenseReluDense.wi"),
    "mlp_out": name("layer.1.DenseReluDense.wo"),
}
KEY_MAPPING: Final[KeyMapping] = {
    "tokens": name("shared.weight"),
    "bias_table": name(f"encoder.block.0.{ATTENTION}.relative_attention_bias.weight"),
    **with_prefix("layers.*", "encoder.block.*", LAYER),
    "norm": name("encoder.final_layer_norm"),
}
IGNORED: Final = ("decoder.*", "lm_head.*")


def shared_key(key: str) -> str:
    """The key of the table of tokens, which some files have a second time under the name in the encoder."""
    return "shared.weight" if key == "encoder.embed_tokens.weight" else key


def read(fields: Fields, *, bias_per_layer: bool) -> T5Config:
    """Config from transformers' fields."""
    mlp_hidden, depth, heads = (1024, 8, 6) if bias_per_layer else (2048, 6, 8)
    feed_forward = drop_generic(fields).choice(
        "feed_forward_proj", ("gated-gelu", "relu"), "gated-gelu" if bias_per_layer else "relu"
    )
    gated = feed_forward == "gated-gelu"
    config = T5Config(
        vocab_size=fields.integer("vocab_size", 250112 if bias_per_layer else 32128),
        hidden=fields.integer("d_model", 512),
        mlp_hidden=fields.integer("d_ff", mlp_hidden),
        depth=fields.integer("num_layers", depth),
        heads=fields.integer("num_heads", heads),
        head_dim=fields.integer("d_kv", 64),
        feed_forward="gated-gelu" if gated else "relu",
        buckets=fields.integer("relative_attention_num_buckets", 32),
        max_distance=fields.integer("relative_attention_max_distance", 128),
        bias_per_layer=bias_per_layer,
        epsilon=fields.number("layer_norm_epsilon", 1e-6),
    )
    fields.take("eos_token_id", None)
    fields.take("scalable_attention", None)  # of UMT5; no version reads it
    fields.done(FIXED, {"is_gated_act": (gated,), "dense_act_fn": ("gelu_new" if gated else "relu",)})
    return config


def write(config: T5Config) -> Json:
    """Transformers' fields of a config."""
    gated = config.feed_forward == "gated-gelu"
    return {
        "vocab_size": config.vocab_size,
        "d_model": config.hidden,
        "d_ff": config.mlp_hidden,
        "num_layers": config.depth,
        "num_heads": config.heads,
        "d_kv": config.head_dim,
        "feed_forward_proj": config.feed_forward,
        "is_gated_act": gated,
        "dense_act_fn": "gelu_new" if gated else "relu",
        "relative_attention_num_buckets": config.buckets,
        "relative_attention_max_distance": config.max_distance,
        "layer_norm_epsilon": config.epsilon,
    }


def _conversion(class_name: str, model_type: str, *aliases: str) -> Conversion[T5Config, T5Encoder]:
    return Conversion(
        class_name=class_name,
        network=T5Encoder,
        build=lambda config, rngs: T5Encoder(config, rngs=rngs),
        config=lambda model: model.config,
        read=partial(read, bias_per_layer=model_type == "umt5"),
        write=write,
        key_mapping=lambda _: KEY_MAPPING,
        aliases=aliases,
        stem=STEM,
        ignored=IGNORED,
        class_fields=class_fields(class_name, model_type),
    )


T5: Final = _conversion("T5EncoderModel", "t5", "T5Model", "T5ForConditionalGeneration")
UMT5: Final = _conversion("UMT5EncoderModel", "umt5", "UMT5Model", "UMT5ForConditionalGeneration")
