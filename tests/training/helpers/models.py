"""Small documented models of every class, by the section of a configuration; points, or images for the transformer."""

from typing import Final

import numpy as np

from artifex.training import Dataset, RunConfig, Trainer, parse_config
from artifex.training.data.source import ArraySource

_CHAIN = "noise_steps: 20, beta_end: 0.5"
_MLP = "hidden_dims: [32, 32]"
MODELS: Final = {
    "base": f"{{class: DiffusionModel, {_MLP}, {_CHAIN}}}",
    "ddpm": f"{{class: DDPMModel, {_MLP}, {_CHAIN}}}",
    "ddim": f"{{class: DDIMModel, {_MLP}, {_CHAIN}, ddim_steps: 10, skip_type: quadratic}}",
    "score": f"{{class: ScoreDiffusionModel, {_MLP}, sigma_max: 5.0}}",
    "latent": f"{{class: LDMModel, {_MLP}, {_CHAIN}, latent_dim: 2, scale_factor: 1.0}}",
    "autoencoder": f"{{class: LDMModel, {_MLP}, {_CHAIN}, latent_dim: 2, stage: autoencoder}}",
    "diffusion": f"{{class: LDMModel, {_MLP}, {_CHAIN}, latent_dim: 2, stage: diffusion}}",
    "dit": (
        f"{{class: DiTModel, {_CHAIN}, hidden_size: 32, depth: 1, num_heads: 2, learn_sigma: true, cfg_scale: 2.0}}"
    ),
    "guided": f"{{class: GuidedDiffusionModel, {_MLP}, {_CHAIN}, guidance_method: classifier_free}}",
}


def points(size: int = 64) -> Dataset:
    """Two labeled Gaussians in the plane, each of standard deviation 0.1."""
    labels = (np.arange(size) % 2).astype(np.int32)
    noise = np.random.default_rng(0).normal(size=(size, 2))
    x = (0.1 * noise + (labels[:, None] - 0.5)).astype(np.float32)
    return Dataset("points", ArraySource(x, labels, "points"), (2,), 2)


def images(size: int = 64) -> Dataset:
    """Images of 4x4, bright in the half of their label."""
    labels = (np.arange(size) % 2).astype(np.int32)
    bright = np.where(np.arange(4)[:, None] // 2 == labels[:, None, None], 0.5, -0.5)
    noise = np.random.default_rng(0).normal(size=(size, 4, 4))
    x = (bright + 0.1 * noise)[..., None].astype(np.float32)
    return Dataset("images", ArraySource(x, labels, "images"), (4, 4, 1), 2)


def data(name: str) -> Dataset:
    """The data of a model."""
    return images() if name == "dit" else points()


def config(name: str, more: str = "") -> RunConfig:
    """A run of a model."""
    return parse_config(
        f"data: toy\nsteps: 60\nbatch_size: 16\noptimizer: {{learning_rate: 0.01, warmup_steps: 0}}\n"
        f"checkpoint: {{every: 20}}\nlog: {{every: 20}}\nmodel: {MODELS[name]}\n{more}"
    )


def trainer(name: str) -> Trainer:
    """The trainer of a run without a folder."""
    return Trainer(config(name), data=data(name))
