"""Diffusion models."""

from artifex.generative_models.core.configuration import ModelConfig as ModelConfig
from artifex.generative_models.models.diffusion.base import DiffusionModel as DiffusionModel
from artifex.generative_models.models.diffusion.ddim import DDIMModel as DDIMModel
from artifex.generative_models.models.diffusion.ddpm import DDPMModel as DDPMModel
from artifex.generative_models.models.diffusion.dit import DiTModel as DiTModel
from artifex.generative_models.models.diffusion.guidance import ClassifierFreeGuidance as ClassifierFreeGuidance
from artifex.generative_models.models.diffusion.guidance import ClassifierGuidance as ClassifierGuidance
from artifex.generative_models.models.diffusion.guidance import GuidedDiffusionModel as GuidedDiffusionModel
from artifex.generative_models.models.diffusion.guidance import apply_guidance as apply_guidance
from artifex.generative_models.models.diffusion.guidance import cosine_guidance_schedule as cosine_guidance_schedule
from artifex.generative_models.models.diffusion.guidance import linear_guidance_schedule as linear_guidance_schedule
from artifex.generative_models.models.diffusion.latent import LDMModel as LDMModel
from artifex.generative_models.models.diffusion.latent import SimpleDecoder as SimpleDecoder
from artifex.generative_models.models.diffusion.latent import SimpleEncoder as SimpleEncoder
from artifex.generative_models.models.diffusion.score import ScoreDiffusionModel as ScoreDiffusionModel

__all__ = [
    "ClassifierFreeGuidance",
    "ClassifierGuidance",
    "DDIMModel",
    "DDPMModel",
    "DiTModel",
    "DiffusionModel",
    "GuidedDiffusionModel",
    "LDMModel",
    "ModelConfig",
    "ScoreDiffusionModel",
    "SimpleDecoder",
    "SimpleEncoder",
    "apply_guidance",
    "cosine_guidance_schedule",
    "linear_guidance_schedule",
]
