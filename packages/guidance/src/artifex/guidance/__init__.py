"""Guidance for diffusion models: wrappers from denoiser to denoiser, all on the clean data $x_0$."""

from artifex.guidance.base import Conditional as Conditional
from artifex.guidance.base import Guidance as Guidance
from artifex.guidance.base import Scale as Scale
from artifex.guidance.classifier_free import ClassifierFree as ClassifierFree
from artifex.guidance.combine import apply_guidance as apply_guidance

__all__ = ["ClassifierFree", "Conditional", "Guidance", "Scale", "apply_guidance"]
