"""What all tests share."""

from collections.abc import Iterator

import pytest
from jaxtyping import config


@pytest.fixture
def unhooked() -> Iterator[None]:
    """Runs a test as users run the code: without the tests' shape hook, so that our own errors are the ones raised."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)
