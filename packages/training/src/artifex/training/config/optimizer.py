"""Optimizers of optax by name, with learning rate schedules and gradient clipping."""

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from pydantic import Field, PositiveFloat, model_validator

from artifex.backbones import hidden_matrices, parameter_roles
from artifex.kernels.ranges import check_number, check_whole
from artifex.training.dtypes import check_dtype
from artifex.training.named_leaves import map_by_name
from artifex.training.section import Section
from artifex.training.step.muon import muon

Name = Literal[
    "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad", "lamb",
    "lars", "lion", "muon", "nadam", "nadamw", "novograd", "radam", "rmsprop", "sgd", "yogi",
]  # fmt: skip
Curve = Literal["constant", "cosine", "linear", "rsqrt"]

_OPTIMIZERS: Final[Mapping[Name, Callable[..., optax.GradientTransformation]]] = {
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

MEANS: Final = ("b1", "b2", "b3", "beta", "momentum")
"""Options that are decay rates of running means."""

# Determined by the roles of the network's parameters.
_MASKS: Final = ("mask", "weight_decay_mask", "trust_ratio_mask")
_OURS: Final = ("learning_rate", "muon_weight_dimension_numbers", *_MASKS)


class OptimizerConfig(Section):
    """The optimizer.

    Attributes:
        name: a function of optax; muon is for the matrices between hidden layers, other parameters have AdamW.
        learning_rate: peak value.
        schedule: of the learning rate after the warm-up: constant, cosine (to 0), linear (to 0), or rsqrt
            (1 / sqrt(step)).
        warmup_steps: number of steps in which it rises from 0; at most a tenth of all steps.
        clip_norm: the largest norm of the gradient; null does not clip.
        weight_decay: null is optax's default for this optimizer; biases, norms and gains do not decay.
        options: further arguments of the function: {b2: 0.99}.
    """

    name: Name = "adamw"
    learning_rate: PositiveFloat = 2e-3
    schedule: Curve = "cosine"
    warmup_steps: int = Field(default=100, ge=0)
    clip_norm: PositiveFloat | None = 1.0
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    options: Mapping[str, bool | int | float | str | None] = {}

    @model_validator(mode="after")
    def _known(self) -> "OptimizerConfig":
        signature = inspect.signature(_OPTIMIZERS[self.name]).parameters
        known = [name for name in signature if name not in _OURS]
        if self.weight_decay is not None and "weight_decay" not in known:
            raise ValueError(f"weight_decay must be null for {self.name}, which has none; got {self.weight_decay}")
        for name, value in self.options.items():
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0)[0]
                raise ValueError(f"options.{name} is not known of optax's {self.name}; the nearest known is {near}")
            default = signature[name].default
            if isinstance(default, bool) != isinstance(value, bool) and default is not None:
                kind = "true or false" if isinstance(default, bool) else "no boolean"
                raise ValueError(f"options.{name} must be {kind} for optax's {self.name}, got {value!r}")
            if "dtype" in name and value is not None:
                check_dtype(f"options.{name}", value)
            if value is None or isinstance(value, str):
                continue
            if name in MEANS:
                check_number(f"options.{name}", value, 0, 1, "[)")
            elif name.startswith("eps"):
                check_number(f"options.{name}", value, 0)
        if self.weight_decay is not None and "weight_decay" in self.options:
            raise ValueError("weight_decay must be given once, got it in options too")
        if self.options:
            _try(self)
        return self


