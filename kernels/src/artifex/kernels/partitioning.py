"""Rules for kernels, which are opaque calls to JAX, under ``jax.vmap`` and on a mesh of devices.

Samples are independent, and so are the heads of an attention. So a new axis is folded into the batch, and each device
of a mesh runs the kernel on its shard; without such a rule, XLA gathers all arrays on all devices.
"""

from collections.abc import Callable, Sequence
from typing import Final

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

Kernel = Callable[..., tuple[Array, ...]]
Arrays = Sequence[jax.ShapeDtypeStruct]
Shardings = tuple[NamedSharding, ...]

SHARDED: Final = ("b", "h")
"""The batch and the heads: the axes that may be sharded."""


def batch_parallel(f: Kernel, arguments: Sequence[str] | None = None, results: Sequence[str] | None = None) -> Kernel:
    """``f``, which ``jax.vmap`` calls once with a larger batch, and which each device of a mesh runs on its shard.

    Where shardings differ, the first array whose batch is sharded determines the axes of the mesh, and likewise for
    heads; the others are resharded. Inside ``jax.shard_map`` nothing is partitioned.

    Args:
        f: a function of trees of arrays, each with the batch as its first axis, or an axis of size 1 that is broadcast;
            its results have the batch first, with shapes that depend on those of its arguments only. It closes over no
            array. Under ``jax.custom_vjp``, the forward and backward functions are wrapped.
        arguments: for each array, a letter for each of its first axes: ``b`` is the batch, the first one, and ``h``
            the heads, or 1. None is ``b`` for all.
        results: the same for the results; those without an axis of heads are summed over heads.
    """

    def run(*trees: object) -> tuple[Array, ...]:
        arrays, structure = jax.tree.flatten(trees)

        def flat(*arrays: Array) -> tuple[Array, ...]:
            return f(*jax.tree.unflatten(structure, arrays))

        # Without a mesh in context the arrays may still be on one. A mesh of one device is not partitioned, so that JAX
        # can lower for a device that is absent.
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty or (mesh.size > 1 and not mesh.manual_axes):
            flat = _partitioned(flat, arguments, results)
        return _folded(flat)(*arrays)

    return run


def _folded(f: Kernel) -> Kernel:
    """``f`` with a ``jax.vmap`` that folds the new axis into the batch."""
    mapped = jax.custom_batching.custom_vmap(f)

    @mapped.def_vmap
    def rule(axis_size: int, in_batched: Sequence[bool], *args: Array) -> tuple[tuple[Array, ...], tuple[bool, ...]]:
        batch = max(x.shape[1 if batched else 0] for x, batched in zip(args, in_batched, strict=True))

        def fold(x: Array, batched: bool) -> Array:
            if not batched:
                if x.shape[0] == 1:
                    return x
                x = x[None]
            x = jnp.broadcast_to(x, (axis_size, batch, *x.shape[2:]))
            return x.reshape(axis_size * batch, *x.shape[2:])

        out = folded(*(fold(x, batched) for x, batched in zip(args, in_batched, strict=True)))
        return tuple(x.reshape(axis_size, batch, *x.shape[1:]) for x in out), (True,) * len(out)

    def folded(*args: Array) -> tuple[Array, ...]:
        out: tuple[Array, ...] = mapped(*args)
        return out

    return folded


def _partitioned(f: Kernel, arguments: Sequence[str] | None, results: Sequence[str] | None) -> Kernel:
    """``f``, which each device of a mesh runs on its samples and heads."""

    def rule(mesh: Mesh, inputs: Arrays, out: Arrays) -> str:
        """Name the axes; those that are sharded together share a name."""

        def side(word: str, names: list[list[str]]) -> str:
            arrays = ([name or f"{word}{i}_{j}" for j, name in enumerate(axes)] for i, axes in enumerate(names))
            return ", ".join(map(" ".join, arrays))

        return f"{side('x', _names(inputs, arguments))} -> {side('y', _names(out, results))}"

    def partition(mesh: Mesh, inputs: Arrays, out: Arrays) -> tuple[Mesh, Kernel, Shardings, Shardings]:
        ahead, behind = _names(inputs, arguments), _names(out, results)
        along: dict[str, tuple[str, ...]] = dict.fromkeys(SHARDED, ())
        for x, names in zip((*inputs, *out), ahead + behind, strict=True):
            for name, spec in zip(names, x.sharding.spec, strict=True):
                axes = (spec,) if isinstance(spec, str) else tuple(spec or ())
                free = not any(set(axes) & set(taken) for taken in along.values())
                if name and free and not along[name]:
                    along[name] = axes
        over = [() if "h" in names else along["h"] for names in behind]

        def on_shard(*arrays: Array) -> tuple[Array, ...]:
            return tuple(lax.psum(y, axes) for y, axes in zip(f(*arrays), over, strict=True))  # type: ignore[no-untyped-call]

        def shardings(arrays: list[list[str]]) -> Shardings:
            specs = (PartitionSpec(*(along.get(name) for name in names)) for names in arrays)  # type: ignore[no-untyped-call]
            return tuple(NamedSharding(mesh, spec) for spec in specs)

        return mesh, on_shard, shardings(behind), shardings(ahead)

    partitioned = custom_partitioning(f)  # type: ignore[no-untyped-call]
    partitioned.def_partition(partition, sharding_rule=rule)  # type: ignore[no-untyped-call]

    def run(*arrays: Array) -> tuple[Array, ...]:
        out: tuple[Array, ...] = partitioned(*arrays)
        return out

    return run


def _names(arrays: Arrays, axes: Sequence[str] | None) -> list[list[str]]:
    """``b`` or ``h`` for each axis that may be sharded, empty for the others."""
    letters = axes or ["b"] * len(arrays)
    return [
        [name if name in SHARDED and n > 1 else "" for name, n in zip(of.ljust(len(x.shape)), x.shape, strict=True)]
        for of, x in zip(letters, arrays, strict=True)
    ]
