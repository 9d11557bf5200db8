"""Several things to leave behind at once."""

from typing import Generic, TypeVar

from artifex.guidance.contrast import Contrast, steer
from artifex.schedules import ConditionalDenoiser, Denoiser
from artifex.schedules.arrays import record

C = TypeVar("C")


@record
class Combined(Generic[C]):
    r"""$x_0^+ + \sum_i \big(\mathrm{rule}_i(x_0^+, x_0^{i-}) - x_0^+\big)$: what each adds to the strong prediction.

    For linear rules it is $x_0^+ + \sum_i (w_i - 1)(x_0^+ - x_0^{i-})$: so perturbed attention and skipped layers go
    with classifier-free guidance in their papers. The strong $x_0$ is predicted once.

    Attributes:
        contrasts: ``ClassifierFree``, ``Autoguidance``, ``PerturbedAttention``, ``SkipLayers``, in any number.

    References: Ahn et al. 2024, https://arxiv.org/abs/2403.17377
    """

    contrasts: tuple[Contrast[C], ...]

    def __call__(self, denoiser: ConditionalDenoiser[C], cond: C | None) -> Denoiser:
        """The guided denoiser."""
        return steer(denoiser, cond, *self.contrasts)
