"""Numbers that depend on the step of a sampling run."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.kernels.ranges import check_number
from artifex.schedules.arrays.array_api import HostArray, Ints
from artifex.schedules.arrays.records import record
from artifex.schedules.level import NoiseLevel


@record
class ValueByTime:
    """A function of the noise level that looks up a number by the level's time, such as a guidance scale per step.

    Rows at equal times share the first one's number.

    Attributes:
        times: ``(rows,)``, ``tableau.level.t``.
        values: ``(rows,)``.

    Raises:
        ValueError: if the two differ in shape or hold a number that is not finite.
    """

    times: Array | HostArray | Ints
    values: Array | HostArray

    def __post_init__(self) -> None:
        if np.shape(self.times) != np.shape(self.values) or np.ndim(self.times) != 1:
            raise ValueError(
                f"times and values must be of one shape (rows,), got {np.shape(self.times)} and {np.shape(self.values)}"
            )
        check_number("times", self.times)
        check_number("values", self.values)

    def __call__(self, level: NoiseLevel[jax.Array]) -> Float[Array, "..."]:
        """The number of the row whose time is nearest."""
        dtype = level.sigma.dtype  # a time's dtype may be an integer
        times = jax.lax.broadcast_to_rank(jnp.asarray(self.times, dtype), level.t.ndim + 1)
        off = jnp.abs(jnp.asarray(level.t, dtype)[..., None] - times)
        return jnp.asarray(self.values, dtype)[jnp.argmin(off, axis=-1)]
