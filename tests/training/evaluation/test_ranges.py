"""Every documented range of the metrics, at its ends and just outside of them."""

import math
from typing import Final

import jax
import numpy as np
import pytest
from jaxtyping import Array

from artifex.schedules import EDM, NoiseLevel
from artifex.training import evaluation
from artifex.training.data import Toy, open_dataset
from artifex.training.evaluation import (
    Features,
    Polynomial,
    Rbf,
    classifier,
    density_coverage,
    inception_score,
    kid,
    likelihood,
    mmd,
    precision_recall,
    raw,
    sliced_wasserstein,
)
from artifex.training.evaluation.examples import examples
from artifex.training.evaluation.memorization import memorization
from tests.ranges import Range, numbers, uncovered, wholes

pytestmark = pytest.mark.usefixtures("unhooked")

INF: Final = math.inf
TINY: Final = 1e-30
SEED: Final = (0, 2**31 - 1), (-1,)
ROWS: Final = np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32)
SET: Final = Features.of("f", ROWS, np.full((8, 2), 0.5, np.float32))
IMAGES: Final = ROWS.reshape(8, 1, 2, 1)
BIT: Final = np.array([[-1.0]], np.float32)
POINTS: Final = open_dataset(Toy(size=8))
PAIR: Final = {"generated": SET, "real": SET}


def learned(steps: int = 1, seed: int = 0) -> object:
    return classifier(ROWS, np.arange(8) % 2, "rows", steps=steps, seed=seed)


def extracted(batch_size: int) -> object:
    return raw()(ROWS, batch_size=batch_size)


def median(most: int) -> Rbf:
    return Rbf.median(SET, most)


def denoise(x_t: Array, level: NoiseLevel[Array]) -> Array:
    return 0.5 * x_t


def density(batch_size: int = 2, levels: int = 2, probes: int = 1) -> object:
    """Along a short part of the flow."""
    return likelihood(
        denoise, EDM(), BIT, 1.0, 0.9, jax.random.key(0), levels=levels, probes=probes, batch_size=batch_size
    )


def taken(size: int = 2, count: int = 2) -> object:
    return list(examples(POINTS, size, count))


RANGES: Final = [
    *numbers("bandwidth", (TINY, 9.0), (0.0, -1.0, INF), Rbf),
    *wholes("degree", 1, None, Polynomial),
    *numbers("gamma", (TINY, 9.0), (0.0, -1.0, INF), Polynomial),
    *numbers("offset", (0.0, 9.0), (-TINY, INF), Polynomial),
    *wholes("most", 2, None, median),
    *numbers("scale", (-1.0, 0.0, 1e3), (INF, -INF), mmd, **PAIR),
    *wholes("block", 2, 4, mmd, kid, **PAIR),
    *wholes("splits", 1, 4, inception_score, generated=SET),
    *wholes("k", 1, 7, precision_recall, density_coverage, **PAIR),
    *wholes("directions", 2, None, sliced_wasserstein, **PAIR),
    *(Range(call, "seed", *SEED, whole=True, given=PAIR) for call in (mmd, kid, sliced_wasserstein)),
    Range(inception_score, "seed", *SEED, whole=True, given={"generated": SET, "splits": 2}),
    Range(learned, "seed", *SEED, whole=True),
    *wholes("steps", 1, None, learned),
    *wholes("batch_size", 1, None, extracted, density),
    *wholes("levels", 2, None, density),
    *wholes("probes", 1, None, density),
    *wholes("size", 1, None, taken),
    *wholes("count", 1, None, taken),
    *numbers("percentile", (0.0, 100.0), (-TINY, 100.1, INF), memorization, images=IMAGES, real=IMAGES),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("row", RANGES, ids=str)
def test_a_range_is_held_at_both_ends(row: Range) -> None:
    row.check()


def test_every_number_of_a_public_dataclass_has_its_range() -> None:
    """But for results, which no caller makes."""
    results = {f"{kind}.{name}" for kind in ("Score", "Evaluation") for name in ("generated", "real")}
    results |= {"Score.value", "Score.error", "Statistics.count"}
    assert uncovered([evaluation], RANGES) - results == set()
