"""Fields of the ``config.json`` of transformers that every class has."""

from collections.abc import Mapping
from typing import Final

from artifex.backbones.interop.config_fields import Fields, Fixed

STEM: Final = "model"
VERSION: Final = "5.24.0"  # of transformers
# Fields without effect on the output of an encoder: names and versions, dtypes of the file, dropout and initialization,
# generation, classification heads, decoders, and what is returned. Older versions write all of them.
GENERIC: Final = frozenset(
    (
        "architectures", "model_type", "transformers_version", "tokenizer_class", "name_or_path", "torch_dtype",
        "dtype", "use_bfloat16", "torchscript",
        "dropout", "dropout_rate", "attention_dropout", "classifier_dropout", "initializer_factor",
        "initializer_range",
        "return_dict", "output_attentions", "output_hidden_states", "output_scores", "return_dict_in_generate",
        "output_past", "use_cache", "tf_legacy_loss",
        "gradient_checkpointing", "chunk_size_feed_forward", "attn_implementation", "n_positions",
        "id2label", "label2id", "problem_type", "finetuning_task", "task_specific_params", "prefix",
        "is_encoder_decoder", "num_decoder_layers", "cross_attention_hidden_size", "tie_encoder_decoder",
        "tie_word_embeddings", "scale_decoder_outputs",
        "bos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id", "forced_bos_token_id",
        "forced_eos_token_id",
        "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
        "num_return_sequences", "temperature", "top_k", "top_p", "typical_p",
        "length_penalty", "diversity_penalty", "repetition_penalty", "encoder_no_repeat_ngram_size",
        "no_repeat_ngram_size",
        "exponential_decay_length_penalty", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens",
        "remove_invalid_values",
    )
)  # fmt: skip
FIXED: Final[Fixed] = {
    "add_cross_attention": (False,),
    "is_decoder": (False,),
    "pruned_heads": ({},),
    "use_attention_mask": (False, None),
}
"""Fields that would change the output, with the values for which they do not."""


def drop_generic(fields: Fields) -> Fields:
    """``fields`` without those that have no effect."""
    for key in GENERIC:
        fields.take(key, None)
    return fields


def class_fields(class_name: str, model_type: str) -> Mapping[str, object]:
    """The fields that name a class."""
    return {"architectures": [class_name], "model_type": model_type, "transformers_version": VERSION}
