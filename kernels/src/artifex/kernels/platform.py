"""The platform of this process, and the differences between versions of JAX, Triton and jax-triton."""

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
"""The target of a Pallas kernel; ``interpret`` runs it as plain XLA, on any platform and slowly, for tests."""

TritonKernel = Callable[..., object]
"""A function decorated with ``triton_jit``."""

Constants = Mapping[str, int | float | bool | tuple[int, ...]]
"""The compile-time arguments of a Triton kernel."""

F = TypeVar("F", bound=TritonKernel)
Arrays = TypeVar("Arrays")


@runtime_checkable
class Launch(Protocol):
    """The call of a Triton kernel on arrays: ``launch`` on a GPU, Triton's interpreter in tests."""

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
        """Run ``kernel(*args, *out, **constants)`` on a grid and return ``out``, filled."""
        ...


def platform() -> str:
    """``cpu``, ``gpu`` or ``tpu``: the platform that is being traced for, by JAX's default device."""
    device = jax.default_device.value
    if device is None:
        return jax.default_backend()
    name: str = device if isinstance(device, str) else device.platform
    return "gpu" if name in ("cuda", "rocm") else name


def compute_capability() -> tuple[int, int] | None:
    """The compute capability of the first GPU, such as ``(9, 0)``; None where that is not an NVIDIA GPU."""
    match = re.fullmatch(r"(\d+)\.(\d+)", str(getattr(jax.local_devices()[0], "compute_capability", "")))
    return None if match is None else (int(match[1]), int(match[2]))


def shaped(shape: Sequence[int], dtype: DTypeLike) -> jax.ShapeDtypeStruct:
    """A typed ``jax.ShapeDtypeStruct``."""
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

    On a GPU that is Pallas' Triton backend, which JAX 0.11 deprecates and which JAX 0.10 selects by the type of the
    parameters.

    Args:
        kernel: takes a reference (``jax.Ref``) to the block of each input, then of each output.
        target: to lower for; None is the platform.
        grid: shape of the grid of programs.
        in_specs: block of each input.
        out_specs: block of each output.
        out_shape: shape and dtype of each output.
        name: for profiles.
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
        # `jax.shard_map` needs the axes along which the outputs vary: those of the inputs.
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
    """A typed ``triton.jit`` of the function itself, without the wrapper of an import hook."""
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
    """Run a Triton kernel on arrays, by jax-triton.

    Arguments are arrays or constants: versions of jax-triton differ in the treatment of Python numbers.

    Args:
        kernel: takes a pointer to each of ``args``, then of ``out``, then the constants.
        grid: shape of the grid of programs, at most three axes.
        args: the inputs.
        out: shape and dtype of each output.
        constants: compile-time arguments.
        warps: of a program.
        stages: loads in flight in a loop.
        compute_capability: 90 for Hopper; None is the GPU's.
    """
    call = _jax_triton().triton_call
    # Multiply-adds are fused explicitly: Triton 3.9 warns that the default will change.
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
    """jax-triton, patched where the installed versions of JAX and Triton need it."""
    # jax-triton 0.4 imports a constant that Triton before 3.7 lacks, and then reports no support for NVIDIA.
    vars(import_module("triton.backends.nvidia.driver")).setdefault("TMA_TF32", 11)
    module = import_module("jax_triton")
    lib = sys.modules["jax_triton.triton_lib"]
    if hasattr(lib, "_triton_kernel_call_dce_rule"):
        # jax-triton 0.4 has a rule of two arguments, JAX 0.12 passes three; the equation is the last in both.
        from jax._src.interpreters import partial_eval

        partial_eval.dce_rules[lib.triton_kernel_call_p] = lambda _, *rest: ([True] * len(rest[-1].invars), rest[-1])
    return module