def learning_rate(config: OptimizerConfig, steps: int) -> optax.Schedule:
    r"""Make the learning rate schedule of a run of ``steps``: linear warm-up, then the configured curve.

    With the peak $r$, $w$ steps of warm-up and $n$ steps in total: ``cosine`` is $\tfrac r2 (1 + \cos\pi
    \tfrac{k - w}{n + 1 - w})$, ``linear`` $r\,\tfrac{n + 1 - k}{n + 1 - w}$, ``rsqrt`` $r \sqrt{w / k}$.
    """
    check_whole("steps", steps, 1)
    peak, warmup, after = config.learning_rate, min(config.warmup_steps, steps // 10), steps + 1
    rise = max(warmup, 1)
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, after)
    curves: Mapping[Curve, Callable[[], optax.Schedule]] = {
        "constant": lambda: optax.constant_schedule(peak),
        "linear": lambda: optax.linear_schedule(peak, 0.0, after - warmup),
        "rsqrt": lambda: lambda k: peak * (rise / jnp.maximum(k + rise, rise)) ** 0.5,
    }
    curve = curves[config.schedule]()
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), curve], [warmup]) if warmup else curve


def make_optimizer(
    config: OptimizerConfig, steps: int, network: nnx.Module | None = None
) -> optax.GradientTransformation:
    """Make the optimizer for a run of ``steps``.

    Args:
        config: of the optimizer.
        steps: number of steps of the learning rate schedule.
        network: its ``artifex.backbones.parameter_roles`` determine which parameters decay (all but biases, norms and
            gains) and which are ``muon``'s. With None all parameters decay, and the shape of a ``kernel`` or ``weight``
            determines its matrices: two axes are a matrix, four a convolution's.

    Raises:
        ValueError: if a kernel of the network can't be split into its matrices.
    """
    rate = learning_rate(config, steps)
    options: dict[str, Any] = dict(config.options)
    decayed = None if network is None else _decayed(network)
    if config.weight_decay is not None:
        options["weight_decay"] = config.weight_decay
    chosen: optax.GradientTransformation
    if config.name == "muon":
        top = options.pop("adam_learning_rate", None)
        other = None if top is None else learning_rate(config.model_copy(update={"learning_rate": top}), steps)
        matrices = None if network is None else hidden_matrices(network)
        chosen = muon(rate, matrices, adam_learning_rate=other, decayed=decayed, **options)
    elif config.name == "novograd" and decayed is not None and options.get("weight_decay"):
        parts = {True: options, False: {**options, "weight_decay": 0.0}}
        chosen = optax.partition({part: optax.novograd(rate, **given) for part, given in parts.items()}, decayed)
    else:
        function = _OPTIMIZERS[config.name]
        masks = {} if decayed is None else dict.fromkeys(_MASKS, decayed)
        chosen = function(rate, **options, **{name: mask for name, mask in masks.items() if _takes(function, name)})
    return chosen if config.clip_norm is None else optax.chain(optax.clip_by_global_norm(config.clip_norm), chosen)


def freeze(optimizer: optax.GradientTransformation, part: str) -> optax.GradientTransformation:
    """Leave the parameters below ``part``, the first name of their path, unchanged."""

    def mask(parameters: Any) -> Any:  # noqa: ANN401 -- any pytree
        return map_by_name(lambda name, _: name.partition(".")[0] == part, parameters)

    return optax.chain(optimizer, optax.masked(optax.set_to_zero(), mask))


def _takes(function: Callable[..., optax.GradientTransformation], name: str) -> bool:
    return name in inspect.signature(function).parameters


def _decayed(network: nnx.Module) -> Callable[[Any], Any]:
    """Make a mask for optax: True for all parameters but biases, norms and gains."""
    vectors = {name for name, role in parameter_roles(network).items() if role.name == "vector"}
    return lambda parameters: map_by_name(lambda name, _: name not in vectors, parameters)


def _try(config: OptimizerConfig) -> None:
    """Raise a ValueError if optax can't make an update with these options; nothing is computed."""
    parameters = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}

    def update(parameters: dict[str, jax.Array]) -> object:
        optimizer = make_optimizer(config, 10)
        return optimizer.update(parameters, optimizer.init(parameters), parameters)

    try:
        jax.eval_shape(update, parameters)
    except Exception as error:
        message = str(error).partition("\n")[0]
        raise ValueError(
            f"options {dict(config.options)} are not what optax's {config.name} takes: {message}"
        ) from None
