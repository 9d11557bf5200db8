"""``jax.vmap`` of kernels that can't be batched by JAX: the new axis joins the batch they have."""

from collections.abc import Callable, Sequence
from functools import wraps

import jax
import jax.numpy as jnp
from jaxtyping import Array


def folds_batch(f: Callable[..., tuple[Array, ...]]) -> Callable[..., tuple[Array, ...]]:
    """``f`` whose ``jax.vmap`` runs ``f`` once, on a batch so many times as large.

    Args:
        f: a function of arrays, each with the batch in front, or an axis of size 1 that serves all samples; what it
            returns has the batch in front. Under ``jax.custom_vjp``, it is what runs forward and what runs backward.
    """
    mapped = jax.custom_batching.custom_vmap(f)

    @mapped.def_vmap
    def rule(axis_size: int, in_batched: Sequence[bool], *args: Array) -> tuple[tuple[Array, ...], tuple[bool, ...]]:
        batch = max(x.shape[1 if batched else 0] for x, batched in zip(args, in_batched, strict=True))

        def fold(x: Array, batched: bool) -> Array:
            if not batched:
                if x.shape[0] == 1:
                    return x
                x = x[None]
            x = jnp.broadcast_to(x, (axis_size, batch, *x.shape[2:]))
            return x.reshape(axis_size * batch, *x.shape[2:])

        out = folded(*(fold(x, batched) for x, batched in zip(args, in_batched, strict=True)))
        return tuple(x.reshape(axis_size, batch, *x.shape[1:]) for x in out), (True,) * len(out)

    @wraps(f)
    def folded(*args: Array) -> tuple[Array, ...]:
        out: tuple[Array, ...] = mapped(*args)
        return out

    return folded
