"""Every sampler on every schedule, with every prediction and guidance at once: a newcomer adds one line to its table.

The network is exact for Gaussian data of two classes and returns the prediction's type, another for each part of the
batch. Guided with scale w it should give what the closed form gives: the float64 walk of the two denoisers, combined,
with the same noise. At scale 1 the samples have the law that follows from the table. Where a part of a sample is known,
it comes out as it went in.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, Int

from artifex.guidance import ClassifierFree
from artifex.kernels import sample_keys
from artifex.samplers import Inpainted, Tableau, sample
from artifex.schedules import (
    X0,
    EDMPreconditioned,
    Epsilon,
    FlowVelocity,
    NetworkDenoiser,
    NoiseLevel,
    Prediction,
    Score,
    V,
    expand,
)
from artifex.schedules.arrays import HostArray, record
from tests.samplers.analytic import walk
from tests.samplers.cases import SOLVERS, walks
from tests.samplers.test_law import COVARIANCE, MEAN, law

pytestmark = pytest.mark.slow

PREDICTIONS: Final[Mapping[str, Prediction]] = {
    "epsilon": Epsilon(),
    "clean": X0(),
    "velocity": V(),
    "score": Score(),
    "flow": FlowVelocity(),
    "preconditioned": EDMPreconditioned(),
}
SCALES: Final = (1.0, 2.5)
WITHOUT: Final = np.array([-0.3, 0.2])  # the data's mean without the condition; with it, MEAN
COPIES: Final = 48
STEPS: Final = 8

VARIANCES, BASIS = np.linalg.eigh(COVARIANCE)
WHICH: Final = np.repeat(np.arange(len(PREDICTIONS)), len(SCALES) * COPIES)
SCALE: Final = np.tile(np.repeat(SCALES, COPIES), len(PREDICTIONS))
MASK: Final = np.zeros((len(WHICH), 2))
MASK[:: COPIES // 4, 0] = 1  # of a few samples the first number is known
KNOWN: Final = 1.5
RANDOM: Final = np.random.default_rng(0)
DATA: Final = RANDOM.multivariate_normal(MEAN, COVARIANCE, len(WHICH))
START: Final = RANDOM.standard_normal(DATA.shape)
KEY: Final = jax.random.key(3)

Known = tuple[Array, Array, Array]
"""The model time of each level, and its alpha and sigma: data, so that schedules share code."""


@cache
def network(name: str) -> Callable[[Known, Array, Array, Array | None], Array]:
    """The posterior of the data, in the form of the prediction of this name."""
    prediction = PREDICTIONS[name]

    def apply(known: Known, x_t: Float[Array, "b d"], t: Float[Array, " b"], cond: Array | None) -> Float[Array, "b d"]:
        position = jnp.argmin(jnp.abs(known[0] - t[:, None]), axis=1)
        level = NoiseLevel(t=t, alpha=known[1][position], sigma=known[2][position])
        if isinstance(prediction, EDMPreconditioned):  # this network sees a scaled sample
            x_t = x_t / expand(prediction.c_in(level), x_t)
        alpha, sigma = expand(level.alpha, x_t), expand(level.sigma, x_t)
        assert cond is not None
        gain = alpha * jnp.asarray(VARIANCES, jnp.float32) / (alpha**2 * jnp.asarray(VARIANCES, jnp.float32) + sigma**2)
        basis = jnp.asarray(BASIS, jnp.float32)
        x0 = cond + ((x_t - alpha * cond) @ basis * gain) @ basis.T
        return prediction.target(x0, (x_t - alpha * x0) / sigma, level)

    return apply


@record
class Spoken:
    """A network denoiser for each prediction, and the index of each sample's."""

    known: Known
    c_noise: Float[Array, " rows"]
    which: Int[Array, " b"]

    def __call__(
        self, x_t: Float[Array, "b d"], level: NoiseLevel[jax.Array], cond: Array | None
    ) -> Float[Array, "b d"]:
        output, which = jnp.zeros_like(x_t), jnp.resize(self.which, x_t.shape[:1])
        for i, (name, prediction) in enumerate(PREDICTIONS.items()):
            known = (self.c_noise, *self.known[1:]) if name == "preconditioned" else self.known
            one: NetworkDenoiser[Known, Array] = NetworkDenoiser(network(name), prediction, known)
            output = jnp.where(expand(which == i, x_t), one(x_t, level, cond), output)
        return output


@cache
def draws(rows: int) -> HostArray:
    """The noise of each row."""
    keys = sample_keys(KEY, len(WHICH))
    draw = jax.jit(jax.vmap(lambda k, i: jax.random.normal(jax.random.fold_in(k, i), (2,)), in_axes=(0, None)))
    return np.stack([np.asarray(draw(keys, i), np.float64) for i in range(rows)])


def closed_form(x: HostArray, alpha: float, sigma: float) -> HostArray:
    gain = alpha * VARIANCES / (alpha**2 * VARIANCES + sigma**2)
    conditional, without = (m + ((x - alpha * m) @ BASIS * gain) @ BASIS.T for m in (MEAN, WITHOUT))
    return np.asarray(MASK * KNOWN + (1 - MASK) * (without + SCALE[:, None] * (conditional - without)))


def spoken(table: Tableau[HostArray]) -> Spoken:
    level, c_noise = table.level, -np.clip(table.level.logsnr, -80, 80) / 8
    t, alpha, sigma, model_time = (jnp.asarray(a, jnp.float32) for a in (level.t, level.alpha, level.sigma, c_noise))
    return Spoken((t, alpha, sigma), model_time, jnp.asarray(WHICH))


@pytest.mark.parametrize("name", SOLVERS)
def test_every_combination(name: str) -> None:
    for position, (schedule, times) in walks(STEPS).items():
        table = SOLVERS[name].tableau(schedule, times)
        begin = MASK * KNOWN + (1 - MASK) * DATA
        start = (table.level.alpha[0] * begin + table.level.sigma[0] * START).astype(np.float32)
        guidance: ClassifierFree[Array] = ClassifierFree(
            jnp.asarray(SCALE, jnp.float32), null=jnp.asarray(WITHOUT, jnp.float32)
        )
        guided = guidance(spoken(table), jnp.asarray(np.broadcast_to(MEAN, DATA.shape), jnp.float32))
        inpainted = Inpainted(guided, jnp.full((1, 2), KNOWN), jnp.asarray(MASK, jnp.float32))
        got = np.asarray(sample(inpainted, table, jnp.asarray(start), KEY), np.float64)

        # without signal, noise does not determine the data
        blind = table.level.alpha[0] < 1e-6
        known = ~(blind & np.isin(WHICH, [list(PREDICTIONS).index(p) for p in ("epsilon", "score")]))
        want = walk(table, closed_form, start.astype(np.float64), draws(32)[: table.rows])
        np.testing.assert_allclose(
            got[known], want[known], atol=3e-4 * max(1, np.abs(want).max()), err_msg=f"{name} on {position}"
        )

        if table.end.sigma == 0:
            np.testing.assert_allclose(got[MASK == 1], KNOWN, atol=2e-3, err_msg=f"{name} on {position}")

        mean, covariance = law(table, MEAN, COVARIANCE)
        plain = got[known & (SCALE == 1) & (MASK[:, 0] == 0)]
        deviation = np.sqrt(np.diag(covariance))
        assert np.all(np.abs(plain.mean(axis=0) - mean) < 5 * deviation / np.sqrt(len(plain))), position
        off = np.abs(np.cov(plain.T) - covariance)
        assert np.all(off < 5 * np.sqrt(2 / len(plain)) * np.outer(deviation, deviation)), position
