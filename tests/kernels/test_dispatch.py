import logging
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import pytest

from artifex.kernels import ImplementationName, UnsupportedKernelError, attention, linear_step
from artifex.kernels.dispatch import Implementation, dispatch


def no_cats(what: str) -> str | None:
    return f"it can't take {what}" if what == "cats" else None


IMPLEMENTATIONS: Mapping[ImplementationName, Implementation[[str], str]] = {
    "reference": Implementation(lambda what: f"plain {what}"),
    "xla": Implementation(lambda what: f"tuned {what}"),
    "pallas": Implementation(lambda what: f"fast {what}", no_cats),
}


@pytest.mark.parametrize(
    ("name", "what", "done"),
    [
        ("reference", "dogs", "plain dogs"),
        ("pallas", "dogs", "fast dogs"),
        (None, "dogs", "fast dogs"),
        (None, "cats", "tuned cats"),
    ],
)
def test_a_name_means_that_implementation_and_none_the_fastest_that_runs(
    name: ImplementationName | None, what: str, done: str
) -> None:
    assert dispatch("k", name, IMPLEMENTATIONS, ["pallas", "xla"], what) == done


def test_a_named_implementation_is_never_replaced() -> None:
    with pytest.raises(
        UnsupportedKernelError, match=r"k can't run its 'pallas' implementation here: it can't take cats"
    ):
        dispatch("k", "pallas", IMPLEMENTATIONS, ["xla"], "cats")
    with pytest.raises(
        UnsupportedKernelError, match=r"k has no 'triton' implementation; expected one of \['pallas', .* None"
    ):
        dispatch("k", "triton", IMPLEMENTATIONS, ["xla"], "dogs")


@pytest.mark.parametrize("name", ["pallas", "triton", "cudnn"])
def test_errors_list_the_implementations(name: ImplementationName) -> None:
    q = jnp.ones((1, 2, 1, 4))
    with pytest.raises(UnsupportedKernelError, match=r"attention (has no|can't run its)"):
        attention(q, q, q, implementation=name)
    with pytest.raises(UnsupportedKernelError, match=r"linear_step (has no|can't run its)"):
        linear_step([q], jnp.ones(1), implementation=name)


def test_the_choice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="artifex.kernels"):
        for _ in range(2):
            dispatch("logged once", None, IMPLEMENTATIONS, ["xla"], "dogs")
    assert [r.getMessage() for r in caplog.records] == ["logged once runs its xla implementation"]


@pytest.mark.slow
def test_a_second_call_outside_jit_traces_nothing() -> None:
    q = jnp.ones((2, 300, 1, 4))  # more than one tile
    keys = jax.random.split(jax.random.key(0), 2)

    def calls() -> None:
        attention(q, q, q, is_causal=True)
        linear_step([q], jnp.ones(1), noise_scale=1.0, key=keys, clip=2.0)

    calls()
    with jax.no_tracing(True):
        calls()
