"""The leaves of a pytree by the names of their places: how they are stored, whatever classes the tree is made of."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def named(tree: object) -> dict[str, Any]:
    """Leaves by their paths, joined by dots, in the tree's order."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def map_by_name(f: Callable[[str, Any], object], tree: T) -> T:
    """``tree`` with ``f`` of each leaf's path, as ``parameter_roles`` has it, and the leaf itself in its place."""
    leaves, structure = jax.tree.flatten_with_path(tree)
    names = (jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value") for path, _ in leaves)
    out: T = jax.tree.unflatten(structure, [f(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)])
    return out
