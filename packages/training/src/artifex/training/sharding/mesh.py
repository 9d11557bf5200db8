r"""Where the arrays of a run lie: devices in a mesh of three axes, and an axis of each array along them.

| Axis | What is cut along it |
| --- | --- |
| ``data`` | the batch |
| ``fsdp`` | the batch, and parameters, averages and the optimizer's moments; a step gathers a parameter for its use |
| ``tensor`` | the work inside a layer, by heads or by columns and rows of its kernel, and its parameters with it |

A parameter lies along ``tensor`` as its backbone's rule says, and along ``fsdp`` by its largest axis that is still
whole and that ``fsdp`` divides, the first of equals; one of fewer than ``SMALL`` elements, or with no such axis, lies
whole on every device. What belongs to a parameter (has its path and its shape) lies as it does.

The rest is the compiler's: a program is written for the whole batch and gives, up to rounding, the same numbers on any
mesh.

References: Rajbhandari et al. 2019 (ZeRO), https://arxiv.org/abs/1910.02054; Shoeybi et al. 2019 (tensor parallelism),
https://arxiv.org/abs/1909.08053
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Concatenate, Final, ParamSpec, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend.core import Primitive
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from pydantic import Field, model_validator

from artifex.backbones import DiT
from artifex.training.named_leaves import named
from artifex.training.section import Section

T = TypeVar("T")
P = TypeVar("P")
A = ParamSpec("A")
R = TypeVar("R")
Axes = tuple[str | None, ...]
"""The axis of the mesh along which each axis of an array lies; those left out lie whole."""
Rules = Mapping[str, Axes]
"""From a pattern of a parameter's path, joined by dots, to its axes."""

AXES: Final = ("data", "fsdp", "tensor")
SMALL: Final = 4096
Size = Annotated[int, Field(ge=-1)]


class MeshConfig(Section):
    """How many devices lie along each axis; the product is the number of all devices.

    One of them may be -1: all that the others leave.

    Attributes:
        data: copies of the model, each with its share of the batch.
        fsdp: shares of the batch that also share one copy of parameters, averages and optimizer state.
        tensor: devices that share the work of each layer; for the backbone dit alone.
    """

    data: Size = -1
    fsdp: Size = 1
    tensor: Size = 1

    @model_validator(mode="after")
    def _check(self) -> "MeshConfig":
        given = self.data, self.fsdp, self.tensor
        if 0 in given or given.count(-1) > 1:
            raise ValueError(f"data, fsdp and tensor must be at least 1, or -1 for one of them, got {given}")
        return self

    def sizes(self, devices: int) -> tuple[int, int, int]:
        """The three, with none left open.

        Raises:
            ValueError: if their product is not ``devices``.
        """
        given = (self.data, self.fsdp, self.tensor)
        known = math.prod(size for size in given if size != -1)
        if devices % known or (-1 not in given and known != devices):
            said = " x ".join(f"{name} = {size}" for name, size in zip(AXES, given, strict=True))
            raise ValueError(f"the product of the mesh must be the number of devices, {devices}, got {said}")
        data, fsdp, tensor = (devices // known if size == -1 else size for size in given)
        return data, fsdp, tensor


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Devices in their places: those of a process are neighbours, ``tensor`` counts fastest.

    So process i of n holds rows [i size / n, (i + 1) size / n) of a batch.

    Args:
        config: the sizes.
        devices: None takes all of all processes.

    Raises:
        ValueError: if the sizes don't fit the devices, or ``tensor`` would go from one process to the next.
    """
    found = sorted(jax.devices() if devices is None else devices, key=lambda device: (device.process_index, device.id))
    data, fsdp, tensor = config.sizes(len(found))
    processes = len({device.process_index for device in found})
    if processes > 1 and (data * fsdp) % processes:
        raise ValueError(
            f"mesh.tensor must divide the {len(found) // processes} devices of each of {processes} processes, "
            f"got {tensor}"
        )
    return Mesh(np.array(found).reshape(data, fsdp, tensor), AXES)


_ROWS, _COLUMNS, _HEADS = ("tensor",), (None, "tensor"), (None, None, "tensor")
TENSOR: Final[Mapping[type[nnx.Module], Rules]] = {
    # Queries, keys and values by heads and the MLP's hidden layer by columns: no device needs what another has until
    # the layer behind them adds up what each knows, an all-reduce of all tokens. The condition, one vector a sample, is
    # made by columns, and its products with the modulations' rows are added up.
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
"""How parameters lie along ``tensor``, by the class of the backbone; what no line names lies whole."""


def rules_of(backbone: type[nnx.Module], mesh: Mesh | AbstractMesh) -> Rules:
    """The lines of ``TENSOR`` for a class of backbones; none are needed where ``mesh`` has one place along ``tensor``.

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
    accumulate: int = 1,
    parallel_microbatches: int = 1,
) -> None:
    """Look whether a run fits a mesh, before it is begun.

    Raises:
        ValueError: if devices would get unequal parts of a batch, and as `rules_of` and `state_shardings` do.
    """
    data, fsdp = mesh.shape["data"], mesh.shape["fsdp"]
    if batch_size % (data * fsdp * accumulate * parallel_microbatches):
        parts = "".join(
            f" x {k} = {n}"
            for k, n in (("accumulate", accumulate), ("parallel_microbatches", parallel_microbatches))
            if n > 1
        )
        raise ValueError(
            f"batch_size must be a multiple of mesh.data = {data} x mesh.fsdp = {fsdp}{parts}, got {batch_size}"
        )
    _known(nnx.state(backbone, nnx.Param), mesh, rules_of(type(backbone), mesh))


