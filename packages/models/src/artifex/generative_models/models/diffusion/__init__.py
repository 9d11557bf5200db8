"""Diffusion models."""

from artifex.generative_models.core.configuration import ModelConfig as ModelConfig
from artifex.generative_models.models.diffusion.base import DiffusionModel as DiffusionModel
from artifex.generative_models.models.diffusion.ddim import DDIMModel as DDIMModel
from artifex.generative_models.models.diffusion.ddpm import DDPMModel as DDPMModel
from artifex.generative_models.models.diffusion.score import ScoreDiffusionModel as ScoreDiffusionModel

__all__ = ["DDIMModel", "DDPMModel", "DiffusionModel", "ModelConfig", "ScoreDiffusionModel"]
