"""Configuration and fixtures of all tests."""

import ctypes
import gc
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

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


def resident() -> float:
    """Bytes of memory that this process takes; 0 where there is no /proc."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.is_file() else 0


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Drop compiled programs above 1 GB between files and above 1.4 GB between tests: else they add up to gigabytes."""
    file_ends = nextitem is None or nextitem.path != item.path
    if resident() > (1e9 if file_ends else 1.4e9):
        jax.clear_caches()  # type: ignore[no-untyped-call]
        gc.collect()
        # glibc keeps most of what was freed until it is trimmed; other libraries have no such function.
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def unhooked() -> Iterator[None]:
    """Runs a test as users run the code: without the tests' shape hook, so that our own errors are the ones raised."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)


@cache
def compiles_float16() -> bool:
    """Return whether XLA has float16 on this machine: without F16C its conversions are not linked."""
    try:
        jax.jit(lambda x: x.astype(jnp.float16) * 2).lower(jnp.ones(2)).compile()
    except jax.errors.JaxRuntimeError as error:
        if "materialize symbols" not in str(error):
            raise
        return False
    return True


LONGEST = ("checkpoints/test_kill.py", "sharding/test_distributed.py", "docs/test_examples.py")
"""Files of a few tests of minutes: they begin first, so that no process is left alone with them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of float16, by their names or the marker, where there is none."""
    named = re.search(r"(?<!b)float16", item.nodeid) or item.get_closest_marker("float16")
    if named and not compiles_float16():
        pytest.skip("XLA compiles no float16 for this processor, which lacks F16C")
