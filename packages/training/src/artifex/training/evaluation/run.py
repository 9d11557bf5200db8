"""Samples and likelihoods of a run's network, for evaluation."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import jax
import numpy as np
from jaxtyping import Array

from artifex.guidance import Unconditional
from artifex.schedules import Discrete
from artifex.training.config.sampling import SamplingConfig
from artifex.training.config.schedules import DiscreteSchedule
from artifex.training.data import Dataset, Digits
from artifex.training.evaluation.examples import in_memory
from artifex.training.evaluation.features import Samples
from artifex.training.evaluation.likelihood_bits import levels_of, likelihood
from artifex.training.evaluation.score import Score, Setting
from artifex.training.run.averages import averaged
from artifex.training.run.folder import RunFolder
from artifex.training.run.sampling import SampleGenerator
from artifex.training.run.trainer import Trainer
from artifex.training.step.model_objective import LatentObjective, ModelObjective

FINE: Final = 1000
"""Steps of the grid whose first and last time of finite log-SNR bound the likelihood's flow."""


class Run:
    """A run's network and its sampling settings.

    Args:
        folder: of the run.
        sampling: sampler, steps and guidance scale; by default 50 steps of DDIM without guidance, whatever the settings
            of the run's previews.
        ema: width of the averaged parameters, see ``averaged``; None is the run's own.

    Raises:
        ValueError: if the run can't be read, or a setting does not fit it.
        FileNotFoundError: if there is no checkpoint.
    """

    def __init__(self, folder: Path, sampling: SamplingConfig | None = None, ema: float | None = None) -> None:
        self.trainer = Trainer.from_folder(folder, any_devices=True)
        self.shape, self._config = self.trainer.shape, self.trainer.config
        self._objective, trained = self.trainer.objective, self.trainer.load()
        parameters, self.average = averaged(RunFolder.at(folder), trained, ema)
        self.denoiser = trained.learner.denoiser(parameters)
        self.step = trained.steps_done
        self.sampling = SamplingConfig() if sampling is None else sampling

    @property
    def data(self) -> Dataset:
        """The run's data, opened at the first access."""
        return self.trainer.data

    def samples(self, count: int, seed: int, batch: int = 256) -> Iterator[Samples]:
        """Draw ``count`` samples of all classes in turn.

        Raises:
            ValueError: if the sampler can't take so many steps on the run's schedule.
        """
        generator = SampleGenerator.from_learner(self.sampling, self._config.schedule, self.trainer.learner, self.shape)
        key = jax.random.key(seed)
        return generator.draw(self.denoiser, count, generator.labels(count), key, batch, self.trainer.mesh)

    def sampling_settings(self, seed: int) -> dict[str, Setting]:
        """Return the settings that ``samples`` depends on, to be kept with the scores."""
        config, classes = self.sampling, self._objective.num_classes
        guided: dict[str, Setting] = {} if classes is None else {"guidance_scale": config.guidance}
        return {
            "sampler": config.sampler, "steps": config.steps, **guided, "seed": seed,
            "labels": "none" if classes is None else f"all {classes} in turn",
            "network": f"step {self.step}, {self.average}",
        }  # fmt: skip

    @property
    def ends(self) -> tuple[float, float]:
        """The first and the last time of finite log-SNR of the finest sampling grid."""
        schedule, config, objective = self._objective.schedule, self._config.schedule, self._objective
        if isinstance(objective, ModelObjective | LatentObjective):
            times = objective.model.times(schedule.steps if isinstance(schedule, Discrete) else FINE)
        else:
            times = config.timesteps(config.steps if isinstance(config, DiscreteSchedule) else FINE)
        with np.errstate(divide="ignore"):
            finite = times[np.isfinite(schedule.at(times).logsnr)]
        return float(finite[0]), float(finite[-1])

    def likelihood(self, count: int, seed: int) -> Score:
        """Compute bits per dimension of ``count`` real samples without labels, at the levels of ``levels_of``.

        Raises:
            ImportError: without diffrax.
            ValueError: for a model of latents, which has no likelihood of data.
        """
        if isinstance(self._objective, LatentObjective):
            raise ValueError("a model of latents has no likelihood of data, got LDMModel")
        start, end = self.ends
        x = in_memory(self.data, count).x
        levels = 17 if isinstance(self._config.data, Digits) else levels_of(x)
        without_labels = Unconditional[Array]()(self.denoiser, None)
        found = likelihood(
            without_labels, self._objective.schedule, x, start, end, jax.random.key(seed),
            levels=levels, name=f"the network of step {self.step:,}, {self.average}, without labels",
        )  # fmt: skip
        return dataclasses.replace(found, settings={**found.settings, "seed": seed})
