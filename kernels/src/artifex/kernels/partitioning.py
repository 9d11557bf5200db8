"""What ``jax.vmap`` and a mesh of devices make of a kernel, of which JAX knows no more than that it is one call.

Samples know nothing of each other, nor do the heads of an attention. So a new axis joins the batch, and each device of
a mesh runs the kernel on its share; without a rule that says so, XLA gathers all arrays on all devices.
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

CUT: Final = ("b", "h")
"""The batch and the heads: the axes that devices may share."""


def batch_parallel(f: Kernel, arguments: Sequence[str] | None = None, results: Sequence[str] | None = None) -> Kernel:
    """``f``, run once under ``jax.vmap``, on a batch so many times as large, and on a mesh by each device on its share.

    Where arrays lie differently, the first one whose batch is cut says along which axes of the mesh, and likewise for
    heads; the others are moved. Inside ``jax.shard_map`` nothing is left to share.

    Args:
        f: a function of trees of arrays, each with the batch in front, or an axis of size 1 that serves all samples;
            what it returns has the batch in front, and shapes follow from those of its arguments alone. It closes over
            no array. Under ``jax.custom_vjp``, it is what runs forward and what runs backward.
        arguments: for each array, a letter for each of its first axes: ``b`` is the batch, the first one, and ``h``
            the heads, or 1 that serves all. None is ``b`` for all.
        results: likewise, of what it returns. What has no axis of heads is summed over them.
    """

    def run(*trees: object) -> tuple[Array, ...]:
        arrays, structure = jax.tree.flatten(trees)

        def flat(*arrays: Array) -> tuple[Array, ...]:
            return f(*jax.tree.unflatten(structure, arrays))

        # Where JAX knows of no mesh yet, the arrays may lie on one. A mesh of one device has nothing to share; so JAX
        # needs no such device in order to lower for it.
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty or (mesh.size > 1 and not mesh.manual_axes):
            flat = _shared(flat, arguments, results)
        return _folded(flat)(*arrays)

    return run


def _folded(f: Kernel) -> Kernel:
    """``f`` whose ``jax.vmap`` folds the new axis into the batch."""
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


def _shared(f: Kernel, arguments: Sequence[str] | None, results: Sequence[str] | None) -> Kernel:
    """``f``, which each device of a mesh runs on its own samples and heads."""

    def rule(mesh: Mesh, given: Arrays, out: Arrays) -> str:
        """Axes that are cut alike have one name; the others have one of their own each."""

        def side(word: str, names: list[list[str]]) -> str:
            arrays = ([name or f"{word}{i}_{j}" for j, name in enumerate(axes)] for i, axes in enumerate(names))
            return ", ".join(map(" ".join, arrays))

        return f"{side('x', _names(given, arguments))} -> {side('y', _names(out, results))}"

    def partition(mesh: Mesh, given: Arrays, out: Arrays) -> tuple[Mesh, Kernel, Shardings, Shardings]:
        ahead, behind = _names(given, arguments), _names(out, results)
        along: dict[str, tuple[str, ...]] = dict.fromkeys(CUT, ())
        for x, names in zip((*given, *out), ahead + behind, strict=True):
            for name, asked in zip(names, x.sharding.spec, strict=True):
                axes = (asked,) if isinstance(asked, str) else tuple(asked or ())
                free = not any(set(axes) & set(taken) for taken in along.values())
                if name and free and not along[name]:
                    along[name] = axes
        over = [() if "h" in names else along["h"] for names in behind]

        def share(*arrays: Array) -> tuple[Array, ...]:
            return tuple(lax.psum(y, axes) for y, axes in zip(f(*arrays), over, strict=True))  # type: ignore[no-untyped-call]

        def shardings(arrays: list[list[str]]) -> Shardings:
            specs = (PartitionSpec(*(along.get(name) for name in names)) for names in arrays)  # type: ignore[no-untyped-call]
            return tuple(NamedSharding(mesh, spec) for spec in specs)

        return mesh, share, shardings(behind), shardings(ahead)

    shared = custom_partitioning(f)  # type: ignore[no-untyped-call]
    shared.def_partition(partition, sharding_rule=rule)  # type: ignore[no-untyped-call]

    def run(*arrays: Array) -> tuple[Array, ...]:
        out: tuple[Array, ...] = shared(*arrays)
        return out

    return run


def _names(arrays: Arrays, axes: Sequence[str] | None) -> list[list[str]]:
    """``b`` or ``h`` for each axis that may be cut, nothing for the others."""
    letters = axes or ["b"] * len(arrays)
    return [
        [name if name in CUT and n > 1 else "" for name, n in zip(of.ljust(len(x.shape)), x.shape, strict=True)]
        for of, x in zip(letters, arrays, strict=True)
    ]
