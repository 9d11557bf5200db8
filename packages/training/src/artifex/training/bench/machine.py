"""The machine of a benchmark, and its peak rates."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Final

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.training.bench.race import Function, race, repeated

PACKAGES: Final = ("artifex-kernels", "jax", "jaxlib", "jax-triton", "triton", "numpy")
"""Packages whose versions affect the speed of kernels."""


def device_name() -> str:
    """Return the accelerator's name, or the processor's with its number of cores."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return str(device.device_kind)
    model = platform.processor() or platform.machine()
    listed = Path("/proc/cpuinfo")
    if listed.exists() and (match := re.search(r"^model name\s*:\s*(.+)$", listed.read_text(), re.MULTILINE)):
        model = match[1]
    return f"{re.sub(r'[(](R|TM)[)]', '', model)}, {os.cpu_count()} cores"


def folder_name(device: str) -> str:
    """Convert ``device`` to lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed ``PACKAGES``."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except ModuleNotFoundError:
            continue
    return found


def copying(size: int) -> tuple[Function, Array]:
    """Make a function that reads and writes ``size`` bytes in total, and its argument."""
    return jnp.negative, jnp.ones(max(size // 8, 1), jnp.float32)


def matmul_rate(dtype: DTypeLike, times: int) -> float:
    """Measure the floating-point operations a second of matrix products, ``times`` of them a program."""
    n = 1024 if jax.default_backend() == "cpu" else 8192
    x = jnp.ones((n, n), dtype)
    product = jax.jit(repeated(jnp.matmul, times))
    measured = race({"matmul": lambda: product(x, x)})
    return 2.0 * n**3 * times / measured.median("matmul")


def copy_rate(times: int) -> float:
    """Measure the bytes read or written a second, for an array larger than any cache."""
    size = 2**28 if jax.default_backend() == "cpu" else 2**32
    copy, x = copying(size)
    run = jax.jit(repeated(copy, times))
    return size * times / race({"copy": lambda: run(x)}).median("copy")
