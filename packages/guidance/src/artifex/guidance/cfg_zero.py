"""CFG-Zero*: classifier-free guidance that corrects for the error of the velocity."""

from typing import Generic, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from artifex.guidance.arithmetic import dot, safe_divide
from artifex.guidance.base import Conditional, Guidance
from artifex.guidance.by_step import FirstSteps
from artifex.guidance.rule import apply_guidance
from artifex.guidance.scales import Scale, check_scale, factor_at, scale_at
from artifex.schedules import X0, ConditionalDenoiser, Denoiser, FlowVelocity, NoiseLevel, Prediction, convert, expand
from artifex.schedules.arrays import record, static
from artifex.schedules.shapes import Estimate, X

C = TypeVar("C")


@record
class CFGZeroStar:
    r"""The linear rule with the weak velocity scaled by its projection on the strong one.

    $$s = \frac{\langle v^+, v^- \rangle}{\lVert v^- \rVert^2},\qquad s\, v^- + w\, (v^+ - s\, v^-)$$

    The paper also starts with steps of zero velocity: ``ZeroInit(ClassifierFree(CFGZeroStar(w), null))``.

    Attributes:
        scale: w.
        prediction: the type of the velocities: those of the straight path, as in the paper.

    Raises:
        ValueError: if the scale is not finite.

    References: Fan et al. 2025, https://arxiv.org/abs/2503.18886
    """

    scale: Scale = 4.0
    prediction: Prediction = static(default=FlowVelocity())

    def __post_init__(self) -> None:
        check_scale(self.scale)

    def combine(self, strong: X, weak: X, x_t: X, level: NoiseLevel[jax.Array]) -> X:
        """The guided $x_0$."""
        w = factor_at(self.scale, level, strong)
        towards, away = (convert(x0.astype(w.dtype), x_t, level, X0(), self.prediction) for x0 in (strong, weak))
        out = apply_guidance(towards, safe_divide(dot(towards, away), dot(away, away), 0) * away, w)
        return self.prediction.to_x0(out, x_t, level).astype(strong.dtype)


@record
class ZeroInit(Generic[C]):
    """A guidance with zero velocity in the first steps, where the network's velocity is inaccurate.

    On the straight path such a step changes nothing, and the network is not called.

    Attributes:
        guidance: the guidance in all other steps.
        first: a positive scale where the velocity is zero, for ``bind``; the first step by default.
        prediction: the type of the velocity.

    Raises:
        ValueError: if ``first`` is not finite.

    References: Fan et al. 2025, https://arxiv.org/abs/2503.18886
    """

    guidance: Guidance[C] = Conditional()
    first: Scale = FirstSteps(1)
    prediction: Prediction = static(default=FlowVelocity())

    def __post_init__(self) -> None:
        check_scale(self.first)

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The guided denoiser."""
        return _ZeroVelocityDenoiser(self.guidance(denoiser, cond), self.first, self.prediction)


@record
class _ZeroVelocityDenoiser:
    """A denoiser whose velocity is zero where ``first`` is positive."""

    denoiser: Denoiser
    first: Scale
    prediction: Prediction = static()

    def __call__(self, x_t: X, level: NoiseLevel[jax.Array]) -> Estimate:
        """The $x_0$ of zero velocity, or the denoiser's."""
        is_zero: Bool[Array, " b"] = jnp.broadcast_to(scale_at(self.first, level, x_t) > 0, x_t.shape[:1])
        shape = jax.eval_shape(self.denoiser, x_t, level).shape
        x0 = self.prediction.to_x0(jnp.zeros_like(x_t), x_t, level)
        zero = jnp.pad(
            x0, [(0, n - m) for n, m in zip(shape, x0.shape, strict=True)]
        )  # with v = 0 for a learned variance
        out: Estimate = jax.lax.cond(
            jnp.all(is_zero),
            lambda: zero,
            lambda: jnp.where(expand(is_zero, zero), zero, self.denoiser(x_t, level)),
        )
        return out
