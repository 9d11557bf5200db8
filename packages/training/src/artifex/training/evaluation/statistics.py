r"""Mean and covariance of features in batches, with constant memory.

Two sets with counts $n, m$, means $\mu, \nu$ and scatters $S = \sum (x - \mu)(x - \mu)^\top$, $T$ together have

$$\mu + \tfrac{m}{n + m}\,\delta,\qquad S + T + \tfrac{nm}{n + m}\,\delta\delta^\top,\qquad \delta = \nu - \mu$$

All in float64. No sum of squares is stored from which the mean would have to be subtracted.

References: Chan, Golub and LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64


@dataclass(frozen=True, eq=False)
class Statistics:
    """Count, mean and scatter of feature vectors.

    Attributes:
        count: at least 1.
        mean: ``(d,)``.
        scatter: the sum of outer products of deviations from the mean, ``(d, d)``.
    """

    count: int
    mean: Float64[np.ndarray, " d"]
    scatter: Float64[np.ndarray, "d d"]

    @classmethod
    def of(cls, rows: Float[np.ndarray, "n d"]) -> "Statistics":
        """Compute the statistics of one batch.

        Raises:
            ValueError: if there are no rows.
        """
        if len(rows) == 0:
            raise ValueError(f"rows must be at least 1, got shape {rows.shape}")
        exact = rows.astype(np.float64)
        mean = exact.mean(0)
        centerd = exact - mean
        return cls(len(exact), mean, centerd.T @ centerd)

    def merge(self, other: "Statistics") -> "Statistics":
        """Combine the statistics of two sets.

        Raises:
            ValueError: if their features have different widths.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"features must be of one width, got {self.mean.size} and {other.mean.size}")
        count = self.count + other.count
        delta = other.mean - self.mean
        scatter = np.multiply.outer(delta * (self.count * other.count / count), delta)
        scatter += self.scatter
        scatter += other.scatter
        return Statistics(count, self.mean + delta * (other.count / count), scatter)

    @property
    def covariance(self) -> Float64[np.ndarray, "d d"]:
        """The unbiased covariance, ``scatter / (count - 1)``.

        Raises:
            ValueError: for a count of 1.
        """
        if self.count < 2:
            raise ValueError(f"a covariance must be of at least 2 samples, got {self.count}")
        return self.scatter / (self.count - 1)
