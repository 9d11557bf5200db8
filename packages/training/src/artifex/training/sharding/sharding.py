r"""Shardings of parameters and training states over a mesh.

| Axis of the mesh | Sharded along it |
| --- | --- |
| ``data`` | the batch |
| ``fsdp`` | the batch, and parameters, averages and the optimizer's moments; a step gathers a parameter for its use |
| ``tensor`` | the work inside a layer, by heads or by columns and rows of its kernel, and its parameters with it |

A parameter is sharded along ``tensor`` by the rule of its backbone, and along ``fsdp`` by the largest of its remaining
axes that ``fsdp`` divides, the first of equals; one of fewer than ``SMALL`` elements, or without such an axis, is
replicated. An array of the state with the path and the shape of a parameter is sharded like it.

The compiler does the rest: a program is written for the whole batch and computes, up to rounding, the same numbers on
any mesh.
"""

import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from flax import nnx
from jax.extend.core import Primitive
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from artifex.backbones import DiT
from artifex.training.named_leaves import named

T = TypeVar("T")
P = TypeVar("P")
A = ParamSpec("A")
R = TypeVar("R")
Axes = tuple[str | None, ...]
"""The axis of the mesh for each axis of an array; missing ones are replicated."""
Rules = Mapping[str, Axes]
"""From a pattern of a parameter's path, joined by dots, to its axes."""

SMALL: Final = 4096

_ROWS, _COLUMNS, _HEADS = ("tensor",), (None, "tensor"), (None, None, "tensor")
TENSOR: Final[Mapping[type[nnx.Module], Rules]] = {
    # Queries, keys and values by heads and the MLP's hidden layer by columns: devices are independent until the next
    # layer sums their partial results, an all-reduce of all tokens. The condition, one vector a sample, is computed by
    # columns, and its products with the modulations' rows are summed.
    DiT: {
        "*attention.qkv.kernel": _HEADS,
        "*attention.qkv.bias": _HEADS[1:],
        "*attention.out.kernel": _ROWS,
        "*mlp_in.kernel": _COLUMNS,
        "*mlp_in.bias": _COLUMNS[1:],
        "*mlp_out.kernel": _ROWS,
        "*embed.second.kernel": _COLUMNS,
        "*embed.second.bias": _COLUMNS[1:],
        "*embed.labels.table": _COLUMNS,
        "*modulation.kernel": _ROWS,
    }
}
"""Rules for ``tensor`` by the class of the backbone; parameters without a rule are replicated along it."""


def rules_of(backbone: type[nnx.Module], mesh: Mesh | AbstractMesh) -> Rules:
    """Return the rules of ``TENSOR`` for a class of backbones; none are needed where ``mesh.tensor`` is 1.

    Raises:
        ValueError: if they are needed and there are none.
    """
    if mesh.shape["tensor"] == 1:
        return {}
    if backbone not in TENSOR:
        raise ValueError(
            f"mesh.tensor must be 1 for {backbone.__name__}, which has no rules for it "
            f"({', '.join(known.__name__ for known in TENSOR)} has), got {mesh.shape['tensor']}"
        )
    return TENSOR[backbone]


def check_mesh(
    mesh: Mesh | AbstractMesh,
    backbone: nnx.Module,
    batch_size: int,
    accumulation_steps: int = 1,
    parallel_microbatches: int = 1,
) -> None:
    """Check that a run fits a mesh.

    Raises:
        ValueError: if devices would get unequal shards of a batch, and as `rules_of` and `state_shardings` do.
    """
    data, fsdp = mesh.shape["data"], mesh.shape["fsdp"]
    if batch_size % (data * fsdp * accumulation_steps * parallel_microbatches):
        counts = {"accumulation_steps": accumulation_steps, "parallel_microbatches": parallel_microbatches}
        factors = "".join(f" x {name} = {n}" for name, n in counts.items() if n > 1)
        raise ValueError(
            f"batch_size must be a multiple of mesh.data = {data} x mesh.fsdp = {fsdp}{factors}, got {batch_size}"
        )
    _parameter_axes(nnx.state(backbone, nnx.Param), mesh, rules_of(type(backbone), mesh))


@runtime_checkable
class HasParameters(Protocol):
    """A training state."""

    @property
    def parameters(self) -> object:
        """The parameters of the network."""
        ...


S = TypeVar("S", bound=HasParameters)


def parameter_shardings(parameters: T, mesh: Mesh | AbstractMesh, rules: Rules | None = None) -> T:
    """Return the sharding of each parameter.

    Args:
        parameters: arrays, or their shapes from ``jax.eval_shape``.
        mesh: of the axes ``AXES``.
        rules: for ``tensor``; see `rules_of`.

    Returns:
        The structure of ``parameters``, with a ``NamedSharding`` for each array.

    Raises:
        ValueError: if an axis that a rule shards is not divisible.
    """
    found = _parameter_axes(parameters, mesh, {} if rules is None else rules)
    shardings = [named_sharding(mesh, axes) for axes in found.values()]
    out: T = jax.tree.unflatten(jax.tree.structure(parameters), shardings)
    return out


