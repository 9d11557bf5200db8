"""Draws docs/images/solvers.png, and writes the ranking of the solvers into docs/solvers.md.

Run from the repository root, with matplotlib installed: ``python docs/figures/solvers.py``. It takes some minutes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artifex.samplers import (
    DDPM,
    DEIS,
    DPM2,
    ERSDE,
    LMS,
    PNDM,
    DPMSolverMultistep,
    DPMSolverPPMultistep,
    DPMSolverPPSDE,
    DPMSolverPPSinglestep,
    DPMSolverSinglestep,
    EDMStochastic,
    Euler,
    EulerAncestral,
    Heun,
    Sampler,
    Tableau,
    UniPC,
    prior,
    sample,
)
from artifex.schedules import EDM, NoiseLevel, grid
from artifex.schedules.arrays import HostArray, record

DOCS: Final = Path(__file__).parents[1]
INK: Final = "#1f2933"
QUIET: Final = "#7b8794"
RULE: Final = "#e4e7eb"
BUDGETS: Final = (10, 20, 50)
SAMPLES: Final = 40_000
PATH: Final = EDM()


@record
class Mixture:
    """The denoiser of a mixture of round Gaussians."""

    weights: jax.Array
    means: jax.Array
    stds: jax.Array

    def __call__(self, x_t: jax.Array, level: NoiseLevel[jax.Array]) -> jax.Array:
        """The mean of the posterior."""
        alpha, sigma = level.alpha[:, None], level.sigma[:, None]
        noisy = (alpha * self.stds) ** 2 + sigma**2
        off = x_t[:, None] - alpha[..., None] * self.means
        logits = jnp.log(self.weights) - 0.5 * x_t.shape[1] * jnp.log(noisy) - 0.5 * (off**2).sum(-1) / noisy
        share = jax.nn.softmax(logits)
        gain = alpha * self.stds**2 / noisy
        return jnp.sum(share[..., None] * (self.means + gain[..., None] * off), axis=1)


jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]
LINE: Final = Mixture(jnp.array([0.3, 0.7]), jnp.array([[-0.8], [0.6]]), jnp.array([0.2, 0.3]))
TURN: Final = 2 * np.pi * np.arange(7) / 7
PLANE: Final = Mixture(
    jnp.arange(1.0, 8.0) / 28, jnp.asarray(0.7 * np.stack([np.cos(TURN), np.sin(TURN)], axis=1)), jnp.full(7, 0.07)
)


@dataclass(frozen=True)
class Curve:
    """A solver as it is drawn."""

    name: str
    sampler: Sampler
    color: str
    dashes: str = "-"


FLOWS: Final = (
    Curve("Euler", Euler(), "#7b8794"),
    Curve("Heun", Heun(), "#b0b8c1"),
    Curve("LMS, order 4", LMS(), "#0b3c49"),
    Curve("DPM++ 2S", DPMSolverPPSinglestep(2), "#74b3a4"),
    Curve("DPM++ 2M", DPMSolverPPMultistep(2), "#2f7f93"),
    Curve("DPM++ 3M as peers have it", DPMSolverPPMultistep(3, diffusers_compat=True), "#d9822b", "--"),
    Curve("DPM++ 3M", DPMSolverPPMultistep(3), "#d9822b"),
    Curve("DPM++ 3S", DPMSolverPPSinglestep(3), "#e0b13c"),
    Curve("UniPC-3", UniPC(3, lower_order_final=False), "#a8431a"),
)
NOISY: Final = (
    Curve("Euler ancestral = DDPM", EulerAncestral(), "#7b8794"),
    Curve("EDM, churn 40", EDMStochastic(s_noise=1.0), "#b0b8c1"),
    Curve("DPM2 ancestral", DPM2(eta=1.0), "#74b3a4"),
    Curve("DPM++ SDE", DPMSolverPPSDE(), "#e0b13c"),
    Curve("DPM++ 2S ancestral", DPMSolverPPSinglestep(2, eta=1.0), "#0b3c49"),
    Curve("DPM++ 2M SDE", DPMSolverPPMultistep(2, eta=1.0), "#2f7f93"),
    Curve("DPM++ 3M SDE", DPMSolverPPMultistep(3, eta=1.0, solver_type="heun"), "#d9822b"),
    Curve("ER-SDE-3", ERSDE(3), "#a8431a"),
)
RANKED: Final[Mapping[str, Sampler]] = {
    "`Euler()`, `DDIM()`": Euler(),
    "`Heun()`": Heun(),
    "`DPM2()`": DPM2(),
    "`DPMSolverSinglestep(3)`": DPMSolverSinglestep(3),
    "`DPMSolverMultistep(2)`": DPMSolverMultistep(2),
    "`DPMSolverMultistep(3)`": DPMSolverMultistep(3),
    "`DPMSolverPPSinglestep(2)`": DPMSolverPPSinglestep(2),
    "`DPMSolverPPSinglestep(3)`": DPMSolverPPSinglestep(3),
    "`DPMSolverPPMultistep(2)`": DPMSolverPPMultistep(2),
    "`DPMSolverPPMultistep(3)`": DPMSolverPPMultistep(3),
    "`DPMSolverPPMultistep(3, diffusers_compat=True)`": DPMSolverPPMultistep(3, diffusers_compat=True),
    "`UniPC(2)`": UniPC(2),
    "`UniPC(3)`": UniPC(3),
    "`UniPC(3, predict_x0=False)`": UniPC(3, predict_x0=False),
    "`DEIS(3)`": DEIS(3),
    '`DEIS(3, "logrho")`': DEIS(3, "logrho"),
    "`LMS(4)`": LMS(4),
    "`PNDM()`": PNDM(),
    '`PNDM(warmup="runge-kutta")`': PNDM(warmup="runge-kutta"),
    "`DDPM()`, `EulerAncestral()`": DDPM(),
    "`DPM2(eta=1.0)`": DPM2(eta=1.0),
    "`DPMSolverPPSinglestep(2, eta=1.0)`": DPMSolverPPSinglestep(2, eta=1.0),
    "`DPMSolverPPMultistep(2, eta=1.0)`": DPMSolverPPMultistep(2, eta=1.0),
    '`DPMSolverPPMultistep(3, eta=1.0, solver_type="heun")`': DPMSolverPPMultistep(3, eta=1.0, solver_type="heun"),
    "`DPMSolverPPSDE()`": DPMSolverPPSDE(),
    "`DPMSolverMultistep(2, eta=1.0)`": DPMSolverMultistep(2, eta=1.0),
    "`EDMStochastic()`": EDMStochastic(),
    '`EDMStochastic(step="euler")`': EDMStochastic(step="euler"),
    '`EDMStochastic(step="dpm2")`': EDMStochastic(step="dpm2"),
    "`ERSDE(3)`": ERSDE(3),
}


def within(sampler: Sampler, calls: int, times: Callable[[int], HostArray]) -> Tableau[HostArray] | None:
    """The table with the most steps that makes at most ``calls`` calls; None where the order needs more."""
    for steps in range(calls, 0, -1):
        try:
            table = sampler.tableau(PATH, times(steps))
        except ValueError:
            return None
        if table.rows <= calls:
            return table
    return None


def falling(start: float, end: float) -> Callable[[int], HostArray]:
    """Grids whose noise falls by one factor a step."""
    return lambda steps: np.geomspace(start, end, steps + 1)


def quantile_of(x: HostArray, data: Mixture, sigma: float) -> HostArray:
    """The share of the noisy one-dimensional data that lies below ``x``."""
    off = (x[:, None] - np.asarray(data.means)[:, 0]) / np.sqrt(2 * (np.asarray(data.stds) ** 2 + sigma**2))
    return np.asarray((np.vectorize(math.erfc)(-off) / 2) @ np.asarray(data.weights))


def at_quantile(q: HostArray, data: Mixture, sigma: float) -> HostArray:
    """The argument at which that share is ``q``, by bisection."""
    low, high = np.full_like(q, -100.0), np.full_like(q, 100.0)
    for _ in range(70):
        middle = (low + high) / 2
        below = quantile_of(middle, data, sigma) < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def flow_errors(sampler: Sampler, budgets: Sequence[int]) -> tuple[HostArray, HostArray]:
    """Calls, and the root mean square distance from the exact probability flow of the mixture on the line."""
    q = (np.arange(64) + 0.5) / 64
    start, end = at_quantile(q, LINE, 10.0), at_quantile(q, LINE, 0.02)
    found = []
    for calls in budgets:
        if (table := within(sampler, calls, falling(10.0, 0.02))) is not None:
            got = np.asarray(sample(LINE, table, jnp.asarray(start[:, None])))[:, 0]
            found.append((table.rows, np.sqrt(np.mean((got - end) ** 2))))
    return np.array(found).T[0], np.array(found).T[1]


def law_errors(sampler: Sampler, budgets: Sequence[int]) -> tuple[HostArray, HostArray]:
    """Calls, and the 2-Wasserstein distance of the walk's law from N(0.4, 0.5^2) with the last noise, both exact."""
    found = []
    for calls in budgets:
        if (table := within(sampler, calls, falling(10.0, 0.05))) is not None:
            mean, variance = law(table, 0.4, 0.25)
            found.append((table.rows, np.hypot(mean - 0.4, np.sqrt(variance) - np.sqrt(0.25 + 0.05**2))))
    return np.array(found).T[0], np.array(found).T[1]


