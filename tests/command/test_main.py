"""The process that the command runs in."""

import os
import subprocess
import sys

import pytest

LARGE_PAGES = "glibc.malloc.hugetlb=1"
LOOPS = "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion"
OTHERS = "--xla_backend_extra_options=b"
# The command itself is slow to load.
SAYS = """
import os, sys, types

def run():
    print(os.environ["XLA_FLAGS"], file=sys.stderr)
    print(os.getpid(), os.environ["KEPT"], os.environ.get("GLIBC_TUNABLES"), *sys.argv[1:])
    return 7

sys.modules["artifex.command.app"] = types.SimpleNamespace(main=run)
from artifex.command.__main__ import main
print("began", os.getpid(), flush=True)
sys.exit(main())
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="glibc's setting")
@pytest.mark.parametrize(
    ("before", "after", "starts", "flags", "then"),
    [
        (None, LARGE_PAGES, 2, "", LOOPS),
        ("", "", 1, "--xla_a=1", f"--xla_a=1 {LOOPS}"),
        ("glibc.malloc.check=0", "glibc.malloc.check=0", 1, OTHERS, OTHERS),
    ],
)
def test_a_process_starts_anew_once_with_large_pages(
    before: str | None, after: str, starts: int, flags: str, then: str
) -> None:
    """It stays the same process, with its arguments and the rest of its environment; XLA's flags are added to."""
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"} | {"KEPT": "kept"}
    environment["XLA_FLAGS"] = flags
    if before is not None:
        environment["GLIBC_TUNABLES"] = before
    command = [sys.executable, "-c", SAYS, "sample"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert found.returncode == 7, found.stderr
    assert found.stderr.strip() == then
    *began, end = found.stdout.splitlines()
    assert len(began) == starts
    assert set(began) == {f"began {end.split()[0]}"}
    assert end.split(" ")[1:] == ["kept", after, "sample"]


@pytest.mark.parametrize("option", ["-h", "--help", "--version"])
def test_help_and_version_start_once(option: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"} | {"KEPT": "kept"}
    command = [sys.executable, "-c", SAYS, "sample", option]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert found.returncode == 7, found.stderr
    began, end = found.stdout.splitlines()
    assert end == f"{began.split()[1]} kept None sample {option}"
