"""Pictures of what was trained, in one palette: ink on paper, and teal for what is said about it.

Every function gives a Matplotlib figure; ``save`` writes it as a PNG.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image

from artifex.training.data import Images, Labels
from artifex.training.files import replacing

PAPER: Final = "#f7f9f9"
INK: Final = "#0d3236"
TEAL: Final = "#0f8a80"
GREY: Final = "#6d7f82"
LINE: Final = "#dfe6e6"
SHADES: Final = LinearSegmentedColormap.from_list("ink", ["#ffffff", "#9fc9c5", "#2c7f7c", INK])
DPI: Final = 160

Tile = Float[np.ndarray, "h w"]


def samples_figure(images: Images, labels: Labels, columns: int = 10) -> Figure:
    """A grid with a row for each class: its label, and its first ``columns`` images.

    Args:
        images: one channel, in [-1, 1].
        labels: the class of each.
        columns: at least 1; a class with fewer images leaves places empty.
    """
    classes = np.unique(labels)
    # A pixel of bare paper all around, so that no stroke is cut off.
    padded = np.pad(images[..., 0], ((0, 0), (1, 1), (1, 1)), constant_values=-1.0)
    rows = [[_enlarge(image) for image in padded[labels == label][:columns]] for label in classes]
    gap, left, margin = 0.1, 0.6, 0.16
    figure, axes = _canvas(left + columns + 2 * margin, len(classes) + 2 * margin, unit=0.62)
    for i, (label, row) in enumerate(zip(classes, rows, strict=True)):
        axes.text(left / 2 + 0.04, i + 0.5, str(label), color=TEAL, size=15, ha="center", va="center", weight="bold")
        for j, tile in enumerate(row):
            _place(axes, tile, left + j, i, gap)
    _frame(axes, left + columns, len(classes), margin)
    return figure


def denoising_figure(frames: Images, captions: Sequence[str]) -> Figure:
    """One sample on its way from noise, left, to an image, right, with a caption under each frame.

    Args:
        frames: one channel; values beyond [-1, 1] are shown as the nearer end.
        captions: as many.

    Raises:
        ValueError: if there are not as many captions as frames.
    """
    if len(captions) != len(frames):
        raise ValueError(f"captions must be as many as the {len(frames)} frames, got {len(captions)}")
    margin = 0.12
    figure, axes = _canvas(len(frames) + 2 * margin, 1.3 + 2 * margin, unit=0.9)
    for i, (frame, caption) in enumerate(zip(frames, captions, strict=True)):
        _place(axes, _enlarge(frame[..., 0]), i, 0, 0.1)
        last = i == len(frames) - 1
        axes.text(i + 0.5, 1.16, caption, color=TEAL if last else GREY, size=8.5, ha="center", va="center")
    _frame(axes, len(frames), 1.3, margin)
    return figure


def loss_figure(losses: Real[np.ndarray, " steps"]) -> Figure:
    """The loss of every step, faint, and its smoothed course, on a logarithmic axis.

    Args:
        losses: positive, at least one.
    """
    steps = np.arange(1, len(losses) + 1)
    course = _smooth(losses, max(1, len(losses) // 50))
    figure = Figure(figsize=(7.2, 3.6), dpi=DPI, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot(facecolor=PAPER)
    axes.plot(steps, losses, color=TEAL, alpha=0.22, linewidth=0.7)
    axes.plot(steps, course, color=INK, linewidth=1.8)
    axes.annotate(
        f"{course[-1]:.3f}",
        (steps[-1], course[-1]),
        xytext=(6, 0),
        textcoords="offset points",
        color=INK,
        size=9,
        va="center",
        annotation_clip=False,
    )
    axes.set_yscale("log")
    axes.set_xlim(1, max(2, len(losses)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("step", color=GREY, size=9)
    axes.set_title("Loss: mean squared error, each step and smoothed", color=GREY, size=9, loc="left", pad=10)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.tick_params(colors=GREY, labelsize=8.5, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PNG of at most 256 colours, whole or not at all."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]
    with replacing(path) as file:
        picture.quantize(256, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)


def _canvas(width: float, height: float, unit: float) -> tuple[Figure, Axes]:
    """A figure that is one plane without axes, ``unit`` inches to its unit."""
    figure = Figure(figsize=(unit * width, unit * height), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    return figure, axes


def _frame(axes: Axes, width: float, height: float, margin: float) -> None:
    """Show the plane from 0 to ``width`` and, downwards, ``height``, with a margin, in square units."""
    axes.set_xlim(-margin, width + margin)
    axes.set_ylim(height + margin, -margin)
    axes.set_aspect("equal")


def _place(axes: Axes, tile: Tile, x: float, y: float, gap: float) -> None:
    """Put a tile into the unit square at ``(x, y)``."""
    half = gap / 2
    extent = (x + half, x + 1 - half, y + 1 - half, y + half)
    axes.imshow(tile, cmap=SHADES, vmin=-1, vmax=1, extent=extent, interpolation="none", aspect="auto")


def _enlarge(pixels: Tile, factor: int = 16) -> Float[np.ndarray, "{factor}*h {factor}*w"]:
    """Bicubic: smooth enough to read, honest enough to count the pixels."""
    image = Image.fromarray(np.clip(pixels, -1, 1).astype(np.float32))
    size = (pixels.shape[1] * factor, pixels.shape[0] * factor)
    return np.clip(np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float32), -1, 1)


def _smooth(values: Real[np.ndarray, " n"], width: int) -> Float[np.ndarray, " n"]:
    """The geometric mean over up to ``width`` on either side; near the start, where values fall fast, over fewer."""
    total = np.concatenate([[0.0], np.cumsum(np.log(values))])
    place = np.arange(len(values))
    half = np.minimum(width, place)
    low, high = place - half, np.minimum(place + half + 1, len(values))
    out: Float[np.ndarray, " n"] = np.exp((total[high] - total[low]) / (high - low))
    return out
