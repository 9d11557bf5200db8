"""Batches sharded over the devices of a mesh, along ``data`` and ``fsdp``."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from artifex.training.sharding.sharding import named_sharding


def num_batch_shards(mesh: Mesh | None) -> int:
    """Return the number of shards of a batch; None is one device."""
    return 1 if mesh is None else mesh.shape["data"] * mesh.shape["fsdp"]


def global_batch(batch: tuple[np.ndarray, ...], mesh: Mesh | None) -> tuple[jax.Array, ...]:
    """Join the rows that the processes have each for themselves into sharded arrays; None is one device."""
    if mesh is None:
        return tuple(jnp.asarray(rows) for rows in batch)
    sharding = named_sharding(mesh, (("data", "fsdp"),))
    return tuple(join_processes(sharding, rows) for rows in batch)


def shard_batch(rows: np.ndarray, mesh: Mesh | None) -> jax.Array:
    """Shard rows that every process has all of; None is one device."""
    if mesh is None or num_batch_shards(mesh) == 1:
        return jnp.asarray(rows)
    sharding = named_sharding(mesh, (("data", "fsdp"),))
    return jax.make_array_from_callback(rows.shape, sharding, lambda index: rows[index])


def join_processes(sharding: NamedSharding, rows: np.ndarray) -> jax.Array:
    """Join the local rows of all processes into one array."""
    out: jax.Array = jax.make_array_from_process_local_data(sharding, rows)  # type: ignore[no-untyped-call]
    return out
