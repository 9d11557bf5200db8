r"""Forced weight normalization: weights used by their direction, whose norm is reset after each step.

A network that divides each row $w_i$, the weights of one output unit, by its norm has a gradient orthogonal to $w_i$:
every step makes the row longer, and the longer it is, the less a step turns it. So after every training step

$$w_i \leftarrow \sqrt{N}\, \frac{w_i}{\lVert w_i \rVert},\qquad N = \text{number of inputs},$$

which leaves the output unchanged and the effective learning rate constant.

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
    """A parameter whose rows, one per index of its last axis, are divided by their norms where they are used."""


def normalize_rows(weight: Float[Array, "*n o"]) -> Float[Array, "*n o"]:
    r"""$w_i / \lVert w_i \rVert$, computed in at least float32; rows of zeros stay zero."""
    wide = weight.astype(accumulation_dtype(weight.dtype))
    return wide * lax.rsqrt((wide * wide).sum(tuple(range(wide.ndim - 1)), keepdims=True) + 1e-12)


def force_weight_norm(parameters: T) -> T:
    r"""Reset each row of each ``DirectionParam`` to norm $\sqrt N$.

    ``artifex.training`` does it after every step. In your own loop:

        parameters = force_weight_norm(optax.apply_updates(parameters, updates))
        nnx.update(model, force_weight_norm(nnx.state(model, nnx.Param)))  # after an nnx.Optimizer

    Args:
        parameters: a pytree of ``nnx.Variable``, as ``nnx.state`` and ``nnx.split`` return it.

    Returns:
        A pytree of the same structure, shapes and dtypes; other variables are unchanged.

    Raises:
        ValueError: if a leaf is not an ``nnx.Variable``.
    """

    def forced(variable: object) -> object:
        if not isinstance(variable, nnx.Variable):
            raise ValueError(
                f"parameters must be variables of nnx, as nnx.state gives them, got {type(variable).__name__}"
            )
        if not isinstance(variable, DirectionParam):
            return variable
        weight = variable[...]
        rows = normalize_rows(weight) * (weight.size // weight.shape[-1]) ** 0.5
        return variable.replace(rows.astype(weight.dtype))

    out: T = jax.tree.map(forced, parameters, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    return out
