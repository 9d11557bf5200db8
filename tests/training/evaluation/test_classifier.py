"""The digits' classifier distinguishes digits, and its features good samples from bad ones."""

import json

import numpy as np
import pytest

from artifex.training import digits
from artifex.training.evaluation import Extractor, Features, Metric, classifier, evaluate

pytestmark = pytest.mark.slow

REAL = digits()
STEPS = 100


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return classifier(REAL.images, REAL.labels, "digits", steps=STEPS)


def test_it_knows_digits_and_says_how_well(extractor: Extractor) -> None:
    features = extractor(REAL.images)
    assert features.probabilities is not None
    assert np.mean(features.probabilities.argmax(1) == REAL.labels) > 0.97
    assert extractor.name.startswith("classifier of digits (seed 0, 100 steps, held-out accuracy 9")
    assert features.width == 64
    assert np.mean(features.exact**2) == pytest.approx(1, abs=0.1)


def test_the_same_seed_gives_the_same_bits(extractor: Extractor) -> None:
    again = classifier(REAL.images, REAL.labels, "digits", steps=STEPS)
    np.testing.assert_array_equal(again(REAL.images[:64]).exact, extractor(REAL.images[:64]).exact)
    assert again.name == extractor.name


def test_every_metric_prefers_digits_to_noise_and_to_one_class(extractor: Extractor) -> None:
    """Half of the real digits against the other half, against noise, and against their zeros alone."""
    rng = np.random.default_rng(0)
    half, other = extractor(REAL.images[::2]), extractor(REAL.images[1::2])
    noisy = np.clip(REAL.images[::2] + rng.normal(0, 0.7, (899, 8, 8, 1)), -1, 1).astype(np.float32)
    good, bad = evaluate(half, other), evaluate(extractor(noisy), other)
    zeros = evaluate(extractor(REAL.images[REAL.labels == 0]), other)
    assert not good.skipped
    assert [score.metric for score in good] == [
        "fid", "kid", "inception_score", "precision", "recall", "density", "coverage", "sliced_wasserstein", "mmd"
    ]  # fmt: skip
    for score in good:
        sign = 1 if score.better == "higher" else -1
        assert sign * score.value > sign * bad[score.metric].value, score
        if score.metric not in ("precision", "density"):
            assert sign * score.value > sign * zeros[score.metric].value, score
        assert (score.extractor, score.generated) == (extractor.name, 899)
    assert zeros["precision"].value > 0.85
    assert zeros["recall"].value < 0.3
    stored = json.loads(json.dumps(good.as_json()))
    assert stored["scores"][1]["metric"] == "kid"
    assert stored["scores"][1]["error"] == good["kid"].error


def test_what_can_not_be_computed_is_left_out_and_said_or_refused(extractor: Extractor) -> None:
    few, real = extractor(REAL.images[:50]), extractor(REAL.images)
    found = evaluate(few, real)
    assert found.skipped.keys() == {"fid"}
    assert "fid skipped: generated must be at least 65 samples for features of width 64, got 50" in str(found)
    with pytest.raises(ValueError, match="generated must be at least 65 samples"):
        evaluate(few, real, ["fid"])
    with pytest.raises(KeyError):
        _ = found["fid"]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(("metrics", "got"), [(["fid", "fad"], "fid, fad"), ([], "none")])
def test_metrics_that_are_none(metrics: list[Metric], got: str) -> None:
    rows = Features.of("f", np.zeros((9, 1)))
    with pytest.raises(ValueError, match=f"metrics must be of fid, kid, inception_score, .* mmd, got {got}$"):
        evaluate(rows, rows, metrics)


@pytest.mark.usefixtures("unhooked")
def test_samples_that_no_classifier_learns_from() -> None:
    x, labels = REAL.images[:20], REAL.labels[:20]
    with pytest.raises(ValueError, match=r"samples must be at least 8 .* got \(7, 8, 8, 1\) and \(7,\)"):
        classifier(x[:7], labels[:7], "d")
    with pytest.raises(ValueError, match=r"with as many labels, got \(20, 8, 8, 1\) and \(19,\)"):
        classifier(x, labels[1:], "d")
    with pytest.raises(ValueError, match="labels must be at least 0 and of 2 classes or more, got 0 to 0"):
        classifier(x, 0 * labels, "d")
    with pytest.raises(ValueError, match="got -1 to 8"):
        classifier(x, labels - 1, "d")
