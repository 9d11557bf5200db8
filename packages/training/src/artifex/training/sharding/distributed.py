"""A run of several processes, one a host, which find each other by ``jax.distributed``.

Every process is started with the same configuration; each reads its own rows of the batches and computes on its own
devices, and the first one alone writes logs and pictures. Checkpoints are written by all, into a folder that all see.

None can go on without the others. One that dies is noticed by the next exchange of numbers with it, as its connections
close, or after ``timeout`` seconds without a sign of life; then the others end.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

T = TypeVar("T")

TIMEOUT: Final = 60
"""Seconds without a sign of life after which a process is given up, and the run with it."""
LOST: Final = 75
"""Exit code of a process that lost another one: try again (``EX_TEMPFAIL``)."""
AUTO: Final = "auto"
"""The coordinator that what started the processes tells of."""


def start(coordinator: str, processes: int | None = None, process: int | None = None, timeout: int = TIMEOUT) -> None:
    """Wait for all processes of the run, and be one of them. It comes before anything is computed.

    Where they are not there in time, JAX ends the process by SIGABRT.

    Args:
        coordinator: ``HOST:PORT``, the same in all: a free port of the first process's host, which listens there. Or
            "auto": this and the next two are as Slurm, Open MPI, a Cloud TPU or Kubernetes says.
        processes: how many there are.
        process: which one this is, counted from 0.
        timeout: seconds to wait for the others, now and for signs of life later.

    Raises:
        ValueError: for values out of range, and if "auto" finds nothing that can be used.
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
            raise  # all was found
        except Exception as error:  # of variables that are missing, a server that is silent, a package of the cluster's
            told = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(
                "coordinator 'auto' must be told of the other processes by Slurm, Open MPI, a Cloud TPU or Kubernetes, "
                f"which say nothing that can be used ({told}); give HOST:PORT"
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
def leaving_together() -> Iterator[None]:
    """In a run of several processes, end this one at once, with the exit code ``LOST``, when another one is lost.

    Python's own way out would have it wait for the lost one. (Where that is silent rather than gone, JAX itself ends
    this process after the timeout, by SIGABRT, and says whose signs of life are missing.)
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        told = str(error).partition("\n")[0]
        print(
            f"artifex: process {jax.process_index()} of {jax.process_count()} lost another one: {told}; "
            "start all again with --resume",
            file=sys.stderr,
            flush=True,
        )
        os._exit(LOST)


def on_host(tree: T) -> T:
    """The whole of arrays, wherever their parts are, as NumPy arrays; all processes call this together."""

    def fetch(leaf: jax.Array) -> np.ndarray:
        whole = leaf if leaf.is_fully_addressable else multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(whole)

    out: T = jax.tree.map(fetch, tree)
    return out
