"""Guidance for diffusion models: wrappers around denoisers, all in terms of $x_0$."""

from artifex.guidance.apg import APG as APG
from artifex.guidance.autoguidance import Autoguidance as Autoguidance
from artifex.guidance.base import Conditional as Conditional
from artifex.guidance.base import Guidance as Guidance
from artifex.guidance.base import Unconditional as Unconditional
from artifex.guidance.by_step import ByStep as ByStep
from artifex.guidance.by_step import FirstSteps as FirstSteps
from artifex.guidance.by_step import cosine_guidance_schedule as cosine_guidance_schedule
from artifex.guidance.by_step import linear_guidance_schedule as linear_guidance_schedule
from artifex.guidance.cfg_plus_plus import CFGPlusPlus as CFGPlusPlus
from artifex.guidance.cfg_rescale import CFGRescale as CFGRescale
from artifex.guidance.cfg_zero import CFGZeroStar as CFGZeroStar
from artifex.guidance.cfg_zero import ZeroInit as ZeroInit
from artifex.guidance.classifier import Classifier as Classifier
from artifex.guidance.classifier_free import ClassifierFree as ClassifierFree
from artifex.guidance.combined import Combined as Combined
from artifex.guidance.composed import Composed as Composed
from artifex.guidance.contrast import Contrast as Contrast
from artifex.guidance.interval import Interval as Interval
from artifex.guidance.loss import Loss as Loss
from artifex.guidance.perturb import Perturbable as Perturbable
from artifex.guidance.perturbed_attention import PerturbedAttention as PerturbedAttention
from artifex.guidance.rule import LinearRule as LinearRule
from artifex.guidance.rule import Rule as Rule
from artifex.guidance.rule import apply_guidance as apply_guidance
from artifex.guidance.scales import Scale as Scale
from artifex.guidance.scales import StepScale as StepScale
from artifex.guidance.scales import TableauLike as TableauLike
from artifex.guidance.scales import bind as bind
from artifex.guidance.skip_layers import SkipLayers as SkipLayers
from artifex.guidance.thresholded import Thresholded as Thresholded

__all__ = [
    "APG",
    "Autoguidance",
    "ByStep",
    "CFGPlusPlus",
    "CFGRescale",
    "CFGZeroStar",
    "Classifier",
    "ClassifierFree",
    "Combined",
    "Composed",
    "Conditional",
    "Contrast",
    "FirstSteps",
    "Guidance",
    "Interval",
    "LinearRule",
    "Loss",
    "Perturbable",
    "PerturbedAttention",
    "Rule",
    "Scale",
    "SkipLayers",
    "StepScale",
    "TableauLike",
    "Thresholded",
    "Unconditional",
    "ZeroInit",
    "apply_guidance",
    "bind",
    "cosine_guidance_schedule",
    "linear_guidance_schedule",
]
