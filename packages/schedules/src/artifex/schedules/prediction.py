r"""What a network predicts, and how to get $x_0$ and $\epsilon$ from it.

Every class is a value without arrays: two of one kind are equal and hash alike. ``target`` makes what the network is
trained on; ``clean`` and ``noise`` read $x_0$ and $\epsilon$ out of what it says. With these, any prediction becomes
any other: no table of pairs. All hold on every path $x_t = \alpha x_0 + \sigma \epsilon$, variance-preserving or not.

``noise`` is no detour over ``clean``: near clean data an $x_0$ in float32 says little about $\epsilon$, since its
rounding is multiplied by $\alpha / \sigma$ (1800 at a log-SNR of 15). Each class states both in the form that its own
output holds best.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from artifex.kernels import linear_step
from artifex.schedules.level import NoiseLevel
from artifex.schedules.shapes import Time, X


@runtime_checkable
class Prediction(Protocol):
    """A convention for a network's output, and for its input."""

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        """What the network should say for ``x_t`` made of ``x0`` and ``eps``."""
        ...

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The $x_0$ that the output ``out`` means at ``x_t``."""
        ...

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""The $\epsilon$ that the output ``out`` means at ``x_t``."""
        ...

    def inputs(self, x_t: X, level: NoiseLevel[jax.Array]) -> tuple[X, Time]:
        """The network's input in place of ``x_t``, and its time, one a sample: int32 at the steps of a chain."""
        return x_t, jnp.broadcast_to(level.t, x_t.shape[:1])


def convert(out: X, x_t: X, level: NoiseLevel[jax.Array], source: Prediction, target: Prediction) -> X:
    r"""The output ``out`` of a network with ``source``, as a network with ``target`` would say it.

    The pair $(\hat x_0, \hat\epsilon)$ is carried, not $x_0$ alone, so the way there and back returns ``out`` to
    within rounding wherever the array in between can hold it. Three kinds can at every level: ``V``, ``FlowVelocity``
    and ``EDMPreconditioned``. A float32 ``X0`` cannot hold $\epsilon$ at high log-SNR, nor ``Epsilon`` and ``Score``
    $x_0$ at low: an ulp of the one is then $\alpha/\sigma$, or $\sigma/\alpha$, ulps of the other. Keep the pair of
    ``to_x0_eps`` where both matter.

    Args:
        out: ``(batch, ...)``.
        x_t: where the network was called.
        level: one level, or one a sample.
        source: what ``out`` is.
        target: what it shall be.
    """
    x0, eps = to_x0_eps(out, x_t, level, source)
    return target.target(x0, eps, level)


def to_x0_eps(out: X, x_t: X, level: NoiseLevel[jax.Array], source: Prediction) -> tuple[X, X]:
    r"""$(\hat x_0, \hat\epsilon)$ with $\alpha \hat x_0 + \sigma \hat\epsilon = x_t$.

    Where $\alpha = 0$ an ``Epsilon`` or a ``Score`` says nothing of $x_0$, where $\sigma = 0$ a ``X0`` or a
    ``Score`` says nothing of $\epsilon$: it is 0 there.
    """
    return source.to_x0(out, x_t, level), source.to_eps(out, x_t, level)


def combine(a: Array, x: X, b: Array, y: X) -> X:
    """``a x + b y`` with one number, or one a sample, in front of each."""
    return linear_step([x, y], jnp.stack(jnp.broadcast_arrays(a, b), axis=-1))


def scale(a: Array, x: X) -> X:
    """``a x`` with one number, or one a sample."""
    return linear_step([x], a[..., None])


def divide(a: Array, b: Array) -> Array:
    """``a / b``, and 0 where ``b`` is 0: at the end of a path that has lost all signal, nothing is known of $x_0$."""
    known = b > 0
    return jnp.where(known, a / jnp.where(known, b, 1), 0)


def remainder(x_t: X, share: Array, known: X, whole: Array) -> X:
    """``(x_t - share * known) / whole``: what remains of ``x_t`` beside a part that is known, 0 where ``whole`` is."""
    return combine(divide(jnp.ones_like(whole), whole), x_t, divide(-share, whole), known)


@dataclass(frozen=True)
class Epsilon(Prediction):
    r"""The noise: $\epsilon$, so $x_0 = (x_t - \sigma \epsilon) / \alpha$; 0 where $\alpha = 0$.

    References: Ho et al. 2020, https://arxiv.org/abs/2006.11239
    """

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\epsilon$."""
        return eps

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t - \sigma\, \mathrm{out}) / \alpha$."""
        return remainder(x_t, level.sigma, out, level.alpha)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The output."""
        return out


@dataclass(frozen=True)
class X0(Prediction):
    r"""The data itself: $x_0$, so $\epsilon = (x_t - \alpha x_0) / \sigma$; 0 where $\sigma = 0$."""

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        """$x_0$."""
        return x0

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The output."""
        return out

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t - \alpha\, \mathrm{out}) / \sigma$."""
        return remainder(x_t, level.alpha, out, level.sigma)


@dataclass(frozen=True)
class V(Prediction):
    r"""$v = \alpha \epsilon - \sigma x_0$, so $x_0 = (\alpha x_t - \sigma v) / (\alpha^2 + \sigma^2)$.

    References: Salimans and Ho 2022, https://arxiv.org/abs/2202.00512
    """

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\alpha \epsilon - \sigma x_0$."""
        return combine(-level.sigma, x0, level.alpha, eps)

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(\alpha x_t - \sigma\, \mathrm{out}) / (\alpha^2 + \sigma^2)$."""
        power = level.alpha**2 + level.sigma**2
        return combine(level.alpha / power, x_t, -level.sigma / power, out)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(\sigma x_t + \alpha\, \mathrm{out}) / (\alpha^2 + \sigma^2)$."""
        power = level.alpha**2 + level.sigma**2
        return combine(level.sigma / power, x_t, level.alpha / power, out)


@dataclass(frozen=True)
class Score(Prediction):
    r"""The score $\nabla \log p(x_t) = -\epsilon / \sigma$, so $x_0 = (x_t + \sigma^2 s) / \alpha$.

    It is infinite on clean data; where $\sigma = 0$ it is taken as 0, and so is its $\epsilon$.

    References: Song et al. 2021, https://arxiv.org/abs/2011.13456
    """

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$-\epsilon / \sigma$."""
        return scale(divide(-jnp.ones_like(level.sigma), level.sigma), eps)

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t + \sigma^2\, \mathrm{out}) / \alpha$."""
        return remainder(x_t, -(level.sigma**2), out, level.alpha)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$-\sigma\, \mathrm{out}$."""
        return scale(-level.sigma, out)


@dataclass(frozen=True)
class FlowVelocity(Prediction):
    r"""The velocity of a straight path: $u = \epsilon - x_0$, so $x_0 = (x_t - \sigma u) / (\alpha + \sigma)$.

    References: Lipman et al. 2023, https://arxiv.org/abs/2210.02747; Liu et al. 2023, https://arxiv.org/abs/2209.03003
    """

    def target(self, x0: X, eps: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$\epsilon - x_0$."""
        return eps - x0

    def to_x0(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t - \sigma\, \mathrm{out}) / (\alpha + \sigma)$."""
        return remainder(x_t, level.sigma, out, level.alpha + level.sigma)

    def to_eps(self, out: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        r"""$(x_t + \alpha\, \mathrm{out}) / (\alpha + \sigma)$."""
        return remainder(x_t, -level.alpha, out, level.alpha + level.sigma)
