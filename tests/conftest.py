"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
from jaxtyping import config

# Most programs here are small and run once: optimising them less takes 15% off the suite. JAX reads the flag when it
# first makes an array; processes that tests start inherit it.
os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=1 {os.environ.get('XLA_FLAGS', '')}".strip()


@pytest.fixture
def unhooked() -> Iterator[None]:
    """Runs a test as users run the code: without the tests' shape hook, so that our own errors are the ones raised."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)
