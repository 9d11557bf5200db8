"""What the numbers were measured on, and what it can do at most."""

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
"""Those whose versions matter to a kernel's speed."""


def device_name() -> str:
    """The accelerator's name, or the processor's with its cores."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return str(device.device_kind)
    model = platform.processor() or platform.machine()
    listed = Path("/proc/cpuinfo")
    if listed.exists() and (match := re.search(r"^model name\s*:\s*(.+)$", listed.read_text(), re.MULTILINE)):
        model = match[1]
    return f"{re.sub(r'[(](R|TM)[)]', '', model)}, {os.cpu_count()} cores"


def folder_name(device: str) -> str:
    """``device`` in small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def versions() -> dict[str, str]:
    """Python's and those of ``PACKAGES`` that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except ModuleNotFoundError:
            continue
    return found


def copying(size: int) -> tuple[Function, Array]:
    """A function that reads and writes ``size`` bytes in all, half of them each, and its argument."""
    return jnp.negative, jnp.ones(max(size // 8, 1), jnp.float32)


def matmul_rate(dtype: DTypeLike, times: int) -> float:
    """Floating-point operations a second in products of square matrices of ``dtype``, ``times`` of them a program."""
    n = 1024 if jax.default_backend() == "cpu" else 8192
    x = jnp.ones((n, n), dtype)
    product = jax.jit(repeated(jnp.matmul, times))
    measured = race({"matmul": lambda: product(x, x)})
    return 2.0 * n**3 * times / measured.median("matmul")


def copy_rate(times: int) -> float:
    """Bytes read or written a second, in an array that no cache holds."""
    size = 2**28 if jax.default_backend() == "cpu" else 2**32
    copy, x = copying(size)
    run = jax.jit(repeated(copy, times))
    return size * times / race({"copy": lambda: run(x)}).median("copy")
