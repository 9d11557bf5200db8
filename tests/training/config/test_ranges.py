"""Documented ranges of the package's own functions; those of a run's configuration are pydantic's, see test_config."""

import math
from typing import Final

import optax
import pytest

from artifex.schedules import Discrete, Epsilon, betas
from artifex.training import Every, Objective, OptimizerConfig, make_train_step
from artifex.training.config.optimizer import learning_rate
from artifex.training.ema import EMA, PowerEMA, gamma, sigma_rel
from tests.ranges import Range, numbers, wholes

pytestmark = pytest.mark.slow

INF: Final = math.inf
TINY: Final = 1e-30
SCHEDULE: Final = Discrete(betas.linear(10))
OBJECTIVE: Final = Objective(SCHEDULE, Epsilon())


def step(seed: int = 0, accumulation_steps: int = 1, parallel_microbatches: int = 1, window: int = 50) -> object:
    """A step that is made and not run: its settings are checked then."""
    return make_train_step(
        None,  # type: ignore[arg-type]
        OBJECTIVE,
        optax.sgd(1.0),
        EMA(),
        seed=seed,
        accumulation_steps=accumulation_steps,
        parallel_microbatches=parallel_microbatches,
        window=window,
    )


def widths(sigma_rel: float) -> PowerEMA:
    return PowerEMA((0.1, sigma_rel))


RANGES: Final = [
    *numbers("decay", (0.0, 0.999), (-TINY, 1.0, INF), EMA),
    *numbers("sigma_rel", (1e-3, 12**-0.5), (0.0, 0.2887, INF), gamma),
    *numbers("gamma", (0.0, 99.0), (-TINY, INF), sigma_rel),
    *numbers("sigma_rel", (1e-3, 12**-0.5), (0.0, 0.2887, INF), widths),
    *wholes("num_classes", 1, None, Objective, schedule=SCHEDULE, prediction=Epsilon()),
    *numbers("class_dropout", (0.0, 1.0), (-TINY, 1.01, INF), Objective, schedule=SCHEDULE, prediction=Epsilon()),
    *wholes("steps", 1, None, Every, do=print),
    *wholes("steps", 1, None, learning_rate, config=OptimizerConfig()),
    Range(step, "seed", (0, 1), (-1, 2**32), whole=True),
    *wholes("accumulation_steps", 1, None, step),
    *wholes("parallel_microbatches", 1, None, step),
    *wholes("window", 1, None, step),
]


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("row", RANGES, ids=str)
def test_a_range_is_held_at_both_ends(row: Range) -> None:
    row.check()
