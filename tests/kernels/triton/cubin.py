"""Compilation of Triton kernels for Hopper, without a GPU."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from artifex.kernels.platform import Constants, TritonKernel


@dataclass(frozen=True)
class Cubin:
    """The resources and instructions of a compiled kernel.

    Attributes:
        registers: of a thread; 255 at most.
        stack: bytes of a thread in local memory: what was spilled.
        shared: bytes of a program; 227 KiB at most on Hopper.
        wgmma: matrix products of a whole warp group.
        wide_loads: of 16 bytes a thread, direct or as a copy into shared memory.
    """

    registers: int
    stack: int
    shared: int
    wgmma: int
    wide_loads: int


def compiled(
    kernel: TritonKernel, pointers: Mapping[str, str], constants: Constants, *, warps: int, stages: int
) -> Cubin:
    """Compiles for sm_90a.

    Args:
        kernel: the kernel.
        pointers: Triton's name of the dtype behind each pointer, such as ``bf16``, in the kernel's order.
        constants: what it is compiled for.
        warps: of a program.
        stages: loads in flight in a loop.
    """
    source = ASTSource(
        fn=kernel,
        signature={name: f"*{dtype}" for name, dtype in pointers.items()} | dict.fromkeys(constants, "constexpr"),
        constexprs=dict(constants),
        attrs={(i,): [["tt.divisibility", 16]] for i in range(len(pointers))},
    )
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True}
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with TemporaryDirectory() as folder, triton.knobs.cache.scope():
        triton.knobs.cache.dir = folder
        binary = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(binary.asm["cubin"])
        usage = subprocess.run((tool, "--dump-resource-usage", file), check=True, capture_output=True, text=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None, usage
    ptx: str = binary.asm["ptx"]
    return Cubin(
        registers=int(found[1]),
        stack=int(found[2]),
        shared=binary.metadata.shared,
        wgmma=ptx.count("wgmma.mma_async"),
        wide_loads=len(re.findall(r"ld\.global[.\w:]*\.v4|cp\.async\.cg", ptx)),
    )
