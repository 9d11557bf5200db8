r"""Importance sampling of training times by the second moment of their losses."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from artifex.kernels.ranges import check_number, check_whole
from artifex.schedules.arrays.records import record, static
from artifex.schedules.shapes import OneKey, Time
from artifex.schedules.time_samplers import Fraction, Timestep, uniform


@record
class LossSecondMoment:
    r"""Steps of a chain with $p_i \propto \sqrt{\mathbb E[L_i^2]}$ over the last losses of each step.

    An immutable pytree: ``update`` returns the next one, and it may pass through jit and scan or be saved. Until every
    step has ``history`` losses, all steps are equally likely. The loss stays unbiased if each sample's is multiplied
    by ``weight``.

    Attributes:
        losses: the last losses, ``(n, history)``.
        counts: the number of losses so far of each step, ``(n,)``.
        uniform_prob: the probability of a uniform draw, in [0, 1].

    Raises:
        ValueError: if ``uniform_prob`` lies outside of that range.

    References: Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672
    """

    losses: Float[Array, "n history"]
    counts: Int[Array, " n"]
    uniform_prob: float = static(default=0.001)

    def __post_init__(self) -> None:
        check_number("uniform_prob", self.uniform_prob, 0, 1)

    @classmethod
    def init(cls, n: int, history: int = 10, uniform_prob: float = 0.001) -> "LossSecondMoment":
        """The sampler before the first loss.

        Args:
            n: steps of the chain, at least 1.
            history: losses kept per step, at least 1.
            uniform_prob: the probability of a uniform draw, in [0, 1].

        Raises:
            ValueError: for values outside those ranges.
        """
        check_whole("n", n, 1)
        check_whole("history", history, 1)
        return cls(losses=jnp.zeros((n, history)), counts=jnp.zeros(n, jnp.int32), uniform_prob=uniform_prob)

    @property
    def probabilities(self) -> Float[Array, " n"]:
        """The probability of each step, ``(n,)``."""
        n, history = self.losses.shape
        root = jnp.sqrt(jnp.mean(self.losses**2, axis=1))
        total = jnp.sum(root)
        warm = jnp.all(self.counts >= history) & (total > 0)
        weights = jnp.where(warm, root / jnp.where(warm, total, 1), 1 / n)
        return weights * (1 - self.uniform_prob) + self.uniform_prob / n

    def __call__(self, key: OneKey, batch: int) -> Timestep:
        """``batch`` independent times, integers in [0, n - 1]."""
        return self.quantile(uniform(key, batch))

    def quantile(self, u: Fraction) -> Timestep:
        """The first step whose cumulative probability exceeds ``u``."""
        cumulative = jnp.cumsum(self.probabilities)
        index = jnp.searchsorted(cumulative / cumulative[-1], u, side="right")
        return jnp.minimum(index, len(cumulative) - 1).astype(jnp.int32)

    def weight(self, t: Time) -> Fraction:
        r"""$1 / (n p_t)$."""
        return 1 / (len(self.counts) * self.probabilities[t.astype(jnp.int32)])

    def update(self, t: Time, loss: Fraction) -> "LossSecondMoment":
        """The sampler after the losses of a batch, each without its ``weight``; ``t`` may repeat steps."""

        def push(
            carry: tuple[Array, Array], sample: tuple[Int[Array, ""], Float[Array, ""]]
        ) -> tuple[tuple[Array, Array], None]:
            losses, counts = carry
            step, value = sample
            losses = losses.at[step, counts[step] % losses.shape[1]].set(value)
            return (losses, counts.at[step].add(1)), None

        samples = t.astype(jnp.int32), jax.lax.stop_gradient(loss).astype(self.losses.dtype)
        (losses, counts), _ = jax.lax.scan(push, (self.losses, self.counts), samples)
        return LossSecondMoment(losses=losses, counts=counts, uniform_prob=self.uniform_prob)
