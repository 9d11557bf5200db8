"""The entry point of the command ``artifex``."""

import os
import sys
from typing import Final

VARIABLE: Final = "GLIBC_TUNABLES"
PRINTS: Final = frozenset(("-h", "--help", "--version"))
"""Options that print something short, for which no second start is worth its time."""
LARGE_PAGES: Final = "glibc.malloc.hugetlb=1"
"""Allocate memory in pages of 2 MiB."""
FLAGS: Final = "XLA_FLAGS"
EXTRA: Final = "--xla_backend_extra_options"
SEVERAL_OUTPUTS: Final = f"{EXTRA}=xla_cpu_use_multi_output_fusion"
"""Fuse loops of XLA's CPU backend that read the same arrays."""


def main() -> int:
    """Run the command with large pages and multi-output fusion; return its exit code."""
    if not PRINTS.intersection(sys.argv[1:]):
        use_large_pages()
    use_multi_output_fusion()
    from artifex.command.app import main as run

    return run()


def use_large_pages() -> None:
    """Restart this process, by ``exec``, with large pages in glibc's malloc.

    On a CPU, XLA allocates the memory of a training step each time, and page faults of 4 KiB pages are a large part
    of a small network's step. glibc reads the setting only when a process starts. Without glibc, or if the variable
    ``GLIBC_TUNABLES`` is set already, even to nothing, this does nothing.
    """
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}) or VARIABLE in os.environ:
        return
    os.environ[VARIABLE] = LARGE_PAGES
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def use_multi_output_fusion() -> None:
    """Enable multi-output fusion in XLA's CPU backend.

    Without it, XLA reads a gradient three times to update a parameter and its two moments. If ``XLA_FLAGS`` has such
    extra options already, this does nothing. JAX reads the variable when it creates its first array.
    """
    flags = os.environ.get(FLAGS, "")
    if EXTRA not in flags:
        os.environ[FLAGS] = f"{flags} {SEVERAL_OUTPUTS}".strip()


if __name__ == "__main__":
    sys.exit(main())
