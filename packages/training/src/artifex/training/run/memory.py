"""The least memory of training, and the memory there is: what can't fit is refused before it is begun.

Counted are parameters, their averages and the optimizer's state, all kept from step to step, a gradient for each
parameter, and activations: what the forward pass keeps for the backward pass, as JAX traces it. A compiled step takes
more than that, as it computes with other arrays on its way.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array

from artifex.training.ema import Average
from artifex.training.run.loop import Network, Parameters, state_like
from artifex.training.step.objective import Objective

GIB: Final = 2**30
CGROUPS: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Memory:
    """The least memory of a run, in bytes of all devices that share one memory.

    Attributes:
        count: parameters of the network.
        parameters: bytes that they take.
        gradients: bytes of theirs.
        optimizer: bytes of the optimizer's state.
        average: bytes of the averages.
        activations: bytes that the forward pass keeps for the backward pass; 0 where they were not looked at.
        limit: bytes that there are; None where that is not known.
    """

    count: int
    parameters: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    limit: int | None

    @property
    def least(self) -> int:
        """Bytes of all of it."""
        return self.parameters + self.gradients + self.optimizer + self.average + self.activations

    def __str__(self) -> str:
        """One line: the count, and what of the memory each part takes."""
        there = "" if self.limit is None else f" of the {_size(self.limit)} that there are"
        return f"{self.count:,} parameters; at least {_size(self.least)} of memory{there} ({self._parts})"

    @property
    def _parts(self) -> str:
        parts = ("parameters", "gradients", "optimizer", "average", "activations")
        return ", ".join(f"{name} {_size(getattr(self, name))}" for name in parts)

    def check(self) -> None:
        """Raise a ValueError, of one line, if even the least is more than there is."""
        if self.limit is not None and self.least > self.limit:
            raise ValueError(
                f"{self.count:,} parameters take at least {_size(self.least)} to train, got {_size(self.limit)} of "
                f"memory ({self._parts}); name a smaller network or batch, or go on with memory=ignore"
            )


def memory_of(
    network: nnx.Module,
    optimizer: optax.GradientTransformation,
    average: Average[Any],
    mesh: Mesh | None = None,
    activations: int = 0,
) -> Memory:
    """The least memory of training; only shapes are looked at.

    Args:
        network: of arrays, or of their shapes, as ``nnx.eval_shape`` gives them.
        optimizer: any of optax.
        average: what is kept of the parameters.
        mesh: of several devices, by which arrays may be cut; None is one device.
        activations: bytes of them on each device, as ``activations_of`` counts them.

    Raises:
        ValueError: as ``state_like`` does.
    """
    state, _ = state_like(Network(network), optimizer, average, 1, mesh)
    parameters = jax.tree.leaves(state.parameters)
    device = jax.local_devices()[0]
    # Devices of a CPU share its memory.
    sharing = jax.local_device_count() if mesh is not None and device.platform == "cpu" else 1

    def held(tree: object) -> int:
        return sharing * sum(_bytes(leaf) for leaf in jax.tree.leaves(tree))

    return Memory(
        sum(leaf.size for leaf in parameters), held(state.parameters), held(state.parameters), held(state.optimizer),
        held(state.average), sharing * activations, memory_limit(device.platform, device.memory_stats()),
    )  # fmt: skip


def activations_of(network: nnx.Module, objective: Objective, shape: tuple[int, ...], rows: int) -> int:
    """Bytes that the forward pass of a loss keeps for its backward pass, but for the parameters; traced, not computed.

    Args:
        network: of arrays.
        objective: the loss.
        shape: of one example.
        rows: of the part of a batch that is worked through at once.
    """
    parts = Network(network)

    def kept(parameters: Parameters, x0: Array, labels: Array, key: Array) -> list[Array]:
        draws = objective.draw(x0, labels, key)

        def loss(parameters: Parameters) -> Array:
            return jnp.mean(objective.losses(partial(parts.apply_training, parameters, key), x0, draws))

        _, back = jax.vjp(loss, parameters)
        own = {id(leaf) for leaf in jax.tree.leaves(parameters)}
        return [leaf for leaf in jax.tree.leaves(back) if id(leaf) not in own]

    x0 = jax.ShapeDtypeStruct((rows, *shape), jnp.float32)  # type: ignore[no-untyped-call]
    labels = jax.ShapeDtypeStruct((rows,), jnp.int32)  # type: ignore[no-untyped-call]
    found = jax.eval_shape(kept, parts.parameters, x0, labels, jax.random.key(0))
    # A kernel may be among them under another name; without as much as all of them it is no more than is kept.
    return max(0, sum(_bytes(leaf) for leaf in found) - sum(_bytes(leaf) for leaf in jax.tree.leaves(parts.parameters)))


def memory_limit(platform: str, stats: Mapping[str, int] | None) -> int | None:
    """Bytes that a device may use; of a CPU the machine's, or its control group's where that is less.

    Args:
        platform: of the device.
        stats: its ``memory_stats()``, of which a CPU has none.
    """
    if platform != "cpu":
        limit = (stats or {}).get("bytes_limit")
        return None if limit is None else int(limit)
    limits = [*_machine(), *_groups()]
    return min(limits, default=None)


def _bytes(leaf: Any) -> int:  # noqa: ANN401 -- an array or its shape
    sharding = getattr(leaf, "sharding", None)
    if isinstance(sharding, NamedSharding):
        shape = sharding.shard_shape(leaf.shape)
        return int(leaf.dtype.itemsize * math.prod(shape))
    return int(leaf.dtype.itemsize * leaf.size)


def _machine() -> list[int]:
    """The machine's memory, where the system tells."""
    try:
        return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        return []


def _groups() -> list[int]:
    """Limits of this process's control groups and of all around them, of version 2 and 1."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        return []
    found = list[int]()
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers == "":
            root, name = CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in place.split("/") if part]
        for depth in range(len(parts) + 1):
            try:
                said = root.joinpath(*parts[:depth], name).read_text().strip()
            except OSError:
                continue
            found += [int(said)] if said.isdecimal() else []
    return found


def _size(count: int) -> str:
    """Bytes in a unit that reads well."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.1f} MiB"
