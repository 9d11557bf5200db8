"""Several conditions at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.guidance import APG, ClassifierFree, Composed
from tests.guidance.exact import HERE, LABELS, Counted, X, call, clean, denoise, eps

pytestmark = pytest.mark.slow

Y = jnp.asarray(LABELS)


def test_is_the_papers_formula_for_the_noise() -> None:
    with jax.enable_x64(True):
        got = call(Composed(2.0, ((jnp.asarray(1 - LABELS), -0.5),), jnp.array(2))(denoise, jnp.asarray(LABELS)))
    free, a, b = (eps(denoise(X, HERE, cond)) for cond in (None, LABELS, 1 - LABELS))
    np.testing.assert_allclose(got, clean(free + 2 * (a - free) - 0.5 * (b - free)), atol=1e-12)


def test_all_run_in_one_batch() -> None:
    network = Counted()
    call(Composed(2.0, ((1 - Y, 1.0), (jnp.array(0), 0.5)), jnp.array(2))(network, Y))
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert network.batches == [16]


@pytest.mark.parametrize(("rule", "null"), [(3.0, None), (APG(3.0), jnp.array(2))], ids=["calls", "batch"])
def test_of_one_condition_it_is_classifier_free(rule: float | APG, null: jax.Array | None) -> None:
    got = call(Composed(rule, (), null)(denoise, Y))
    np.testing.assert_allclose(got, call(ClassifierFree(rule, null)(denoise, Y)), atol=1e-6)


@pytest.mark.usefixtures("unhooked")
def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="one finite number, or one per sample, got nan"):
        Composed(2.0, ((Y, float("nan")),))
    with pytest.raises(ValueError, match="needs a condition to steer to: conditioning must be given, got None"):
        Composed(2.0, ((Y, 1.0),))(denoise, None)
    with pytest.raises(ValueError, match=r"must broadcast to shape \(4,\), got \(3,\)"):
        call(Composed(2.0, ((Y[:3], 1.0),))(denoise, Y))
