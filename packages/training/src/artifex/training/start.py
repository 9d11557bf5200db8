"""Where the command ``artifex`` starts."""

import os
import sys
from typing import Final

VARIABLE: Final = "GLIBC_TUNABLES"
LARGE_PAGES: Final = "glibc.malloc.hugetlb=1"
"""Memory in pages of 2 MiB."""


def main() -> int:
    """Run the command, in a process with large pages; return its exit code."""
    use_large_pages()
    from artifex.training.cli import main as run

    return run()


def use_large_pages() -> None:
    """Start this process anew, by ``exec``, with glibc asking for large pages.

    On a CPU, XLA takes the memory of a training step anew each time. glibc gives that much back to the kernel, which
    hands it over again in pages of 4 KiB, each zeroed and entered by itself: a tenth of a step of the digits' DiT on
    two cores. (Steps of a second gained as much or lost more, as the machine had it.) glibc reads the setting once,
    when a process starts. Nothing is done without glibc, or where the variable ``GLIBC_TUNABLES`` is set already, even
    to nothing.
    """
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}) or VARIABLE in os.environ:
        return
    os.environ[VARIABLE] = LARGE_PAGES
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
