"""Batches that are a pure function of (data, seed, step), made here or ahead of time by other processes."""

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
    """One host's share of a batch.

    Attributes:
        x: images ``(b, h, w, c)`` in [-1, 1], or points ``(b, d)``; float32.
        labels: ``(b,)``, int32; 0 where there are none.
    """

    x: Float32[np.ndarray, "b *d"]
    labels: Int32[np.ndarray, " b"]


@runtime_checkable
class Batches(Protocol):
    """An endless row of batches that can be taken up again anywhere."""

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            DataError: if what is read for it is not what the data may hold.
        """
        ...

    def state(self) -> dict[str, object]:
        """Where the row stands, as JSON can hold it: after the batch that was handed out last."""
        ...

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on as after the batch at which ``state`` was taken."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """What could not be read and was skipped so far, by name."""
        ...

    def close(self) -> None:
        """End what runs in the background."""
        ...


class Loaded(NamedTuple):
    """A batch, and the names of what was skipped for it."""

    batch: Batch
    skipped: tuple[str, ...]


@runtime_checkable
class Loader(Protocol):
    """Makes the batch of any step; goes to other processes by pickle."""

    def __call__(self, step: int) -> Loaded:
        """The batch of ``step``, counted from 0."""
        ...

    def identity(self) -> dict[str, object]:
        """Which data, and which of it when, as JSON can hold it; part of a stream's state."""
        ...

    def resumed(self, state: Mapping[str, object]) -> "Loader":
        """The loader that goes on from a stream's state.

        Raises:
            ValueError: if it can't, in one line.
        """
        ...


class Stream:
    """The batches of a loader, step by step; a context manager.

    Args:
        load: makes them.
        workers: processes that make them ahead of time; with 0 they are made when they are asked for. They are started
            by the first batch, in the background.
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
            # They take seconds to start, which pass while the first step is compiled.
            self._ahead = _Ahead(self._load, self._step + 1, self._workers)
            loaded = self._load(self._step)
        else:
            loaded = next(self._ahead)
        self._step += 1
        self._skipped.update(loaded.skipped)
        return loaded.batch

    @property
    def skipped(self) -> tuple[str, ...]:
        """What could not be read and was skipped so far, by name."""
        return tuple(sorted(self._skipped))

    def state(self) -> dict[str, object]:
        """Where the row stands, as JSON can hold it: after the batch that was handed out last."""
        return {**self._load.identity(), "step": self._step, "skipped": list(self.skipped)}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on as after the batch at which ``state`` was taken.

        Raises:
            ValueError: if it is the state of batches that these can't go on from; see ``Dataset.batches``.
        """
        step, skipped = state.get("step"), state.get("skipped")
        if not isinstance(step, int) or step < 0 or not isinstance(skipped, list):
            raise ValueError(f"a state must hold step, at least 0, and skipped, a list; got {step!r} and {skipped!r}")
        load = self._load.resumed(state)
        self.close()
        self._load, self._step, self._skipped = load, step, {str(name) for name in skipped}

    def close(self) -> None:
        """End the workers; the next batch would start them again."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@runtime_checkable
class _Closable(Protocol):
    """What grain iterates with."""

    def __next__(self) -> Loaded: ...

    def close(self) -> None: ...


class _Ahead:
    """What a loader makes from ``start`` on, by processes, a few batches ahead of whoever takes them."""

    def __init__(self, load: Loader, start: int, workers: int) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._batches: _Closable | None = None
        self._next: Future[Loaded] = self._thread.submit(self._first, load, start, workers)

    def _first(self, load: Loader, start: int, workers: int) -> Loaded:
        import grain
        from absl import flags

        # grain reads options of a command line that is not absl's here
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        if sys.platform != "win32":
            # Workers inherit this: an interrupt of the whole group is the parent's, which ends them when it is done.
            # Starting the tracker, as the first worker otherwise would, takes it back.
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
        # What grain hands out lies in memory that it shares with a worker; a copy lets that go at once.
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
    """Have this process end when its parent is killed, which could not tell it to."""

    def wait() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
