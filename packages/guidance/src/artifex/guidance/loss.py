"""Universal guidance: the gradient of any loss on the clean data."""

from collections.abc import Callable
from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.guidance.base import Conditional, Guidance
from artifex.guidance.gradient_step import check_push, gradient_step
from artifex.guidance.scales import Scale
from artifex.schedules import ConditionalDenoiser, Denoiser, NoiseLevel, split_variance
from artifex.schedules.arrays import record
from artifex.schedules.shapes import Estimate, X

C = TypeVar("C")
LossFn = Callable[[X], Float[Array, " b"]]
"""A loss on clean data, one number per sample."""


@record
class Loss(Generic[C]):
    r"""$$\hat x_0' = \hat x_0 - w\, \frac{\sigma^2}{\alpha}\, \nabla_{x_t}\, \ell\big(\hat x_0(x_t)\big)$$.

    This is $\hat\epsilon + w\, \sigma\, \nabla \ell$, classifier guidance with $p(y \mid x_t) \propto e^{-\ell}$. The
    gradient goes through the denoiser, so a step costs about three evaluations, but nothing is trained on noisy data.

    Attributes:
        loss: $\ell$, differentiable, from clean data to one number per sample, ``(batch,)``. Make it a
            pytree if it holds arrays, such as ``jax.tree_util.Partial(loss, target)``.
        scale: w, any finite number, one per sample, or a function of the level; 0 is no guidance.
        guidance: the guidance that the gradient passes through and is added to; the conditional denoiser by default.

    Raises:
        ValueError: if the scale is not finite, or the loss returns another shape than ``(batch,)``.

    References: Bansal et al. 2023, https://arxiv.org/abs/2302.07121; Song et al. 2023 (loss-guided diffusion),
        https://proceedings.mlr.press/v202/song23k.html
    """

    loss: LossFn
    scale: Scale = 1.0
    guidance: Guidance[C] = Conditional()

    def __post_init__(self) -> None:
        check_push(self.scale)

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The guided denoiser."""
        return _LossDenoiser(self.guidance(denoiser, cond), self.loss, self.scale)


@record
class _LossDenoiser:
    """A denoiser with the negative gradient of a loss added."""

    denoiser: Denoiser
    loss: LossFn
    scale: Scale

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The guided $x_0$."""

        def total(x: X) -> tuple[Float[Array, ""], Estimate]:
            estimate = self.denoiser(x, level)
            each = self.loss(split_variance(estimate, x)[0])
            if each.shape != x.shape[:1]:
                raise ValueError(
                    f"the loss must return one number per sample, of shape {x.shape[:1]}, got {each.shape}"
                )
            return -jnp.sum(each), estimate

        slope, estimate = jax.grad(total, has_aux=True)(x_t)
        return gradient_step(estimate, slope, self.scale, level)
