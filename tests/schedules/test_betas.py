from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifex.schedules import Discrete, betas
from artifex.schedules.arrays import HostArray

TABLES: Final[Mapping[str, Callable[[int], HostArray]]] = {
    **{str(name): table for name, table in betas.TABLES.items()},
    "zero terminal": lambda n: betas.rescale_zero_terminal_snr(betas.scaled_linear(max(n, 2))),
    "shifted": lambda n: betas.shifted(betas.cosine(n), 4.0),
}


def test_explicit_tables_take_their_ends() -> None:
    for name, table in betas.EXPLICIT.items():
        got = table(1000, 0.001, 0.01)
        assert betas.TABLES[name] is table
        assert got[0] == pytest.approx(0.001, rel=0.03), name
        assert got[-1] == pytest.approx(0.01, rel=0.03), name


each = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())


@pytest.mark.parametrize(
    ("table", "abar"),
    [
        (betas.linear(1000), [0.9999, 0.5240853738, 0.07858724288, 0.003350550439, 4.035829765e-5]),
        (betas.scaled_linear(1000), [0.99915, 0.6754324137, 0.2776696505, 0.0566234916, 0.004660098513]),
        (betas.cosine(1000), [0.9999587158, 0.8470121613, 0.4938435904, 0.1442721024, 2.428766907e-9]),
        (
            betas.rescale_zero_terminal_snr(betas.scaled_linear(1000)),
            np.square([0.9995749096, 0.8088195142, 0.4922998746, 0.1821304006, 0]),
        ),
    ],
)
def test_signal_that_is_left(table: HostArray, abar: list[float]) -> None:
    got = Discrete(table).alphas_cumprod[[0, 249, 499, 749, 999]]
    np.testing.assert_allclose(got, abar, rtol=1e-9, atol=1e-15)


@each
@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_tables_are_betas(table: Callable[[int], HostArray], n: int) -> None:
    got = table(n)
    assert got.dtype == np.float64
    assert np.all((got > 0) & (got <= 1))
    assert np.all(got[:-1] < 1)
    falls = np.diff(Discrete(got).alphas_cumprod)
    assert np.all(falls < 0)


def test_formulas_in_closed_form() -> None:
    i = np.arange(7)
    np.testing.assert_allclose(betas.geometric(7, 1e-3, 1e-1), 1e-3 * 100 ** (i / 6), rtol=1e-13)
    np.testing.assert_allclose(betas.exponential(7, 3.0), 1 - np.exp(-3 / 7), rtol=1e-14)
    np.testing.assert_allclose(np.cumprod(1 - betas.exponential(7, 3.0)), np.exp(-3 * (i + 1) / 7), rtol=1e-13)
    np.testing.assert_allclose(
        betas.sigmoid(7, 0.1, 0.3), 0.1 + 0.2 / (1 + np.exp(-np.array([-6, -4, -2, 0, 2, 4, 6]))), rtol=1e-14
    )
    np.testing.assert_allclose(np.sqrt(betas.scaled_linear(5, 0.01, 0.25)), [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-14)


@pytest.mark.parametrize(("mu", "b"), [(0.0, 0.5), (1.0, 2.0)])
def test_laplace_quantiles(mu: float, b: float) -> None:
    """At u, a part u of all log-SNRs is larger: the survival function of the Laplace distribution."""
    n = 1000
    abar = Discrete(betas.laplace(n, mu, b)).alphas_cumprod
    logsnr = np.log(abar / (1 - abar))[:-1]
    u = np.arange(1, n) / n
    survival = np.where(logsnr > mu, np.exp(-np.abs(logsnr - mu) / b) / 2, 1 - np.exp(-np.abs(logsnr - mu) / b) / 2)
    np.testing.assert_allclose(survival, u, rtol=1e-9)


@pytest.mark.parametrize(("start", "end", "tau"), [(-3.0, 3.0, 1.0), (0.0, 3.0, 0.3)])
def test_sigmoid_signal(start: float, end: float, tau: float) -> None:
    abar = Discrete(betas.sigmoid_alpha_bar(1000, start, end, tau)).alphas_cumprod

    def s(u: float) -> float:
        return float(1 / (1 + np.exp(-(start + u * (end - start)) / tau)))

    for i in (0, 300, 998):
        assert abar[i] == pytest.approx((s(1) - s((i + 1) / 1000)) / (s(1) - s(0)), rel=1e-9)


@each
def test_alphas_cumprod_and_back(table: Callable[[int], HostArray]) -> None:
    got = table(100)
    abar: HostArray = np.cumprod(1 - got, dtype=np.float64)
    np.testing.assert_allclose(betas.from_alphas_cumprod(abar), got, rtol=1e-10)


@settings(max_examples=25, deadline=None)
@given(start=st.floats(1e-5, 0.01), end=st.floats(0.011, 0.5), n=st.integers(2, 200))
def test_zero_terminal_snr(start: float, end: float, n: int) -> None:
    table = betas.linear(n, start, end)
    rescaled = betas.rescale_zero_terminal_snr(table)
    assert rescaled[0] == pytest.approx(table[0], rel=1e-9)
    assert rescaled[-1] == 1
    assert Discrete(rescaled).alphas_cumprod[-1] == 0
    root, new = np.sqrt(np.cumprod(1 - table)), np.sqrt(np.cumprod(1 - rescaled))
    np.testing.assert_allclose(new * (root[0] - root[-1]), (root - root[-1]) * root[0], atol=1e-14)


@each
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_shifted_moves_the_snr(table: Callable[[int], HostArray], factor: float) -> None:
    abar = np.cumprod(1 - table(50))
    new = np.cumprod(1 - betas.shifted(table(50), factor))
    np.testing.assert_allclose(new * (1 - abar) * factor**2, abar * (1 - new), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: betas.linear(0), "n must be at least 1, got 0"),
        (lambda: betas.scaled_linear(10, 0.5, 0.1), "0 < start <= end < 1, got start = 0.5 and end = 0.1"),
        (lambda: betas.sigmoid(10, width=0.0), "width must be positive and finite, got 0.0"),
        (lambda: betas.geometric(10, 0.0, 0.1), "got start = 0.0"),
        (lambda: betas.exponential(10, 0.0), "rate must be positive and finite, got 0.0"),
        (lambda: betas.cosine(10, -1.0), "s must be finite and at least 0, got -1.0"),
        (lambda: betas.cosine(10, max_beta=1.5), r"max_beta must be in \(0, 1\], got 1.5"),
        (lambda: betas.sigmoid_alpha_bar(10, 3.0, 3.0), "end must be finite and above 3, got 3.0"),
        (lambda: betas.laplace(10, b=0.0), "b must be positive and finite, got 0.0"),
        (lambda: betas.from_alpha_bar(lambda u: 1 + u, 10), "signal must fall .* got values from 1.0 to 2.0"),
        (lambda: betas.from_alphas_cumprod(np.array([])), r"at least 1, got \(0,\)"),
        (lambda: betas.from_alphas_cumprod(np.array([0.5, 0.6])), "must fall within .* from 0.5 to 0.6"),
        (lambda: betas.from_alphas_cumprod(np.array([1.5, 0.6])), "must fall within .* from 1.5 to 0.6"),
        (lambda: betas.rescale_zero_terminal_snr(np.array([0.5])), r"at least 2, got \(1,\)"),
        (lambda: betas.shifted(betas.linear(3), 0.0), "factor must be positive and finite, got 0.0"),
        (lambda: betas.shifted(np.zeros((2, 2)), 1.0), r"betas must be of shape .* got \(2, 2\)"),
    ],
)
def test_bad_input(make: Callable[[], HostArray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