@runtime_checkable
class HasParameters(Protocol):
    """A state of training."""

    @property
    def parameters(self) -> object:
        """Those of the network."""
        ...


S = TypeVar("S", bound=HasParameters)


def parameter_shardings(parameters: T, mesh: Mesh | AbstractMesh, rules: Rules | None = None) -> T:
    """Where each parameter lies, by the rule above.

    Args:
        parameters: arrays, or what ``jax.eval_shape`` gives for them.
        mesh: of the axes ``AXES``.
        rules: how parameters lie along ``tensor``; see `rules_of`.

    Returns:
        The structure of ``parameters``, with a ``NamedSharding`` for each array.

    Raises:
        ValueError: if an axis that a rule cuts is not a multiple of the places it is cut into.
    """
    known = _known(parameters, mesh, {} if rules is None else rules)
    out: T = jax.tree.unflatten(jax.tree.structure(parameters), [_sharding(mesh, axes) for axes in known.values()])
    return out


def state_shardings(state: S, mesh: Mesh | AbstractMesh, rules: Rules | None = None) -> S:
    """Where each array of a state lies, by the rule above; what belongs to no parameter lies whole on every device.

    Args:
        state: arrays, or what ``jax.eval_shape`` gives for them.
        mesh: of the axes ``AXES``.
        rules: how parameters lie along ``tensor``; see `rules_of`.

    Returns:
        The structure of ``state``, with a ``NamedSharding`` for each array.

    Raises:
        ValueError: if an axis that a rule cuts is not a multiple of the places it is cut into.
    """
    known = _known(state.parameters, mesh, {} if rules is None else rules)

    def sharding(path: str, shape: tuple[int, ...]) -> NamedSharding:
        parts = path.split(".")
        ends = ((".".join(parts[i:]), shape) for i in range(len(parts)))
        return _sharding(mesh, next((known[end] for end in ends if end in known), ()))

    shardings = [sharding(path, shape) for path, shape in _shapes(state)]
    out: S = jax.tree.unflatten(jax.tree.structure(state), shardings)
    return out


def everywhere(mesh: Mesh) -> NamedSharding:
    """Whole, on every device."""
    return _sharding(mesh, ())


