"""A lower bound of the memory of training, and the available memory: what can't fit is refused before it starts.

The bound counts parameters, their averages and the optimizer's state, which persist from step to step, a gradient for
each parameter, and activations: the residuals of the forward pass as JAX traces them. A compiled step also needs
temporary arrays.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jaxtyping import Array

from artifex.training.run.learner import Learner
from artifex.training.step.network import Parameters

GIB: Final = 2**30
CGROUPS: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Memory:
    """A lower bound of the memory of a run, in bytes of all devices that share one memory.

    Attributes:
        count: number of parameters of the network.
        parameters: bytes of the parameters.
        gradients: bytes of their gradients.
        optimizer: bytes of the optimizer's state.
        average: bytes of the averages.
        activations: bytes of the forward pass's residuals; 0 if they were not traced.
        limit: available bytes; None if unknown.
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
        """The sum of the parts."""
        return self.parameters + self.gradients + self.optimizer + self.average + self.activations

    def __str__(self) -> str:
        """One line: the number of parameters, and the memory of each part."""
        available = "" if self.limit is None else f" of the {_size(self.limit)} available"
        return f"{self.count:,} parameters; at least {_size(self.least)} of memory{available} ({self._parts})"

    @property
    def _parts(self) -> str:
        parts = ("parameters", "gradients", "optimizer", "average", "activations")
        return ", ".join(f"{name} {_size(getattr(self, name))}" for name in parts)

    def check(self) -> None:
        """Raise a ValueError, of one line, if even the lower bound is more than is available."""
        if self.limit is not None and self.least > self.limit:
            raise ValueError(
                f"{self.count:,} parameters take at least {_size(self.least)} to train, got {_size(self.limit)} of "
                f"memory ({self._parts}); choose a smaller network or batch, or try anyway with memory=ignore"
            )


def memory_of(learner: Learner, activations: int = 0) -> Memory:
    """Compute the memory of training from shapes.

    Args:
        learner: whose module may be of shapes, as from ``nnx.eval_shape``.
        activations: bytes of them on each device, as ``activations_of`` counts them.

    Raises:
        ValueError: as ``abstract_state`` does.
    """
    state = learner.abstract_state(steps=1)
    parameters = jax.tree.leaves(state.parameters)
    device = jax.local_devices()[0]
    # Devices of a CPU share its memory.
    sharing = jax.local_device_count() if learner.mesh is not None and device.platform == "cpu" else 1

    def size(tree: object) -> int:
        return sharing * sum(_bytes(leaf) for leaf in jax.tree.leaves(tree))

    return Memory(
        sum(leaf.size for leaf in parameters), size(state.parameters), size(state.parameters), size(state.optimizer),
        size(state.average), sharing * activations, memory_limit(device.platform, device.memory_stats()),
    )  # fmt: skip


def activations_of(learner: Learner, shape: tuple[int, ...], rows: int) -> int:
    """Count the bytes of a loss's residuals without the parameters; traced, not computed.

    Args:
        learner: network and loss.
        shape: of one example.
        rows: number of examples of a microbatch.
    """
    network, objective = learner.network, learner.objective

    def residuals(parameters: Parameters, x0: Array, labels: Array, key: Array) -> list[Array]:
        draws = objective.draw(x0, labels, key)

        def loss(parameters: Parameters) -> Array:
            return jnp.mean(objective.losses(network.training(parameters, key), x0, draws))

        _, back = jax.vjp(loss, parameters)
        own = {id(leaf) for leaf in jax.tree.leaves(parameters)}
        return [leaf for leaf in jax.tree.leaves(back) if id(leaf) not in own]

    x0 = jax.ShapeDtypeStruct((rows, *shape), jnp.float32)  # type: ignore[no-untyped-call]
    labels = jax.ShapeDtypeStruct((rows,), jnp.int32)  # type: ignore[no-untyped-call]
    found = jax.eval_shape(residuals, network.parameters, x0, labels, jax.random.key(0))
    # Casts of parameters may be among the residuals: subtracting all parameters keeps this a lower bound.
    return max(
        0, sum(_bytes(leaf) for leaf in found) - sum(_bytes(leaf) for leaf in jax.tree.leaves(network.parameters))
    )


def memory_limit(platform: str, stats: Mapping[str, int] | None) -> int | None:
    """Return the bytes that a device may use; for a CPU the machine's, or its control group's if that is less.

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
    """The machine's memory, where the system reports it."""
    try:
        return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, ValueError, OSError):
        return []


def _groups() -> list[int]:
    """Limits of this process's control groups and of their parents, of version 2 and 1."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        return []
    found = list[int]()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) + 1):
            try:
                limit = root.joinpath(*parts[:depth], name).read_text().strip()
            except OSError:
                continue
            found += [int(limit)] if limit.isdecimal() else []
    return found


def _size(count: int) -> str:
    """Format bytes."""
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:.1f} MiB"
