"""Features of a small classifier trained on the data set itself, without a download.

They represent differences between classes. Scores on them compare models of one data set; they are not comparable with
published ones.
"""

from functools import partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.kernels.ranges import check_whole
from artifex.training.data import Labels, batch_indices
from artifex.training.evaluation.features import Extractor, Samples

WIDTH: Final = 64
BATCH: Final = 128
SMALL: Final = 4
"""Convolutions halve an image until its sides are at most this size."""

X = Float[Array, "b *d"]
Parameters = nnx.State[Any, Any]


class Network(nnx.Module):
    """A classifier: convolutions that halve the image, or for vectors a layer, then features and logits.

    Args:
        shape: of a sample, ``(h, w, c)`` or ``(d,)``.
        num_classes: at least 2.
        rngs: for the parameters.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, *, rngs: nnx.Rngs) -> None:
        self.convolutions = nnx.List[nnx.Conv]()
        flat = shape[0]
        if len(shape) == 3:
            h, w, channels = shape
            stride, width = 1, WIDTH // 2
            while True:
                sides = (stride, stride)
                self.convolutions.append(nnx.Conv(channels, width, (3, 3), strides=sides, rngs=rngs))
                h, w, channels = -(-h // stride), -(-w // stride), width
                if max(h, w) <= SMALL:
                    break
                stride, width = 2, WIDTH
            flat = h * w * channels
        self.hidden = nnx.Linear(flat, WIDTH, rngs=rngs)
        self.features = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.logits = nnx.Linear(WIDTH, num_classes, rngs=rngs)

    def __call__(self, x: X) -> tuple[Float[Array, "b f"], Float[Array, "b c"]]:
        """Compute features and logits."""
        for convolution in self.convolutions:
            x = nnx.gelu(convolution(x))
        x = nnx.gelu(self.hidden(x.reshape(len(x), -1)))
        features = nnx.gelu(self.features(x))
        return features, self.logits(features)


def classifier(
    samples: Samples, labels: Int[np.ndarray, " n"], name: str, *, steps: int = 400, seed: int = 0
) -> Extractor:
    """Train a classifier; its last hidden layer of width 64 is the features, its softmax the probabilities.

    A quarter of the samples is held out: the name of the extractor includes the accuracy on it, and features are scaled
    so that their mean square over it is 1. Results are reproducible on one machine.

    Args:
        samples: ``(n, h, w, c)`` in [-1, 1], or vectors ``(n, d)``.
        labels: the class of each, in 0..c-1 for at least 2 classes.
        name: of the data set.
        steps: number of training steps, of 128 samples each.
        seed: of parameters, order of samples, and held-out samples.

    Raises:
        ValueError: for fewer than 8 samples, another number of labels, negative labels or a single class.
    """
    check_whole("steps", steps, 1)
    check_whole("seed", seed, 0)
    n, shape = len(samples), samples.shape[1:]
    if n < 8 or labels.shape != (n,) or len(shape) not in (1, 3):
        raise ValueError(
            "samples must be at least 8 images (n, h, w, c) or vectors (n, d), with as many labels, "
            f"got {samples.shape} and {labels.shape}"
        )
    num_classes = int(labels.max()) + 1
    if labels.min() < 0 or num_classes < 2:
        raise ValueError(f"labels must be at least 0 and of 2 classes or more, got {labels.min()} to {labels.max()}")
    order = np.random.default_rng(seed).permutation(n)
    held_out, train = order[: n // 4], order[n // 4 :]
    x, y = samples[train].astype(np.float32), labels[train].astype(np.int32)
    graph = nnx.split(nnx.eval_shape(lambda: Network(shape, num_classes, rngs=nnx.Rngs(0))))[0]
    first = jax.jit(lambda key: nnx.split(Network(shape, num_classes, rngs=nnx.Rngs(key)))[1])(jax.random.key(seed))
    parameters = _train(graph, first, x, y, steps, seed)

    def extract(batch: Samples) -> tuple[Float[Array, "b f"], Float[Array, "b c"]]:
        features, probabilities = _extract(graph, parameters, jnp.asarray(batch, jnp.float32))
        return features / scale, probabilities

    scale = 1.0
    held_out_features = Extractor("", extract, shape)(samples[held_out])
    scale = float(np.sqrt(np.mean(held_out_features.exact**2)))
    assert held_out_features.probabilities is not None
    accuracy = float(np.mean(held_out_features.probabilities.argmax(axis=1) == labels[held_out]))
    label = f"classifier of {name} (seed {seed}, {steps} steps, held-out accuracy {accuracy:.1%})"
    return Extractor(label, extract, shape)


def _train(
    graph: nnx.GraphDef[Network], parameters: Parameters, x: Samples, y: Labels, steps: int, seed: int
) -> Parameters:
    """Minimize the cross entropy by Adam with a cosine schedule."""
    state = _optimizer(steps).init(parameters)
    for i in range(steps):
        rows = batch_indices(len(x), BATCH, seed, i)
        parameters, state = _step(graph, steps, parameters, state, x[rows], y[rows])
    return parameters


def _optimizer(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(2e-3, steps))


# One step at a time: on CPUs, convolutions inside a compiled loop take ten times as long.
@partial(jax.jit, static_argnums=(0, 1))
def _step(
    graph: nnx.GraphDef[Network], steps: int, parameters: Parameters, state: optax.OptState, x: X, y: Int[Array, " b"]
) -> tuple[Parameters, optax.OptState]:
    def loss(parameters: Parameters) -> Float[Array, ""]:
        _, logits = nnx.merge(graph, parameters)(x)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    updates, state = _optimizer(steps).update(jax.grad(loss)(parameters), state)
    return optax.apply_updates(parameters, updates), state


@partial(jax.jit, static_argnums=0)
def _extract(
    graph: nnx.GraphDef[Network], parameters: Parameters, x: X
) -> tuple[Float[Array, "b f"], Float[Array, "b c"]]:
    features, logits = nnx.merge(graph, parameters)(x)
    return features, jax.nn.softmax(logits)
