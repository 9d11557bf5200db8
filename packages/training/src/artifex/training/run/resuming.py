"""Going on with a run: which settings may change on the way, and what becomes of the state where they do.

What a run learns and what its state is made of stay: the data but for where it lies, the network, the schedule, the
prediction and its weights, the optimizer and its options, the averages, and the seed. How far, how fast and on what
machine it goes on may change.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import yaml
from jaxtyping import Array, Float

from artifex.training.config.run import TrainingConfig
from artifex.training.config.yaml import ConfigError, read_config, validated, write_config
from artifex.training.files import replacing

MAY_CHANGE: Final = (
    "steps", "batch_size", "accumulate", "parallel_microbatches", "max_skipped", "workers", "optimizer.learning_rate",
    "optimizer.schedule", "optimizer.warmup_steps", "optimizer.clip_norm", "optimizer.weight_decay", "precision",
    "checkpoint", "log", "preview", "mesh", "memory", "data.path", "data.labels", "data.corrupt",
)  # fmt: skip
"""Settings, and parts of them, that may change from one part of a run to the next."""

_UNNAMED: Final = ("data.classes", None)
"""Names of classes that were found since, in a configuration that had none, change nothing."""

Changes = Mapping[str, tuple[object, object]]
"""Settings by name, with the value that each had and the one that it is to have."""


def changes(stored: Mapping[str, Any], config: TrainingConfig) -> Changes:
    """Where ``config`` differs from a stored one, in the order of their names.

    Args:
        stored: the configuration in the notes of a checkpoint; what it lacks, being older, is the default.
        config: the one to go on with.
    """
    with suppress(ConfigError):  # then every difference counts
        stored = validated(type(config), stored).model_dump(mode="json")
    old, new = flat(stored), flat(config.model_dump(mode="json"))
    pairs = {name: (old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and (name, pair[0]) != _UNNAMED}


def check_changes(changed: Changes, step: int) -> None:
    """Raise a ValueError for settings that can't change once ``step`` steps are done."""
    refused = [
        f"{name} must stay {old!r} where a run goes on, got {new!r}"
        for name, (old, new) in changed.items()
        if not any(name == free or name.startswith(f"{free}.") for free in MAY_CHANGE)
        or (name == "optimizer.clip_norm" and None in (old, new))  # the optimizer's state has another structure
    ]
    if refused:
        raise ValueError("; ".join(refused))
    steps = changed.get("steps", (None, step))[1]
    if isinstance(steps, int) and steps < step:
        raise ValueError(f"steps must be at least the {step} that are done, got {steps}")


def with_room(losses: Float[Array, " n"], steps: int) -> Float[Array, " steps"]:
    """The losses of a run that now has ``steps`` steps: cut, or 0 for those to come, in the same sharding."""
    if len(losses) == steps:
        return losses
    out: Float[Array, " steps"] = jax.jit(
        lambda x: jnp.pad(x[:steps], (0, max(0, steps - len(x)))), out_shardings=losses.sharding
    )(losses)
    return out


def keep_config(config: TrainingConfig, stored: Mapping[str, Any], path: Path, step: int) -> None:
    """Write the configuration that a run goes on with, and keep the one before; each whole or not at all.

    Args:
        config: the one to go on with.
        stored: the one of the steps so far; where it differs it stays as ``config.00000500.yaml`` of 500 steps.
        path: of the run's configuration.
        step: how many steps are done.
    """
    before = path.with_name(f"{path.stem}.{step:08d}{path.suffix}")
    if changes(stored, config) and not before.exists():
        with replacing(before) as file:
            file.write(yaml.safe_dump(dict(stored), sort_keys=False).encode())
    try:
        current = read_config(path)
    except ConfigError:
        current = None
    if current != config:
        write_config(config, path)


def flat(tree: object, place: str = "") -> dict[str, object]:
    """The leaves of nested mappings by their places."""
    if not isinstance(tree, Mapping):
        return {place: tree}
    return {k: v for name, inner in tree.items() for k, v in flat(inner, f"{place}.{name}".lstrip(".")).items()}
