"""The process that the command runs in."""

import os
import subprocess
import sys

import pytest

from artifex.training.start import LARGE_PAGES

SAYS = """
import os
from artifex.training.start import use_large_pages
print("began", os.getpid(), flush=True)
use_large_pages()
print(os.getpid(), os.environ["KEPT"], os.environ["GLIBC_TUNABLES"])
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="glibc's setting")
@pytest.mark.parametrize(
    ("before", "after", "starts"),
    [(None, LARGE_PAGES, 2), ("", "", 1), ("glibc.malloc.check=0", "glibc.malloc.check=0", 1)],
)
def test_a_process_starts_anew_once_with_large_pages(before: str | None, after: str, starts: int) -> None:
    """It stays the same process, with its arguments and the rest of its environment."""
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"} | {"KEPT": "kept"}
    if before is not None:
        environment["GLIBC_TUNABLES"] = before
    found = subprocess.run([sys.executable, "-c", SAYS], env=environment, capture_output=True, text=True, check=True)
    *began, end = found.stdout.splitlines()
    assert len(began) == starts
    assert set(began) == {f"began {end.split()[0]}"}
    assert end.split(" ")[1:] == ["kept", after]
