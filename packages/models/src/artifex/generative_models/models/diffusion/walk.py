"""The door between a model and the arithmetic below it: here modules become pure functions and keys."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key, Real

from artifex.backbones import Backbone, perturbed
from artifex.generative_models.models.diffusion.parameters import Parameters
from artifex.guidance import Guidance
from artifex.samplers import Sampler, Tableau, start_from
from artifex.schedules import Denoiser, Estimate, HostArray, Schedule

X = Float[Array, "b *d"]
State = nnx.State[Any, Any]


class WalkOptions(TypedDict, total=False):
    """What every sampling method takes beside its own arguments.

    Attributes:
        initial_noise: where the walk begins, ``(batch, *shape)``; drawn where absent or None.
        conditioning: one condition a sample; absent or None is none.
        guidance: how the condition steers the walk; it is followed as it is where absent.
    """

    initial_noise: X | None
    conditioning: Array | None
    guidance: Guidance[Array]


class SampleOptions(WalkOptions, total=False):
    """``WalkOptions`` for the methods that have no argument of this name.

    Attributes:
        clip_denoised: whether every predicted $x_0$ is held to [-1, 1].
    """

    clip_denoised: bool


class Walk(NamedTuple):
    """All that ``artifex.samplers.sample`` asks for, in its order."""

    denoise: Denoiser
    tableau: Tableau[HostArray]
    start: X
    key: Key[Array, ""]


def check_options(options: Mapping[str, object], known: Iterable[str] = SampleOptions.__annotations__) -> None:
    """Raises a TypeError for an option that is not known."""
    for name in options:
        if name not in known:
            raise TypeError(f"unknown argument {name!r}; expected one of {sorted(known)}")


@lru_cache(maxsize=64)
def _table(sampler: Sampler, schedule: Schedule, times: bytes) -> Tableau[HostArray]:
    return sampler.tableau(schedule, np.frombuffer(times))


def table(sampler: Sampler, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
    """The sampler's table; that of a walk taken before is found again."""
    # protocols do not say that they hash
    return _table(sampler, schedule, times.tobytes())  # type: ignore[arg-type]


@partial(jax.jit, static_argnames="shape")
def begin(tableau: Tableau[HostArray], key: Key[Array, ""], shape: tuple[int, ...]) -> tuple[X, Key[Array, ""]]:
    """Where a walk of ``shape`` begins, and the key of the noise on its way."""
    start, walk = jax.random.split(key)
    # A short chain may begin in less noise than ``prior`` takes: it is the model's own process all the same.
    return start_from(tableau, jnp.zeros(shape, jnp.float32), start), walk


@dataclass(frozen=True)
class Pure:
    """A module's code without its arrays: equal for equal modules, so what was compiled for it is found again."""

    graphdef: nnx.GraphDef[Callable[..., Array]]

    def __call__(self, state: State, *args: Array | None) -> Array:
        """What the module gives, called with ``args``."""
        return nnx.merge(self.graphdef, state, copy=True)(*args)


@dataclass(frozen=True)
class PureBackbone:
    """A backbone's code without its arrays; called, it is in evaluation mode."""

    graphdef: nnx.GraphDef[Backbone]
    identity_attention: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()

    def __call__(self, state: State, x: X, t: Real[Array, " b"], cond: Array | None) -> Estimate:
        """The backbone's output."""
        backbone: Backbone = nnx.merge(self.graphdef, state, copy=True)
        if self.identity_attention or self.skip:
            backbone = perturbed(backbone, identity_attention=self.identity_attention, skip=self.skip)
        out: Estimate = backbone(x, t, cond)
        return out

    def perturbed(self, *, identity_attention: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> "PureBackbone":
        """The same backbone with a part of it switched off; see ``artifex.backbones.perturbed``."""
        return replace(self, identity_attention=identity_attention, skip=skip)


def check_condition(cond: Array, batch: int, num_classes: int | None) -> None:
    """Raises a ValueError unless ``cond`` holds one condition a sample, and labels where labels are due.

    Values are looked at as far as they are known.
    """
    if not isinstance(cond, jax.Array | np.ndarray):
        raise ValueError(f"conditioning must be an array, got {type(cond).__name__}")
    if cond.shape[:1] != (batch,):
        raise ValueError(f"conditioning must hold one condition for each of {batch} samples, got {cond.shape}")
    if num_classes is None:
        check_finite(conditioning=cond)
        return
    if cond.shape != (batch,) or not jnp.issubdtype(cond.dtype, jnp.integer):
        raise ValueError(f"labels must be integers of shape ({batch},), got {cond.dtype} of shape {cond.shape}")
    check_range("labels", cond, 0, num_classes - 1)


def check_null(null: Array, num_classes: int) -> None:
    """Raises a ValueError unless ``null`` holds labels of the network, the null label ``num_classes`` among them."""
    if not jnp.issubdtype(null.dtype, jnp.integer):
        raise ValueError(f"unconditional_conditioning must be integers, got {null.dtype}")
    check_range("unconditional_conditioning", null, 0, num_classes)


def drop_labels(cond: Array, parameters: Parameters, rngs: nnx.Rngs) -> Array:
    """Labels for training, each with probability ``class_dropout_prob`` the null label ``num_classes``.

    Conditions that are no labels, where ``num_classes`` is None, stay as they are. A probability of 0 draws nothing.
    """
    if parameters.num_classes is None or parameters.class_dropout_prob == 0:
        return cond
    hidden = jax.random.bernoulli(draw(rngs, "dropout"), parameters.class_dropout_prob, cond.shape)
    return jnp.where(hidden, parameters.num_classes, cond.astype(jnp.int32))


def check_finite(**arrays: Array) -> None:
    """Raises a ValueError for an array that is known to hold NaN or infinity."""
    for name, array in arrays.items():
        known = value(array)
        if known is not None and not np.all(np.isfinite(known)):
            raise ValueError(f"{name} must be finite, got NaN or infinity in it")


def check_range(name: str, array: Array, low: float, high: float) -> None:
    """Raises a ValueError for an array that is known to leave [low, high], or to hold NaN."""
    known = value(array)
    if known is not None and known.size and not (known.min() >= low and known.max() <= high):
        raise ValueError(f"{name} must be in [{low:g}, {high:g}], got values from {known.min()} to {known.max()}")


def draw(rngs: nnx.Rngs, stream: str) -> Key[Array, ""]:
    """The next key of ``stream``, or of the default stream, or of ``params``, whichever there is.

    Raises:
        ValueError: if ``rngs`` has none of them.
    """
    for name in (stream, "default", "params"):
        if name in rngs:
            key: Key[Array, ""] = rngs[name]()
            return key
    raise ValueError(f"rngs must have a stream {stream!r}, 'default' or 'params', got {list(rngs)}")


def per_sample(values: Array, batch: int) -> Array:
    """``values``, one or one a sample, as one a sample."""
    return jnp.broadcast_to(values, (batch,))


def value(array: Array) -> np.ndarray[Any, np.dtype[Any]] | None:
    """The numbers of ``array`` on the host, None inside of a trace that has yet to learn them."""
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)
