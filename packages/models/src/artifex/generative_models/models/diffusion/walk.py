"""The door between a model and the arithmetic below it: here modules become pure functions and keys."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from artifex.backbones import Backbone
from artifex.guidance import Guidance
from artifex.schedules import NetworkDenoiser, Prediction

X = Float[Array, "b *d"]
State = nnx.State[Any, Any]


class WalkOptions(TypedDict, total=False):
    """What every sampling method takes beside its own arguments.

    Attributes:
        initial_noise: where the walk begins, ``(batch, *shape)``; drawn where absent.
        conditioning: one condition a sample.
        guidance: how the condition steers the walk; it is followed as it is where absent.
    """

    initial_noise: X
    conditioning: Array
    guidance: Guidance[Array]


class SampleOptions(WalkOptions, total=False):
    """What the methods take that have no ``clip_denoised`` among their own arguments.

    Attributes:
        clip_denoised: whether every predicted $x_0$ is held to [-1, 1]; so it is where absent.
    """

    clip_denoised: bool


def check_options(
    options: Mapping[str, object], known: Collection[str] = frozenset(WalkOptions.__annotations__)
) -> None:
    """Raises a TypeError for an option that is not ``known``."""
    for name in options:
        if name not in known:
            raise TypeError(f"unknown argument {name!r}; expected one of {sorted(known)}")


@dataclass(frozen=True)
class PureBackbone:
    """A backbone's code without its arrays: equal for equal networks, so a compiled walk is found again."""

    graphdef: nnx.GraphDef[Backbone]

    def __call__(self, state: State, x: X, t: Float[Array, " b"], cond: Array | None) -> X:
        """The backbone's output in evaluation mode."""
        backbone: Backbone = nnx.merge(self.graphdef, state)
        out: X = backbone(x, t, cond)
        return out


def network_denoiser(backbone: Backbone, prediction: Prediction) -> NetworkDenoiser[State, Array]:
    """``backbone`` as a denoiser; it is split here, once."""
    graphdef, state = nnx.split(backbone)
    return NetworkDenoiser(apply=PureBackbone(graphdef), prediction=prediction, parameters=state)


def draw(rngs: nnx.Rngs, stream: str) -> Key[Array, ""]:
    """The next key of ``stream``, or of the default stream, or of ``params``, whichever there is.

    Raises:
        ValueError: if ``rngs`` has none of them.
    """
    for name in (stream, "default", "params"):
        if name in rngs:
            key: Key[Array, ""] = rngs[name]()
            return key
    raise ValueError(f"rngs must have a stream {stream!r}, 'default' or 'params', got {rngs}")


def per_sample(values: Array, batch: int) -> Array:
    """``values``, one or one a sample, as one a sample."""
    return jnp.broadcast_to(values, (batch,))


def is_traced(*arrays: object) -> bool:
    """Whether any of ``arrays`` stands for a value that is not known yet."""
    return any(isinstance(array, jax.core.Tracer) for array in arrays)
