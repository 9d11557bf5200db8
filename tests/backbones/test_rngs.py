"""Keys counted on the host are those of Flax."""

import jax
import numpy as np
import pytest
from flax import nnx

from artifex.backbones import init_rngs


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.second = nnx.Linear(4, 3, rngs=rngs)


@pytest.mark.slow
def test_the_draws_are_those_of_flax() -> None:
    """Parameters and dropout's streams, with a seed and, under a trace, with a key."""

    def leaves(rngs: nnx.Rngs) -> list[jax.Array]:
        state = nnx.state(Net(rngs))
        keys, rest = nnx.split_state(state, nnx.RngKey, ...)
        return jax.tree.leaves(rest) + [jax.random.key_data(key) for key in jax.tree.leaves(keys)]

    expected = leaves(nnx.Rngs(3))
    made = leaves(init_rngs(3))
    traced = jax.jit(lambda key: leaves(init_rngs(key)))(jax.random.key(3))
    assert len(made) == len(traced) == len(expected)
    for one, other, want in zip(made, traced, expected, strict=True):
        np.testing.assert_array_equal(one, want)
        np.testing.assert_allclose(other, want, rtol=1e-6)


def test_the_count_is_no_part_of_what_is_traced() -> None:
    def draw() -> None:
        rngs = init_rngs(0)
        rngs.params()
        rngs.params()
        count = rngs["default"].count[...]
        assert not isinstance(count, jax.core.Tracer)
        assert count == 2

    jax.eval_shape(draw)
