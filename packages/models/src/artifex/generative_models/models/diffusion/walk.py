"""The door between a model and the arithmetic below it: here modules become pure functions and keys."""

from collections.abc import Mapping
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


def check_options(options: Mapping[str, object]) -> None:
    """Raises a TypeError for an option that no sampling method knows."""
    for name in options:
        if name not in WalkOptions.__annotations__:
            raise TypeError(f"unknown argument {name!r}; expected one of {sorted(WalkOptions.__annotations__)}")


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
