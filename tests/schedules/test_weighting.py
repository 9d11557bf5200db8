from collections.abc import Callable
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.schedules import (
    X0,
    Discrete,
    EDMPreconditioned,
    Epsilon,
    FlowVelocity,
    NoiseLevel,
    Prediction,
    Score,
    V,
    Weighting,
    betas,
    diffuse,
)
from artifex.schedules.weighting import EDM, P2, MinSNR, Sigmoid, SoftMinSNR, TruncatedSNR, Uniform, weight

ALL: Final[dict[str, Weighting]] = {
    "Uniform": Uniform(),
    "Uniform of x0": Uniform(X0()),
    "MinSNR": MinSNR(),
    "SoftMinSNR": SoftMinSNR(),
    "TruncatedSNR": TruncatedSNR(),
    "P2": P2(),
    "EDM": EDM(),
    "Sigmoid": Sigmoid(2.0),
}
each = pytest.mark.parametrize("weighting", ALL.values(), ids=ALL.keys())
PREDICTIONS: Final[tuple[Prediction, ...]] = (
    Epsilon(),
    X0(),
    V(),
    Score(),
    FlowVelocity(),
    EDMPreconditioned(0.5),
)


def preserving(*snr: float) -> NoiseLevel[jax.Array]:
    s = jnp.asarray(snr)
    return NoiseLevel(t=jnp.zeros_like(s), alpha=jnp.sqrt(s / (1 + s)), sigma=jnp.sqrt(1 / (1 + s)))


SNR: Final = np.array([0.01, 1.0, 100.0])


@pytest.mark.parametrize(
    ("weighting", "prediction", "want"),
    [
        (MinSNR(5.0), Epsilon(), [1, 1, 0.05]),
        (MinSNR(5.0), X0(), [0.01, 1, 5]),
        (MinSNR(5.0), V(), [0.00990099, 0.5, 0.04950495]),
        (SoftMinSNR(5.0), X0(), 5 * SNR / (SNR + 5)),
        (P2(1.0, 1.0), Epsilon(), 1 / (1 + SNR)),
        (P2(2.0, 0.5), Epsilon(), 1 / np.sqrt(2 + SNR)),
        (TruncatedSNR(), X0(), [1, 1, 100]),
        (TruncatedSNR(), Epsilon(), [100, 1, 1]),
        (Uniform(), Epsilon(), [1, 1, 1]),
        (Uniform(), X0(), SNR),
        (Uniform(X0()), Epsilon(), 1 / SNR),
        (Uniform(V()), X0(), SNR + 1),
        (Uniform(V()), V(), [1, 1, 1]),
        (EDM(0.5), EDMPreconditioned(0.5), [1, 1, 1]),
        (Uniform(EDMPreconditioned(0.5)), X0(), SNR + 4),
        (EDM(0.5), X0(), SNR + 4),
        (Sigmoid(2.0), Epsilon(), 1 / (1 + SNR * np.exp(-2))),
    ],
)
def test_formulas(weighting: Weighting, prediction: Prediction, want: list[float]) -> None:
    np.testing.assert_allclose(weight(weighting, prediction, preserving(*SNR)), want, rtol=2e-6)


def test_edm_pin() -> None:
    at = NoiseLevel(t=jnp.asarray(0.5), alpha=jnp.asarray(1.0), sigma=jnp.asarray(0.5))
    assert EDM(0.5)(at) == pytest.approx(8)


@pytest.mark.slow
@each
def test_the_loss_is_the_same_for_every_prediction(weighting: Weighting) -> None:
    """An error of x0 costs the same for every prediction type."""
    at = preserving(0.02, 3.0, 40.0)
    x0, eps, wrong = jax.random.normal(jax.random.key(0), (3, 3, 50))
    wrong_eps = X0().to_eps(wrong, diffuse(x0, eps, at), at)
    want = np.asarray(weighting(at)) * np.sum(np.square(wrong - x0), axis=1)
    for prediction in PREDICTIONS:
        error = np.asarray(prediction.target(wrong, wrong_eps, at)) - np.asarray(prediction.target(x0, eps, at))
        got = np.asarray(weight(weighting, prediction, at)) * np.sum(np.square(error), axis=1)
        np.testing.assert_allclose(got, want, rtol=2e-5)


@each
def test_ends_are_finite(weighting: Weighting) -> None:
    chain = Discrete(betas.rescale_zero_terminal_snr(betas.linear(1000)))
    at = chain.at(jnp.asarray([-1.0, 999.0, 998.5]))
    for prediction in PREDICTIONS:
        values = np.asarray(weight(weighting, prediction, at))
        assert np.all(np.isfinite(values))
        assert np.all(values >= 0)


def test_limits_at_the_ends() -> None:
    at = NoiseLevel(t=jnp.zeros(3), alpha=jnp.asarray([1.0, 0.0, 0.0]), sigma=jnp.asarray([0.0, 1.0, 1.0]))
    np.testing.assert_allclose(weight(MinSNR(5.0), Epsilon(), at), [0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(weight(MinSNR(5.0), X0(), at), [5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(weight(EDM(0.5), EDMPreconditioned(0.5), at), [1, 1, 1], rtol=1e-5)


@pytest.mark.slow
@each
def test_shapes_and_values(weighting: Weighting) -> None:
    one = jax.tree.map(lambda v: v[0], preserving(2.0))
    assert weight(weighting, V(), one).shape == ()
    assert weight(weighting, V(), preserving(2.0, 3.0, 4.0)).shape == (3,)
    assert isinstance(weighting, Weighting)
    assert hash(weighting) == hash(weighting)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MinSNR(0.0), r"gamma must be positive and finite, got 0\.0"),
        (lambda: SoftMinSNR(-1.0), r"gamma must be positive and finite, got -1\.0"),
        (lambda: P2(0.0), r"k must be positive and finite, got 0\.0"),
        (lambda: P2(1.0, -1.0), r"gamma must be finite and at least 0, got -1\.0"),
        (lambda: EDM(0.0), r"sigma_data must be positive and finite, got 0\.0"),
    ],
)
def test_bad_settings(make: Callable[[], Weighting], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
