"""Every documented range of the package, at its ends and just outside of them."""

import math
from functools import partial
from typing import Final

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from artifex import guidance
from artifex.guidance import (
    APG,
    Autoguidance,
    ByStep,
    CFGPlusPlus,
    CFGRescale,
    CFGZeroStar,
    Classifier,
    ClassifierFree,
    Composed,
    Conditional,
    FirstSteps,
    Interval,
    LinearRule,
    Loss,
    PerturbedAttention,
    SkipLayers,
    Thresholded,
    ZeroInit,
    apply_guidance,
    cosine_guidance_schedule,
    linear_guidance_schedule,
)
from artifex.schedules import NoiseLevel
from tests.ranges import Range, numbers, uncovered, wholes

INF: Final = math.inf
TINY: Final = 1e-30
X: Final = jnp.ones((2, 3))
SCALE: Final = (-3.0, 0.0, 7.5, np.array([1.0, 2.0])), (INF, -INF, np.array([1.0, INF]), jnp.array([jnp.nan]))
NUMBER: Final = (-3.0, 0.0, 7.5), (INF, -INF)


def network(x: Array, *_: object) -> Array:
    return x


def weaker(x_t: Array, level: NoiseLevel[Array], cond: None) -> Array:
    return x_t


SCHEDULES: Final = (linear_guidance_schedule, cosine_guidance_schedule)
RANGES: Final = [
    *numbers("scale", *SCALE, APG, CFGZeroStar, LinearRule, CFGRescale, Interval),
    *numbers("scale", *SCALE, partial(Classifier, network), partial(Loss, network)),
    *numbers("rule", *SCALE, ClassifierFree, partial(Autoguidance, weaker=weaker), partial(Composed, others=())),
    *numbers("rule", *SCALE, PerturbedAttention, SkipLayers, layers=("blocks.0",)),
    *numbers("first", *SCALE, ZeroInit),
    *numbers("scale", *NUMBER, apply_guidance, conditional=X, unconditional=X),
    *numbers("parallel", *NUMBER, APG),
    *numbers("radius", (TINY, INF), (0.0, -1.0), APG),
    *numbers("outside", *NUMBER, Interval, scale=2.0),
    *numbers("low", (0.0, 1.6), (-TINY, 1.61, INF), Interval, scale=2.0),
    *numbers("high", (0.2, INF), (0.19, 0.0, -INF), Interval, scale=2.0),
    *numbers("strength", (0.0, 1.0, np.array([0.0, 1.0])), (-TINY, 1.01, INF, np.array([0.5, 1.01])), CFGPlusPlus),
    *numbers("phi", (0.0, 1.0), (-TINY, 1.01, INF), CFGRescale),
    *numbers("quantile", (TINY, 1.0), (0.0, 1.01, INF), Thresholded, guidance=Conditional()),
    *numbers("limit", (TINY, 9.0), (0.0, -1.0, INF), Thresholded, guidance=Conditional()),
    *numbers("ceiling", (1.0, INF), (0.99, -INF), Thresholded, guidance=Conditional()),
    *numbers("start", *NUMBER, ByStep, schedule=linear_guidance_schedule),
    *numbers("end", *NUMBER, ByStep, schedule=linear_guidance_schedule),
    *wholes("count", 0, None, FirstSteps),
    *wholes("total_steps", 1, None, *SCHEDULES, step=0),
    *numbers("step", (0, 2, np.array([0, 2])), (-1, 3, np.array([0, 3])), *SCHEDULES, total_steps=3),
    *numbers("start_scale", *NUMBER, *SCHEDULES, step=0, total_steps=3),
    *numbers("end_scale", *NUMBER, *SCHEDULES, step=0, total_steps=3),
]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("row", RANGES, ids=str)
def test_a_range_is_held_at_both_ends(row: Range) -> None:
    row.check()


def test_every_number_of_a_public_dataclass_has_its_range() -> None:
    assert uncovered([guidance], RANGES) == set()
