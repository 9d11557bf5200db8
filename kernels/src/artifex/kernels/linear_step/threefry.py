r"""Threefry and JAX's normal numbers, in operations that every kernel language has.

``jax.random.normal(key, shape)`` gives its $i$-th number from the counter $i$ alone, so a kernel can draw the noise of
the elements it holds.

References: Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405 (threefry); Giles 2012, "Approximating the
erfinv function" (its polynomials).
"""

from typing import Final

import jax.numpy as jnp
from jaxtyping import Array, Float32, UInt32

ROTATIONS: Final = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY: Final = 0x1BD11BDA
CENTER: Final = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
TAIL: Final = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def words(k0: UInt32[Array, "*#s"], k1: UInt32[Array, "*#s"], i: UInt32[Array, "*s"]) -> UInt32[Array, "*s"]:
    """``jax.random.bits`` of the key ``(k0, k1)`` at the counters ``i``, bit for bit."""
    keys = (k0, k1, k0 ^ k1 ^ jnp.uint32(PARITY))
    x, y = jnp.broadcast_to(keys[0], i.shape), i + keys[1]
    for group in range(5):
        for by in ROTATIONS[group % 2]:
            x = x + y
            y = x ^ ((y << jnp.uint32(by)) | (y >> jnp.uint32(32 - by)))
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    word: Array = x ^ y
    return word


def uniform(word: UInt32[Array, "*s"]) -> Float32[Array, "*s"]:
    """One of $2^{23}$ numbers in (-1, 1), as ``jax.random.normal`` draws it, bit for bit."""
    # Below 2^23 signed and unsigned integers agree.
    steps = (word >> jnp.uint32(9)).astype(jnp.int32).astype(jnp.float32)
    u: Array = steps * jnp.float32(2.0**-22) - jnp.float32(1 - 2.0**-24)
    return u


def normal(word: UInt32[Array, "*s"]) -> Float32[Array, "*s"]:
    r"""$\sqrt 2\, \mathrm{erf}^{-1}(u)$, within 4 units in the last place."""
    u = uniform(word)
    w = -jnp.log((1 - u) * (1 + u))
    center, tail = w - jnp.float32(2.5), jnp.sqrt(w) - jnp.float32(3)
    p, q = (jnp.full_like(w, c[0]) for c in (CENTER, TAIL))
    for a, b in zip(CENTER[1:], TAIL[1:], strict=True):
        p, q = p * center + jnp.float32(a), q * tail + jnp.float32(b)
    z: Array = u * jnp.where(w < 5, p, q) * jnp.float32(2**0.5)
    return z
