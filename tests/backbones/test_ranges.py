"""Every number of every config, at the ends of its range and just outside."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, get_args

import jax.numpy as jnp
import pytest
from jaxtyping import Array

from artifex import backbones
from artifex.backbones import sincos_2d, tiled, timestep_embedding
from tests.ranges import Range, numbers, wholes

INF: Final = math.inf
TINY: Final = 1e-30
CONFIGS: Final[list[Any]] = [
    thing for name, thing in vars(backbones).items() if name.endswith("Config") and dataclasses.is_dataclass(thing)
]
LEAST: Final = {
    "ids": 0, "depths": 0, "attention_levels": 0, "dual_layers": 0, "end_id": 0, "buckets": 4, "max_distance": 9,
}  # fmt: skip
"""Minimum of integers, if not 1."""
REAL: Final[dict[str, tuple[Sequence[Any], Sequence[Any]]]] = {
    "dropout": ((0.0, 0.99), (-TINY, 1.0, INF)),
    "residual_balance": ((TINY, 0.99), (0.0, 1.0, INF)),
    "skip_balance": ((TINY, 0.99), (0.0, 1.0, INF)),
    "epsilon": ((TINY, 1.0), (0.0, -1.0, INF)),
    "scaling_factor": ((TINY, 9.0), (0.0, -1.0, INF)),
    "latents_mean": ([(-9.0, 0.0, 0.0, 9.0)], [(0.0, 0.0, 0.0, INF)]),
    "latents_std": ([(TINY, 1.0, 1.0, 9.0)], [(1.0, 1.0, 1.0, 0.0), (1.0, 1.0, 1.0, INF)]),
    "shift_factor": ((-9.0, 9.0), (INF, -INF)),
    "freq_shift": ((-1.0, 1.0), (INF, -INF)),
    "mlp_ratio": ((0.1, 9.0), (0.0, -1.0, INF)),
}
"""Allowed and refused values of real numbers."""


def ranges(config: type[Any]) -> Iterator[Range]:
    """The ranges of all numbers of a config; those of real numbers must be listed above."""
    for part in dataclasses.fields(config):
        inner = get_args(part.type)
        kinds = {part.type, *inner, *(kind for one in inner for kind in get_args(one))}
        if float in kinds:
            yield from numbers(part.name, *REAL[part.name], config)
        if int in kinds:
            low = LEAST.get(part.name, 1) - 1
            rest = part.default[1:] if isinstance(part.default, tuple) else None
            wrong = [value if rest is None else (value, *rest) for value in (low, 1.5, True, INF)]
            yield Range(config, part.name, (part.default,), tuple(wrong), whole=True)


def images(tile: int = 3, overlap: int = 1) -> Array:
    return tiled(lambda x: x, jnp.ones((1, 4, 4, 1)), tile=tile, overlap=overlap)


RANGES: Final = [
    *(row for config in CONFIGS for row in ranges(config)),
    *numbers("max_period", (1.5, 1e6), (0.0, -1.0, INF), timestep_embedding, t=jnp.ones(2), features=8),
    *numbers("freq_shift", (-1.0, 3.9), (4.0, INF, -INF), timestep_embedding, t=jnp.ones(2), features=8),
    *wholes("height", 1, None, sincos_2d, features=4, width=2),
    *wholes("width", 1, None, sincos_2d, features=4, height=2),
    *wholes("base", 1, None, sincos_2d, features=4, height=2, width=2),
    *wholes("tile", 2, None, images),
    *wholes("overlap", 0, 2, images),
]


@pytest.mark.slow
@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("row", RANGES, ids=str)
def test_a_range_is_held_at_both_ends(row: Range) -> None:
    row.check()


def test_all_configs_are_here() -> None:
    assert len(CONFIGS) == 10
