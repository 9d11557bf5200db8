"""Reasons why an implementation of attention can't run; None where it can."""

from typing import Final

import jax.numpy as jnp
from jaxtyping import Array

from artifex.kernels.platform import compute_capability, no_pallas_reason, no_triton_reason, platform

VMEM: Final = 16 << 20
"""Bytes of a TPU core's memory that a program gets by default."""


def pallas(q: Array, k: Array, v: Array, *_: object) -> str | None:
    """Of ``pallas``."""
    if (reason := no_pallas_reason()) is not None:
        return reason
    if q.dtype == jnp.float64:
        return "it sums in float32, and q is float64"
    # The gradient by keys reads q and d_out in lanes of 128, and two rows of lanes per token; all of it twice, since
    # the next head's is prefetched.
    lanes = sum(-(-x.shape[-1] // 128) * 128 * x.dtype.itemsize for x in (q, v)) + 2 * 128 * 4
    tokens = max(q.shape[1], k.shape[1])
    if platform() == "tpu" and 2 * tokens * lanes > VMEM:
        return f"all tokens of a head must fit in {VMEM >> 20} MiB, and {tokens} take {2 * tokens * lanes / 2**20:.0f}"
    return None


def triton(q: Array, k: Array, v: Array, *_: object) -> str | None:
    """Of ``triton``."""
    if (reason := no_triton_reason()) is not None:
        return reason
    if q.dtype == jnp.float64:
        return "it sums in float32, and q is float64"
    if (width := max(q.shape[-1], v.shape[-1])) > 256:
        return f"a head must be at most 256 wide to fit in registers, and is {width}"
    if max(x[0].size for x in (q, k, v)) >= 2**31 or q.shape[1] * k.shape[1] >= 2**31:
        return f"a sample's numbers are counted in 32 bits, and {q.shape[1]} tokens and {k.shape[1]} keys have more"
    return None


def cudnn(
    q: Array, k: Array, v: Array, bias: Array | None, mask: Array | None, segments: object, *_: object
) -> str | None:
    """Of ``cudnn``, from the documentation of JAX's cuDNN attention."""
    if platform() != "gpu":
        return f"cuDNN runs on gpu, and this process runs on {platform()}"
    if (capability := compute_capability()) is None or capability < (8, 0):
        return f"cuDNN's attention needs an NVIDIA GPU of compute capability 8.0, and this one has {capability}"
    if q.dtype not in (jnp.float16, jnp.bfloat16):
        return f"cuDNN's attention takes float16 and bfloat16, and q is {q.dtype}"
    d, e = q.shape[-1], v.shape[-1]
    if d != e or d > 128 or d % 8:
        return f"cuDNN's attention takes heads of one width up to 128, a multiple of 8, and they are {d} and {e} wide"
    if segments is not None:
        return "cuDNN's attention would need segment_ids as a mask of tokens x keys"
    if (bias is not None or mask is not None) and (q.shape[1] % 2 or k.shape[1] % 2):
        return (
            f"cuDNN's attention takes a bias or a mask for even numbers, not for {q.shape[1]} tokens, {k.shape[1]} keys"
        )
    return None


def cudnn_with_lse(*_: object) -> str:
    """Of ``cudnn`` with ``return_lse``."""
    return "JAX's cuDNN attention has no gradient of the log-sum-exp"
