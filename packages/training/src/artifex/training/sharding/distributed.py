"""Runs of several processes, one a host, which find each other by ``jax.distributed``.

Every process is started with the same configuration. Each reads its own rows of the batches and computes on its own
devices; the first one alone writes logs and pictures. Checkpoints are written by all, to a shared folder.

No process can continue without the others. The loss of one is detected by the next collective operation, as its
connections close, or after ``timeout`` seconds without a heartbeat; then the others exit.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from artifex.training.sharding.batches import join_processes
from artifex.training.sharding.mesh import AXES
from artifex.training.sharding.sharding import named_sharding, replicated

T = TypeVar("T")

TIMEOUT: Final = 60
"""Seconds without a heartbeat before the run is aborted."""
LOST: Final = 75
"""Exit code of a process that lost another one: try again (``EX_TEMPFAIL``)."""
AUTO: Final = "auto"
"""The coordinator that the launcher of the processes provides."""


def start(coordinator: str, processes: int | None = None, process: int | None = None, timeout: int = TIMEOUT) -> None:
    """Connect to the other processes of the run; call it before anything is computed.

    If they are not there in time, JAX aborts the process by SIGABRT.

    Args:
        coordinator: ``HOST:PORT``, the same in all: a free port of the first process's host, which listens there. Or
            "auto": this and the next two are taken from Slurm, Open MPI, a Cloud TPU or Kubernetes.
        processes: number of processes.
        process: index of this one, from 0.
        timeout: seconds to wait for the others, now and for heartbeats later.

    Raises:
        ValueError: for values out of range, and if "auto" finds no cluster.
        RuntimeError: if the first process can't listen at that port.
    """
    if timeout < 1:
        raise ValueError(f"timeout must be at least 1 second, got {timeout}")
    connect = partial(
        jax.distributed.initialize, initialization_timeout=timeout, heartbeat_timeout_seconds=timeout,
        shutdown_timeout_seconds=timeout,
    )  # fmt: skip
    if coordinator == AUTO:
        if (processes, process) != (None, None):
            raise ValueError(f"coordinator 'auto' finds processes and process itself, got {processes} and {process}")
        try:
            connect()
        except jax.errors.JaxRuntimeError:
            raise  # a cluster was found
        except Exception as error:  # missing variables, a silent server, an error of the cluster's package
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(
                "coordinator 'auto' needs Slurm, Open MPI, a Cloud TPU or Kubernetes to describe the other processes, "
                f"got nothing usable ({reason}); give HOST:PORT"
            ) from error
        return
    if not re.fullmatch(r"\S+:\d+", coordinator):
        raise ValueError(f"coordinator must be HOST:PORT or 'auto', got {coordinator!r}")
    if processes is None or process is None:
        raise ValueError(f"processes and process must be given with {coordinator}, got {processes} and {process}")
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}")
    if not 0 <= process < processes:
        raise ValueError(f"process must be in [0, processes - 1] = [0, {processes - 1}], got {process}")
    connect(coordinator, processes, process)


@contextmanager
def exit_together() -> Iterator[None]:
    """In a run of several processes, exit at once, with the code ``LOST``, when another process is lost.

    Python's normal exit would wait for the lost one. (If that is silent rather than gone, JAX itself aborts this
    process after the timeout, by SIGABRT, and reports whose heartbeats are missing.)
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).partition("\n")[0]
        print(
            f"artifex: process {jax.process_index()} of {jax.process_count()} lost another one: {reason}; "
            "start all again with --resume",
            file=sys.stderr,
            flush=True,
        )
        os._exit(LOST)


def any_process(stop: Callable[[], bool], mesh: Mesh) -> Callable[[], bool]:
    """Combine ``stop`` over the processes of a run: True in all once it was True in one of them, a call before.

    Every process must call it equally often. The result of a call is read at the next one, when it has long arrived, so
    that no device waits for it.
    """
    if jax.process_count() == 1:
        return stop
    by_device = named_sharding(mesh, (AXES,))
    any_of = jax.jit(jnp.any, out_shardings=replicated(mesh))
    before: list[jax.Array] = []

    def combined() -> bool:
        local = np.full(jax.local_device_count(), stop())
        before.append(any_of(join_processes(by_device, local)))
        return len(before) > 1 and bool(before.pop(0))

    return combined


def on_host(tree: T) -> T:
    """Gather whole arrays as NumPy arrays, wherever their shards are; all processes call this together."""

    def fetch(leaf: jax.Array) -> np.ndarray:
        whole = leaf if leaf.is_fully_addressable else multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(whole)

    out: T = jax.tree.map(fetch, tree)
    return out
