"""Samples of a trained network, in batches over the devices of a mesh."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float32, Int32, Key

from artifex.guidance import ClassifierFree, Unconditional
from artifex.samplers import DDPM, Tableau, sample, start_from
from artifex.schedules import Clipped, Denoiser, NetworkDenoiser
from artifex.schedules.arrays import HostArray
from artifex.training.config.sampling import SamplingConfig
from artifex.training.config.schedules import ScheduleConfig
from artifex.training.run.learner import Learner
from artifex.training.sharding.batches import num_batch_shards, shard_batch
from artifex.training.sharding.distributed import on_host
from artifex.training.step.model_objective import LatentObjective, ModelObjective
from artifex.training.step.network import Network, Parameters

Samples = Float32[np.ndarray, "b *d"]
Labels = Int32[np.ndarray, " b"]


@dataclass(frozen=True, eq=False)
class Latents:
    """The latents of a network.

    Attributes:
        shape: of one latent.
        decode: from parameters and scaled latents to data.
    """

    shape: tuple[int, ...]
    decode: Callable[[Parameters, Array], Array]


@dataclass(frozen=True, eq=False)
class SampleGenerator:
    """A generator of a network's samples.

    Attributes:
        tableau: of the sampler.
        shape: of one sample: ``(h, w, c)`` of an image, or ``(d,)`` of a point.
        num_classes: number of labels that the network takes; None for a network without.
        guidance: scale of classifier-free guidance.
        limit: samples are clipped to [-limit, limit]; None does not clip.
        latents: of a network of latents; None samples data.
    """

    tableau: Tableau[HostArray]
    shape: tuple[int, ...]
    num_classes: int | None
    guidance: float
    limit: float | None = None
    latents: Latents | None = None

    @classmethod
    def from_config(
        cls, config: SamplingConfig, schedule: ScheduleConfig, shape: Sequence[int], num_classes: int | None
    ) -> "SampleGenerator":
        """Make the generator that configurations of sampling and schedule describe.

        Raises:
            ValueError: if the sampler can't take so many steps on this schedule.
        """
        tableau = config.build().tableau(schedule.build(), schedule.timesteps(config.steps))
        return cls(tableau, tuple(shape), num_classes, config.guidance, 1.0 if len(shape) > 1 else None)

    @classmethod
    def from_learner(
        cls, config: SamplingConfig, schedule: ScheduleConfig, learner: Learner, shape: Sequence[int]
    ) -> "SampleGenerator":
        """Make the generator of a learner's network; a documented model has its own schedule.

        Raises:
            ValueError: if the sampler can't take so many steps on this schedule.
        """
        objective = learner.objective
        if not isinstance(objective, ModelObjective | LatentObjective):
            return cls.from_config(config, schedule, shape, objective.num_classes)
        model, sampler, latents = objective.model, config.build(), None
        if isinstance(sampler, DDPM) and model.learns_variance:
            sampler = DDPM("learned_range")
        if isinstance(objective, LatentObjective):
            latents = Latents(objective.model.latent_shape, _decoder(objective, learner.network))
        tableau = sampler.tableau(model.schedule, model.times(config.steps))
        return cls(tableau, tuple(shape), objective.num_classes, config.guidance, model.limit, latents)

    def labels(self, count: int, chosen: Sequence[int] | None = None) -> Labels | None:
        """Return a label for each of ``count`` samples: the chosen ones, or all classes, in turn; None without classes.

        Raises:
            ValueError: for a label out of range, or for any where the network takes none.
        """
        if self.num_classes is None:
            if chosen is not None:
                raise ValueError(f"labels must be left out for a network without classes, got {list(chosen)}")
            return None
        labels = np.arange(self.num_classes) if chosen is None else np.asarray(chosen)
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= self.num_classes:
            raise ValueError(f"labels must be in [0, {self.num_classes - 1}], at least one, got {labels.tolist()}")
        return np.resize(labels, count).astype(np.int32)

    def draw(
        self,
        denoiser: NetworkDenoiser[Any, Any],
        count: int,
        labels: Labels | None,
        key: Key[Array, ""],
        batch: int,
        mesh: Mesh | None = None,
    ) -> Iterator[Samples]:
        """Draw ``count`` samples, ``batch`` at a time: memory does not grow with ``count``.

        A sample depends on its label, on ``key`` and on its index alone; on ``batch`` and ``mesh`` up to rounding.

        Args:
            denoiser: the network.
            count: at least 1.
            labels: one a sample, as from ``labels``.
            key: of all randomness.
            batch: at least 1; rounded up to a multiple of the batch shards of ``mesh``.
            mesh: the devices that share each batch; of several processes all draw together, and each gets all samples.
                None is one device.
        """
        shards = num_batch_shards(mesh)
        size = -(-min(batch, count) // shards) * shards
        for first in range(0, count, size):
            # The last batch is padded, so that all batches have one shape, compiled once.
            rows = np.minimum(np.arange(first, first + size), count - 1)
            indices = shard_batch(rows, mesh)
            pairs = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(indices)
            guided = self._guided(denoiser, None if labels is None else shard_batch(labels[rows], mesh))
            # The schedule's own first level, however much noise a short chain ends with.
            shape = self.shape if self.latents is None else self.latents.shape
            start = start_from(self.tableau, jnp.zeros((size, *shape)), pairs[:, 0])
            samples = sample(guided, self.tableau, start, pairs[:, 1])
            samples = samples if self.latents is None else self.latents.decode(denoiser.parameters, samples)
            yield np.asarray(on_host(samples), np.float32)[: count - first]

    def _guided(self, denoiser: NetworkDenoiser[Any, Any], labels: Array | None) -> Denoiser:
        if labels is None:
            guided = Unconditional[Array]()(denoiser, None)
        else:
            guided = ClassifierFree(self.guidance, null=jnp.asarray(self.num_classes))(denoiser, labels)
        return guided if self.limit is None else Clipped(guided, self.limit)


def _decoder(objective: LatentObjective, network: Network) -> Callable[[Parameters, Array], Array]:
    return jax.jit(lambda parameters, latents: objective.decode(network.module(parameters), latents))
