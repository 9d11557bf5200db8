"""Resuming a run: the settings that may change, and what happens to the state if they do.

What a run learns and what its state consists of must stay: the data except for its path, the network, the schedule, the
prediction and its weights, the optimizer and its options, the averages, and the seed. The number of steps, the learning
rate and the machine may change.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import jax
import jax.numpy as jnp
import yaml
from jaxtyping import Array, Float

from artifex.training.config.run import TrainingConfig
from artifex.training.config.yaml import ConfigError, read_config, validated, write_config
from artifex.training.files import replacing
from artifex.training.run.folder import RunFolder

MAY_CHANGE: Final = (
    "steps", "batch_size", "accumulation_steps", "parallel_microbatches", "max_skipped", "workers",
    "optimizer.learning_rate", "optimizer.schedule", "optimizer.warmup_steps", "optimizer.clip_norm",
    "optimizer.weight_decay", "precision", "checkpoint", "log", "preview", "mesh", "memory",
    "data.path", "data.labels", "data.corrupt",
)  # fmt: skip
"""Settings, and sections of them, that may change when a run is resumed."""

_UNNAMED: Final = ("data.classes", None)
"""Class names that are found later, for a configuration without, are no change."""

Changes = Mapping[str, tuple[object, object]]
"""Settings by name, with their old and new value."""


def changes(stored: Mapping[str, Any], config: TrainingConfig) -> Changes:
    """Compare ``config`` with a stored one; the differences are in the order of their names.

    Args:
        stored: the configuration in the metadata of a checkpoint; missing settings have their defaults.
        config: the one to continue with.
    """
    with suppress(ConfigError):  # otherwise every difference counts
        stored = validated(type(config), stored).model_dump(mode="json")
    old, new = flat(stored), flat(config.model_dump(mode="json"))
    pairs = {name: (old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and (name, pair[0]) != _UNNAMED}


def check_changes(changed: Changes, step: int) -> None:
    """Raise a ValueError for settings that can't change after ``step`` steps."""
    refused = [
        f"{name} must stay {old!r} when a run is resumed, got {new!r}"
        for name, (old, new) in changed.items()
        if not any(name == free or name.startswith(f"{free}.") for free in MAY_CHANGE)
        or (name == "optimizer.clip_norm" and None in (old, new))  # the optimizer's state has another structure
    ]
    if refused:
        raise ValueError("; ".join(refused))
    steps = changed.get("steps", (None, step))[1]
    if isinstance(steps, int) and steps < step:
        raise ValueError(f"steps must be at least the {step} completed ones, got {steps}")


def with_room(losses: Float[Array, " n"], steps: int) -> Float[Array, " steps"]:
    """Resize the losses of a run that now has ``steps`` steps, with 0 for those to come, in the same sharding."""
    if len(losses) == steps:
        return losses
    out: Float[Array, " steps"] = jax.jit(
        lambda x: jnp.pad(x[:steps], (0, max(0, steps - len(x)))), out_shardings=losses.sharding
    )(losses)
    return out


def keep_config(config: TrainingConfig, stored: Mapping[str, Any], folder: RunFolder, step: int) -> None:
    """Write the configuration that a run continues with, and keep the old one; both atomically.

    Args:
        config: the one to continue with.
        stored: the one of the steps so far; if it differs it is kept as ``config.00000500.yaml`` after 500 steps.
        folder: of the run.
        step: number of completed steps.
    """
    before = folder.previous_config(step)
    if changes(stored, config) and not before.exists():
        with replacing(before) as file:
            file.write(yaml.safe_dump(dict(stored), sort_keys=False).encode())
    try:
        current = read_config(folder.config)
    except ConfigError:
        current = None
    if current != config:
        write_config(config, folder.config)


def flat(tree: object, path: str = "") -> dict[str, object]:
    """Flatten nested mappings: leaves by their paths."""
    if not isinstance(tree, Mapping):
        return {path: tree}
    return {k: v for name, inner in tree.items() for k, v in flat(inner, f"{path}.{name}".lstrip(".")).items()}
