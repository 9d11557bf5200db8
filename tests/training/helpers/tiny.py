"""A network that trains in milliseconds, with all that matters to a loop: labels, time, dropout."""

from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.backbones.magnitude_preserving import MPConv, mp_silu
from artifex.schedules import Discrete, V, betas
from artifex.training import (
    Batches,
    CheckpointConfig,
    Dataset,
    Digits,
    LabeledImages,
    Objective,
    RunConfig,
    Trainer,
)
from artifex.training.data.source import ArraySource

OBJECTIVE = Objective(Discrete(betas.cosine(50)), V(), num_classes=3)


class Tiny(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, pixels: int = 64, classes: int = 10, dropout: float = 0.1) -> None:
        self.embed = nnx.Embed(classes + 1, 16, rngs=rngs)
        self.first = nnx.Linear(pixels + 1, 16, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.last = nnx.Linear(16, pixels, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "b *d"],
        t: Float[Array, " b"],
        cond: Int[Array, " b"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "b *d"]:
        flat = jnp.concatenate([x.reshape(len(x), -1), t[:, None] / 1000], axis=1)
        h = self.first(flat)
        h = h if cond is None else h + self.embed(cond)
        return self.last(self.dropout(nnx.silu(h), deterministic=deterministic)).reshape(x.shape)


class Turning(nnx.Module):
    """Of layers whose weights count by their direction alone, as those of an ``EDM2UNet``."""

    def __init__(self, pixels: int) -> None:
        rngs = nnx.Rngs(0)
        sizes = (pixels + 1, 64, 64, pixels)
        self.layers = nnx.List([MPConv(n, m, 0, rngs=rngs) for n, m in pairwise(sizes)])
        self.gain = nnx.Param(jnp.ones(()))

    def __call__(
        self, x: Float[Array, "b *d"], t: Float[Array, " b"], cond: object = None, *, deterministic: bool = True
    ) -> Float[Array, "b *d"]:
        h = jnp.concatenate([x.reshape(len(x), -1), t[:, None] / 1000], axis=1)
        for layer in self.layers:
            h = mp_silu(layer(h))
        return (self.gain[...] * h).reshape(x.shape)


def network(seed: int = 0, dropout: float = 0.1) -> Tiny:
    return Tiny(nnx.Rngs(seed), pixels=4, classes=3, dropout=dropout)


def demo_trainer(config: RunConfig, out: Path) -> Trainer:
    return Trainer(config, out, network=Tiny(nnx.Rngs(0)))


def demo_config(seed: int, steps: int) -> RunConfig:
    return RunConfig(
        data=Digits(), seed=seed, steps=steps, batch_size=4, checkpoint=CheckpointConfig(every=100_000)
    )  # fmt: skip


def dataset(images: LabeledImages) -> Dataset:
    source = ArraySource(images.images, images.labels, "tiny")
    return Dataset("tiny", source, images.images.shape[1:], images.num_classes)


def batches(size: int = 4, seed: int = 1) -> Batches:
    return dataset(data()).batches(size, seed)


def data(n: int = 11) -> LabeledImages:
    images = np.random.default_rng(0).uniform(-1, 1, (n, 2, 2, 1)).astype(np.float32)
    return LabeledImages(images, (np.arange(n) % 3).astype(np.int32))


def same(a: object, b: object) -> bool:
    """Bit for bit; another structure is an error."""
    equal = jax.tree.map(lambda x, y: x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes(), a, b)
    return all(jax.tree.leaves(equal))
