"""Draws docs/images/guidance.png, and writes its numbers into docs/guidance.md.

Run from the repository root, with matplotlib installed: ``python docs/figures/guidance.py``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artifex.guidance import (
    APG,
    Autoguidance,
    CFGPlusPlus,
    CFGRescale,
    CFGZeroStar,
    ClassifierFree,
    Conditional,
    Guidance,
    Interval,
    bind,
)
from artifex.samplers import DDIM, prior, sample
from artifex.schedules import EDM, X0, NoiseLevel, grid
from artifex.schedules.arrays import HostArray, record

DOCS: Final = Path(__file__).parents[1]
INK: Final = "#1f2933"
QUIET: Final = "#7b8794"
COLORS: Final = ("#0b3c49", "#d9822b")
SAMPLES, POINTS = 64, 64
"""A sample is so many points in the plane, as an image is so many pixels: the rules with statistics see them all."""

ARC: Final = np.linspace(0, np.pi, 7)
LOBES: Final = np.stack(
    [
        np.stack([np.cos(ARC) - 0.5, np.sin(ARC) - 0.25], axis=-1),
        np.stack([0.5 - np.cos(ARC), 0.25 - np.sin(ARC)], axis=-1),
    ]
)
"""Of two classes, seven each: ``(2, 7, 2)``."""
SPREAD: Final = 0.09
BLUR: Final = 0.13
"""Excess width of each lobe in the network, which has not learned all of the data."""
PATH: Final = EDM()
TABLE: Final = DDIM().tableau(PATH, np.append(grid.karras(PATH, 40, 20.0, 0.02)[:-1], 0.0))


def scores(x: jax.Array, variance: jax.Array | float) -> jax.Array:
    """Log-density of each lobe of each class, up to what they share: ``(..., 2, 7)``."""
    off = x[..., None, None, :] - jnp.asarray(LOBES)
    return -jnp.sum(off**2, axis=-1) / (2 * variance)


@record
class Network:
    """The exact denoiser of lobes that are wider than the data's, under a class or none (2)."""

    blur: float

    def __call__(self, x_t: jax.Array, level: NoiseLevel[jax.Array], cond: jax.Array | None) -> jax.Array:
        """The mean of the posterior, point by point."""
        cond = jnp.full(x_t.shape[0], 2) if cond is None else cond
        known = SPREAD**2 + self.blur**2
        noisy = (known + level.sigma**2)[:, None, None, None]
        hidden = (cond[:, None] != jnp.arange(2)) & (cond[:, None] != 2)
        score = jnp.where(hidden[:, None, :, None], -jnp.inf, scores(x_t, noisy))
        share = jax.nn.softmax(score.reshape(*x_t.shape[:2], 14))
        near = share @ jnp.asarray(LOBES.reshape(14, 2))
        return near + known / noisy[..., 0] * (x_t - near)


NONE: Final = jnp.array(2)
W: Final = 4.0
METHODS: Final[Mapping[str, Guidance[jax.Array]]] = {
    "conditional, no guidance": Conditional(),
    "CFG, $w=4$": ClassifierFree(W, NONE),
    "CFG in an interval, $w=4$": ClassifierFree(Interval(W, 0.1, 0.6), NONE),
    "CFG rescaled, $w=4$": ClassifierFree(CFGRescale(W, 0.7, X0()), NONE),
    "APG, $w=4$": ClassifierFree(APG(W), NONE),
    "CFG-Zero*, $w=4$": ClassifierFree(CFGZeroStar(W), NONE),
    r"CFG++, $\lambda=0.6$": ClassifierFree(CFGPlusPlus(0.6), NONE),
    "APG in an interval, $w=4$": ClassifierFree(APG(Interval(W, 0.1, 0.6)), NONE),
    "autoguidance, $w=4$": Autoguidance(W, Network(3 * BLUR)),
    "autoguidance, $w=2$": Autoguidance(2.0, Network(3 * BLUR)),
}


def draw_samples(guidance: Guidance[jax.Array]) -> tuple[HostArray, npt.NDArray[np.integer]]:
    """Points and their classes."""
    labels = jnp.arange(SAMPLES) % 2
    start = prior(TABLE, (SAMPLES, POINTS, 2), jax.random.key(0))
    points = sample(bind(guidance, TABLE)(Network(BLUR), labels), TABLE, start)
    return np.asarray(points, np.float64), np.asarray(labels)


