"""Draws docs/images/schedules.png: alpha, sigma and log-SNR of the schedules from data to noise.

Run from the repository root, with matplotlib installed: ``python docs/figures/schedules.py``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from artifex.schedules import VE, CosineVP, Discrete, NoiseLevel, RectifiedFlow, Schedule, betas
from artifex.schedules.arrays import HostArray

OUT: Final = Path(__file__).parents[1] / "images" / "schedules.png"
INK: Final = "#1f2933"
QUIET: Final = "#7b8794"
RULE: Final = "#e4e7eb"


@dataclass(frozen=True)
class Curve:
    """A schedule as drawn; ``places`` are the positions of its name along the time axis of each panel, or None."""

    name: str
    schedule: Schedule
    first: float
    last: float
    color: str
    places: tuple[float | None, float | None, float | None]

    def level(self, part: HostArray) -> NoiseLevel[HostArray]:
        """The levels at these parts of the whole time."""
        return self.schedule.at(self.first + part * (self.last - self.first))


CHAIN: Final = betas.scaled_linear(1000)
LINEAR: Final = Discrete(betas.linear(1000))
ZERO: Final = Discrete(betas.rescale_zero_terminal_snr(CHAIN))
CURVES: Final = (
    Curve("VE", VE(), 0, 1, "#7b8794", (0.88, 0.28, 0.2)),
    Curve("linear betas", LINEAR, -1, 999, "#0b3c49", (0.4, 0.265, 0.74)),
    Curve("zero terminal SNR", ZERO, -1, 999, "#2f7f93", (None, 0.345, None)),
    Curve("cosine", CosineVP(), 0, 1, "#74b3a4", (0.42, 0.3, 0.89)),
    Curve("straight", RectifiedFlow(), 0, 1, "#d9822b", (0.76, 0.74, None)),
    Curve("straight, shift 3", RectifiedFlow(3.0), 0, 1, "#a8431a", (0.2, 0.3, None)),
)
PANELS: Final = (
    (r"signal $\alpha$", (-0.03, 1.06), [0, 0.5, 1]),
    (r"noise $\sigma$", (-0.03, 1.06), [0, 0.5, 1]),
    ("log-SNR", (-12.5, 12.5), [-10, -5, 0, 5, 10]),
)


def values(curve: Curve, part: HostArray) -> tuple[HostArray, HostArray, HostArray]:
    """The quantities of the three panels."""
    level = curve.level(part)
    return level.alpha, level.sigma, level.logsnr


def write(ax: Axes, curve: Curve, at: float, index: int) -> None:
    """The curve's name on the curve itself, as on a map."""
    near = np.array([at - 0.01, at, at + 0.01])
    shown = values(curve, near)[index]
    x, y = ax.transData.transform(np.column_stack([near, shown])).T
    ax.text(
        at,
        float(shown[1]),
        curve.name,
        rotation=float(np.degrees(np.arctan2(y[2] - y[0], x[2] - x[0]))),
        rotation_mode="anchor",
        ha="center",
        va="center",
        color=curve.color,
        fontsize=8,
        bbox={"boxstyle": "square,pad=0.12", "facecolor": "white", "edgecolor": "none"},
    )


def draw() -> Figure:
    """The three panels."""
    mpl.rcParams.update({"font.family": "DejaVu Sans", "mathtext.fontset": "cm", "axes.linewidth": 0.7})
    figure = Figure(figsize=(11, 3.7), dpi=200, facecolor="white")
    part = np.linspace(0, 1, 801)
    axes = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.035, right=0.992, top=0.87, bottom=0.13, wspace=0.15)
    for index, (ax, (title, limits, ticks)) in enumerate(zip(axes, PANELS, strict=True)):
        ax.set(xlim=(0, 1), ylim=limits, xticks=[0, 1], yticks=ticks)
        ax.set_xticklabels(["data", "noise"])
        ax.get_xticklabels()[0].set_ha("left")
        ax.get_xticklabels()[1].set_ha("right")
        ax.set_title(title, loc="left", color=INK, fontsize=12.5, pad=9)
        ax.tick_params(length=0, labelsize=8.5, colors=QUIET, pad=5)
        ax.grid(axis="y", color=RULE, linewidth=0.8)
        ax.set_axisbelow(True)
        for side in ("top", "left", "right"):
            ax.spines[side].set_visible(False)
        ax.spines["bottom"].set_color(QUIET)
        for curve in CURVES:
            shown = values(curve, part)[index]
            ax.plot(part, np.where(np.isfinite(shown), shown, np.nan), color=curve.color, linewidth=1.7)
        for curve in CURVES:
            if (at := curve.places[index]) is not None:
                write(ax, curve, at, index)
    axes[2].set_xlabel("time", color=QUIET, fontsize=8.5, labelpad=-9)
    return figure


if __name__ == "__main__":
    OUT.parent.mkdir(exist_ok=True)
    draw().savefig(OUT)
