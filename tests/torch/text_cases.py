"""transformers' text encoders: one small config for every option that changes what is computed."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import transformers

from tests.backbones.helpers.text_weights import weights


@dataclass(frozen=True)
class Case:
    """A class, the fields of its config, ids, and lengths of the mask; None is no mask."""

    name: str
    kind: str
    fields: dict[str, Any]
    ids: np.ndarray
    lengths: tuple[int, ...] | None = None


def texts(rows: int, tokens: int, vocab: int) -> np.ndarray:
    """Random ids below ``vocab - 1``, which ends a text and, where a row is cut short, pads it."""
    rng = np.random.default_rng(tokens)
    ids = rng.integers(3, vocab - 1, (rows, tokens))
    for row, length in enumerate(rng.integers(tokens // 2, tokens, rows)):
        ids[row, length:] = vocab - 1
    return ids


def clip(heads: int, width: int, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    """Fields of a small CLIP."""
    return {
        "vocab_size": 20, "hidden_size": heads * width, "intermediate_size": 2 * heads * width, "projection_dim": 6,
        "num_hidden_layers": 2, "num_attention_heads": heads, "max_position_embeddings": 12, "bos_token_id": 0,
        "eos_token_id": 2, **fields,
    }  # fmt: skip


def t5(**fields: Any) -> dict[str, Any]:  # noqa: ANN401
    """Fields of a small T5."""
    return {
        "vocab_size": 20, "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 3, "num_heads": 3,
        "feed_forward_proj": "gated-gelu", **fields,
    }  # fmt: skip


TWICE: Final = np.array([[0, 5, 19, 7, 19, 19], [0, 4, 8, 11, 6, 19], [0, 19, 3, 4, 5, 6], [0, 4, 8, 11, 6, 7]])
"""The end once or more, in front of other tokens, and not at all."""
CASES: Final = [
    # As published: 12, 16 and 20 heads; the end is 2 in the config and the largest id in the texts.
    Case("clip-sd1", "CLIPTextModel", clip(12, 2, max_position_embeddings=77, num_hidden_layers=4), texts(2, 77, 20)),
    Case("clip-sd2", "CLIPTextModel", clip(16, 2, hidden_act="gelu", num_hidden_layers=3), texts(2, 12, 20)),
    Case("clip-sdxl", "CLIPTextModelWithProjection", clip(20, 1, hidden_act="gelu"), texts(3, 12, 20)),
    Case("clip-end", "CLIPTextModel", clip(2, 4, eos_token_id=19, pad_token_id=19), TWICE),
    Case("clip-end-largest", "CLIPTextModel", clip(2, 4), np.where(TWICE == 7, 18, np.where(TWICE == 19, 2, TWICE))),
    Case("clip-end-inside", "CLIPTextModelWithProjection", clip(2, 4, eos_token_id=11), TWICE),
    Case("clip-mask", "CLIPTextModel", clip(3, 4), texts(3, 9, 20), (9, 4, 1)),
    Case("clip-mask-projected", "CLIPTextModelWithProjection", clip(2, 4, eos_token_id=19), TWICE, (3, 6, 2, 5)),
    Case("clip-epsilon", "CLIPTextModel", clip(1, 6, layer_norm_eps=0.1, num_hidden_layers=1), texts(1, 3, 20)),
    Case("t5", "T5EncoderModel", t5(), texts(2, 9, 20)),
    Case("t5-mask", "T5EncoderModel", t5(), texts(2, 11, 20), (11, 5)),
    Case("t5-far", "T5EncoderModel", t5(num_layers=2, num_heads=2, d_kv=3), texts(1, 140, 20)),
    Case(
        "t5-buckets",
        "T5EncoderModel",
        t5(relative_attention_num_buckets=12, relative_attention_max_distance=20, layer_norm_epsilon=0.1),
        texts(2, 30, 20),
        (30, 17),
    ),
    Case("t5-relu", "T5EncoderModel", t5(feed_forward_proj="relu"), texts(2, 9, 20), (9, 6)),
    Case("umt5", "UMT5EncoderModel", t5(), texts(2, 9, 20)),
    Case("umt5-far-mask", "UMT5EncoderModel", t5(num_layers=2, num_heads=2), texts(2, 135, 20), (135, 60)),
]  # fmt: skip


def build(case: Case) -> Any:  # noqa: ANN401
    """The model with the weights of ``weights``."""
    config = getattr(transformers, case.kind).config_class(**case.fields)
    model = getattr(transformers, case.kind)(config).eval()
    own = {key: value for key, value in model.state_dict().items() if key != "encoder.embed_tokens.weight"}
    made = weights({key: value.shape for key, value in own.items()})
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(torch.from_numpy(made[key]))
    return model


def mask(case: Case) -> np.ndarray | None:
    """One for the tokens of each text."""
    if case.lengths is None:
        return None
    return (np.arange(case.ids.shape[1]) < np.array(case.lengths)[:, None]).astype(np.int64)


def outputs(case: Case, model: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
    """The outputs; of CLIP also those of each layer, without and with the final norm."""
    given = mask(case)
    with torch.no_grad():
        found = model(
            torch.from_numpy(case.ids),
            attention_mask=None if given is None else torch.from_numpy(given),
            output_hidden_states=True,
        )
        out = {"out": found.last_hidden_state}
        if case.name.startswith("clip"):
            projected = case.kind.endswith("Projection")
            out["pooled"] = found.text_embeds if projected else found.pooler_output
            norm = (model.text_model if projected else model).final_layer_norm
            for skip, state in enumerate(reversed(found.hidden_states)):
                out[f"hidden.{skip}"], out[f"normed.{skip}"] = state, norm(state)
    return {key: value.numpy() for key, value in out.items()}
