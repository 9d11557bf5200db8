"""The leaves of a pytree by the names of their places: how they are stored, whatever classes the tree is made of."""

from typing import Any

import jax


def named(tree: object) -> dict[str, Any]:
    """Leaves by their paths, joined by dots, in the tree's order."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
