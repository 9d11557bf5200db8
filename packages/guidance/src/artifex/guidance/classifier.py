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
"""A classifier of noisy data: ``(x_t, t)`` to one row of logits a sample; at the steps of a chain t is of int32."""


@record
class Classifier:
    r"""$$\hat x_0' = \hat x_0 + w\, \frac{\sigma^2}{\alpha}\, \nabla_{x_t} \log p(y \mid x_t)$$.

    That is $\hat\epsilon - w\, \sigma\, \nabla \log p$, the paper's form, in terms of $x_0$. The gradient is that of
    the sum over the batch, so that no sample feels how many others there are.

    Attributes:
        logits: the classifier, trained on noisy data: called as ``(x_t, t)``, it gives ``(batch, classes)``. A pytree
            if its arrays are to be data, such as ``jax.tree_util.Partial(apply, parameters)``.
        scale: w, any finite number, one a sample, or a function of the level; 0 is no guidance.
        guidance: what the gradient is added to; the denoiser without a condition by default.

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
        """The denoiser guided towards the labels ``cond``, one a sample."""
        return _ClassifierDenoiser(self.guidance(denoiser, cond), self.logits, require_condition(cond), self.scale)


@record
class _ClassifierDenoiser:
    """A denoiser that climbs a classifier's log-probability of given labels."""

    denoiser: Denoiser
    logits: Logits
    labels: Labels
    scale: Scale

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The guided $x_0$."""
        slope = jax.grad(lambda x: jnp.sum(log_prob(self.logits, x, level, self.labels)))(x_t)
        return gradient_step(self.denoiser(x_t, level), slope, self.scale, level)


def log_prob(logits: Logits, x_t: X, level: NoiseLevel[jax.Array], labels: Labels) -> Float[Array, " b"]:
    r"""$\log \mathrm{softmax}(f(x_t, t))_y$, one a sample.

    Raises:
        ValueError: if the classifier does not give ``(batch, classes)``, or there is not one label a sample.
    """
    batch = x_t.shape[0]
    if labels.shape != (batch,):
        raise ValueError(f"labels must be of shape {(batch,)}, one a sample, got {labels.shape}")
    said = logits(x_t, jnp.broadcast_to(level.t, (batch,)))
    if said.ndim != 2 or said.shape[0] != batch:
        raise ValueError(f"the classifier must give logits of shape ({batch}, classes), got {said.shape}")
    return jnp.take_along_axis(jax.nn.log_softmax(said), labels[:, None], axis=1)[:, 0]
