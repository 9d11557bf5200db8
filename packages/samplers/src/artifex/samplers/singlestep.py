r"""Tables of singlestep methods, which call the network several times in a step and keep nothing from the step before.

Every stage goes back to where its step began, ``x_b`` at level ``a`` with prediction $D_a$, and uses the newest call:

$$x = \alpha D_a + \sigma \hat\epsilon_a + c_D (D - D_a) + c_\epsilon (\hat\epsilon - \hat\epsilon_a)$$

with $\alpha$, $\sigma$ of the level it goes to. Closed steps (see ``path``) call the network once, and are DDIM's.
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
        level: where the network is called, arrays of shape ``(steps,)``; the stage before goes there.
        data: $c_D$, ``(steps,)`` or one number.
        noise: $c_\epsilon$, likewise.
        share: q, likewise: the stage before keeps this share of its noise, and draws the rest anew.
    """

    level: NoiseLevel[HostArray]
    data: HostArray | float = 0.0
    noise: HostArray | float = 0.0
    share: HostArray | float = 1.0


def singlestep(
    path: StepSequence,
    stages: Sequence[Stage],
    *,
    single: Flags | None = None,
    scale: HostArray | None = None,
    noise: HostArray | None = None,
) -> Tableau[HostArray]:
    r"""The table of a method that takes each step of ``path`` in ``1 + len(stages)`` calls.

    Args:
        path: the steps.
        stages: what follows the first call.
        single: which steps make do with the first call; None: the closed ones.
        scale: a factor of each step's result, ``(steps,)``.
        noise: standard deviation of what is then added to it, ``(steps,)``.
    """
    single = ~path.finite if single is None else single
    scale = np.ones(path.steps) if scale is None else scale
    noise = np.zeros(path.steps) if noise is None else noise
    calls = len(stages) + 1
    nodes = [path.a, *(stage.level for stage in stages)]
    targets = [*(replace(s.level, sigma=s.level.sigma * s.share) for s in stages), path.b]
    evaluate = np.zeros((path.steps, calls, 2 + calls))
    base = np.zeros_like(evaluate)
    sigma, alpha = path.a.sigma, path.a.alpha
    for j, target in enumerate(targets):
        before, anchor = (0, 2) if j == 0 else (1, 2 + j)
        evaluate[:, j, before] += target.sigma / sigma
        evaluate[:, j, anchor] += target.alpha - alpha * target.sigma / sigma
        base[:, j, before] = 1
    for j, stage in enumerate(stages, start=1):
        there = np.where(stage.level.sigma > 0, stage.level.sigma, 1.0)
        evaluate[:, j, 0] += stage.noise / there
        evaluate[:, j, 1] -= stage.noise / sigma
        evaluate[:, j, 2] += stage.data - stage.noise * stage.level.alpha / there
        evaluate[:, j, 2 + j] -= stage.data - stage.noise * alpha / sigma
    evaluate[single, 0] = 0
    evaluate[single, 0, 0] = (path.b.sigma / sigma)[single]
    evaluate[single, 0, 2] = (path.b.alpha - alpha * path.b.sigma / sigma)[single]

    last = np.zeros((path.steps, calls), bool)
    last[~single, -1] = last[single, 0] = True
    evaluate *= np.where(last, scale[:, None], 1.0)[..., None]
    used = np.ones((path.steps, calls), bool)
    used[single, 1:] = False
    fresh = [s.level.sigma * np.sqrt((1 - s.share) * (1 + s.share)) for s in stages]
    spread = np.where(last, noise[:, None], columns([*fresh, noise], path.steps))
    level = take(each(lambda *x: np.stack(x, axis=1), *nodes), used)
    return tabulate(level, path.end, evaluate[used], spread[used], base[used])
