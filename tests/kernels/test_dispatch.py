import logging

import jax
import jax.numpy as jnp
import pytest

from artifex.kernels import Implementation, UnsupportedKernelError, attention, linear_step
from artifex.kernels.dispatch import resolve


def plain() -> str:
    return "plain"


def tuned() -> str:
    return "tuned"


@pytest.mark.parametrize(("name", "body"), [("reference", plain), ("xla", tuned), (None, tuned)])
def test_a_name_means_that_body_and_none_the_default(name: Implementation | None, body: object) -> None:
    assert resolve("k", name, {"reference": plain, "xla": tuned}, default="xla") is body


def test_a_named_body_is_never_replaced() -> None:
    with pytest.raises(UnsupportedKernelError, match=r"k has no 'triton' body; expected one of \['reference', 'xla'\]"):
        resolve("k", "triton", {"reference": plain, "xla": tuned}, default="xla")


@pytest.mark.parametrize("name", ["pallas", "triton", "cudnn"])
def test_kernels_say_which_bodies_they_have(name: Implementation) -> None:
    q = jnp.ones((1, 2, 1, 4))
    with pytest.raises(UnsupportedKernelError, match="attention has no"):
        attention(q, q, q, implementation=name)
    with pytest.raises(UnsupportedKernelError, match="linear_step has no"):
        linear_step([q], jnp.ones(1), implementation=name)


def test_what_runs_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="artifex.kernels"):
        for _ in range(2):
            resolve("told once", None, {"reference": plain}, default="reference")
    assert [r.getMessage() for r in caplog.records] == ["told once runs its reference body"]


def test_a_second_call_outside_jit_traces_nothing() -> None:
    q = jnp.ones((2, 300, 1, 4))  # more than one tile
    keys = jax.random.split(jax.random.key(0), 2)

    def calls() -> None:
        attention(q, q, q, is_causal=True)
        linear_step([q], jnp.ones(1), noise_scale=1.0, key=keys, clip=2.0)

    calls()
    with jax.no_tracing(True):
        calls()
