"""Shapes and dtypes of the arrays in signatures, each named once: ``b`` is the batch, ``*d`` a sample's own axes."""

from jaxtyping import Array, Float, Int, Key, Real, UInt32

X = Float[Array, "b *d"]
"""A batch of samples: data, noise, or a state between them."""

Estimate = Float[Array, "b ..."]
"""$x_0$, or $[x_0, v]$ concatenated on the last axis."""

Time = Real[Array, " b"]
"""One time per sample: int32 for the steps of a discrete chain, else floating."""

Labels = Int[Array, " b"]
"""One class label per sample."""

OneKey = Key[Array, ""] | UInt32[Array, "2"]
"""One random key, typed or raw."""

AnyKey = Key[Array, "..."] | UInt32[Array, "..."]
"""One random key, or one per sample."""
