"""Every text encoder against transformers itself, there and back; see ``requirements.txt`` for how to run."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from artifex.backbones import T5Encoder
from artifex.backbones.interop import load_transformers, save_transformers
from tests.backbones.test_text_encoders import close
from tests.torch import text_cases


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", text_cases.CASES, ids=lambda case: case.name)
def test_there_and_back(case: text_cases.Case, dtype: torch.dtype, tmp_path: Path) -> None:
    theirs, kind = text_cases.build(case).to(dtype), getattr(transformers, case.kind)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="4KB", variant=None if case.name == "t5" else "half")
    ours = load_transformers(
        tmp_path / "theirs", compute_dtype=jnp.float32, variant=None if case.name == "t5" else "half"
    )
    expected, mask = text_cases.outputs(case, theirs.float()), text_cases.mask(case)
    given = jnp.asarray(case.ids, jnp.int32), None if mask is None else jnp.asarray(mask, jnp.int32)
    out = jax.jit(lambda model, ids, mask: model(ids, mask))(ours, *given)
    close(out if isinstance(ours, T5Encoder) else out.hidden, expected["out"])
    if not isinstance(ours, T5Encoder):
        close(out.pooled, expected["pooled"])

    save_transformers(ours, tmp_path / "ours", shard_bytes=4000)
    again = kind.from_pretrained(tmp_path / "ours", dtype=dtype)
    before, after = theirs.to(dtype).state_dict(), again.to(dtype).state_dict()
    assert set(before) == set(after)
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
    for key, value in text_cases.outputs(case, again.float().eval()).items():
        assert np.abs(value - expected[key]).max() <= 1e-5 * expected[key].std(), key


def test_a_whole_model_is_read_for_its_text_encoder(tmp_path: Path) -> None:
    fields = {**text_cases.clip(2, 4), "projection_dim": 6}
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
              "image_size": 8, "patch_size": 4}  # fmt: skip
    clip = transformers.CLIPModel(transformers.CLIPConfig(text_config=fields, vision_config=vision, projection_dim=6))
    clip.eval().save_pretrained(tmp_path / "clip")
    ids = torch.from_numpy(text_cases.TWICE)
    with torch.no_grad():
        expected = clip.get_text_features(ids).pooler_output.numpy()
    out = jax.jit(lambda model, ids: model(ids).pooled)(load_transformers(tmp_path / "clip"), jnp.asarray(ids.numpy()))
    close(out, expected)

    t5 = transformers.T5ForConditionalGeneration(transformers.T5Config(**text_cases.t5())).eval()
    t5.save_pretrained(tmp_path / "t5")
    with torch.no_grad():
        expected = t5.encoder(ids).last_hidden_state.numpy()
    close(
        jax.jit(lambda model, ids: model(ids))(load_transformers(tmp_path / "t5"), jnp.asarray(ids.numpy())), expected
    )
