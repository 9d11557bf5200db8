"""Text encoders against outputs of transformers 5 and PyTorch 2.13, which ``tests/torch/golden_text.py`` stored."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.typing import DTypeLike
from safetensors.numpy import load_file, save_file

from artifex.backbones import CLIPText, CLIPTextConfig, T5Config, T5Encoder, TextFeatures
from artifex.backbones.interop import load_transformers, save_transformers
from artifex.backbones.interop.transformers import TextEncoder
from artifex.backbones.t5 import position_buckets
from tests.backbones.helpers.networks import replaced
from tests.backbones.helpers.text_weights import weights

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
CASES: dict[str, Any] = json.loads((FOLDER / "text_encoders.json").read_text())
CLIPS = [name for name in CASES if name.startswith("clip")]


@cache
def truth(name: str) -> dict[str, np.ndarray]:
    stored = np.load(FOLDER / "text_encoders.npz")
    return {key.split("/")[1]: stored[key] for key in stored.files if key.startswith(f"{name}/")}


def write(name: str, folder: Path) -> TextEncoder:
    """A folder as transformers writes it, read here."""
    (folder / "config.json").write_text(json.dumps(CASES[name]["config"]))
    save_file(weights(CASES[name]["tensors"]), folder / "model.safetensors", metadata={"format": "pt"})
    return load_transformers(folder)


def close(got: jax.Array, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    assert float(np.abs(np.asarray(got) - expected).max()) <= 1e-5 * float(expected.std())


def given(name: str) -> list[jax.Array | None]:
    found = truth(name)
    return [jnp.asarray(found["ids"]), jnp.asarray(found["mask"], jnp.int32) if "mask" in found else None]


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_those_of_pytorch(name: str, tmp_path: Path) -> None:
    model = write(name, tmp_path)
    out = jax.jit(lambda model, ids, mask: model(ids, mask))(model, *given(name))
    if isinstance(model, T5Encoder):
        close(out, truth(name)["out"])
    else:
        close(out.hidden, truth(name)["out"])
        close(out.pooled, truth(name)["pooled"])


@pytest.mark.parametrize("name", CLIPS)
def test_every_layer_is_that_of_pytorch(name: str, tmp_path: Path) -> None:
    model, found = write(name, tmp_path), truth(name)
    assert isinstance(model, CLIPText)
    skips = range(model.config.depth + 1)
    assert {f"hidden.{skip}" for skip in skips} == {key for key in found if key.startswith("hidden")}

    def run(model: CLIPText, ids: jax.Array, mask: jax.Array | None) -> list[tuple[TextFeatures, TextFeatures]]:
        return [(model(ids, mask, skip=skip, norm=False), model(ids, mask, skip=skip)) for skip in skips]

    for skip, (plain, normed) in enumerate(jax.jit(run)(model, *given(name))):
        close(plain.hidden, found[f"hidden.{skip}"])
        close(normed.hidden, found[f"normed.{skip}"])
        close(plain.pooled, found["pooled"])
        close(normed.pooled, found["pooled"])


@pytest.mark.parametrize("name", CASES)
def test_what_is_written_back_is_bit_identical(name: str, tmp_path: Path) -> None:
    save_transformers(write(name, tmp_path), tmp_path / "again")
    before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path, tmp_path / "again"))
    prefix = "text_model." if CASES[name]["config"]["architectures"] == ["CLIPTextModel"] else ""
    assert set(after) == {prefix + key for key in before}
    for key, value in before.items():
        np.testing.assert_array_equal(after[prefix + key], value)
    one, two = (load_transformers(folder) for folder in (tmp_path, tmp_path / "again"))
    assert type(one) is type(two)
    assert one.config == two.config
    assert nnx.graphdef(one) == nnx.graphdef(two)


@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (12, 20), (8, 3), (4, 2), (64, 1000)])
def test_a_bucket_is_as_wide_as_its_formula(buckets: int, max_distance: int) -> None:
    """In whole numbers: the bucket of a distance is at least e + k where (d / e)^(h - e) >= (D / e)^k."""
    n, half, exact = 300, buckets // 2, buckets // 4
    rest = half - exact
    for d, bucket in enumerate(position_buckets(n, buckets, max_distance)[n - 1 :]):
        wide = [k for k in range(rest) if d**rest * exact**k >= max_distance**k * exact**rest]
        assert bucket == (half if d else 0) + (d if d < exact else exact + wide[-1])
    found = position_buckets(n, buckets, max_distance)
    np.testing.assert_array_equal(found[: n - 1][::-1] + half, found[n:])


CLIP = CLIPTextConfig(vocab_size=9, max_length=5, hidden=8, mlp_hidden=16, depth=2, heads=2)
T5 = T5Config(vocab_size=9, hidden=8, mlp_hidden=16, depth=2, heads=2, head_dim=4)
IDS = jnp.array([[1, 2, 8, 8], [3, 8, 0, 0]])


def make(config: CLIPTextConfig | T5Config, **changes: object) -> TextEncoder:
    kind: Callable[..., TextEncoder] = CLIPText if isinstance(config, CLIPTextConfig) else T5Encoder
    return kind(replaced(config, **changes), rngs=nnx.Rngs(0))


@jax.jit
def hidden(model: TextEncoder, ids: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    out = model(ids, mask)
    return out.hidden if isinstance(out, TextFeatures) else out


@pytest.mark.parametrize("config", [CLIP, T5])
def test_a_mask_hides_padding_and_may_be_of_bools(config: CLIPTextConfig | T5Config) -> None:
    model, mask = make(config), jnp.array([[1, 1, 1, 0], [1, 1, 0, 0]])
    expected, texts = np.asarray(hidden(model, IDS, mask)), np.asarray(mask) == 1
    np.testing.assert_array_equal(hidden(model, IDS, mask == 1), expected)
    np.testing.assert_array_equal(hidden(model, jnp.where(mask == 1, IDS, 5), mask)[texts], expected[texts])


@pytest.mark.parametrize(("dtype", "eps"), [(jnp.float16, 2**-10), (jnp.bfloat16, 2**-7)])
def test_half_precision_of_t5_does_not_overflow(dtype: DTypeLike, eps: float) -> None:
    """The feed-forward networks return about 1e6, and float16 ends at 65504; the weights are equal in both."""
    wide, half = make(T5, param_dtype=dtype), make(T5, param_dtype=dtype, dtype=dtype)
    for model in (wide, half):
        assert isinstance(model, T5Encoder)
        for layer in model.layers:
            assert layer.gate_in is not None
            layer.gate_in.kernel[...] = 8 * layer.gate_in.kernel[...]
            layer.mlp_out.kernel[...] = 10_000 * layer.mlp_out.kernel[...]
    expected, got = np.asarray(hidden(wide, IDS)), hidden(half, IDS)
    assert got.dtype == dtype
    assert np.abs(np.asarray(got, np.float32) - expected).max() < 20 * eps * np.abs(expected).max()


@pytest.mark.parametrize("config", [CLIP, T5])
def test_dtypes_are_those_of_the_config(config: CLIPTextConfig | T5Config) -> None:
    model = make(config, dtype=jnp.bfloat16)
    out = model(IDS)
    for array in (out.hidden, out.pooled) if isinstance(out, TextFeatures) else (out,):
        assert array.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("config", [CLIP, T5])
def test_parameters_in_float16_are_computed_with_in_float32(config: CLIPTextConfig | T5Config) -> None:
    half, wide = make(config, param_dtype=jnp.float16), make(config)
    nnx.update(wide, jax.tree.map(lambda leaf: leaf.astype(jnp.float32), nnx.state(half)))
    np.testing.assert_array_equal(hidden(half, IDS), hidden(wide, IDS))


def test_layers_that_nothing_needs_are_not_computed() -> None:
    def flops(depth: int, run: Callable[[CLIPText, jax.Array], Any]) -> float:
        cost = jax.jit(run).lower(make(CLIP, depth=depth), IDS).compile().cost_analysis()
        assert cost is not None
        return float(cost["flops"])

    whole = flops(2, lambda model, ids: model(ids))
    assert flops(2, lambda model, ids: model(ids, skip=1, norm=False).hidden) == flops(
        1, lambda model, ids: model(ids, norm=False).hidden
    )
    assert whole > 1.5 * flops(2, lambda model, ids: model(ids, skip=1).hidden)


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        (jnp.zeros((2,), int), {}, r"ids must be whole numbers of shape \(batch, tokens\), got int32 of shape \(2,\)"),
        (
            jnp.zeros((2, 0), int),
            {},
            r"ids must be whole numbers of shape \(batch, tokens\), got int32 of shape",
        ),
        (jnp.zeros((2, 3)), {}, r"ids must be whole numbers of shape \(batch, tokens\), got float32"),
        (jnp.zeros((2, 6), int), {}, "ids must have at most 5 tokens, got 6"),
        (IDS + 1, {}, r"ids must be in \[0, 8\], got 1 to 9"),
        (IDS - 1, {}, r"ids must be in \[0, 8\], got -1 to 7"),
        (IDS, {"mask": jnp.ones((2, 3), int)}, r"mask must have the shape of ids, \(2, 4\), got \(2, 3\)"),
        (IDS, {"skip": 3}, r"skip must be in \[0, 2\], got 3"),
        (IDS, {"skip": -1}, r"skip must be in \[0, 2\], got -1"),
    ],
)
@pytest.mark.usefixtures("unhooked")
def test_bad_inputs_are_refused(ids: jax.Array, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(CLIP)(ids, **options)
    if "skip" not in options and "at most" not in message:
        with pytest.raises(ValueError, match=message):
            make(T5)(ids, **options)