def measure(points: HostArray, labels: npt.NDArray[np.integer]) -> tuple[float, float, float]:
    """Certainty of the own class; lobes in use, of seven; share of points within three deviations of a lobe."""
    own, used, inside = [], [], []
    for label in (0, 1):
        x = points[labels == label].reshape(-1, 2)
        score = np.asarray(scores(jnp.asarray(x), SPREAD**2), np.float64)
        each = score.reshape(len(x), 14)
        certain = np.exp(score - each.max(axis=1)[:, None, None]).sum(axis=2)
        own.append(np.mean(certain[:, label] / certain.sum(axis=1)))
        share = np.bincount(np.argmax(score[:, label], axis=1), minlength=7) / len(x)
        used.append(np.exp(-np.sum(share * np.log(np.maximum(share, 1e-12)))))
        inside.append(np.mean(score[:, label].max(axis=1) > -4.5))
    return float(np.mean(own)), float(np.mean(used)), float(np.mean(inside))


def ground(ax: Axes) -> None:
    """The data's density of either class, in pale."""
    x, y = np.meshgrid(np.linspace(-2.6, 2.6, 240), np.linspace(-1.9, 1.9, 180))
    score = np.asarray(scores(jnp.asarray(np.stack([x, y], axis=-1)), SPREAD**2))
    for label, color in enumerate(COLORS):
        density = np.exp(score[:, :, label]).sum(axis=-1)
        ax.contourf(x, y, density, levels=[0.011, 0.3, 2], colors=[color], alpha=0.13, antialiased=True)


def draw() -> tuple[Figure, str]:
    """The panels, and their numbers as a table."""
    mpl.rcParams.update({"font.family": "DejaVu Sans", "mathtext.fontset": "cm"})
    figure = Figure(figsize=(11, 3.55), dpi=200, facecolor="white")
    axes = figure.subplots(2, 5)
    figure.subplots_adjust(left=0.004, right=0.996, top=0.935, bottom=0.0, wspace=0.03, hspace=0.14)
    rows = [
        "| Guidance | certain of its class | lobes in use, of 7 | within 3 deviations |",
        "| --- | ---: | ---: | ---: |",
    ]
    for ax, (name, guidance) in zip(axes.flat, METHODS.items(), strict=True):
        points, labels = draw_samples(guidance)
        ground(ax)
        for label, color in enumerate(COLORS):
            x = points[labels == label].reshape(-1, 2)
            ax.scatter(*x.T, s=1.3, color=color, linewidths=0, alpha=0.55)
        ax.set(xlim=(-2.05, 2.05), ylim=(-1.42, 1.42), xticks=[], yticks=[], aspect="equal")
        for side in ax.spines.values():
            side.set_visible(False)
        ax.set_title(name, color=INK, fontsize=9, pad=3)
        own, used, inside = measure(points, labels)
        rows.append(f"| {name} | {own:.3f} | {used:.2f} | {100 * inside:.0f} % |")
    rng = np.random.default_rng(0)
    lobes = LOBES[np.arange(SAMPLES) % 2][np.arange(SAMPLES)[:, None], rng.integers(7, size=(SAMPLES, POINTS))]
    own, used, inside = measure(lobes + SPREAD * rng.standard_normal(lobes.shape), np.arange(SAMPLES) % 2)
    rows.append(f"| *the data itself* | {own:.3f} | {used:.2f} | {100 * inside:.0f} % |")
    return figure, "\n".join(rows).replace("$w=4$", "w = 4").replace("$w=2$", "w = 2").replace(r"$\lambda=0.6$", "0.6")


if __name__ == "__main__":
    figure, table = draw()
    figure.savefig(DOCS / "images" / "guidance.png")
    page, mark = DOCS / "guidance.md", "<!-- numbers -->\n"
    print(table)
    if page.exists():
        before, _, after = page.read_text().partition(mark)
        page.write_text(before + mark + "\n" + table + "\n\n" + after[after.index("<!-- /numbers -->") :])