def law(table: Tableau[HostArray], mean: float, variance: float) -> tuple[float, float]:
    """Mean and variance at the end of a walk on Gaussian data: all is affine, so both follow by recursion."""
    n = table.evaluate.shape[1]  # the states are 1, x_e, x_b and n - 3 older predictions
    sigma = table.level.sigma
    second = np.zeros((n, n))
    center = np.concatenate([[1.0], [mean, mean], np.zeros(n - 3)])
    second[1:3, 1:3] = variance + sigma[0] ** 2
    for i in range(table.rows):
        gain = variance / (variance + sigma[i] ** 2)
        x_e, x_b, older = np.eye(n)[1], np.eye(n)[2], np.eye(n)[3:]
        newest = gain * x_e + (1 - gain) * mean * np.eye(n)[0]
        x_b = table.base[i] @ np.stack([x_e, x_b, newest, *older])
        moved = table.evaluate[i] @ np.stack([x_e, x_b, newest, *older])
        kept = table.keep[i] @ np.stack([x_e, newest])
        move = np.stack([np.eye(n)[0], moved, x_b, kept, *older])[:n]
        noise = np.zeros(n)
        noise[1:3] = table.noise[i] + table.evaluate[i, 1] * table.base_noise[i], table.base_noise[i]
        center, second = move @ center, move @ second @ move.T + np.outer(noise, noise)
    return float(center[1]), float(second[1, 1])


