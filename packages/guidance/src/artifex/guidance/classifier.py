"""Classifier guidance."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.guidance.base import Guidance, Unconditional, require_condition
from artifex.guidance.gradient_step import check_push, gradient_step
from artifex.guidance.scales import Scale
from artifex.schedules import ConditionalDenoiser, Denoiser, NoiseLevel
from artifex.schedules.arrays import record
from artifex.schedules.shapes import Estimate, Labels, Time, X

Logits = Callable[[X, Time], Float[Array, "b k"]]
"""A classifier of noisy data: ``(x_t, t)`` to one row of logits per sample; t is int32 at the steps of a chain."""


@record
class Classifier:
    r"""$$\hat x_0' = \hat x_0 + w\, \frac{\sigma^2}{\alpha}\, \nabla_{x_t} \log p(y \mid x_t)$$.

    This is the paper's $\hat\epsilon - w\, \sigma\, \nabla \log p$ in terms of $x_0$. The gradient is that of the sum
    over the batch, so a sample does not depend on the batch size.

    Attributes:
        logits: the classifier, trained on noisy data: ``(x_t, t)`` to ``(batch, classes)``. Make it a pytree if it
            holds arrays, such as ``jax.tree_util.Partial(apply, parameters)``.
        scale: w, any finite number, one per sample, or a function of the level; 0 is no guidance.
        guidance: the guidance that the gradient is added to; the denoiser without a condition by default.

    Raises:
        ValueError: if the scale is not finite.

    References: Dhariwal and Nichol 2021, https://arxiv.org/abs/2105.05233
    """

    logits: Logits
    scale: Scale = 1.0
    guidance: Guidance[Labels] = Unconditional()

    def __post_init__(self) -> None:
        check_push(self.scale)

    def __call__(self, denoiser: ConditionalDenoiser[Labels], cond: Labels | None) -> Denoiser:
        """The denoiser guided towards the labels ``cond``, one per sample."""
        return _ClassifierDenoiser(self.guidance(denoiser, cond), self.logits, require_condition(cond), self.scale)


@record
class _ClassifierDenoiser:
    """A denoiser with the gradient of a classifier's log-probability of given labels added."""

    denoiser: Denoiser
    logits: Logits
    labels: Labels
    scale: Scale

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The guided $x_0$."""
        slope = jax.grad(lambda x: jnp.sum(log_prob(self.logits, x, level, self.labels)))(x_t)
        return gradient_step(self.denoiser(x_t, level), slope, self.scale, level)


def log_prob(logits: Logits, x_t: X, level: NoiseLevel[jax.Array], labels: Labels) -> Float[Array, " b"]:
    r"""$\log \mathrm{softmax}(f(x_t, t))_y$, one per sample.

    Raises:
        ValueError: if the classifier does not return ``(batch, classes)``, or there is not one label per sample.
    """
    batch = x_t.shape[0]
    if labels.shape != (batch,):
        raise ValueError(f"labels must be of shape {(batch,)}, one per sample, got {labels.shape}")
    scores = logits(x_t, jnp.broadcast_to(level.t, (batch,)))
    if scores.ndim != 2 or scores.shape[0] != batch:
        raise ValueError(f"the classifier must return logits of shape ({batch}, classes), got {scores.shape}")
    return jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1)[:, 0]