def lying(shapes: T, shardings: T) -> T:
    """What ``jax.eval_shape`` gave, told where its arrays belong: a likeness to restore a checkpoint into."""

    def told(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # type: ignore[no-untyped-call]

    out: T = jax.tree.map(told, shapes, shardings)
    return out


def place(tree: T, shardings: T) -> T:
    """``tree``, of the same values in every process, with each array where it belongs; one that is there stays."""

    def put(array: jax.Array, sharding: NamedSharding) -> jax.Array:
        if array.sharding.is_equivalent_to(sharding, array.ndim):
            return array
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    out: T = jax.tree.map(put, tree, shardings)
    return out


def constrain(tree: T, shardings: T) -> T:
    """``tree``, in a compiled program, with each array where it belongs."""
    out: T = jax.lax.with_sharding_constraint(tree, shardings)  # type: ignore[no-untyped-call]
    return out


def global_batch(batch: tuple[np.ndarray, ...], mesh: Mesh | None) -> tuple[jax.Array, ...]:
    """The rows of all processes, each handing in its own, cut along ``data`` and ``fsdp``; None is one device."""
    if mesh is None:
        return tuple(jnp.asarray(rows) for rows in batch)
    sharding = _sharding(mesh, (("data", "fsdp"),))
    return tuple(_joined(sharding, rows) for rows in batch)


def shares(mesh: Mesh | None) -> int:
    """How many parts a batch is cut into; None is one device."""
    return 1 if mesh is None else mesh.shape["data"] * mesh.shape["fsdp"]


def shard_batch(rows: np.ndarray, mesh: Mesh | None) -> jax.Array:
    """Rows that every process has all of, cut along ``data`` and ``fsdp``; None is one device."""
    if mesh is None or shares(mesh) == 1:
        return jnp.asarray(rows)
    sharding = _sharding(mesh, (("data", "fsdp"),))
    return jax.make_array_from_callback(rows.shape, sharding, lambda index: rows[index])


def agreed(stop: Callable[[], bool], mesh: Mesh) -> Callable[[], bool]:
    """``stop``, asked by every process of a run as often: all get True when one of them was told so a call before.

    What the others say is looked at one call late, when it has long arrived, so that no device waits for it.
    """
    if jax.process_count() == 1:
        return stop
    by_device = _sharding(mesh, (AXES,))
    any_of = jax.jit(jnp.any, out_shardings=everywhere(mesh))
    before: list[jax.Array] = []

    def ask() -> bool:
        said = np.full(jax.local_device_count(), stop())
        before.append(any_of(_joined(by_device, said)))
        return len(before) > 1 and bool(before.pop(0))

    return ask


def fetching(f: Callable[Concatenate[P, A], R], shardings: P) -> Callable[Concatenate[P, A], R]:
    """``f``, to be differentiated, of parameters that lie as ``shardings`` say; their gradient will lie likewise.

    Each is gathered along ``fsdp`` where it is used, in the forward and again in the backward pass, so that no more
    than what is being computed with lies whole on a device.

    Args:
        f: of parameters and more.
        shardings: of the parameters.
    """
    whole = jax.tree.map(_without_fsdp, shardings)
    if jax.tree.leaves(whole) == jax.tree.leaves(shardings):
        return f

    fetch = jax.custom_vjp(lambda parameters: constrain(parameters, whole))
    fetch.defvjp(
        lambda parameters: (constrain(parameters, whole), None), lambda _, gradient: (constrain(gradient, shardings),)
    )

    def run(parameters: P, /, *args: A.args, **kwargs: A.kwargs) -> R:
        return f(fetch(parameters), *args, **kwargs)

    def all_but_fetched(primitive: Primitive, *_: object, **__: object) -> bool:
        return primitive.name != "sharding_constraint"

    return jax.checkpoint(run, policy=all_but_fetched)


def _shapes(tree: object) -> list[tuple[str, tuple[int, ...]]]:
    """The shapes of leaves by their paths, joined by dots."""
    return [(name.removesuffix(".value"), leaf.shape) for name, leaf in named(tree).items()]


def _known(parameters: object, mesh: Mesh | AbstractMesh, rules: Rules) -> dict[tuple[str, tuple[int, ...]], Axes]:
    """Where parameters lie, by path and shape."""
    return {(path, shape): _axes(path, shape, mesh, rules) for path, shape in _shapes(parameters)}


def _axes(path: str, shape: tuple[int, ...], mesh: Mesh | AbstractMesh, rules: Rules) -> Axes:
    """Where a parameter lies."""
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


def _sharding(mesh: Mesh | AbstractMesh, axes: tuple[str | tuple[str, ...] | None, ...]) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def _without_fsdp(sharding: NamedSharding) -> NamedSharding:
    return _sharding(sharding.mesh, tuple(None if name == "fsdp" else name for name in sharding.spec))


def _joined(sharding: NamedSharding, rows: np.ndarray) -> jax.Array:
    """What all processes have, as one array."""
    out: jax.Array = jax.make_array_from_process_local_data(sharding, rows)  # type: ignore[no-untyped-call]
    return out