def sliced(points: HostArray, reference: HostArray) -> float:
    """The mean over 128 directions of the Wasserstein distance between the projections."""
    angle = np.pi * (np.arange(128) + 0.5) / 128
    lines = np.stack([np.cos(angle), np.sin(angle)])
    return float(np.mean(np.abs(np.sort(points @ lines, axis=0) - reference)))


def exact_projections() -> HostArray:
    """Quantiles of the plane's mixture along each of the directions of ``sliced``."""
    q, columns = (np.arange(SAMPLES) + 0.5) / SAMPLES, []
    for angle in np.pi * (np.arange(128) + 0.5) / 128:
        line = np.array([np.cos(angle), np.sin(angle)])
        centers, stds = np.asarray(PLANE.means) @ line, np.asarray(PLANE.stds)
        heights = np.linspace(-1.5, 1.5, 20_001)
        off = (heights[:, None] - centers) / (np.sqrt(2) * stds)
        below = np.asarray(jax.scipy.special.erfc(-jnp.asarray(off)) / 2) @ np.asarray(PLANE.weights)
        columns.append(np.interp(q, below, heights))
    return np.stack(columns, axis=1)


def ranking() -> str:
    """The table, best at the middle budget first."""
    reference, rows = exact_projections(), []
    for name, sampler in RANKED.items():
        found = []
        for calls in BUDGETS:
            table = within(sampler, calls, lambda steps: grid.karras(PATH, steps, 80.0, 0.002))
            if table is None:
                found.append(np.nan)
                continue
            x = prior(table, (SAMPLES, 2), jax.random.key(0), jnp.dtype(jnp.float64))
            found.append(sliced(np.asarray(sample(PLANE, table, x, jax.random.key(1))), reference))
        rows.append((found, f"| {name} | " + " | ".join("" if np.isnan(v) else f"{v:.4f}" for v in found) + " |"))
    rng = np.random.default_rng(0)
    mode = rng.choice(7, SAMPLES, p=np.asarray(PLANE.weights) / np.asarray(PLANE.weights).sum())
    own = np.asarray(PLANE.means)[mode] + np.asarray(PLANE.stds)[mode][:, None] * rng.standard_normal((SAMPLES, 2))
    floor = f"| *samples of the data itself* |  |  | {sliced(own, reference):.4f} |"
    head = "| Sampler | " + " | ".join(f"{calls} calls" for calls in BUDGETS) + " |\n| --- |" + " ---: |" * len(BUDGETS)
    return "\n".join([head, *(row for _, row in sorted(rows, key=lambda r: r[0][1])), floor])


