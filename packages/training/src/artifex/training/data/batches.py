"""Batches that are a pure function of data, seed and step, prefetched by worker processes if there are any."""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import parent_process, resource_tracker
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int32


class Batch(NamedTuple):
    """One host's rows of a batch.

    Attributes:
        x: images ``(b, h, w, c)`` in [-1, 1], or points ``(b, d)``; float32.
        labels: ``(b,)``, int32; 0 without labels.
    """

    x: Float32[np.ndarray, "b *d"]
    labels: Int32[np.ndarray, " b"]


@runtime_checkable
class Batches(Protocol):
    """An endless stream of batches that can be resumed anywhere."""

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
            DataError: if an example is invalid.
        """
        ...

    def state(self) -> dict[str, object]:
        """Return the position after the last batch, as JSON values."""
        ...

    def restore(self, state: Mapping[str, object]) -> None:
        """Continue from a position."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the examples that could not be read and were skipped so far."""
        ...

    def close(self) -> None:
        """Stop background work."""
        ...


class Loaded(NamedTuple):
    """A batch, and the names of the examples that were skipped for it."""

    batch: Batch
    skipped: tuple[str, ...]


@runtime_checkable
class Loader(Protocol):
    """A function from a step to its batch, which can be pickled."""

    def __call__(self, step: int) -> Loaded:
        """Load the batch of ``step``, counted from 0."""
        ...

    def identity(self) -> dict[str, object]:
        """Return the data's identity and order as JSON values; part of a stream's state."""
        ...

    def resumed(self, state: Mapping[str, object]) -> "Loader":
        """Return the loader that continues from a stream's state.

        Raises:
            ValueError: if the state is incompatible, in one line.
        """
        ...


class Stream:
    """The batches of a loader, step by step; a context manager.

    Args:
        load: the loader.
        workers: number of prefetching processes, started in the background by the first batch; with 0 batches are
            loaded on demand.
    """

    def __init__(self, load: Loader, workers: int) -> None:
        self._load = load
        self._workers = workers
        self._step = 0
        self._skipped: set[str] = set()
        self._ahead: _Ahead | None = None

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Batch:
        if self._workers == 0:
            loaded = self._load(self._step)
        elif self._ahead is None:
            # They start while the first step is compiled.
            self._ahead = _Ahead(self._load, self._step + 1, self._workers)
            loaded = self._load(self._step)
        else:
            loaded = next(self._ahead)
        self._step += 1
        self._skipped.update(loaded.skipped)
        return loaded.batch

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the examples that could not be read and were skipped so far."""
        return tuple(sorted(self._skipped))

    def state(self) -> dict[str, object]:
        """Return the position after the last batch, as JSON values."""
        return {**self._load.identity(), "step": self._step, "skipped": list(self.skipped)}

    def restore(self, state: Mapping[str, object]) -> None:
        """Continue from a position.

        Raises:
            ValueError: if it is that of incompatible batches; see ``Dataset.batches``.
        """
        step, skipped = state.get("step"), state.get("skipped")
        if not isinstance(step, int) or step < 0 or not isinstance(skipped, list):
            raise ValueError(f"a state must hold step, at least 0, and skipped, a list; got {step!r} and {skipped!r}")
        load = self._load.resumed(state)
        self.close()
        self._load, self._step, self._skipped = load, step, {str(name) for name in skipped}

    def close(self) -> None:
        """Stop the workers; the next batch would start them again."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@runtime_checkable
class _Closable(Protocol):
    """An iterator of grain."""

    def __next__(self) -> Loaded: ...

    def close(self) -> None: ...


class _Ahead:
    """The batches of a loader from ``start`` on, prefetched by processes."""

    def __init__(self, load: Loader, start: int, workers: int) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._batches: _Closable | None = None
        self._next: Future[Loaded] = self._thread.submit(self._first, load, start, workers)

    def _first(self, load: Loader, start: int, workers: int) -> Loaded:
        import grain
        from absl import flags

        # grain reads options of absl's command line, which is not parsed here
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        if sys.platform != "win32":
            # Workers inherit this: an interrupt of the process group is handled by the parent, which stops them.
            # The tracker would reset the mask if the first worker started it.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        steps = grain.MapDataset.range(start, sys.maxsize).map(load)
        here = steps.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
        there = here.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2), worker_init_fn=_die_with_parent
        )
        self._batches = iter(there)
        return self._take()

    def _take(self) -> Loaded:
        assert self._batches is not None
        (x, labels), skipped = next(self._batches)
        # grain's arrays are in memory shared with a worker; a copy releases it at once.
        return Loaded(Batch(np.array(x), np.array(labels)), skipped)

    def __next__(self) -> Loaded:
        loaded = self._next.result()
        self._next = self._thread.submit(self._take)
        return loaded

    def close(self) -> None:
        self._next.cancel()
        self._thread.shutdown()
        if self._batches is not None:
            self._batches.close()


def _die_with_parent(worker: int, workers: int) -> None:
    """Exit when the parent process is killed."""

    def wait() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
