r"""Muon on the matrices between a network's hidden layers, AdamW on everything else.

Of each matrix of $m$ inputs and $n$ outputs, with its gradient $G_k$ at step $k$,

$$M_k = \beta M_{k-1} + (1 - \beta) G_k,\quad
  W \leftarrow W - \eta\,\sqrt{\max(1, n / m)}\;\mathrm{NS}_5(\beta \hat M_k + (1 - \beta) \hat G_k)$$

where $\mathrm{NS}_5$ are five steps $X \leftarrow a X + (b A + c A^2) X$, $A = X X^\top$, starting from
$X / \lVert X \rVert_F$, with $a, b, c = 3.4445, -4.7750, 2.0315$. The network defines the matrices, several of which
may be in one kernel: see ``artifex.backbones.hidden_matrices``.

References: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; Liu et al. 2025 (the scale of
``consistent_rms``), https://arxiv.org/abs/2502.16982
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import optax
from optax.contrib import MuonDimensionNumbers

from artifex.backbones import Matrices
from artifex.training.named_leaves import map_by_name

T = TypeVar("T")


def muon(
    rate: optax.Schedule,
    matrices: Mapping[str, Matrices] | None,
    *,
    adam_learning_rate: optax.Schedule | None = None,
    adam_b1: float = 0.9,
    adam_b2: float = 0.999,
    adam_eps_root: float = 0.0,
    adam_weight_decay: float = 0.0,
    decayed: Callable[[Any], Any] | None = None,
    eps: float = 1e-8,
    mu_dtype: str | None = None,
    **options: Any,  # noqa: ANN401 -- of optax
) -> optax.GradientTransformation:
    """Combine ``optax.contrib.muon`` for ``matrices`` with ``optax.adamw`` for all other parameters.

    Args:
        rate: the learning rate of both.
        matrices: by a parameter's path; None treats each kernel of two axes as a matrix and of four as a convolution's.
        adam_learning_rate: overrides ``rate`` for AdamW.
        adam_b1: of AdamW.
        adam_b2: of AdamW.
        adam_eps_root: of AdamW.
        adam_weight_decay: of AdamW.
        decayed: the parameters with weight decay, as the ``mask`` of ``optax.adamw``; None is all.
        eps: of both.
        mu_dtype: of both.
        options: further options of ``optax.contrib.muon``.
    """

    def known(parameters: object) -> Mapping[str, Matrices]:
        return _by_shape(parameters) if matrices is None else matrices

    def labels(parameters: T) -> T:
        found = known(parameters)
        return map_by_name(lambda name, _: "muon" if name in found else "adamw", parameters)

    def numbers(parameters: T) -> T:
        found = known(parameters)
        return map_by_name(lambda name, _: MuonDimensionNumbers(found[name].reduction, found[name].output), parameters)

    def split(tree: T) -> T:
        return tree if matrices is None else _reshaped(tree, {name: m.shape for name, m in matrices.items()})

    inner = optax.contrib.muon(rate, eps=eps, mu_dtype=mu_dtype, muon_weight_dimension_numbers=numbers, **options)
    adamw = optax.adamw(
        rate if adam_learning_rate is None else adam_learning_rate, adam_b1, adam_b2, eps, adam_eps_root, mu_dtype,
        adam_weight_decay, decayed,
    )  # fmt: skip
    return optax.partition({"muon": _reshaping(inner, split), "adamw": adamw}, labels)


def _reshaping(inner: optax.GradientTransformation, split: Callable[[Any], Any]) -> optax.GradientTransformation:
    """Wrap ``inner`` so that it gets parameters and state reshaped by ``split``; outside they keep their shapes."""

    def whole(tree: T, parameters: object) -> T:
        shapes = dict[str, tuple[int, ...]]()
        map_by_name(lambda name, leaf: shapes.update({name: leaf.shape}), parameters)
        return _reshaped(tree, shapes)

    def init(parameters: Any) -> Any:  # noqa: ANN401 -- any pytree
        return whole(inner.init(split(parameters)), parameters)

    def update(updates: Any, state: Any, parameters: Any = None) -> Any:  # noqa: ANN401
        new, after = inner.update(split(updates), split(state), None if parameters is None else split(parameters))
        return whole(new, updates), whole(after, updates)

    return optax.GradientTransformation(init, update)


def _reshaped(tree: T, shapes: Mapping[str, tuple[int, ...]]) -> T:
    """Reshape each leaf, also of a state, whose path is one of ``shapes`` or ends in one."""

    def one(name: str, leaf: jax.Array) -> jax.Array:
        parts = name.split(".")
        ends = (".".join(parts[i:]) for i in range(len(parts)))
        shape = next((shapes[end] for end in ends if end in shapes), leaf.shape)
        return leaf.reshape(shape) if math.prod(shape) == leaf.size else leaf

    return map_by_name(one, tree)


def _by_shape(parameters: object) -> dict[str, Matrices]:
    """Infer the matrices from the shapes of the parameters."""
    found = dict[str, Matrices]()

    def look(name: str, leaf: jax.Array) -> None:
        if leaf.ndim in (2, 4) and name.rpartition(".")[2] in ("kernel", "weight"):
            found[name] = Matrices(tuple(range(-leaf.ndim, -1)), (-1,), leaf.shape)

    map_by_name(look, parameters)
    return found
