r"""Kernel distances of two sets of features: the maximum mean discrepancy (MMD) for any kernel, and KID.

$$\mathrm{MMD}^2 = \mathbb E\,k(x, x') + \mathbb E\,k(y, y') - 2\,\mathbb E\,k(x, y)$$

Without the terms of a sample with itself the mean over pairs is unbiased, and may be negative. CMMD is the biased form,
on the features of a CLIP image encoder, with ``Rbf(10)`` and a scale of 1000.

References: Gretton et al. 2012, https://jmlr.org/papers/v13/gretton12a.html; Binkowski et al. 2018,
https://arxiv.org/abs/1801.01401; Zaremba et al. 2013, https://arxiv.org/abs/1307.1954; Jayasumana et al. 2024,
https://arxiv.org/abs/2401.09603
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64

from artifex.kernels.ranges import check_number, check_positive, check_whole
from artifex.training.evaluation.distances import blocks, squared
from artifex.training.evaluation.features import Features, check_comparable
from artifex.training.evaluation.score import Score, Setting

Rows = Float64[np.ndarray, "n d"]
Kept = Float[np.ndarray, "n d"]
KID_BLOCK = 1000
LEAST_OF_KID = 4
"""Smallest size of either set: two blocks of two."""


@runtime_checkable
class Kernel(Protocol):
    """A symmetric positive definite kernel, evaluated for every row of one set with every row of another."""

    def __call__(self, x: Rows, y: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, "n m"]: ...  # noqa: D102


@dataclass(frozen=True)
class Rbf:
    r"""$\exp(-|x - y|^2 / 2 s^2)$.

    Attributes:
        bandwidth: s, above 0.
    """

    bandwidth: float

    def __post_init__(self) -> None:
        check_positive("bandwidth", self.bandwidth)

    @classmethod
    def median(cls, features: Features, most: int = 1000) -> "Rbf":
        """Make the kernel whose bandwidth is the median distance within up to ``most`` evenly spread rows.

        Raises:
            ValueError: if there are no rows, fewer than 2, or half of them are equal.
        """
        check_whole("most", most, 2)
        if features.count < 2:
            raise ValueError(f"the median distance needs at least 2 samples, got {features.count}")
        rows = features.kept[:: -(-features.count // most)]
        return cls(float(np.sqrt(np.median(squared(rows, rows)[np.triu_indices(len(rows), 1)]))))

    def __call__(self, x: Rows, y: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, "n m"]:
        """Evaluate the kernel for all pairs of rows."""
        out: Float64[np.ndarray, "n m"] = np.exp(squared(x, y) / (-2 * self.bandwidth**2))
        return out


@dataclass(frozen=True)
class Polynomial:
    r"""$(\gamma\, x^\top y + c)^p$; by default $\gamma = 1/d$, c = 1, p = 3, the kernel of KID.

    Attributes:
        degree: p, at least 1.
        gamma: above 0; None is one over the width of the features.
        offset: c, at least 0.
    """

    degree: int = 3
    gamma: float | None = None
    offset: float = 1.0

    def __post_init__(self) -> None:
        check_whole("degree", self.degree, 1)
        check_number("offset", self.offset, 0)
        if self.gamma is not None:
            check_positive("gamma", self.gamma)

    def __call__(self, x: Rows, y: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, "n m"]:
        """Evaluate the kernel for all pairs of rows."""
        gamma = 1 / x.shape[1] if self.gamma is None else self.gamma
        out: Float64[np.ndarray, "n m"] = (gamma * (x @ y.T) + self.offset) ** self.degree
        return out


def check_least(generated: int, real: int, least: int) -> None:
    """Raise a ValueError if one of the sets has fewer than ``least`` samples."""
    if min(generated, real) < least:
        raise ValueError(f"both sets must be at least {least} samples, got {generated} and {real}")


def mmd_squared(x: Kept, y: Float[np.ndarray, "m d"], kernel: Kernel, *, unbiased: bool = True) -> float:
    """Compute the squared MMD in blocks, in float64: memory does not grow with the number of pairs.

    Args:
        x: a row a sample.
        y: a row a sample.
        kernel: of rows.
        unbiased: exclude pairs of a sample with itself, which needs two samples on either side.

    Raises:
        ValueError: for too few samples.
    """
    check_least(len(x), len(y), 2 if unbiased else 1)
    between = sum(float(kernel(_exact(x, i), _exact(y, j)).sum()) for i in blocks(len(x)) for j in blocks(len(y)))
    return _within(x, kernel, unbiased) + _within(y, kernel, unbiased) - 2 * between / (len(x) * len(y))


def mmd(
    generated: Features,
    real: Features,
    kernel: Kernel | None = None,
    *,
    unbiased: bool = True,
    scale: float = 1.0,
    block: int | None = None,
    seed: int = 0,
) -> Score:
    r"""Compute the squared MMD of two sets of features.

    With a block, both sets are shuffled and split into pairs of blocks; the mean over the blocks has the same bias and
    some more variance, and their spread gives its standard error.

    Args:
        generated: of generated samples.
        real: of real samples.
        kernel: None is ``Rbf.median(real)``.
        unbiased: exclude pairs of a sample with itself.
        scale: factor on the result.
        block: samples of either set in a block, in [2, half the smaller set]; None computes the whole sets at once,
            without a standard error.
        seed: of the shuffle.

    Raises:
        ValueError: for sets of two extractors, features without rows, or too few samples.
    """
    check_comparable(generated, real)
    check_number("scale", scale)
    check_whole("seed", seed, 0)
    kernel = Rbf.median(real) if kernel is None else kernel
    settings: dict[str, Setting] = {"kernel": _described(kernel)}
    settings |= {} if unbiased else {"biased": True}
    settings |= {} if scale == 1 else {"scale": scale}
    x, y, error = generated.kept, real.kept, None
    if block is None:
        value = mmd_squared(x, y, kernel, unbiased=unbiased)
    else:
        n = min(len(x), len(y))
        check_whole("block", block, 2)
        if n < 2 * block:
            raise ValueError(
                f"block = {block} needs at least {2 * block} samples of either kind, got {len(x)} generated and "
                f"{len(y)} real"
            )
        parts = n // block
        rng = np.random.default_rng(seed)
        ours, theirs = (rng.permutation(len(rows))[: parts * block].reshape(parts, block) for rows in (x, y))
        values = [mmd_squared(x[i], y[j], kernel, unbiased=unbiased) for i, j in zip(ours, theirs, strict=True)]
        value, error = float(np.mean(values)), scale * float(np.std(values, ddof=1) / np.sqrt(parts))
        settings |= {"block": block}
    return Score("mmd", scale * value, error, "lower", generated.extractor, len(x), len(y), settings)


def kid(generated: Features, real: Features, *, block: int | None = None, seed: int = 0) -> Score:
    """Compute the kernel inception distance: the unbiased squared MMD under ``Polynomial()``, over blocks.

    Blocks are disjoint; overlapping ones would underestimate the standard error.

    Args:
        generated: of generated samples.
        real: of real samples.
        block: samples of either set in a block; None is 1000 or, for smaller sets, a tenth of the smaller one.
        seed: of the shuffle.

    Raises:
        ValueError: for sets of two extractors, features without rows, fewer than 4 samples, or a block of less
            than 2 or more than half the smaller set.
    """
    check_least(generated.count, real.count, LEAST_OF_KID)
    n = min(generated.count, real.count)
    size = max(2, min(KID_BLOCK, n // 10)) if block is None else block
    score = mmd(generated, real, Polynomial(), block=size, seed=seed)
    return Score(
        "kid", score.value, score.error, "lower", score.extractor, score.generated, score.real, {"block": size}
    )


def _within(rows: Kept, kernel: Kernel, unbiased: bool) -> float:
    """Average the kernel over pairs of rows."""
    n, total = len(rows), 0.0
    for i in blocks(n):
        row = _exact(rows, i)
        own = kernel(row, row)
        total += float(own.sum()) - (float(np.trace(own)) if unbiased else 0.0)
        total += 2 * sum(float(kernel(row, _exact(rows, j)).sum()) for j in blocks(i.start))
    return total / (n * (n - 1) if unbiased else n * n)


def _exact(rows: Kept, block: slice) -> Float64[np.ndarray, "b d"]:
    return rows[block].astype(np.float64, copy=False)


def _described(kernel: Kernel) -> str:
    """Format as ``rbf(bandwidth=1.5)``; other kernels by their name."""
    if isinstance(kernel, Rbf | Polynomial):
        values: Mapping[str, float | None] = asdict(kernel)
        parameters = ", ".join(f"{name}={value:.6g}" for name, value in values.items() if value is not None)
        return f"{type(kernel).__name__.lower()}({parameters})"
    return str(getattr(kernel, "__name__", type(kernel).__name__))
