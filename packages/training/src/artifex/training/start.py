"""Where the command ``artifex`` starts."""

import os
import sys
from typing import Final

VARIABLE: Final = "GLIBC_TUNABLES"
KEEPING: Final = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592:glibc.malloc.arena_max=2"
"""What is freed stays with the process, up to 8 GiB, in two places for all threads."""


def main() -> int:
    """Run the command, in a process that keeps its memory; return its exit code."""
    keep_memory()
    from artifex.training.cli import main as run

    return run()


def keep_memory() -> None:
    """Start this process anew, by ``exec``, with glibc told to keep what is freed.

    On a CPU, XLA takes the memory of a training step anew each time. glibc gives that much back to the kernel, which
    hands it over again in pages of 4 KiB, each zeroed and entered by itself: a tenth of a step (of DiT-S/2's and of the
    digits' DiT's, on two cores). glibc reads such settings once, when a process starts. Nothing is done without glibc,
    or where the variable ``GLIBC_TUNABLES`` is set already, even to nothing.
    """
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}) or VARIABLE in os.environ:
        return
    os.environ[VARIABLE] = KEEPING
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
