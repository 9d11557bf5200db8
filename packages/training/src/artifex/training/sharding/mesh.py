"""The mesh of devices of a run, of the axes ``data``, ``fsdp`` and ``tensor``.

References: Rajbhandari et al. 2019 (ZeRO), https://arxiv.org/abs/1910.02054; Shoeybi et al. 2019 (tensor parallelism),
https://arxiv.org/abs/1909.08053
"""

import math
from collections.abc import Sequence
from typing import Annotated, Final

import jax
import numpy as np
from jax.sharding import Mesh
from pydantic import Field, model_validator

from artifex.training.section import Section

AXES: Final = ("data", "fsdp", "tensor")
Size = Annotated[int, Field(ge=-1)]


class MeshConfig(Section):
    """Number of devices along each axis of the mesh; the product is the number of all devices.

    One of them may be -1: all remaining devices.

    Attributes:
        data: copies of the model, each with its shard of the batch.
        fsdp: shards of the batch that also shard one copy of parameters, averages and optimizer state.
        tensor: devices that share the work of each layer; for the backbone dit only.
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
        """Return the three sizes, with -1 replaced.

        Args:
            devices: number of all devices.

        Raises:
            ValueError: if the product of the sizes is not ``devices``.
        """
        given = (self.data, self.fsdp, self.tensor)
        known = math.prod(size for size in given if size != -1)
        if devices % known or (-1 not in given and known != devices):
            product = " x ".join(f"{name} = {size}" for name, size in zip(AXES, given, strict=True))
            raise ValueError(f"the product of the mesh must be the number of devices, {devices}, got {product}")
        data, fsdp, tensor = (devices // known if size == -1 else size for size in given)
        return data, fsdp, tensor


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Arrange devices: those of a process are neighbors, and ``tensor`` is the fastest axis.

    So process i of n holds rows [i size / n, (i + 1) size / n) of a batch.

    Args:
        config: the sizes.
        devices: None is all devices of all processes.

    Raises:
        ValueError: if the sizes don't fit the devices, or ``tensor`` would span processes.
    """
    ordered = sorted(jax.devices() if devices is None else devices, key=lambda each: (each.process_index, each.id))
    data, fsdp, tensor = config.sizes(len(ordered))
    processes = len({device.process_index for device in ordered})
    if processes > 1 and (data * fsdp) % processes:
        raise ValueError(
            f"mesh.tensor must divide the {len(ordered) // processes} devices of each of {processes} processes, "
            f"got {tensor}"
        )
    return Mesh(np.array(ordered).reshape(data, fsdp, tensor), AXES)


def any_mesh(config: MeshConfig) -> Mesh:
    """The run's mesh if it fits these devices, else copies of the model."""
    try:
        return make_mesh(config)
    except ValueError:
        return make_mesh(MeshConfig())
