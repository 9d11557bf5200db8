"""Checks on a device before anything is timed there: every implementation in every dtype, and its noise."""

from collections.abc import Iterator
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from scipy.stats import kstest  # type: ignore[import-untyped]

from artifex.kernels import ImplementationName, Noise, UnsupportedKernelError, linear_step, sample_keys
from artifex.kernels.linear_step.api import IMPLEMENTATIONS
from artifex.training.bench.measure import WrongResultError, compare, runnable
from artifex.training.bench.race import Function
from artifex.training.bench.workloads import C, Kernel, gradient, workload

DTYPES: Final = (jnp.float32, jnp.bfloat16, jnp.float16)
TOLERANCE: Final = {"float32": 2e-5, "bfloat16": 3e-2, "float16": 4e-3}
"""Values and gradients may differ from the float32 reference by 4 times this, relative to its largest value."""
REDUCED: Final = 4e-3
"""The same for products of float32 matrices on a GPU, which uses 10 bits of their mantissas."""


def check_implementations(kernel: Kernel[C]) -> Iterator[str]:
    """Compare value and gradient of every implementation with the float32 reference at the kernel's odd size.

    Yields:
        A line for each dtype: the implementations that ran, and the largest error.

    Raises:
        WrongResultError: if an error is larger than the dtype explains.
    """
    for dtype in DTYPES:
        name = jnp.dtype(dtype).name
        job = workload(kernel, kernel.odd, "gradient", dtype, kernel.odd.batch, 0.0)
        arguments = job.inputs()
        implementations, _ = runnable(job, arguments)
        forward: dict[str, Function] = {
            implementation: kernel.call(kernel.odd, implementation)
            for implementation in kernel.implementations
            if implementation in implementations
        }
        tolerance = TOLERANCE[name]
        if kernel.products and dtype == jnp.float32 and jax.default_backend() != "cpu":
            tolerance = REDUCED
        programs = {implementation: jax.jit(both(f)) for implementation, f in forward.items()}
        programs["reference"] = jax.jit(in_float32(both(forward["reference"])))
        errors = compare(f"{kernel.name} in {name}", programs, arguments, 4 * tolerance)
        worst = max(errors, key=lambda implementation: errors[implementation])
        ran = ", ".join(implementations)
        yield f"{kernel.name} in {name}: {ran}; {worst} has the largest error, {errors[worst]:.1e}"


def both(function: Function) -> Function:
    """Combine value and gradient to a function of the cotangent and the arguments."""

    def run(cotangent: PyTree[Array], *args: Array) -> PyTree[Array]:
        return function(*args), gradient(function)(cotangent, *args)

    return run


def in_float32(function: Function) -> Function:
    """Evaluate ``function`` for the same values in float32, with products of full precision."""

    def run(*args: PyTree[Array]) -> PyTree[Array]:
        wide = jax.tree.map(lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x, args)
        with jax.default_matmul_precision("highest"):
            return function(*wide)

    return run


def check_noise(streams: int = 8, numbers: int = 2**16) -> Iterator[str]:
    """Check the noise of each implementation of the linear step.

    Threefry must equal JAX's numbers within 3e-5; philox must be standard normal by its moments, by correlations
    between and along streams, and by the Kolmogorov-Smirnov test.

    Yields:
        A line for each implementation.

    Raises:
        WrongResultError: if a check fails.
    """
    keys = sample_keys(jax.random.key(2024), streams)
    want = np.asarray(jax.vmap(lambda key: jax.random.normal(key, (numbers,)))(keys))
    for implementation in IMPLEMENTATIONS:
        try:
            drawn = np.asarray(_noise(implementation, "key", keys, numbers))
        except UnsupportedKernelError:
            continue
        off = float(np.abs(drawn - want).max())
        if not off <= 3e-5:
            raise WrongResultError(
                f"threefry by {implementation} must be within 3e-05 of jax.random.normal, got {off:.2g}"
            )
        yield f"threefry by {implementation}: within {off:.1e} of jax.random.normal, {drawn.size:,} numbers"
    for implementation in IMPLEMENTATIONS:
        try:
            drawn = np.asarray(_noise(implementation, "philox", keys, numbers), np.float64)
        except UnsupportedKernelError:
            continue
        yield f"philox by {implementation}: {check_standard_normal(drawn)}"


def check_standard_normal(z: np.ndarray) -> str:
    """Describe the deviation of the streams ``z``, ``(streams, n)``, from standard normal, in standard deviations.

    Raises:
        WrongResultError: if a moment or correlation deviates by 6 or more, or the Kolmogorov-Smirnov p is below 1e-6.
    """
    streams, n = z.shape
    # Standard deviations of the first four moments of n standard normal numbers.
    moments = [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]
    off = [np.abs((z**k).mean(axis=1) - mean) / np.sqrt(variance / n) for k, mean, variance in moments]
    across = np.abs(np.corrcoef(z)[np.triu_indices(streams, 1)]) * np.sqrt(n)
    along = [np.abs((z[:, lag:] * z[:, :-lag]).mean(axis=1)) * np.sqrt(n) for lag in (1, 2, 4)]
    worst = float(max(x.max() for x in (*off, across, *along)))
    p = float(kstest(z.ravel(), "norm").pvalue)
    if not (worst < 6 and p > 1e-6):
        raise WrongResultError(
            f"noise must be standard normal, got {worst:.1f} standard deviations off, KS p = {p:.1g}"
        )
    return f"moments and correlations within {worst:.1f} standard deviations, KS p = {p:.2f}"


def _noise(implementation: ImplementationName, noise: Noise, keys: Array, numbers: int) -> Array:
    """Draw noise."""

    @jax.jit
    def run(keys: Array) -> Array:
        zeros = jnp.zeros((keys.shape[0], numbers))
        return linear_step([zeros], jnp.zeros(1), noise_scale=1.0, key=keys, noise=noise, implementation=implementation)

    out: Array = run(keys)
    return out
