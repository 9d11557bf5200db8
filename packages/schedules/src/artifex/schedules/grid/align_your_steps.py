r"""Grids optimized for published models by minimizing a bound on the discretization error."""

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from artifex.kernels.ranges import check_whole
from artifex.schedules.arrays.array_api import HostArray
from artifex.schedules.grid.noise import from_sigmas
from artifex.schedules.level import Schedule

SIGMAS: Final[Mapping[str, tuple[float, ...]]] = {
    "sd15": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
r"""The published $\sigma / \alpha$ of ten steps."""


def align_your_steps(
    schedule: Schedule, k: int = 10, model: Literal["sd15", "sdxl", "svd"] = "sd15", *, clean: bool = True
) -> HostArray:
    r"""The published ten steps, or ``k`` steps with $\log\sigma$ interpolated linearly between them.

    Args:
        schedule: the schedule of the times: the chain of ``betas.scaled_linear`` for the first two models, ``EDM`` for
            the third.
        k: steps, at least 1.
        model: Stable Diffusion 1.5, Stable Diffusion XL, or Stable Video Diffusion.
        clean: whether the last level is replaced by clean data.

    Raises:
        ValueError: for values outside those ranges.

    References: Sabour et al. 2024, https://arxiv.org/abs/2404.14507
    """
    check_whole("steps", k, 1)
    if model not in SIGMAS:
        raise ValueError(f"model must be one of {', '.join(map(repr, SIGMAS))}, got {model!r}")
    table = np.log(SIGMAS[model])
    sigmas = np.exp(np.interp(np.linspace(0, 1, k + 1), np.linspace(0, 1, len(table)), table))
    if clean:
        sigmas[-1] = 0
    return from_sigmas(schedule, sigmas)
