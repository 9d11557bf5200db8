"""Agreement of kernels with float64, and with themselves under JAX's transformations."""

from collections.abc import Callable
from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from tests.kernels.exact import HostArray

quick: Final = {"xla_backend_optimization_level": 0}
"""Options of ``jax.jit`` where compiling takes longer than running."""


def assert_within(name: str, got: Array, want: HostArray, relative: float, size: HostArray) -> None:
    """Assert that ``got`` is ``want`` within ``relative`` of ``size``, elementwise."""
    assert got.shape == want.shape, name
    error, bound = np.abs(np.asarray(got, np.float64) - want), relative * size + float(np.finfo(np.float32).tiny)
    worst = np.unravel_index(np.argmax(error - bound), error.shape)
    assert np.all(error <= bound), f"{name}{worst}: {got[worst]} for {want[worst]}, off by more than {bound[worst]}"


def assert_transforms(f: Callable[..., Array], *stacked: Array, kernel: bool, atol: float = 1e-4) -> None:
    """Assert that ``f`` and its gradients are the same under vmap, scan, checkpoint and shard_map.

    Args:
        f: takes arrays whose first axis is the batch.
        stacked: its arguments, twice, one behind the other.
        kernel: whether ``f`` is a Pallas kernel or a callback, for which JAX can't check how results vary.
        atol: by how much results may differ.
    """
    places = tuple(range(len(stacked)))

    def loss(*args: Array) -> tuple[Array, Array]:
        out = f(*args)
        return jnp.sum(out.astype(jnp.float32) ** 2), out

    alone = jax.value_and_grad(loss, places, has_aux=True)
    recomputed = jax.value_and_grad(jax.checkpoint(loss), places, has_aux=True)
    batch = PartitionSpec("batch")  # type: ignore[no-untyped-call]
    mesh = Mesh(np.asarray(jax.devices()[:1]), ("batch",))

    @partial(jax.shard_map, mesh=mesh, in_specs=batch, out_specs=batch, check_vma=not kernel)
    def sharded(*args: Array) -> Array:
        return f(*args)

    @partial(jax.jit, compiler_options=quick)
    def run() -> tuple[tuple[tuple[Array, Array], object], object, object, Array]:
        _, walked = jax.lax.scan(lambda carry, args: (carry, recomputed(*args)), None, stacked)
        last = [x[1] for x in stacked]
        return alone(*last), jax.vmap(alone)(*stacked), walked, sharded(*last)

    want, at_once, walked, on_devices = run()
    for got in (at_once, walked):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-5, atol=atol), got, want)
    np.testing.assert_allclose(on_devices, want[0][1], atol=atol)
