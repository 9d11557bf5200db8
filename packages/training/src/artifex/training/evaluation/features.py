"""Features of samples: every metric but the likelihood is computed on them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Float32, Float64

from artifex.kernels.ranges import check_whole
from artifex.training.evaluation.statistics import Statistics

Samples = Float[np.ndarray, "n *d"]
"""Images ``(n, h, w, c)`` in [-1, 1], or vectors ``(n, d)``."""
BATCH = 256


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a set of samples.

    Attributes:
        extractor: name of the extractor.
        statistics: their count, mean and scatter.
        rows: the features themselves, ``(n, d)``; None if only their statistics were kept.
        probabilities: of classes, ``(n, c)``; None if the extractor has none or they were not kept.
    """

    extractor: str
    statistics: Statistics
    rows: Float32[np.ndarray, "n d"] | Float64[np.ndarray, "n d"] | None = None
    probabilities: Float[np.ndarray, "n c"] | None = None

    @classmethod
    def of(
        cls,
        extractor: str,
        rows: Float[np.ndarray, "n d"],
        probabilities: Float[np.ndarray, "n c"] | None = None,
    ) -> "Features":
        """Wrap features that were computed elsewhere.

        Args:
            extractor: name of the extractor.
            rows: a row a sample.
            probabilities: of classes, a row a sample, that sum to 1.

        Raises:
            ValueError: for values that are not finite, no rows, or invalid probabilities.
        """
        check_rows("rows", rows)
        if probabilities is not None:
            check_probabilities("probabilities", probabilities, len(rows))
        return cls(extractor, Statistics.of(rows), rows, probabilities)

    @property
    def count(self) -> int:
        """Number of samples."""
        return self.statistics.count

    @property
    def width(self) -> int:
        """Number of features of a sample."""
        return self.statistics.mean.size

    @property
    def kept(self) -> Float32[np.ndarray, "n d"] | Float64[np.ndarray, "n d"]:
        """The rows.

        Raises:
            ValueError: if they were not kept.
        """
        if self.rows is None:
            raise ValueError("features must be kept row by row for this metric, got statistics alone")
        return self.rows

    @property
    def exact(self) -> Float64[np.ndarray, "n d"]:
        """The rows in float64: a copy; a ValueError if they were not kept."""
        return self.kept.astype(np.float64)


@dataclass(frozen=True)
class Extractor:
    """A function from samples to features, with the name that every score carries.

    Attributes:
        name: of the features and, if they were trained, of the training data.
        function: from ``(b, ...)`` to features ``(b, d)``, or to these and class probabilities ``(b, c)``; rows are
            independent.
        shape: of a sample, None for any.
    """

    name: str
    function: Callable[[Samples], ArrayLike | tuple[ArrayLike, ArrayLike]]
    shape: tuple[int, ...] | None = None

    def __call__(self, samples: Samples | Iterable[Samples], *, batch_size: int = BATCH, keep: bool = True) -> Features:
        """Compute the features of samples.

        A batch smaller than the first is padded, so that the function is compiled once.

        Args:
            samples: all in one array, or batch by batch.
            batch_size: number of samples of an array to process at a time.
            keep: keep every row. FID needs only statistics; without rows, memory does not grow with the samples.

        Raises:
            ValueError: if there are no samples, they are not finite or not of ``shape``, or the function returns
                invalid features.
        """
        size, statistics = 0, None
        rows: list[Float32[np.ndarray, "b d"]] = []
        probabilities: list[Float32[np.ndarray, "b c"]] = []
        for batch in _cut(samples, batch_size):
            self._check(batch)
            size = max(size, len(batch))
            found, table = self._run(batch, size)
            new = Statistics.of(found)
            statistics = new if statistics is None else statistics.merge(new)
            if keep:
                rows.append(found)
                probabilities += [] if table is None else [table]
        if statistics is None:
            raise ValueError("samples must be at least 1, got none")
        return Features(
            self.name,
            statistics,
            np.concatenate(rows) if keep else None,
            np.concatenate(probabilities) if probabilities else None,
        )

    def _check(self, batch: Samples) -> None:
        if len(batch) == 0 or (self.shape is not None and batch.shape[1:] != self.shape):
            expected = "(b, ...)" if self.shape is None else f"(b, {', '.join(map(str, self.shape))})"
            raise ValueError(f"samples of {self.name} must have shape {expected} with b at least 1, got {batch.shape}")
        if not np.isfinite(batch).all():
            raise ValueError("samples must be finite, got NaN or inf")

    def _run(self, batch: Samples, size: int) -> tuple[Float32[np.ndarray, "b d"], Float32[np.ndarray, "b c"] | None]:
        n = len(batch)
        out = self.function(np.concatenate([batch, np.repeat(batch[-1:], size - n, axis=0)]) if n < size else batch)
        found, table = out if isinstance(out, tuple) else (out, None)
        features = np.asarray(found, np.float32)
        if features.ndim != 2 or len(features) != size:
            raise ValueError(f"features of {self.name} must have shape ({size}, d), got {features.shape}")
        check_rows(f"features of {self.name}", features)
        if table is None:
            return features[:n], None
        probabilities = np.asarray(table, np.float32)
        check_probabilities(f"probabilities of {self.name}", probabilities, size)
        return features[:n], probabilities[:n]


def raw() -> Extractor:
    """Use the values themselves as features: suitable for points and small vectors, not for images."""
    return Extractor("raw values", lambda samples: samples.reshape(len(samples), -1))


def check_comparable(generated: Features, real: Features) -> None:
    """Raise a ValueError unless two sets have the same extractor and width."""
    if generated.extractor != real.extractor:
        raise ValueError(f"features must be of one extractor, got {generated.extractor!r} and {real.extractor!r}")
    if generated.width != real.width:
        raise ValueError(f"features must be of one width, got {generated.width} and {real.width}")


def check_rows(name: str, rows: Float[np.ndarray, "n d"]) -> None:
    """Raise a ValueError for no rows, or values that are not finite."""
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"{name} must have shape (n, d), both at least 1, got {rows.shape}")
    bad = int((~np.isfinite(rows)).any(axis=1).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got NaN or inf in {bad} of {len(rows)} rows")


def check_probabilities(name: str, table: Float[np.ndarray, "n c"], n: int) -> None:
    """Raise a ValueError unless a table has ``n`` rows of probabilities."""
    if table.ndim != 2 or len(table) != n or table.size == 0:
        raise ValueError(f"{name} must have shape ({n}, c), c at least 1, got {table.shape}")
    sums = table.sum(axis=1, dtype=np.float64)
    off = ~(np.abs(sums - 1) <= 1e-3)
    if off.any() or not (table >= 0).all():
        i = int(np.argmax(off | ~(table >= 0).all(axis=1)))
        raise ValueError(
            f"{name} must be at least 0 and sum to 1 in each row, got the sum {sums[i]:.6g} and the least "
            f"{table[i].min():.3g} in row {i}"
        )


def _cut(samples: Samples | Iterable[Samples], size: int) -> Iterator[Samples]:
    check_whole("batch_size", size, 1)
    if isinstance(samples, np.ndarray):
        for start in range(0, len(samples), size):
            yield samples[start : start + size]
    else:
        yield from samples
