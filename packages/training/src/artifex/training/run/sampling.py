"""Samples of a trained network: by which sampler, along which times, with how much guidance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float32, Int32, Key
from pydantic import PositiveInt

from artifex.guidance import ClassifierFree, Unconditional
from artifex.samplers import (
    DDIM,
    DDPM,
    DEIS,
    DPM2,
    ERSDE,
    LMS,
    PNDM,
    DPMSolverPPMultistep,
    DPMSolverPPSDE,
    DPMSolverPPSinglestep,
    EDMStochastic,
    Euler,
    EulerAncestral,
    Heun,
    Sampler,
    Tableau,
    UniPC,
    sample,
    start_from,
)
from artifex.schedules import Clipped, Denoiser, NetworkDenoiser, Schedule, grid
from artifex.schedules.arrays import HostArray
from artifex.training.config.choices import EdmSchedule, ScheduleConfig
from artifex.training.section import Section
from artifex.training.sharding.distributed import on_host
from artifex.training.sharding.mesh import shard_batch, shares

SamplerName = Literal[
    "ddim", "ddpm", "deis", "dpm2", "dpmpp_2m", "dpmpp_2s", "dpmpp_3m", "dpmpp_sde", "edm", "er_sde", "euler",
    "euler_ancestral", "heun", "lms", "pndm", "unipc",
]  # fmt: skip
SAMPLERS: Final[Mapping[SamplerName, Sampler]] = {
    "ddim": DDIM(),
    "ddpm": DDPM(),
    "deis": DEIS(),
    "dpm2": DPM2(),
    "dpmpp_2m": DPMSolverPPMultistep(2),
    "dpmpp_2s": DPMSolverPPSinglestep(2),
    "dpmpp_3m": DPMSolverPPMultistep(3),
    "dpmpp_sde": DPMSolverPPSDE(),
    "edm": EDMStochastic(),
    "er_sde": ERSDE(),
    "euler": Euler(),
    "euler_ancestral": EulerAncestral(),
    "heun": Heun(),
    "lms": LMS(),
    "pndm": PNDM(),
    "unipc": UniPC(),
}

Samples = Float32[np.ndarray, "b *d"]
Labels = Int32[np.ndarray, " b"]


class SamplingConfig(Section):
    """How samples are drawn.

    Attributes:
        sampler: the method.
        steps: steps of its walk; a method of second order may call the network twice in one.
        guidance: scale of classifier-free guidance; 1 draws what the network learned, as it is. Without labels it is
            not used.
    """

    sampler: SamplerName = "ddim"
    steps: PositiveInt = 50
    guidance: float = 1.0


class PreviewConfig(SamplingConfig):
    """Pictures of samples while training goes on.

    Attributes:
        every: steps between them.
        count: samples in each, from the same noise every time.
    """

    every: PositiveInt = 500
    count: PositiveInt = 40


def times(config: ScheduleConfig, schedule: Schedule, steps: int) -> HostArray:
    """The schedule's own times of a walk of ``steps``, between the levels that ``config`` has for EDM's.

    Raises:
        ValueError: if a chain has fewer steps.
    """
    if isinstance(config, EdmSchedule):
        return grid.karras(schedule, steps, config.sigma_max, config.sigma_min)
    return schedule.times(steps)


@dataclass(frozen=True, eq=False)
class SampleGenerator:
    """Draws samples of a network.

    Attributes:
        walk: the sampler's table.
        shape: of one sample: ``(h, w, c)`` of an image, which is held to [-1, 1], or ``(d,)`` of a point.
        num_classes: labels that the network knows; None for a network without.
        guidance: scale of classifier-free guidance.
    """

    walk: Tableau[HostArray]
    shape: tuple[int, ...]
    num_classes: int | None
    guidance: float

    @classmethod
    def of(
        cls,
        config: SamplingConfig,
        schedule_config: ScheduleConfig,
        schedule: Schedule,
        shape: Sequence[int],
        num_classes: int | None,
    ) -> "SampleGenerator":
        """As a configuration says.

        Raises:
            ValueError: if the sampler can't walk so many steps on this schedule.
        """
        walk = SAMPLERS[config.sampler].tableau(schedule, times(schedule_config, schedule, config.steps))
        return cls(walk, tuple(shape), num_classes, config.guidance)

    def labels(self, count: int, chosen: Sequence[int] | None = None) -> Labels | None:
        """A label for each of ``count`` samples: the chosen ones, or all classes, in turn; None without classes.

        Raises:
            ValueError: for a label out of range, or for any where the network knows none.
        """
        if self.num_classes is None:
            if chosen is not None:
                raise ValueError(f"labels must be left out for a network without classes, got {list(chosen)}")
            return None
        told = np.arange(self.num_classes) if chosen is None else np.asarray(chosen)
        if len(told) == 0 or told.min() < 0 or told.max() >= self.num_classes:
            raise ValueError(f"labels must be in [0, {self.num_classes - 1}], at least one, got {told.tolist()}")
        return np.resize(told, count).astype(np.int32)

    def draw(
        self,
        denoiser: NetworkDenoiser[Any, Any],
        count: int,
        labels: Labels | None,
        key: Key[Array, ""],
        batch: int,
        mesh: Mesh | None = None,
    ) -> Iterator[Samples]:
        """``count`` samples, ``batch`` at a time: what is in memory does not grow with ``count``.

        A sample depends on its label, on ``key`` and on its place alone; on ``batch`` and ``mesh`` up to rounding.

        Args:
            denoiser: the network.
            count: at least 1.
            labels: one a sample, as from ``labels``.
            key: of all that is random.
            batch: at least 1; more where that does not divide by the shares of ``mesh``.
            mesh: the devices that share each batch, on which the network lies; of several processes all draw together,
                and each gets all samples. None is one device.
        """
        size = -(-min(batch, count) // shares(mesh)) * shares(mesh)
        for first in range(0, count, size):
            # The last batch is filled up, so that all of them are of one shape, compiled once.
            rows = np.minimum(np.arange(first, first + size), count - 1)
            places = shard_batch(rows, mesh)
            pairs = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(places)
            guided = self._guided(denoiser, None if labels is None else shard_batch(labels[rows], mesh))
            # The schedule's own first level, however much noise a short chain ends with.
            start = start_from(self.walk, jnp.zeros((size, *self.shape)), pairs[:, 0])
            drawn = on_host(sample(guided, self.walk, start, pairs[:, 1]))
            yield np.asarray(drawn, np.float32)[: count - first]

    def _guided(self, denoiser: NetworkDenoiser[Any, Any], labels: Array | None) -> Denoiser:
        if labels is None:
            guided = Unconditional[Array]()(denoiser, None)
        else:
            guided = ClassifierFree(self.guidance, null=jnp.asarray(self.num_classes))(denoiser, labels)
        return Clipped(guided) if len(self.shape) > 1 else guided
