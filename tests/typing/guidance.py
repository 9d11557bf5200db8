"""Types that users of ``artifex.guidance`` get, as mypy sees them; this file is checked and never run."""

from typing import assert_type

import jax
import jax.numpy as jnp
from jaxtyping import Array

from artifex.guidance import (
    APG,
    Autoguidance,
    ByStep,
    CFGPlusPlus,
    CFGRescale,
    CFGZeroStar,
    Classifier,
    ClassifierFree,
    Combined,
    Composed,
    Contrast,
    Guidance,
    Interval,
    LinearRule,
    Loss,
    PerturbedAttention,
    Rule,
    SkipLayers,
    StepScale,
    TableauLike,
    Thresholded,
    ZeroInit,
    apply_guidance,
    bind,
    cosine_guidance_schedule,
    linear_guidance_schedule,
)
from artifex.samplers import DDIM
from artifex.schedules import VP, Denoiser, NoiseLevel, grid
from artifex.schedules.arrays import record


def denoise(x_t: Array, level: NoiseLevel[jax.Array], cond: Array | None) -> Array:
    return x_t


def logits(x_t: Array, t: Array) -> Array:
    return x_t


def loss(x0: Array) -> Array:
    return x0[:, 0]


def by_level(level: NoiseLevel[jax.Array]) -> Array:
    return level.alpha


@record
class OwnRule:
    scale: float

    def combine(self, strong: Array, weak: Array, x_t: Array, level: NoiseLevel[jax.Array]) -> Array:
        return strong


rules: list[Rule] = [LinearRule(by_level), CFGRescale(Interval(4.0)), APG(jnp.ones(4)), CFGZeroStar(2.0), OwnRule(2.0)]
steps: list[StepScale] = [ByStep(linear_guidance_schedule), ByStep(cosine_guidance_schedule, 2.0), CFGPlusPlus(0.4)]
null = jnp.array(10)
contrasts: list[Contrast[Array]] = [
    ClassifierFree(rules[0], null),
    Autoguidance(2.0, denoise),
    PerturbedAttention(("middle",)),
    SkipLayers(("blocks.3",), steps[0]),
]
guidances: list[Guidance[Array]] = [
    ClassifierFree(OwnRule(2.0), null),
    Classifier(logits, 2.0, ClassifierFree(2.0, null)),
    Loss(loss, by_level),
    Composed(3.0, ((null, -1.0), (null, APG())), null),
    Combined(tuple(contrasts)),
    Thresholded(ZeroInit(ClassifierFree(CFGZeroStar(), null))),
]
tableau = DDIM().tableau(VP(), grid.uniform(10))
walk: TableauLike = tableau
assert_type(bind(ClassifierFree(steps[0], null), tableau), ClassifierFree[Array])
guided: Denoiser = bind(guidances[0], walk)(denoise, null)
unconditional: Denoiser = guidances[2](denoise, None)
assert_type(apply_guidance(null, null, 2.0), Array)
assert_type(linear_guidance_schedule(3, 10), float)
assert_type(cosine_guidance_schedule(jnp.arange(3), 10, 1.0, 7.5), Array)
