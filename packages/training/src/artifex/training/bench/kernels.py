"""The benchmarked kernels; a new one needs one entry of ``KERNELS``."""

import math
from typing import Any, Final

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array

from artifex.kernels import (
    DynamicThreshold,
    ImplementationName,
    adaln,
    attention,
    conv,
    group_norm_silu,
    guided_combine,
    linear_step,
    qk_norm_rope,
    upsample_conv,
)
from artifex.kernels.adaln.api import IMPLEMENTATIONS as ADALN_IMPLEMENTATIONS
from artifex.kernels.attention.api import IMPLEMENTATIONS as ATTENTION_IMPLEMENTATIONS
from artifex.kernels.cases import (
    ADALN,
    ATTENTION,
    CONV,
    GROUP_NORM_SILU,
    GUIDED_COMBINE,
    LINEAR_STEP,
    QK_NORM_ROPE,
    UPSAMPLE_CONV,
    AdalnCase,
    AttentionCase,
    ConvCase,
    GroupNormSiluCase,
    GuidedCombineCase,
    LinearStepCase,
    QkNormRopeCase,
)
from artifex.kernels.convolution import upsample_nearest
from artifex.kernels.convolution.api import CONV_IMPLEMENTATIONS, UPSAMPLE_CONV_IMPLEMENTATIONS
from artifex.kernels.group_norm_silu.api import IMPLEMENTATIONS as GROUP_NORM_SILU_IMPLEMENTATIONS
from artifex.kernels.guided_combine.api import IMPLEMENTATIONS as GUIDED_COMBINE_IMPLEMENTATIONS
from artifex.kernels.linear_step.api import IMPLEMENTATIONS as LINEAR_STEP_IMPLEMENTATIONS
from artifex.kernels.qk_norm_rope.api import IMPLEMENTATIONS as QK_NORM_ROPE_IMPLEMENTATIONS
from artifex.training.bench.race import Function
from artifex.training.bench.workloads import Arguments, Kernel, normal


def _attention_inputs(case: AttentionCase, batch: int, dtype: DTypeLike) -> Arguments:
    sizes = (case.tokens, case.keys, case.keys)
    return tuple(normal(i, (batch, n, case.heads, case.head_dim), dtype) for i, n in enumerate(sizes))


def _attention(case: AttentionCase, implementation: ImplementationName) -> Function:
    return lambda q, k, v: attention(q, k, v, implementation=implementation)


def _linear_step_inputs(case: LinearStepCase, batch: int, dtype: DTypeLike) -> Arguments:
    terms = [normal(i, (batch, *case.shape), dtype) for i in range(case.terms)]
    return (*terms, normal(9, (batch, case.terms), jnp.float32), *([jax.random.PRNGKey(1)] if case.noise else []))


def _linear_step(case: LinearStepCase, implementation: ImplementationName) -> Function:
    def run(*args: Array) -> Array:
        terms, (weights, *key) = args[: case.terms], args[case.terms :]
        return linear_step(
            terms,
            weights,
            noise_scale=0.1 if key else None,
            key=key[0] if key else None,
            clip=case.clip,
            implementation=implementation,
        )

    return run


def _guided_combine_inputs(case: GuidedCombineCase, batch: int, dtype: DTypeLike) -> Arguments:
    # A scale of 1 would keep ties between 16-bit values, for which the quantile's gradient is ambiguous.
    return (*(normal(i, (batch, *case.shape), dtype) for i in range(2)), 1.3 + 6.1 * jnp.linspace(0, 1, batch))


def _guided_combine(case: GuidedCombineCase, implementation: ImplementationName) -> Function:
    rescale = 0.7 if case.rescale else None
    threshold = DynamicThreshold() if case.threshold else None
    return lambda c, u, w: guided_combine(c, u, w, rescale=rescale, threshold=threshold, implementation=implementation)


def _adaln_inputs(case: AdalnCase, batch: int, dtype: DTypeLike) -> Arguments:
    tokens, vector = (batch, case.tokens, case.channels), (batch, case.channels)
    return tuple(normal(i, shape, dtype) for i, shape in enumerate((tokens, tokens, vector, vector, vector)))


def _adaln(case: AdalnCase, implementation: ImplementationName) -> Function:
    return lambda x, branch, gate, scale, shift: adaln(
        x, scale, shift, branch=branch, gate=gate, implementation=implementation
    )


def _group_norm_silu_inputs(case: GroupNormSiluCase, batch: int, dtype: DTypeLike) -> Arguments:
    shapes = [(batch, case.side, case.side, case.channels), (case.channels,), (case.channels,)]
    shapes += [(batch, case.channels)] * (2 * case.modulated)
    return tuple(normal(i, shape, dtype) for i, shape in enumerate(shapes))


def _group_norm_silu(case: GroupNormSiluCase, implementation: ImplementationName) -> Function:
    def run(x: Array, gamma: Array, beta: Array, scale: Array | None = None, shift: Array | None = None) -> Array:
        return group_norm_silu(
            x, gamma, beta, groups=case.groups, scale=scale, shift=shift, implementation=implementation
        )

    return run


