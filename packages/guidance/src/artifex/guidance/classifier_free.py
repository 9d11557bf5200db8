"""Classifier-free guidance."""

from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.guidance.base import Scale, scale_at
from artifex.guidance.combine import apply_guidance
from artifex.schedules import ConditionalDenoiser, Denoiser, Estimate, NoiseLevel, record

X = Float[Array, "b *d"]
C = TypeVar("C")


@record
class ClassifierFree(Generic[C]):
    r"""$$\hat x_0 = x_0(x_t, \varnothing) + w\,\big(x_0(x_t, c) - x_0(x_t, \varnothing)\big)$$.

    Attributes:
        scale: w, any finite number, one a sample, or a function of the level; 0 ignores the condition, 1 follows it.
        null: the condition that means none, of the structure of a condition for one sample. With it both halves run in
            one batch; without, the denoiser is called twice, the second time with None.

    References: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598
    """

    scale: Scale
    null: C | None = None

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C) -> Denoiser:
        """The denoiser guided towards ``cond``, whose arrays have the batch in front."""
        return _Guided(denoiser, cond, self.null, self.scale)


@record
class _Guided(Generic[C]):
    denoiser: ConditionalDenoiser[C]
    cond: C
    null: C | None
    scale: Scale

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        conditional, unconditional = self._both(x_t, level)
        return apply_guidance(conditional, unconditional, scale_at(self.scale, level, x_t))

    def _both(self, x_t: X, level: NoiseLevel[jax.Array]) -> tuple[Estimate, Estimate]:
        if self.null is None:
            return self.denoiser(x_t, level, self.cond), self.denoiser(x_t, level, None)
        null = jax.tree.map(lambda n, c: jnp.broadcast_to(n, c.shape).astype(c.dtype), self.null, self.cond)
        x_t, level, cond = jax.tree.map(
            lambda a, b: jnp.concatenate([a, b]), (x_t, level, self.cond), (x_t, level, null)
        )
        conditional, unconditional = jnp.split(self.denoiser(x_t, level, cond), 2)
        return conditional, unconditional
