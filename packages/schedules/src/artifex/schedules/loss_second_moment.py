r"""Training times in proportion to how much their losses vary."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from artifex.kernels.ranges import check_number, check_whole
from artifex.schedules.arrays.records import record, static
from artifex.schedules.shapes import OneKey, Time
from artifex.schedules.time_samplers import Part, Timestep, uniform


@record
class LossSecondMoment:
    r"""Steps of a chain with $p_i \propto \sqrt{\mathbb E[L_i^2]}$ over the last losses at each step.

    A value, not an object with a memory: ``update`` gives the next one, and it may be carried through jit and scan, or
    saved. Until every step has been trained ``history`` times, all are equally likely. The loss stays unbiased if each
    sample's is multiplied by ``weight``.

    Attributes:
        losses: the last losses, ``(n, history)``.
        counts: how often each step has been trained, ``(n,)``.
        uniform_prob: the part of all times that is drawn uniformly, in [0, 1].

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
        """No losses yet.

        Args:
            n: steps of the chain, at least 1.
            history: losses kept for each step, at least 1.
            uniform_prob: the part of all times that is drawn uniformly, in [0, 1].

        Raises:
            ValueError: for values outside those ranges.
        """
        check_whole("n", n, 1)
        check_whole("history", history, 1)
        return cls(losses=jnp.zeros((n, history)), counts=jnp.zeros(n, jnp.int32), uniform_prob=uniform_prob)

    @property
    def probabilities(self) -> Float[Array, " n"]:
        """Of each step; they sum to 1."""
        n, history = self.losses.shape
        root = jnp.sqrt(jnp.mean(self.losses**2, axis=1))
        total = jnp.sum(root)
        known = jnp.all(self.counts >= history) & (total > 0)
        share = jnp.where(known, root / jnp.where(known, total, 1), 1 / n)
        return share * (1 - self.uniform_prob) + self.uniform_prob / n

    def __call__(self, key: OneKey, batch: int) -> Timestep:
        """``batch`` independent times, integers in [0, n - 1]."""
        return self.quantile(uniform(key, batch))

    def quantile(self, u: Part) -> Timestep:
        """The first step at which the cumulated probability is above ``u``."""
        cumulated = jnp.cumsum(self.probabilities)
        place = jnp.searchsorted(cumulated / cumulated[-1], u, side="right")
        return jnp.minimum(place, len(cumulated) - 1).astype(jnp.int32)

    def weight(self, t: Time) -> Part:
        r"""$1 / (n p_t)$."""
        return 1 / (len(self.counts) * self.probabilities[t.astype(jnp.int32)])

    def update(self, t: Time, loss: Part) -> "LossSecondMoment":
        """With the losses of a batch, each before its ``weight``; a step may stand in ``t`` more than once."""

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