def _qk_norm_rope_inputs(case: QkNormRopeCase, batch: int, dtype: DTypeLike) -> Arguments:
    heads = [normal(i, (batch, case.tokens, case.heads, case.head_dim), dtype) for i in range(2)]
    side = math.ceil(case.tokens ** (1 / case.axes))
    index = jnp.arange(case.tokens)
    positions = jnp.stack([index // side**i % side for i in range(case.axes)], axis=-1)
    return (*heads, *(normal(i, (case.head_dim,), dtype) for i in (2, 3)), positions)


def _qk_norm_rope(case: QkNormRopeCase, implementation: ImplementationName) -> Function:
    return lambda q, k, q_gain, k_gain, positions: qk_norm_rope(
        q, k, positions, q_gain=q_gain, k_gain=k_gain, implementation=implementation
    )


def _conv_inputs(case: ConvCase, batch: int, dtype: DTypeLike) -> Arguments:
    kernel = normal(1, (3, 3, case.channels, case.out), dtype) / (9 * case.channels) ** 0.5
    return normal(0, (batch, case.side, case.side, case.channels), dtype), kernel


def _conv(case: ConvCase, implementation: ImplementationName) -> Function:
    return lambda x, kernel: conv(x, kernel, padding=(1, 1), implementation=implementation)


def _upsample_conv(case: ConvCase, implementation: ImplementationName) -> Function:
    return lambda x, kernel: upsample_conv(x, kernel, padding=(1, 1), implementation=implementation)


def _lax_conv(x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _im2col(x: Array, kernel: Array) -> Array:
    _, h, w, _ = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = jnp.concatenate([padded[:, u : u + h, v : v + w] for u in range(3) for v in range(3)], axis=-1)
    return columns @ kernel.reshape(-1, kernel.shape[-1])


KERNELS: Final[tuple[Kernel[Any], ...]] = (
    Kernel(
        "attention",
        ATTENTION,
        AttentionCase("odd", tokens=77, keys=130, heads=3, head_dim=72, batch=2, few=2),
        tuple(ATTENTION_IMPLEMENTATIONS),
        _attention_inputs,
        _attention,
        flops=lambda case, batch: 4.0 * batch * case.heads * case.tokens * case.keys * case.head_dim,
        # The scores once more, and four products: the gradients of scores, queries, keys and values.
        backward=3.5,
        peers={"jax.nn": lambda q, k, v: jax.nn.dot_product_attention(q, k, v)},
        products=True,
    ),
    Kernel(
        "linear_step",
        LINEAR_STEP,
        LinearStepCase("odd", (37, 31), terms=3, noise=True, clip=2.0, batch=2, few=2),
        tuple(LINEAR_STEP_IMPLEMENTATIONS),
        _linear_step_inputs,
        _linear_step,
        flops=lambda case, batch: 2.0 * (case.terms + case.noise) * batch * math.prod(case.shape),
    ),
    Kernel(
        "guided_combine",
        GUIDED_COMBINE,
        GuidedCombineCase("odd", (37, 31), rescale=True, threshold=True, batch=2, few=2),
        tuple(GUIDED_COMBINE_IMPLEMENTATIONS),
        _guided_combine_inputs,
        _guided_combine,
        flops=lambda case, batch: (3.0 + 6 * case.rescale + 3 * case.threshold) * batch * math.prod(case.shape),
    ),
    Kernel(
        "adaln",
        ADALN,
        AdalnCase("odd", tokens=13, channels=200, batch=2, few=2),
        tuple(ADALN_IMPLEMENTATIONS),
        _adaln_inputs,
        _adaln,
        flops=lambda case, batch: 9.0 * batch * case.tokens * case.channels,
        backward=3.0,
    ),
    Kernel(
        "group_norm_silu",
        GROUP_NORM_SILU,
        GroupNormSiluCase("odd", side=7, channels=60, groups=6, modulated=True, batch=2, few=2),
        tuple(GROUP_NORM_SILU_IMPLEMENTATIONS),
        _group_norm_silu_inputs,
        _group_norm_silu,
        flops=lambda case, batch: 13.0 * batch * case.side**2 * case.channels,
        backward=3.0,
    ),
    Kernel(
        "qk_norm_rope",
        QK_NORM_ROPE,
        QkNormRopeCase("odd", tokens=13, heads=3, head_dim=72, axes=2, batch=2, few=2),
        tuple(QK_NORM_ROPE_IMPLEMENTATIONS),
        _qk_norm_rope_inputs,
        _qk_norm_rope,
        flops=lambda case, batch: 14.0 * batch * case.tokens * case.heads * case.head_dim,
        backward=3.0,
    ),
    Kernel(
        "conv",
        CONV,
        ConvCase("odd", side=12, channels=3, out=5, batch=2, few=2),
        tuple(CONV_IMPLEMENTATIONS),
        _conv_inputs,
        _conv,
        flops=lambda case, batch: 18.0 * batch * case.side**2 * case.channels * case.out,
        backward=3.0,
        peers={"jax.lax": _lax_conv, "im2col": _im2col},
        products=True,
    ),
    Kernel(
        "upsample_conv",
        UPSAMPLE_CONV,
        ConvCase("odd", side=6, channels=3, out=5, batch=2, few=2),
        tuple(UPSAMPLE_CONV_IMPLEMENTATIONS),
        _conv_inputs,
        _upsample_conv,
        flops=lambda case, batch: 72.0 * batch * case.side**2 * case.channels * case.out,
        backward=3.0,
        peers={"jax.lax": lambda x, kernel: _lax_conv(upsample_nearest(x), kernel)},
        products=True,
    ),
)
"""All kernels that are measured."""
