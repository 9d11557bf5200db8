"""Several conditions at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.guidance import Apg, ClassifierFree, Composed
from tests.guidance.exact import HERE, LABELS, Counted, X, call, clean, denoise, eps

Y = jnp.asarray(LABELS)


def test_is_the_papers_formula_for_the_noise() -> None:
    with jax.enable_x64(True):
        got = call(Composed((2.0, -0.5), jnp.array(2))(denoise, (jnp.asarray(LABELS), jnp.asarray(1 - LABELS))))
    free, a, b = (eps(denoise(X, HERE, cond)) for cond in (None, LABELS, 1 - LABELS))
    np.testing.assert_allclose(got, clean(free + 2 * (a - free) - 0.5 * (b - free)), atol=1e-12)


def test_all_run_in_one_batch() -> None:
    network = Counted()
    call(Composed((2.0, 1.0), jnp.array(2))(network, (Y, 1 - Y)))
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert network.batches == [12]


@pytest.mark.parametrize(("rule", "null"), [(3.0, None), (Apg(3.0), jnp.array(2))], ids=["calls", "batch"])
def test_of_one_condition_it_is_classifier_free(rule: float | Apg, null: jax.Array | None) -> None:
    got = call(Composed((rule,), null)(denoise, (Y,)))
    np.testing.assert_allclose(got, call(ClassifierFree(rule, null)(denoise, Y)), atol=1e-6)


@pytest.mark.usefixtures("unhooked")
def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="rules must hold at least one, got none"):
        Composed(())
    with pytest.raises(ValueError, match="a tuple of 2, one for each rule, got 1 in a tuple"):
        Composed[jax.Array]((1.0, 2.0))(denoise, (Y,))
    with pytest.raises(ValueError, match="a tuple of 1, one for each rule, got ArrayImpl"):
        Composed[jax.Array]((2.0,))(denoise, Y)  # type: ignore[arg-type]
