"""Lowering of kernels for absent devices."""

import contextlib
import re
import warnings
from collections.abc import Callable
from typing import Final, Literal

import jax
from jax.sharding import AbstractMesh

Platform = Literal["cuda", "tpu"]

# Name, cores and JAX's word for the platform.
DEVICES: Final[dict[Platform, tuple[str, int, str]]] = {
    "cuda": ("NVIDIA H200", 132, "gpu"),
    "tpu": ("TPU v5e", 1, "tpu"),
}


def lowered(f: Callable[..., object], *args: jax.ShapeDtypeStruct, platform: Platform) -> list[str]:
    """The custom calls of ``f`` for a platform, one for each of its kernels."""
    with contextlib.ExitStack() as stack:
        # JAX 0.10 takes the platform from `lower` alone; later versions need the device while tracing.
        if hasattr(jax.sharding, "AbstractDevice"):
            name, cores, kind = DEVICES[platform]
            device = jax.sharding.AbstractDevice(device_kind=name, num_cores=cores, platform=kind)
            mesh = AbstractMesh((1,), ("x",), abstract_device=device)
            stack.enter_context(jax.sharding.use_abstract_mesh(mesh))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "The Pallas Triton backend is deprecated", DeprecationWarning)
        text = jax.jit(f).trace(*args).lower(lowering_platforms=(platform,)).as_text()
    return re.findall(r"custom_call @([\w$.]+)", text)
