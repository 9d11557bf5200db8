"""Every documented range of the package, at its ends and just outside of them."""

import math
from typing import Final

import numpy as np
import pytest

from artifex import schedules
from artifex.schedules import (
    EDM,
    VE,
    VP,
    Clipped,
    CosineVP,
    DynamicallyThresholded,
    EDMPreconditioned,
    LossSecondMoment,
    RectifiedFlow,
    ScaledTime,
    Shifted,
    SubVP,
    V,
    betas,
    grid,
    time_samplers,
    weighting,
)
from tests.ranges import Range, numbers, uncovered, wholes

INF: Final = math.inf
TINY: Final = 1e-30
POSITIVE: Final = (TINY, 1e3), (0.0, -1.0, INF)
FINITE: Final = (-1e3, 0.0), (INF, -INF)


def identity(x: object, _: object = None) -> object:
    return x


RANGES: Final = [
    *numbers("sigma_min", (TINY, 49.9), (0.0, -1.0, 50.0, -INF), VE),
    *numbers("sigma_max", (0.011, 1e6), (0.01, 0.0, INF), VE),
    *numbers("beta_min", (TINY, 20.0), (0.0, -1.0, 20.1), VP, SubVP),
    *numbers("beta_max", (0.1, 1e3), (0.09, 0.0, INF), VP, SubVP),
    *numbers("logsnr_min", (-INF, -1.0, 7.9), (8.0, INF), CosineVP, logsnr_max=8.0),
    *numbers("logsnr_max", (INF, 1.0, -7.9), (-8.0, -INF), CosineVP, logsnr_min=-8.0),
    *numbers("shift", *POSITIVE, RectifiedFlow),
    *numbers("factor", *POSITIVE, Shifted, schedule=VP()),
    *numbers("factor", *POSITIVE, ScaledTime, prediction=V()),
    *numbers("limit", *POSITIVE, Clipped, DynamicallyThresholded, denoiser=identity),
    *numbers("ceiling", (1.0, INF), (0.99, -INF), DynamicallyThresholded, denoiser=identity),
    *numbers("quantile", (TINY, 1.0), (0.0, 1.01, -INF, INF), DynamicallyThresholded, denoiser=identity),
    *numbers("sigma_data", *POSITIVE, EDMPreconditioned, weighting.EDM),
    *numbers("gamma", *POSITIVE, weighting.MinSNR, weighting.SoftMinSNR),
    *numbers("k", *POSITIVE, weighting.P2),
    *numbers("gamma", (0.0, 9.0), (-TINY, INF), weighting.P2),
    *numbers("bias", *FINITE, weighting.Sigmoid),
    *numbers("low", (-1e3, 0.9), (1.0, INF, -INF), time_samplers.Uniform),
    *numbers("high", (0.1, 1e3), (0.0, INF, -INF), time_samplers.Uniform),
    *numbers("mean", *FINITE, time_samplers.LogNormal, time_samplers.LogitNormal),
    *numbers("std", *POSITIVE, time_samplers.LogNormal, time_samplers.LogitNormal),
    *wholes("n", 1, None, time_samplers.DiscreteUniform, grid.all_steps, LossSecondMoment.init),
    *wholes("history", 1, None, LossSecondMoment.init, n=3),
    *numbers("uniform_prob", (0.0, 1.0), (-TINY, 1.01, INF), LossSecondMoment.init, n=3),
    *numbers(
        "uniform_prob", (0.0, 1.0), (-TINY, 1.01, INF), LossSecondMoment, losses=np.zeros((3, 2)), counts=np.zeros(3)
    ),
    *wholes("n", 1, None, betas.linear, betas.scaled_linear, betas.sigmoid, betas.geometric, betas.exponential),
    *wholes("n", 1, None, betas.cosine, betas.laplace, betas.sigmoid_alpha_bar),
    *numbers("start", (TINY, 0.02), (0.0, -1.0, 0.021), betas.linear, betas.sigmoid, betas.geometric, n=3, end=0.02),
    *numbers("end", (1e-3, 0.999), (0.9e-3, 1.0), betas.linear, betas.sigmoid, betas.geometric, n=3, start=1e-3),
    *numbers("start", (TINY, 0.02), (0.0, -1.0, 0.021), betas.scaled_linear, n=3, end=0.02),
    *numbers("end", (1e-3, 0.999), (0.9e-3, 1.0), betas.scaled_linear, n=3, start=1e-3),
    *numbers("width", (TINY, 100.0), (0.0, -1.0, INF), betas.sigmoid, n=3),
    *numbers("rate", (TINY, 30.0), (0.0, -1.0, INF), betas.exponential, n=3),
    *numbers("s", (0.0, 0.5), (-TINY, INF), betas.cosine, n=3),
    *numbers("max_beta", (TINY, 1.0), (0.0, 1.01, INF), betas.cosine, betas.laplace, betas.sigmoid_alpha_bar, n=3),
    *numbers("b", (0.1, 3.0), (0.0, -1.0, INF), betas.laplace, n=3),
    *numbers("mu", (-3.0, 3.0), (INF, -INF), betas.laplace, n=3),
    *numbers("tau", (0.5, 3.0), (0.0, -1.0, INF), betas.sigmoid_alpha_bar, n=3),
    *numbers("start", (-5.0, 2.9), (3.0, INF, -INF), betas.sigmoid_alpha_bar, n=3),
    *numbers("end", (-2.9, 5.0), (-3.0, INF, -INF), betas.sigmoid_alpha_bar, n=3),
    *numbers("factor", *POSITIVE, betas.shifted, betas=np.array([0.1, 0.2])),
    *numbers("betas", [np.array([0.0, 1.0])], [np.array([0.1, 1.1]), np.array([-0.1, 1.0])], betas.shifted, factor=2.0),
    Range(betas.rescale_zero_terminal_snr, "betas", (np.array([0.1, 1.0]),), (np.array([0.1, 1.1]),)),
    *wholes("k", 1, None, grid.uniform, grid.beta),
    *numbers("start", (0.1, 1e3), (0.0, INF, -INF), grid.uniform, grid.beta, k=2),
    *numbers("end", (-1e3, 0.9), (1.0, INF, -INF), grid.uniform, grid.beta, k=2),
    *numbers("a", (0.1, 9.0), (0.0, -1.0, INF), grid.beta, k=2),
    *numbers("b", (0.1, 9.0), (0.0, -1.0, INF), grid.beta, k=2),
    *numbers("shift", (0.01, 100.0), (0.0, -1.0, INF), grid.shifted, times=np.array([1.0, 0.0])),
    *numbers("times", [np.array([1.0, 0.0])], [np.array([1.1, 0.0]), np.array([1.0, -0.1])], grid.shifted, shift=3.0),
    *wholes("k", 1, 9, grid.leading, grid.trailing, grid.linspace, grid.quadratic, n=9),
    *wholes("n", 3, None, grid.leading, grid.trailing, grid.linspace, grid.quadratic, k=3),
    *wholes("offset", 0, 1, grid.leading, n=9, k=8),
    *numbers("end", (-1.0, -0.1), (-1.1, 0.0, INF, -INF), grid.leading, grid.linspace, grid.quadratic, n=9, k=3),
    *wholes("k", 1, None, grid.karras, grid.exponential, schedule=EDM(), start=9.0, end=1.0),
    *numbers("start", (1.1, 1e6), (1.0, INF, -1.0), grid.karras, grid.exponential, schedule=EDM(), k=2, end=1.0),
    *numbers("end", (1e-6, 8.9), (9.0, 0.0, INF), grid.karras, grid.exponential, schedule=EDM(), k=2, start=9.0),
    *numbers("rho", (0.5, 9.0), (0.0, -1.0, INF), grid.karras, schedule=EDM(), k=2, start=9.0, end=1.0),
    *wholes("k", 1, None, grid.align_your_steps, schedule=EDM()),
]  # fmt: skip


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("row", RANGES, ids=str)
def test_a_range_is_held_at_both_ends(row: Range) -> None:
    row.check()


def test_every_number_of_a_public_dataclass_has_its_range() -> None:
    assert uncovered([schedules, time_samplers, weighting], RANGES) == set()
