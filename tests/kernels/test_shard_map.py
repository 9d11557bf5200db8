"""Kernels under ``jax.shard_map`` as it is by default, which checks over which devices every array differs."""

from collections.abc import Callable
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex.kernels.adaln.pallas import pallas as adaln
from artifex.kernels.group_norm_silu.pallas import pallas as group_norm_silu
from artifex.kernels.guided_combine.pallas import pallas as guided_combine
from artifex.kernels.linear_step.pallas import pallas as linear_step
from artifex.kernels.platform import shaped
from artifex.kernels.qk_norm_rope.pallas import pallas as qk_norm_rope

pytestmark = pytest.mark.slow


def _adaln(x: Array, v: Array) -> Array:
    w = jnp.broadcast_to(v, (x.shape[0], v.shape[0]))
    y: Array = adaln(x, x, w, w, w, 1e-6, target="tpu")[1]
    return y


def _group_norm_silu(x: Array, v: Array) -> Array:
    w = jnp.broadcast_to(v, (x.shape[0], v.shape[0]))
    y: Array = group_norm_silu(x, w, w, 2, 1e-6, True, target="tpu")
    return y


def _guided_combine(x: Array, v: Array) -> Array:
    y: Array = guided_combine(x, 2 * x, jnp.broadcast_to(v[0], x.shape[:1]), None, None, target="tpu")
    return y


def _linear_step(x: Array, v: Array) -> Array:
    y: Array = linear_step([x, x], jnp.broadcast_to(v[:2], (x.shape[0], 2)), None, None, None, "key", target="tpu")
    return y


def _qk_norm_rope(x: Array, v: Array) -> Array:
    turn = jnp.ones((1, x.shape[1], 1, v.shape[0] // 2))
    y: Array = qk_norm_rope(x, v, turn, turn, "rms", 1e-6, target="tpu")
    return y


CASES: Final[tuple[tuple[Callable[[Array, Array], Array], tuple[int, ...]], ...]] = (
    (_adaln, (2, 8, 16)),
    (_group_norm_silu, (2, 4, 4, 16)),
    (_guided_combine, (2, 128)),
    (_linear_step, (2, 128)),
    (_qk_norm_rope, (2, 8, 2, 16)),
)


@pytest.mark.parametrize(("kernel", "shape"), CASES, ids=lambda x: x.__name__.strip("_") if callable(x) else "")
def test_the_gradient_of_what_all_devices_share_is_summed_over_them(
    kernel: Callable[[Array, Array], Array], shape: tuple[int, ...]
) -> None:
    def gradients(x: Array, v: Array) -> tuple[Array, Array]:
        d_x, d_v = jax.grad(lambda x, v: jnp.sum(kernel(x, v) ** 2), (0, 1))(x, v)
        return d_x, d_v

    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("rows",))
    rows, whole = jax.sharding.PartitionSpec("rows"), jax.sharding.PartitionSpec()  # type: ignore[no-untyped-call]
    sharded = jax.shard_map(gradients, mesh=mesh, in_specs=(rows, whole), out_specs=(rows, whole))
    arguments = shaped(shape, jnp.float32), shaped((16,), jnp.float32)
    assert "psum" in str(jax.make_jaxpr(sharded)(*arguments))
