"""Guidance for diffusion models: wrappers from denoiser to denoiser, all on the clean data $x_0$."""

from artifex.guidance.base import Conditional as Conditional
from artifex.guidance.base import Guidance as Guidance
from artifex.guidance.base import Unconditional as Unconditional
from artifex.guidance.classifier import Classifier as Classifier
from artifex.guidance.classifier_free import ClassifierFree as ClassifierFree
from artifex.guidance.contrast import Contrast as Contrast
from artifex.guidance.rule import Linear as Linear
from artifex.guidance.rule import Rule as Rule
from artifex.guidance.rule import apply_guidance as apply_guidance
from artifex.guidance.scales import Scale as Scale
from artifex.guidance.scales import cosine_guidance_schedule as cosine_guidance_schedule
from artifex.guidance.scales import linear_guidance_schedule as linear_guidance_schedule
from artifex.guidance.walk import ByStep as ByStep
from artifex.guidance.walk import Walk as Walk
from artifex.guidance.walk import bind as bind

__all__ = [
    "ByStep",
    "Classifier",
    "ClassifierFree",
    "Conditional",
    "Contrast",
    "Guidance",
    "Linear",
    "Rule",
    "Scale",
    "Unconditional",
    "Walk",
    "apply_guidance",
    "bind",
    "cosine_guidance_schedule",
    "linear_guidance_schedule",
]
