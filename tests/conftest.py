"""What all tests share."""

import os
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import config

# Most programs here are small and run once: what they cost is their compilation. Optimising them less takes 15% off the
# suite, and XLA's older code for fusions, which JAX 0.10 still has, a fifth to a third off the files that compile most.
# JAX reads the flags when it first makes an array; processes that tests start inherit them.
QUICKLY = ["--xla_backend_optimization_level=1"]
if version("jaxlib").startswith("0.10."):
    QUICKLY.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([*QUICKLY, os.environ.get("XLA_FLAGS", "")]).strip()


@pytest.fixture
def unhooked() -> Iterator[None]:
    """Runs a test as users run the code: without the tests' shape hook, so that our own errors are the ones raised."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)


@cache
def compiles_float16() -> bool:
    """Whether XLA has float16 on this machine: for processors without F16C its conversions are not linked."""
    try:
        jax.jit(lambda x: x.astype(jnp.float16) * 2).lower(jnp.ones(2)).compile()
    except jax.errors.JaxRuntimeError as error:
        if "materialize symbols" not in str(error):
            raise
        return False
    return True


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips tests of float16, by their names, where there is none."""
    if re.search(r"(?<!b)float16", item.nodeid) and not compiles_float16():
        pytest.skip("XLA compiles no float16 for this processor, which lacks F16C")
