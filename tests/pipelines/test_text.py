"""Prompts: windows, what is cut, weights of words."""

import warnings

import numpy as np
import pytest

from artifex.pipelines import StableDiffusion
from artifex.pipelines.options import Settings
from artifex.pipelines.text import ClipEncoder
from artifex.pipelines.weights import weighted_parts

LONG = " ".join(["light", "house"] * 50)
"""100 tokens; a window has room for 75."""


@pytest.fixture(scope="module")
def encoder(stable: StableDiffusion) -> ClipEncoder:
    assert stable.encoder is not None
    return stable.encoder


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("a cat", [("a cat", 1.0)]),
        ("a (red) cat", [("a ", 1.0), ("red", 1.1), (" cat", 1.0)]),
        ("a [red] cat", [("a ", 1.0), ("red", 1 / 1.1), (" cat", 1.0)]),
        ("(red:1.3)", [("red", 1.3)]),
        ("(red:.5) (cat : 2)", [("red", 0.5), (" ", 1.0), ("cat ", 2.0)]),
        ("(red: -1)", [("red", -1.0)]),
        ("((red))", [("red", 1.1**2)]),
        ("(a (red:2) cat:1.5)", [("a ", 1.5), ("red", 3.0), (" cat", 1.5)]),
        ("([red])", [("red", 1.1 / 1.1)]),
        (r"a \(red\) \[cat\] \\", [(r"a (red) [cat] " + "\\", 1.0)]),
        (r"(a \) b:2)", [("a ) b", 2.0)]),
        ("a (red cat", [("a ", 1.0), ("red cat", 1.1)]),
        ("a [red (cat", [("a ", 1.0), ("red ", 1 / 1.1), ("cat", 1.1 / 1.1)]),
        ("a) b] c", [("a) b] c", 1.0)]),
        ("ratio 3:4, at 12:30", [("ratio 3:4, at 12:30", 1.0)]),
        ("(at 12:30)", [("at 12", 30.0)]),
        ("(style: gothic)", [("style: gothic", 1.1)]),
        ("[red:1.3)", [("red:1.3)", 1 / 1.1)]),
        ("\\", [("\\", 1.0)]),
        ("a\nb", [("a\nb", 1.0)]),
    ],
)
def test_weighted_parts(text: str, parts: list[tuple[str, float]]) -> None:
    found = weighted_parts(text)
    assert [part for part, _ in found] == [part for part, _ in parts]
    np.testing.assert_allclose([weight for _, weight in found], [weight for _, weight in parts], rtol=1e-12)


def test_windows_hold_all_tokens(encoder: ClipEncoder) -> None:
    tokenizer = encoder.tokenizer
    ids = tokenizer.encode(LONG)
    found = encoder.windows(LONG, long=True)
    begin, end = tokenizer.begin[0], tokenizer.end[0]
    assert len(ids) == 100
    assert found.cut == []
    np.testing.assert_array_equal(found.ids[0], [begin, *ids[:75], end])
    np.testing.assert_array_equal(found.ids[1], [begin, *ids[75:], end, *[tokenizer.pad_id] * 50])
    cut = encoder.windows(LONG)
    np.testing.assert_array_equal(cut.ids, found.ids[:1])
    assert cut.cut == ids[75:]


@pytest.mark.parametrize("length", [0, 74, 75])
def test_one_window_is_enough(length: int, encoder: ClipEncoder) -> None:
    assert len(encoder.windows(" ".join(["light"] * length), long=True).ids) == 1


@pytest.mark.slow
def test_long_prompts_are_windows_side_by_side(encoder: ClipEncoder) -> None:
    words = LONG.split()
    parts = [encoder(" ".join(words[i : i + 75]), Settings()) for i in (0, 75)]
    found = encoder(LONG, Settings(long=True))
    np.testing.assert_array_equal(found.hidden, np.concatenate([part.hidden for part in parts], axis=1))
    np.testing.assert_array_equal(found.pooled, parts[0].pooled)


@pytest.mark.slow
def test_negative_prompts_take_as_many_windows(stable: StableDiffusion) -> None:
    settings = stable.settings({"long": True})
    ((condition, null),) = stable.conditions([LONG], ["light"], settings, (16, 16))
    assert condition.cond.context.shape == null.cond.context.shape == (1, 154, 16)  # type: ignore[union-attr]
    ((other, _),) = stable.conditions(["light"], [LONG], settings, (16, 16))
    np.testing.assert_array_equal(other.cond.context, null.cond.context)  # type: ignore[union-attr]
    latents = stable.latents(LONG, steps=1, long=True)
    assert np.all(np.isfinite(latents))


@pytest.mark.slow
def test_a_warning_names_what_is_cut(encoder: ClipEncoder) -> None:
    with pytest.warns(UserWarning, match=r"longer than the 77 tokens of text_encoder.*'the fog'.*long=True"):
        encoder(" ".join(["light"] * 75) + " the fog", Settings())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder(" ".join(["light"] * 75), Settings())
        encoder("light " * 90, Settings(long=True))


@pytest.mark.slow
def test_a_weight_of_one_changes_nothing(encoder: ClipEncoder) -> None:
    plain = encoder("a light house", Settings())
    np.testing.assert_array_equal(encoder("a (light:1) house", Settings(weighted=True)).hidden, plain.hidden)
    assert np.any(np.asarray(encoder("a (light:1) house", Settings()).hidden) != np.asarray(plain.hidden))


@pytest.mark.slow
def test_weights_scale_the_distance_from_the_empty_prompt(encoder: ClipEncoder) -> None:
    r"""Of each token: $e_\varnothing + w (e - e_\varnothing)$."""
    plain, empty = (np.asarray(encoder(text, Settings()).hidden) for text in ("the light house", ""))
    weights = np.ones(77)
    assert len(encoder.tokenizer.encode("light")) == 1
    weights[2] = 1.3
    found = encoder("the (light:1.3) house", Settings(weighted=True))
    np.testing.assert_allclose(found.hidden, empty + weights[None, :, None] * (plain - empty), atol=1e-5)
    np.testing.assert_array_equal(found.pooled, encoder("the light house", Settings()).pooled)


@pytest.mark.slow
def test_weights_of_the_second_window(encoder: ClipEncoder) -> None:
    words = LONG.split()
    weighted = " ".join([*words[:80], f"({words[80]}:2)", *words[81:]])
    plain, empty = encoder(LONG, Settings(long=True)), encoder("", Settings())
    found = np.asarray(encoder(weighted, Settings(long=True, weighted=True)).hidden - plain.hidden)
    assert set(np.nonzero(np.abs(found[0]).max(-1) > 1e-5)[0]) == {77 + 1 + 5}
    np.testing.assert_allclose(found[0, 83], np.asarray(plain.hidden[0, 83] - empty.hidden[0, 6]), atol=1e-5)


@pytest.mark.slow
def test_negative_prompts_skip_as_many_layers(stable: StableDiffusion, encoder: ClipEncoder) -> None:
    """Unlike diffusers', which reads them at the last layer whatever ``clip_skip`` is."""
    settings = stable.settings({"clip_skip": 1})
    ((_, null),) = stable.conditions(["a"], ["the light"], settings, (16, 16))
    expected = encoder("the light", settings, skip=1).hidden
    np.testing.assert_array_equal(null.cond.context, expected)  # type: ignore[union-attr]
    assert np.any(np.asarray(expected) != np.asarray(encoder("the light", settings, skip=0).hidden))
