"""Where the command ``artifex`` starts."""

import os
import sys
from typing import Final

VARIABLE: Final = "GLIBC_TUNABLES"
LARGE_PAGES: Final = "glibc.malloc.hugetlb=1"
"""Memory in pages of 2 MiB."""
FLAGS: Final = "XLA_FLAGS"
EXTRA: Final = "--xla_backend_extra_options"
SEVERAL_OUTPUTS: Final = f"{EXTRA}=xla_cpu_use_multi_output_fusion"
"""Loops of XLA's CPU backend that read the same arrays become one."""


def main() -> int:
    """Run the command, in a process with large pages and larger loops; return its exit code."""
    use_large_pages()
    use_larger_loops()
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


def use_larger_loops() -> None:
    """Have XLA's CPU backend make loops with several outputs.

    It doesn't by itself, and then reads a gradient three times to update a parameter and its two moments. In turns, for
    the time without, on two cores with JAX 0.10.2: 0.80 for the CIFAR U-Net's training step, 0.87 for the digits'.
    Nothing is done where ``XLA_FLAGS`` says something about such options already. JAX reads it when it first makes an
    array.
    """
    flags = os.environ.get(FLAGS, "")
    if EXTRA not in flags:
        os.environ[FLAGS] = f"{flags} {SEVERAL_OUTPUTS}".strip()


if __name__ == "__main__":
    sys.exit(main())
