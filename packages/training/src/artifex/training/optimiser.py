"""Optimisers of optax by name, under a learning rate that runs by a schedule, their gradients clipped."""

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Final, Literal

import jax.numpy as jnp
import optax
from pydantic import Field, PositiveFloat, model_validator

from artifex.training.section import Section

Name = Literal[
    "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad", "lamb",
    "lars", "lion", "muon", "nadam", "nadamw", "novograd", "radam", "rmsprop", "sgd", "yogi",
]  # fmt: skip
Curve = Literal["constant", "cosine", "linear", "rsqrt"]

_OPTIMISERS: Final[Mapping[Name, Callable[..., optax.GradientTransformation]]] = {
    "adabelief": optax.adabelief,
    "adadelta": optax.adadelta,
    "adafactor": optax.adafactor,
    "adagrad": optax.adagrad,
    "adam": optax.adam,
    "adamax": optax.adamax,
    "adamaxw": optax.adamaxw,
    "adamw": optax.adamw,
    "adan": optax.adan,
    "amsgrad": optax.amsgrad,
    "lamb": optax.lamb,
    "lars": optax.lars,
    "lion": optax.lion,
    "muon": optax.contrib.muon,
    "nadam": optax.nadam,
    "nadamw": optax.nadamw,
    "novograd": optax.novograd,
    "radam": optax.radam,
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
    "yogi": optax.yogi,
}


class OptimiserConfig(Section):
    """How parameters are updated.

    Attributes:
        name: a function of optax.
        learning_rate: at its top.
        schedule: how it runs after the warm-up: constant, cosine (to 0), linear (to 0), or rsqrt (1 / sqrt(step)).
        warmup_steps: in which it rises from 0; cut to a tenth of all steps.
        clip_norm: the gradient's largest norm; null does not clip.
        weight_decay: null is optax's own for this optimiser.
        options: further arguments of that function: {b2: 0.99}.
    """

    name: Name = "adamw"
    learning_rate: PositiveFloat = 2e-3
    schedule: Curve = "cosine"
    warmup_steps: int = Field(default=100, ge=0)
    clip_norm: PositiveFloat | None = 1.0
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    options: Mapping[str, bool | int | float | str | None] = {}

    @model_validator(mode="after")
    def _known(self) -> "OptimiserConfig":
        known = [name for name in inspect.signature(_OPTIMISERS[self.name]).parameters if name != "learning_rate"]
        if self.weight_decay is not None and "weight_decay" not in known:
            raise ValueError(f"weight_decay must be null for {self.name}, which has none; got {self.weight_decay}")
        for name in self.options:
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0)[0]
                raise ValueError(f"options.{name} is not known of optax's {self.name}; the nearest known is {near}")
        if self.weight_decay is not None and "weight_decay" in self.options:
            raise ValueError("weight_decay must be given once, got it in options too")
        return self


def learning_rate(config: OptimiserConfig, steps: int) -> optax.Schedule:
    r"""The learning rate by step, of ``steps``: a linear rise over the warm-up, then the schedule's curve.

    With the top $r$, $w$ steps of warm-up and $n$ steps in all: ``cosine`` is $\tfrac r2 (1 + \cos\pi
    \tfrac{k - w}{n + 1 - w})$, ``linear`` $r\,\tfrac{n + 1 - k}{n + 1 - w}$, ``rsqrt`` $r \sqrt{w / k}$.
    """
    top, warmup, after = config.learning_rate, min(config.warmup_steps, steps // 10), steps + 1
    rise = max(warmup, 1)
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, top, warmup, after)
    curves: Mapping[Curve, Callable[[], optax.Schedule]] = {
        "constant": lambda: optax.constant_schedule(top),
        "linear": lambda: optax.linear_schedule(top, 0.0, after - warmup),
        "rsqrt": lambda: lambda k: top * (rise / jnp.maximum(k + rise, rise)) ** 0.5,
    }
    curve = curves[config.schedule]()
    return optax.join_schedules([optax.linear_schedule(0.0, top, warmup), curve], [warmup]) if warmup else curve


def make_optimiser(config: OptimiserConfig, steps: int) -> optax.GradientTransformation:
    """The optimiser for a run of ``steps``."""
    decay = {} if config.weight_decay is None else {"weight_decay": config.weight_decay}
    chosen = _OPTIMISERS[config.name](learning_rate(config, steps), **decay, **config.options)
    return chosen if config.clip_norm is None else optax.chain(optax.clip_by_global_norm(config.clip_norm), chosen)
