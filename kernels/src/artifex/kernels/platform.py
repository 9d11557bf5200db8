"""What this process can run, and everything in which versions of JAX, Triton and jax-triton differ."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from inspect import signature, unwrap
from types import ModuleType
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import jax
from jax.experimental import pallas as pl
from jax.typing import DTypeLike
from jaxtyping import Array

Target = Literal["gpu", "tpu", "interpret"]
"""What a Pallas kernel is lowered for; ``interpret`` runs it as plain XLA, anywhere and slowly: for tests."""

TritonKernel = Callable[..., object]
"""A function under ``triton_jit``."""

Constants = Mapping[str, int | float | bool | tuple[int, ...]]
"""What a Triton kernel is compiled for."""

F = TypeVar("F", bound=TritonKernel)
Arrays = TypeVar("Arrays")


@runtime_checkable
class Launch(Protocol):
    """How a Triton kernel meets arrays: ``launch`` on a GPU; tests put Triton's interpreter in its place."""

    def __call__(
        self,
        kernel: TritonKernel,
        grid: tuple[int, ...],
        args: Sequence[Array],
        out: Sequence[jax.ShapeDtypeStruct],
        constants: Constants,
        *,
        warps: int,
        stages: int,
    ) -> tuple[Array, ...]:
        """Runs ``kernel(*args, *out, **constants)`` on a grid and returns ``out``, filled."""
        ...


def platform() -> str:
    """``cpu``, ``gpu`` or ``tpu``: where what is traced now will run, as far as JAX tells."""
    device = jax.default_device.value
    if device is None:
        return jax.default_backend()
    name: str = device if isinstance(device, str) else device.platform
    return "gpu" if name in ("cuda", "rocm") else name


def compute_capability() -> tuple[int, int] | None:
    """Of this process' first GPU, such as ``(9, 0)``; None where that is no NVIDIA GPU."""
    found = re.fullmatch(r"(\d+)\.(\d+)", str(getattr(jax.local_devices()[0], "compute_capability", "")))
    return None if found is None else (int(found[1]), int(found[2]))


def shaped(shape: Sequence[int], dtype: DTypeLike) -> jax.ShapeDtypeStruct:
    """``jax.ShapeDtypeStruct``, which has no types of its own."""
    return jax.ShapeDtypeStruct(tuple(shape), dtype)  # type: ignore[no-untyped-call]


def varying(*arrays: Array) -> frozenset[str]:
    """The axes of ``jax.shard_map`` along which any of ``arrays`` varies."""
    axes: frozenset[str] = frozenset()
    return axes.union(*(jax.typeof(x).manual_axis_type.varying for x in arrays))


def pvary(x: Array, axes: frozenset[str]) -> Array:
    """``x`` typed as varying along ``axes`` of ``jax.shard_map``; its gradient is summed over the axes that are new."""
    out: Array = jax.lax.pcast(x, tuple(axes - varying(x)), to="varying")
    return out


def match_varying(arrays: Arrays) -> Arrays:
    """A tree of arrays, each typed as varying along every axis that any of them varies along, as kernels require."""
    axes = varying(*jax.tree.leaves(arrays))
    out: Arrays = jax.tree.map(lambda x: pvary(x, axes), arrays)
    return out


def no_pallas_reason() -> str | None:
    """The reason why no Pallas kernel can run here; None where one can."""
    here = platform()
    return None if here in ("gpu", "tpu") else f"Pallas compiles for gpu and tpu, and this process runs on {here}"


def no_triton_reason() -> str | None:
    """The reason why no Triton kernel can run here; None where one can."""
    here = platform()
    if here != "gpu":
        return f"Triton compiles for gpu, and this process runs on {here}"
    if find_spec("triton") is None or find_spec("jax_triton") is None:
        return "Triton is not installed; `pip install 'artifex-kernels[triton]'` brings it"
    return None


