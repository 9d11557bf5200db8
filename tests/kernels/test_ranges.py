"""Every documented range of a kernel's plain numbers, at its ends and just outside of them."""

import math
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex import kernels
from artifex.kernels import (
    DynamicThreshold,
    adaln,
    attention,
    group_norm_silu,
    guided_combine,
    linear_step,
    qk_norm_rope,
    sample_keys,
)
from tests.ranges import Range, numbers, uncovered, wholes

INF: Final = math.inf
TINY: Final = 1e-30
X: Final = jnp.ones((2, 4, 4))
V: Final = jnp.ones((2, 4))
Q: Final = jnp.ones((1, 2, 2, 4))


def step(clip: float | None = None, noise_scale: float = 1.0) -> Array:
    return linear_step([X], np.ones(1), noise_scale=noise_scale, key=jax.random.key(0), clip=clip)


def key_of(batch: int) -> Array:
    return sample_keys(jax.random.key(0), batch)


RANGES: Final = [
    *numbers("quantile", (TINY, 1.0), (0.0, 1.01, INF), DynamicThreshold),
    *numbers("limit", (TINY, 9.0), (0.0, -1.0, INF), DynamicThreshold, ceiling=9.0),
    *numbers("ceiling", (1.0, INF), (0.99, -INF), DynamicThreshold),
    *numbers("epsilon", (TINY, 1.0), (0.0, -1.0, INF), adaln, x=X, scale=V, shift=V),
    *numbers("epsilon", (TINY, 1.0), (0.0, -1.0, INF), group_norm_silu, x=X, gamma=V[0], beta=V[0], groups=2),
    *wholes("groups", 1, 2, group_norm_silu, x=X[..., :2], gamma=V[0, :2], beta=V[0, :2]),
    *numbers("epsilon", (TINY, 1.0), (0.0, -1.0, INF), qk_norm_rope, q=Q, k=Q, positions=jnp.ones((2, 1))),
    *numbers("theta", (TINY, 1e6), (0.0, -1.0, INF), qk_norm_rope, q=Q, k=Q, positions=jnp.ones((2, 1))),
    *numbers("scale", (-1.0, 0.0, 9.0), (INF, -INF), attention, q=Q, k=Q, v=Q),
    *numbers("rescale", (0.0, 1.0), (-TINY, 1.01, INF), guided_combine, conditional=X, unconditional=X, scale=2.0),
    *numbers("clip", (TINY, 9.0), (0.0, -1.0, INF), step),
    *numbers("noise_scale", (0.0, 9.0, np.ones(2)), (-TINY, INF, np.array([1.0, -1.0])), step),
    *wholes("batch", 0, None, key_of),
]


@pytest.mark.slow
@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("row", RANGES, ids=str)
def test_a_range_is_held_at_both_ends(row: Range) -> None:
    row.check()


def test_every_number_of_a_public_dataclass_has_its_range() -> None:
    assert uncovered([kernels], RANGES) == set()
