"""Every schedule, prediction, sampler and guidance together: with an exact network they all give the data's law.

The network knows Gaussian data of two classes and speaks in the terms of the prediction. Guided with scale w it should
give what the closed form gives: the flow of the two denoisers, combined.
"""

from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from artifex.guidance import ClassifierFree
from artifex.samplers import prior, sample
from artifex.schedules import (
    Clean,
    Epsilon,
    Flow,
    Host,
    NetworkDenoiser,
    NoiseLevel,
    Preconditioned,
    Prediction,
    Score,
    Velocity,
    expand,
)
from tests.samplers.analytic import walk
from tests.samplers.cases import SOLVERS, walks

PREDICTIONS: Final[Mapping[str, Prediction]] = {
    "epsilon": Epsilon(),
    "clean": Clean(),
    "velocity": Velocity(),
    "score": Score(),
    "flow": Flow(),
    "preconditioned": Preconditioned(),
}
PLACES: Final = ("edm to noise", "vp", "cosine", "chain", "chain without signal", "flow")
SAMPLERS: Final = ("ddim", "heun", "dpm++ 2m", "unipc-2 bh2", "lms-3")
SCALES: Final = (1.0, 2.5)
MEANS: Final = (0.4, -0.3)  # with the condition, and without
VARIANCE: Final = 0.25


Known = tuple[Array, Array, Array]
"""What a network is told at each of a walk's levels, and their alpha and sigma: data, so that schedules share code."""


@cache
def network(name: str) -> Callable[[Known, Array, Array, Array | None], Array]:
    """Knows the posterior of the data, and says it as the prediction of this name wants it."""
    prediction = PREDICTIONS[name]

    def apply(known: Known, x_t: Float[Array, "b d"], t: Float[Array, " b"], cond: Array | None) -> Float[Array, "b d"]:
        place = jnp.argmin(jnp.abs(known[0] - t[:, None]), axis=1)
        level = NoiseLevel(t=t, alpha=known[1][place], sigma=known[2][place])
        if isinstance(prediction, Preconditioned):  # this network sees a scaled sample
            x_t = x_t / expand(prediction.c_in(level), x_t)
        alpha, sigma = expand(level.alpha, x_t), expand(level.sigma, x_t)
        mean = MEANS[1] if cond is None else expand(cond, x_t)
        x0 = mean + alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2) * (x_t - alpha * mean)
        return prediction.target(x0, (x_t - alpha * x0) / sigma, level)

    return apply


def has_meaning(place: str, prediction: str) -> bool:
    """Whether the walk's start can be predicted so: without signal, noise says nothing of the data."""
    schedule, times = walks(10)[place]
    return bool(schedule.at(times).alpha[0] >= 1e-6) or prediction not in ("epsilon", "score")


@pytest.mark.parametrize(("place", "prediction"), [pair for pair in product(PLACES, PREDICTIONS) if has_meaning(*pair)])
def test_every_combination(place: str, prediction: str) -> None:
    schedule, times = walks(10)[place]
    convention = PREDICTIONS[prediction]
    for name, scale in product(SAMPLERS, SCALES):

        def closed_form(x: Host, alpha: float, sigma: float, scale: float = scale) -> Host:
            gain = alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2)
            conditional, without = (m + gain * (x - alpha * m) for m in MEANS)
            return np.asarray(without + scale * (conditional - without))

        table = SOLVERS[name].tableau(schedule, times)
        x = prior(table, (3, 2), jax.random.key(0))
        level = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), table.level)
        told = convention.inputs(jnp.zeros((table.rows, 2)), level)[1]
        denoiser: NetworkDenoiser[Known, Array] = NetworkDenoiser(
            network(prediction), convention, (told, level.alpha, level.sigma)
        )
        guidance: ClassifierFree[Array] = ClassifierFree(jnp.asarray(scale))
        guided = guidance(denoiser, jnp.full(3, MEANS[0]))
        want = walk(table, closed_form, np.asarray(x, np.float64))
        np.testing.assert_allclose(sample(guided, table, x), want, atol=2e-3, err_msg=f"{name}, scale {scale}")