def pallas_call(
    kernel: Callable[..., None],
    target: Target | None,
    *,
    grid: tuple[int, ...],
    in_specs: Sequence[pl.BlockSpec],
    out_specs: Sequence[pl.BlockSpec],
    out_shape: Sequence[jax.ShapeDtypeStruct],
    name: str,
    warps: int = 4,
    stages: int = 2,
) -> Callable[..., tuple[Array, ...]]:
    """``pl.pallas_call`` for a target.

    On a GPU that is Pallas' Triton backend. JAX 0.11 deprecates it, and JAX 0.10 takes another one unless the type of
    the parameters says so.

    Args:
        kernel: takes a reference (``jax.Ref``) to the block of each input, then of each output.
        target: what to lower for; None is the platform.
        grid: the kernel's programs.
        in_specs: block of each input.
        out_specs: block of each output.
        out_shape: of each output.
        name: shown in profiles.
        warps: of a program on a GPU.
        stages: loads in flight in a loop on a GPU.

    Returns:
        A function of the inputs.
    """
    params: Any = None
    if target == "gpu" or (target is None and platform() == "gpu"):
        from jax.experimental.pallas import triton

        params = triton.CompilerParams(num_warps=warps, num_stages=stages)

    def run(*args: Array) -> tuple[Array, ...]:
        # `jax.shard_map` wants to know along which of its axes the outputs differ: those of the inputs.
        axes = jax.typeof(args[0]).manual_axis_type
        call = pl.pallas_call(
            kernel,
            grid=grid,
            in_specs=tuple(in_specs),
            out_specs=tuple(out_specs),
            out_shape=tuple(x.update(manual_axis_type=axes) for x in out_shape),  # type: ignore[no-untyped-call]
            interpret=target == "interpret",
            compiler_params=params,
            name=name,
        )
        return tuple(call(*args))

    return run


def triton_jit(function: F) -> F:
    """``triton.jit``, with a type, of the function itself: what an import hook put around it is no Triton."""
    jitted: F = import_module("triton").jit(unwrap(function))
    return jitted


def launch(
    kernel: TritonKernel,
    grid: tuple[int, ...],
    args: Sequence[Array],
    out: Sequence[jax.ShapeDtypeStruct],
    constants: Constants,
    *,
    warps: int,
    stages: int,
    compute_capability: int | None = None,
) -> tuple[Array, ...]:
    """A Triton kernel on arrays, by jax-triton.

    Only arrays and constants enter: how a Python number travels differs between versions of jax-triton.

    Args:
        kernel: takes a pointer to each of ``args``, then of ``out``, then the constants.
        grid: the kernel's programs, three axes at most.
        args: the inputs.
        out: shape and dtype of each output.
        constants: what the kernel is compiled for.
        warps: of a program.
        stages: loads in flight in a loop.
        compute_capability: 90 for Hopper; None asks the GPU.
    """
    call = _jax_triton().triton_call
    # Multiply-adds are fused, as ever: Triton 3.9 warns that this won't stay the default.
    by_version: dict[str, object] = (
        {"out_type": tuple(out), "backend_options": {"enable_fp_fusion": True}}
        if "out_type" in signature(call).parameters
        else {"out_shape": tuple(out), "enable_fp_fusion": True}
    )
    filled = call(
        *args,
        kernel=kernel,
        grid=grid,
        num_warps=warps,
        num_stages=stages,
        compute_capability=compute_capability,
        **by_version,
        **constants,
    )
    return tuple(pvary(x, varying(*args)) for x in filled)


@cache
def _jax_triton() -> ModuleType:
    """jax-triton, mended where the installed versions of JAX and Triton need it."""
    # jax-triton 0.4 imports a constant that Triton before 3.7 lacks, and then says that it can't compile for NVIDIA.
    vars(import_module("triton.backends.nvidia.driver")).setdefault("TMA_TF32", 11)
    module = import_module("jax_triton")
    lib = sys.modules["jax_triton.triton_lib"]
    if hasattr(lib, "_triton_kernel_call_dce_rule"):
        # jax-triton 0.4 has a rule of two arguments; JAX 0.12 hands it three, the equation last in either case.
        from jax._src.interpreters import partial_eval

        partial_eval.dce_rules[lib.triton_kernel_call_p] = lambda _, *rest: ([True] * len(rest[-1].invars), rest[-1])
    return module