def label(ax: Axes, curves: Sequence[Curve], ends: Sequence[float], right: float) -> None:
    """Names beside the curves' ends, pushed apart where they would meet."""
    low, high = np.log10(ax.get_ylim())
    gap = 0.048 * (high - low)
    order = np.argsort(ends)
    heights = np.log10(np.asarray(ends))[order]
    for _ in range(400):
        for i in range(len(heights) - 1):
            if (lack := gap - (heights[i + 1] - heights[i])) > 0:
                heights[i] -= lack / 2
                heights[i + 1] += lack / 2
    for height, index in zip(heights, order, strict=True):
        ax.annotate(
            curves[index].name,
            (right, 10**height),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=curves[index].color if curves[index].color != "#b0b8c1" else "#8d96a0",
            fontsize=8,
            annotation_clip=False,
        )


def draw() -> Figure:
    """The two panels."""
    mpl.rcParams.update({"font.family": "DejaVu Sans", "mathtext.fontset": "cm", "axes.linewidth": 0.7})
    figure = Figure(figsize=(11, 4.6), dpi=200, facecolor="white")
    axes = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.05, right=0.855, top=0.87, bottom=0.11, wspace=0.62)
    budgets = (6, 8, 10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320)
    panels = (
        ("probability flow: distance from the exact end", FLOWS, flow_errors),
        ("reverse SDE: distance of the law", NOISY, law_errors),
    )
    for ax, (title, curves, errors) in zip(axes, panels, strict=True):
        ax.set(xscale="log", yscale="log", xlim=(6, 320))
        ax.set_xticks([6, 10, 20, 50, 100, 200, 320], labels=["6", "10", "20", "50", "100", "200", "320"])
        ax.minorticks_off()
        ax.set_title(title, loc="left", color=INK, fontsize=12, pad=10)
        ax.tick_params(length=0, labelsize=8.5, colors=QUIET, pad=5)
        ax.grid(axis="y", color=RULE, linewidth=0.8)
        ax.set_axisbelow(True)
        ax.set_xlabel("calls of the network", color=QUIET, fontsize=8.5)
        for side in ("top", "left", "right"):
            ax.spines[side].set_visible(False)
        ax.spines["bottom"].set_color(QUIET)
        ends = []
        for curve in curves:
            calls, found = errors(curve.sampler, budgets)
            ax.plot(calls, found, curve.dashes, color=curve.color, linewidth=1.7, solid_capstyle="round")
            ends.append(float(found[-1]))
        label(ax, curves, ends, 320)
    return figure


if __name__ == "__main__":
    (DOCS / "images").mkdir(exist_ok=True)
    draw().savefig(DOCS / "images" / "solvers.png")
    page, mark = DOCS / "solvers.md", "<!-- ranking -->\n"
    before, _, after = page.read_text().partition(mark)
    after = after[after.index("<!-- /ranking -->") :]
    page.write_text(before + mark + "\n" + ranking() + "\n\n" + after)
