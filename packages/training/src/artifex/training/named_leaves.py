"""Leaves of a pytree by name: a storage format that is independent of the tree's classes."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def named(tree: object) -> dict[str, Any]:
    """Map paths, joined by dots, to leaves, in the tree's order."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def map_by_name(f: Callable[[str, Any], object], tree: T) -> T:
    """Apply ``f`` to each leaf's path, named as in ``parameter_roles``, and the leaf."""
    leaves, structure = jax.tree.flatten_with_path(tree)
    names = (jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value") for path, _ in leaves)
    out: T = jax.tree.unflatten(structure, [f(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)])
    return out
