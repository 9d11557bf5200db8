r"""Philox and the normal numbers of Triton's ``tl.randn4x``, four at a time.

A GPU multiplies two 32-bit words in one instruction, which takes a dozen here; so only ``triton`` is fast.

References: Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405; Box and Muller 1958.
"""

from typing import Final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, UInt32

ROUNDS: Final = 10
FACTORS: Final = (0xD2511F53, 0xCD9E8D57)
STEPS: Final = (0x9E3779B9, 0xBB67AE85)

Word = UInt32[Array, "*s"]


def normal(k0: UInt32[Array, "b 1"], k1: UInt32[Array, "b 1"], count: int) -> Float32[Array, "b n"]:
    """``count`` normal numbers for each key ``(k0, k1)``: four from counter 0, four from counter 1, and so on."""
    counters = jnp.broadcast_to(jnp.arange(-(-count // 4), dtype=jnp.uint32), (k0.shape[0], -(-count // 4)))
    first, second, third, fourth = (_uniform(word) for word in words(k0, k1, counters))
    four = jnp.stack([*_pair(first, second), *_pair(third, fourth)], axis=-1)
    return four.reshape(k0.shape[0], -1)[:, :count]


def words(k0: UInt32[Array, "*#s"], k1: UInt32[Array, "*#s"], i: Word) -> tuple[Word, Word, Word, Word]:
    """The four words of philox4x32-10 at the counters ``(i, 0, 0, 0)``."""

    def one_round(_: int | Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        a, b, c, d, k0, k1 = state
        (high_a, low_a), (high_c, low_c) = _product(a, FACTORS[0]), _product(c, FACTORS[1])
        mixed = high_c ^ b ^ k0, low_c, high_a ^ d ^ k1, low_a
        return (*mixed, k0 + jnp.uint32(STEPS[0]), k1 + jnp.uint32(STEPS[1]))

    # Unrolled, XLA would compute the rounds once for each of the four.
    none = jnp.zeros_like(i)
    a, b, c, d, _, _ = jax.lax.fori_loop(0, ROUNDS, one_round, (i, none, none, none, k0, k1))
    return a, b, c, d


def _product(x: Word, factor: int) -> tuple[Word, Word]:
    """The upper and lower 32 bits of a product, by halves: there are no 64-bit integers without ``jax_enable_x64``."""
    half, mask = jnp.uint32(16), jnp.uint32(0xFFFF)
    f_high, f_low = jnp.uint32(factor >> 16), jnp.uint32(factor & 0xFFFF)
    x_high, x_low = x >> half, x & mask
    low = x_low * f_low
    middle = x_high * f_low + (low >> half)
    other = x_low * f_high + (middle & mask)
    return x_high * f_high + (middle >> half) + (other >> half), (other << half) | (low & mask)


def _uniform(word: Word) -> Float32[Array, "*s"]:
    """A number in [0, 1) from the 31 lower bits, inverted where the top bit is set."""
    signed = jax.lax.bitcast_convert_type(word, jnp.int32)
    u: Array = jnp.where(signed < 0, ~signed, signed).astype(jnp.float32) * jnp.float32(4.6566127342e-10)
    return u


def _pair(u: Float32[Array, "*s"], v: Float32[Array, "*s"]) -> tuple[Float32[Array, "*s"], Float32[Array, "*s"]]:
    """Two normal numbers from two uniform ones, by Box and Muller."""
    radius, angle = jnp.sqrt(-2 * jnp.log(jnp.maximum(u, jnp.float32(1e-7)))), jnp.float32(2 * jnp.pi) * v
    return radius * jnp.cos(angle), radius * jnp.sin(angle)