def state_shardings(state: S, mesh: Mesh | AbstractMesh, rules: Rules | None = None) -> S:
    """Return the sharding of each array of a state; those that belong to no parameter are replicated.

    Args:
        state: arrays, or their shapes from ``jax.eval_shape``.
        mesh: of the axes ``AXES``.
        rules: for ``tensor``; see `rules_of`.

    Returns:
        The structure of ``state``, with a ``NamedSharding`` for each array.

    Raises:
        ValueError: if an axis that a rule shards is not divisible.
    """
    known = _parameter_axes(state.parameters, mesh, {} if rules is None else rules)

    def sharding(path: str, shape: tuple[int, ...]) -> NamedSharding:
        parts = path.split(".")
        ends = ((".".join(parts[i:]), shape) for i in range(len(parts)))
        return named_sharding(mesh, next((known[end] for end in ends if end in known), ()))

    shardings = [sharding(path, shape) for path, shape in _shapes(state)]
    out: S = jax.tree.unflatten(jax.tree.structure(state), shardings)
    return out


def named_sharding(mesh: Mesh | AbstractMesh, axes: tuple[str | tuple[str, ...] | None, ...]) -> NamedSharding:
    """Return the sharding of an array by the mesh's axis for each of its own."""
    return NamedSharding(mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array that every device holds whole."""
    return named_sharding(mesh, ())


def with_shardings(shapes: T, shardings: T) -> T:
    """Attach shardings to abstract arrays: the restore target of a checkpoint."""

    def attach(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # type: ignore[no-untyped-call]

    out: T = jax.tree.map(attach, shapes, shardings)
    return out


def shard(tree: T, shardings: T) -> T:
    """Transfer arrays, of the same values in every process, to their shardings."""

    def put(array: jax.Array, sharding: NamedSharding) -> jax.Array:
        if array.sharding.is_equivalent_to(sharding, array.ndim):
            return array
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    out: T = jax.tree.map(put, tree, shardings)
    return out


def constrain(tree: T, shardings: T) -> T:
    """Constrain the arrays of a compiled program to their shardings."""
    out: T = jax.lax.with_sharding_constraint(tree, shardings)  # type: ignore[no-untyped-call]
    return out


def gather_fsdp(f: Callable[Concatenate[P, A], R], shardings: P) -> Callable[Concatenate[P, A], R]:
    """Gather the parameters of ``f`` along ``fsdp`` where they are used, and shard their gradient again.

    Each is gathered in the forward and again in the backward pass, so that a device never holds more whole parameters
    than it is computing with.

    Args:
        f: a function of parameters and more, to be differentiated.
        shardings: of the parameters, and of their gradient.
    """
    gathered = jax.tree.map(_without_fsdp, shardings)
    if jax.tree.leaves(gathered) == jax.tree.leaves(shardings):
        return f

    gather = jax.custom_vjp(lambda parameters: constrain(parameters, gathered))
    gather.defvjp(
        lambda parameters: (constrain(parameters, gathered), None),
        lambda _, gradient: (constrain(gradient, shardings),),
    )

    def run(parameters: P, /, *args: A.args, **kwargs: A.kwargs) -> R:
        return f(gather(parameters), *args, **kwargs)

    def all_but_gathered(primitive: Primitive, *_: object, **__: object) -> bool:
        return primitive.name != "sharding_constraint"

    return jax.checkpoint(run, policy=all_but_gathered)


def _shapes(tree: object) -> list[tuple[str, tuple[int, ...]]]:
    """List the leaves' paths, joined by dots, and shapes."""
    return [(name.removesuffix(".value"), leaf.shape) for name, leaf in named(tree).items()]


def _parameter_axes(
    parameters: object, mesh: Mesh | AbstractMesh, rules: Rules
) -> dict[tuple[str, tuple[int, ...]], Axes]:
    """Map path and shape of each parameter to its axes."""
    return {(path, shape): _axes(path, shape, mesh, rules) for path, shape in _shapes(parameters)}


def _axes(path: str, shape: tuple[int, ...], mesh: Mesh | AbstractMesh, rules: Rules) -> Axes:
    rule = next((axes for pattern, axes in rules.items() if fnmatchcase(path, pattern)), ())
    axes = [*rule, *[None] * (len(shape) - len(rule))]
    for i, name in enumerate(axes):
        if name is not None and shape[i] % mesh.shape[name]:
            raise ValueError(
                f"axis {i} of {path}, of shape {shape}, must be a multiple of mesh.{name}, got {mesh.shape[name]}"
            )
    fsdp = mesh.shape["fsdp"]
    free = [i for i, name in enumerate(axes) if name is None and shape[i] % fsdp == 0]
    if fsdp > 1 and free and math.prod(shape) >= SMALL:
        axes[max(free, key=lambda i: shape[i])] = "fsdp"
    while axes and axes[-1] is None:
        del axes[-1]
    return tuple(axes)


def _without_fsdp(sharding: NamedSharding) -> NamedSharding:
    return named_sharding(sharding.mesh, tuple(None if name == "fsdp" else name for name in sharding.spec))
