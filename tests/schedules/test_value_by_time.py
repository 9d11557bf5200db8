"""Numbers by the level of a walk."""

import jax.numpy as jnp
import numpy as np
import pytest

from artifex.schedules import NoiseLevel, ValueByTime


@pytest.mark.slow
def test_the_nearest_time_has_the_number() -> None:
    numbers = ValueByTime(np.array([9.0, 5.0, 1.0]), np.array([0.5, 2.0, 7.0]))
    t = jnp.array([1.2, 8.0, 4.0, 9.0])
    np.testing.assert_array_equal(numbers(NoiseLevel(t, t, t)), [7.0, 0.5, 2.0, 0.5])
    assert numbers(NoiseLevel(t[0], t[0], t[0])) == 7.0


def test_numbers_that_do_not_match_the_rows() -> None:
    with pytest.raises(ValueError, match=r"must be of one shape \(rows,\), got \(3,\) and \(2,\)"):
        ValueByTime(np.ones(3), np.ones(2))
