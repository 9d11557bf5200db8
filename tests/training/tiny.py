"""A network that trains in milliseconds, with all that matters to a loop: labels, time, dropout."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.schedules import Discrete, Velocity, betas
from artifex.training import LabelledImages, Objective, TrainingConfig

OBJECTIVE = Objective(Discrete(betas.cosine(50)), Velocity(), num_classes=3)


class Tiny(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, pixels: int = 64, classes: int = 10) -> None:
        self.embed = nnx.Embed(classes + 1, 16, rngs=rngs)
        self.first = nnx.Linear(pixels + 1, 16, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
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


def network(seed: int = 0) -> Tiny:
    return Tiny(nnx.Rngs(seed), pixels=4, classes=3)


def demo_network(key: Array) -> Tiny:
    return Tiny(nnx.Rngs(key))


def demo_config(seed: int, steps: int) -> TrainingConfig:
    return TrainingConfig(seed=seed, steps=steps, batch_size=4, save_every=100_000)


def data(n: int = 11) -> LabelledImages:
    images = np.random.default_rng(0).uniform(-1, 1, (n, 2, 2, 1)).astype(np.float32)
    return LabelledImages(images, (np.arange(n) % 3).astype(np.int32))


def same(a: object, b: object) -> bool:
    """Bit for bit; another structure is an error."""
    equal = jax.tree.map(lambda x, y: x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes(), a, b)
    return all(jax.tree.leaves(equal))
