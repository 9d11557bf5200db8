"""Several weak predictions at once."""

from typing import Generic, TypeVar

from artifex.guidance.contrast import Contrast, steer
from artifex.schedules import ConditionalDenoiser, Denoiser
from artifex.schedules.arrays import record

C = TypeVar("C")


@record
class Combined(Generic[C]):
    r"""$x_0^+ + \sum_i \big(\mathrm{rule}_i(x_0^+, x_0^{i-}) - x_0^+\big)$: the sum of several rules' contributions.

    For linear rules this is $x_0^+ + \sum_i (w_i - 1)(x_0^+ - x_0^{i-})$, as papers combine perturbed attention
    and skipped layers with classifier-free guidance. The strong $x_0$ is predicted once.

    Attributes:
        contrasts: ``ClassifierFree``, ``Autoguidance``, ``PerturbedAttention``, ``SkipLayers``, any number of them.

    References: Ahn et al. 2024, https://arxiv.org/abs/2403.17377
    """

    contrasts: tuple[Contrast[C], ...]

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The guided denoiser."""
        return steer(denoiser, cond, *self.contrasts)
