"""Fixtures of the tests of training."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs that were compiled before are read back: most of these tests run the same few steps."""
    set_cache(str(tmp_path_factory.getbasetemp() / "compiled"), 0.05)
    yield
    set_cache(None, 1.0)


def set_cache(folder: str | None, seconds: float) -> None:
    """Set the folder of compiled programs that took at least ``seconds``."""
    jax.config.update("jax_compilation_cache_dir", folder)  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)  # type: ignore[no-untyped-call]
