"""Arguments of ``artifex.samplers.sample`` for a model's sampling methods."""

from functools import lru_cache, partial
from typing import NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from artifex.guidance import Guidance
from artifex.samplers import Sampler, Tableau, start_from
from artifex.schedules import Denoiser, Schedule
from artifex.schedules.arrays import HostArray

X = Float[Array, "b *d"]


class SampleOptions(TypedDict, total=False):
    """Keyword arguments of every sampling method.

    Attributes:
        initial_noise: the first state, ``(batch, *shape)``; drawn if absent or None.
        conditioning: one condition per sample; absent or None for unconditional sampling.
        guidance: how the condition steers sampling; if absent the model's own guidance, if any.
    """

    initial_noise: X | None
    conditioning: Array | None
    guidance: Guidance[Array]


class SamplingPlan(NamedTuple):
    """The arguments of ``artifex.samplers.sample``, in its order."""

    denoise: Denoiser
    tableau: Tableau[HostArray]
    start: X
    key: Key[Array, ""]


@lru_cache(maxsize=64)
def _tableau(sampler: Sampler, schedule: Schedule, times: bytes) -> Tableau[HostArray]:
    return sampler.tableau(schedule, np.frombuffer(times))


def tableau(sampler: Sampler, schedule: Schedule, times: HostArray) -> Tableau[HostArray]:
    """``sampler.tableau(schedule, times)``, cached."""
    # the protocols do not declare that they hash
    return _tableau(sampler, schedule, times.tobytes())  # type: ignore[arg-type]


def first_state(
    tableau: Tableau[HostArray], key: Key[Array, ""], shape: tuple[int, ...], given: X | None = None
) -> tuple[X, Key[Array, ""]]:
    """Return the given or drawn first state, and the key of the later noise.

    Raises:
        ValueError: if the given state is not of ``shape``.
    """
    drawn, later = initial_noise(tableau, key, shape)
    if given is None:
        return drawn, later
    if given.shape != shape:
        raise ValueError(f"initial_noise must be of shape {shape}, got {given.shape}")
    return given, later


@partial(jax.jit, static_argnames="shape")
def initial_noise(tableau: Tableau[HostArray], key: Key[Array, ""], shape: tuple[int, ...]) -> tuple[X, Key[Array, ""]]:
    """Draw the first state, and split off the key of the later noise."""
    start, later = jax.random.split(key)
    # A short chain may end in less noise than ``prior`` takes; it is the model's own process all the same.
    return start_from(tableau, jnp.zeros(shape, jnp.float32), start), later
