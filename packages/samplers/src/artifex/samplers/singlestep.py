r"""Tables of singlestep methods: several calls of the network per step, and no memory between steps.

Every stage starts from the beginning of its step, ``x_b`` at level ``a`` with prediction $D_a$, and uses the newest
call:

$$x = \alpha D_a + \sigma \hat\epsilon_a + c_D (D - D_a) + c_\epsilon (\hat\epsilon - \hat\epsilon_a)$$

with $\alpha$, $\sigma$ of its target level. Closed steps (see ``steps``) call the network once and are DDIM's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from artifex.samplers.multistep import columns
from artifex.samplers.steps import Flags, StepSequence, each, take
from artifex.samplers.tableau import Tableau, tabulate
from artifex.schedules import NoiseLevel
from artifex.schedules.arrays import HostArray


@dataclass(frozen=True)
class Stage:
    r"""A call of the network after the first of its step.

    Attributes:
        level: the level of the call, the target of the stage before, arrays of shape ``(steps,)``.
        data: $c_D$, ``(steps,)`` or one number.
        noise: $c_\epsilon$, likewise.
        noise_kept: q, likewise: the fraction of noise that the stage before keeps; it draws the rest again.
    """

    level: NoiseLevel[HostArray]
    data: HostArray | float = 0.0
    noise: HostArray | float = 0.0
    noise_kept: HostArray | float = 1.0


def singlestep(
    steps: StepSequence,
    stages: Sequence[Stage],
    *,
    single: Flags | None = None,
    scale: HostArray | None = None,
    noise: HostArray | None = None,
) -> Tableau[HostArray]:
    r"""Build the table of a method with ``1 + len(stages)`` calls per step.

    Args:
        steps: the steps.
        stages: the calls after the first.
        single: flags of the steps with only the first call; None: the closed steps.
        scale: a factor of each step's result, ``(steps,)``.
        noise: standard deviation of the noise that is then added, ``(steps,)``.
    """
    single = ~steps.finite if single is None else single
    scale = np.ones(len(steps)) if scale is None else scale
    noise = np.zeros(len(steps)) if noise is None else noise
    calls = len(stages) + 1
    nodes = [steps.a, *(stage.level for stage in stages)]
    targets = [*(replace(s.level, sigma=s.level.sigma * s.noise_kept) for s in stages), steps.b]
    evaluate = np.zeros((len(steps), calls, 2 + calls))
    base = np.zeros_like(evaluate)
    sigma, alpha = steps.a.sigma, steps.a.alpha
    for j, target in enumerate(targets):
        before, anchor = (0, 2) if j == 0 else (1, 2 + j)
        evaluate[:, j, before] += target.sigma / sigma
        evaluate[:, j, anchor] += target.alpha - alpha * target.sigma / sigma
        base[:, j, before] = 1
    for j, stage in enumerate(stages, start=1):
        sigma_at = np.where(stage.level.sigma > 0, stage.level.sigma, 1.0)
        evaluate[:, j, 0] += stage.noise / sigma_at
        evaluate[:, j, 1] -= stage.noise / sigma
        evaluate[:, j, 2] += stage.data - stage.noise * stage.level.alpha / sigma_at
        evaluate[:, j, 2 + j] -= stage.data - stage.noise * alpha / sigma
    evaluate[single, 0] = 0
    evaluate[single, 0, 0] = (steps.b.sigma / sigma)[single]
    evaluate[single, 0, 2] = (steps.b.alpha - alpha * steps.b.sigma / sigma)[single]

    last = np.zeros((len(steps), calls), bool)
    last[~single, -1] = last[single, 0] = True
    evaluate *= np.where(last, scale[:, None], 1.0)[..., None]
    used = np.ones((len(steps), calls), bool)
    used[single, 1:] = False
    fresh = [s.level.sigma * np.sqrt((1 - s.noise_kept) * (1 + s.noise_kept)) for s in stages]
    spread = np.where(last, noise[:, None], columns([*fresh, noise], len(steps)))
    level = take(each(lambda *x: np.stack(x, axis=1), *nodes), used)
    return tabulate(level, steps.end, evaluate[used], spread[used], base[used])
