r"""Weights of which only the direction counts, and the forced weight normalisation that keeps their length.

A network that divides each row $w_i$ by its norm wherever it is used has a gradient orthogonal to $w_i$: steps along
it make rows longer and longer, and the longer they are the less a step turns them. So while it is trained each of them,
the weights of one output unit, is set back to

$$w_i \leftarrow \sqrt{N}\, \frac{w_i}{\lVert w_i \rVert},\qquad N = \text{the inputs of a unit}$$

after every step: mean square 1. The output stays as it is, and so does what a learning rate means.

References: Karras et al. 2024, https://arxiv.org/abs/2312.02696, section 2.3
"""

from typing import TypeVar

import jax
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from artifex.kernels.dtypes import accumulation_dtype

T = TypeVar("T")
A = TypeVar("A")


class DirectionParam(nnx.Param[A]):
    """A parameter whose rows, one for each place of its last axis, are divided by their norms where they are used."""


def unit_rows(weight: Float[Array, "*n o"]) -> Float[Array, "*n o"]:
    r"""$w_i / \lVert w_i \rVert$, computed in float32 at least; rows of zeros stay zero."""
    wide = weight.astype(accumulation_dtype(weight.dtype))
    return wide * lax.rsqrt((wide * wide).sum(tuple(range(wide.ndim - 1)), keepdims=True) + 1e-12)


def force_weight_norm(parameters: T) -> T:
    r"""Parameters with each row of each ``DirectionParam`` at its norm $\sqrt N$, and all others as they are.

    Training by ``artifex.training`` does it after every step. In a loop of one's own:

        parameters = force_weight_norm(optax.apply_updates(parameters, updates))
        nnx.update(model, force_weight_norm(nnx.state(model, nnx.Param)))  # likewise, behind an `nnx.Optimizer`

    Args:
        parameters: a pytree of variables of nnx, as ``nnx.state`` and ``nnx.split`` give them.

    Returns:
        A pytree of the same structure, shapes and dtypes.

    Raises:
        ValueError: If there is an array that is in no variable, for such a one does not tell what it is.
    """

    def forced(variable: object) -> object:
        if not isinstance(variable, nnx.Variable):
            raise ValueError(
                f"parameters must be variables of nnx, as nnx.state gives them, got {type(variable).__name__}"
            )
        if not isinstance(variable, DirectionParam):
            return variable
        weight = variable[...]
        rows = unit_rows(weight) * (weight.size // weight.shape[-1]) ** 0.5
        return variable.replace(rows.astype(weight.dtype))

    out: T = jax.tree.map(forced, parameters, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    return out
