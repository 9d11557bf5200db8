"""Figures of samples and losses, in one palette: ink on paper, and teal for annotations.

The figures are Matplotlib's; ``save`` writes them as PNG files.
"""

import math
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
GRAY: Final = "#6d7f82"
LINE: Final = "#dfe6e6"
SHADES: Final = LinearSegmentedColormap.from_list("ink", ["#ffffff", "#9fc9c5", "#2c7f7c", INK])
POINTS: Final = LinearSegmentedColormap.from_list("points", [TEAL, "#e0a458", INK])
DPI: Final = 160
CHANNELS: Final = 64
"""Largest number of channels of an image."""
TILE: Final = 512
"""Largest side of an image on a sheet in pixels; larger ones are downscaled."""
PIXELS: Final = 2**26
"""Largest number of pixels of a sheet without its last row: Pillow warns above 89 million."""

Tile = Float[np.ndarray, "h w"]


def samples_figure(images: Images, labels: Labels, columns: int = 10) -> Figure:
    """Plot a grid with a row for each class: its label, and its first ``columns`` images.

    Args:
        images: one channel, in [-1, 1].
        labels: the class of each.
        columns: at least 1; a class with fewer images leaves cells empty.

    Raises:
        ValueError: for images of another number of channels.
    """
    _check_gray("images", images)
    classes = np.unique(labels)
    # A margin of one pixel, so that no stroke is cropped.
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


def why_no_picture(shape: tuple[int, ...]) -> str | None:
    """Return the reason why samples of a shape have no picture; None if ``samples_picture`` supports them.

    Args:
        shape: of one sample.
    """
    if shape == (2,) or (len(shape) == 3 and min(shape) > 0 and shape[2] <= CHANNELS):
        return None
    return f"samples of shape {shape} are neither images (h, w, c) of up to {CHANNELS} channels nor points (2,)"


def samples_picture(samples: Float[np.ndarray, "n *d"], labels: Labels | None = None) -> Image.Image:
    """Draw samples as one picture: images in rows, or a scatter plot of points.

    Of very many images, or very large ones, only the first are shown: a sheet of about 64 million pixels.

    Args:
        samples: images ``(n, h, w, c)`` in [-1, 1], gray with one channel, RGB with three, otherwise each channel in
            gray, side by side; or points ``(n, 2)``. NaN is shown as 0.
        labels: of points: each class has its shade. Images are shown in their order.

    Raises:
        ValueError: for samples of another shape, see ``why_no_picture``, or none.
    """
    reason = why_no_picture(samples.shape[1:])
    if reason is not None or len(samples) == 0:
        raise ValueError(reason or "samples must be at least one, got none")
    if samples.ndim == 2:
        return rendered(points_figure(samples, labels))
    parts = 1 if samples.shape[3] in (1, 3) else samples.shape[3]
    longer = max(samples.shape[1:3])
    scale = max(1, round(64 / longer)) if longer <= TILE else TILE / longer
    height, width = (max(1, round(size * scale)) for size in samples.shape[1:3])
    gap = max(4, height // 16)
    samples = samples[: max(1, PIXELS // (parts * (width + gap) * (height + gap)))]
    columns = min(len(samples), max(10 // parts, math.ceil(math.sqrt(len(samples) / parts)), 1)) * parts
    if parts > 1:
        samples = np.moveaxis(samples, 3, 1).reshape(-1, *samples.shape[1:3], 1)
    rows = -(-len(samples) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), PAPER)
    method = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    for i, image in enumerate(samples):
        tile = Image.fromarray(np.round((_shown(image) + 1) * 127.5).astype(np.uint8)).resize((width, height), method)
        sheet.paste(tile, (gap + i % columns * (width + gap), gap + i // columns * (height + gap)))
    return sheet


def points_figure(points: Float[np.ndarray, "n 2"], labels: Labels | None = None) -> Figure:
    """Plot points in the plane, in a square that includes [-1.25, 1.25]^2 and grows with the points.

    Args:
        points: those that are not finite are omitted.
        labels: each class has its shade.
    """
    figure = Figure(figsize=(3.6, 3.6), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    finite = points[np.isfinite(points).all(axis=1)]
    reach = max(1.25, float(np.quantile(np.abs(finite), 0.999)) * 1.05 if len(finite) else 0.0)
    part = np.zeros(len(points)) if labels is None else labels / max(1, int(labels.max()))
    points = np.where(np.isfinite(points), points, np.nan)
    axes.scatter(points[:, 0], points[:, 1], s=max(1.0, 12 - 3.5 * np.log10(len(points))), linewidths=0, alpha=0.8,
                 c=np.asarray(POINTS(part)))  # fmt: skip
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    return figure


def denoising_figure(frames: Images, captions: Sequence[str]) -> Figure:
    """Plot the trajectory of a sample from noise, left, to an image, right, with a caption under each frame.

    Args:
        frames: one channel; values are clipped to [-1, 1].
        captions: one for each frame.

    Raises:
        ValueError: for frames of another number of channels, or another number of captions.
    """
    _check_gray("frames", frames)
    if len(captions) != len(frames):
        raise ValueError(f"captions must be as many as the {len(frames)} frames, got {len(captions)}")
    margin = 0.12
    figure, axes = _canvas(len(frames) + 2 * margin, 1.3 + 2 * margin, unit=0.9)
    for i, (frame, caption) in enumerate(zip(frames, captions, strict=True)):
        _place(axes, _enlarge(frame[..., 0]), i, 0, 0.1)
        last = i == len(frames) - 1
        axes.text(i + 0.5, 1.16, caption, color=TEAL if last else GRAY, size=8.5, ha="center", va="center")
    _frame(axes, len(frames), 1.3, margin)
    return figure


def loss_figure(losses: Real[np.ndarray, " steps"]) -> Figure:
    """Plot the loss of every step, faint, and its smoothed curve, on a logarithmic axis.

    Args:
        losses: at least one; values that are not finite or not positive are omitted.
    """
    losses = np.where(np.isfinite(losses) & (losses > 0), losses, np.nan)
    steps = np.arange(1, len(losses) + 1)
    curve = _smooth(losses, max(1, len(losses) // 50))
    figure = Figure(figsize=(7.2, 3.6), dpi=DPI, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot(facecolor=PAPER)
    axes.plot(steps, losses, color=TEAL, alpha=0.22, linewidth=0.7)
    axes.plot(steps, curve, color=INK, linewidth=1.8)
    if np.isfinite(curve[-1]):
        axes.annotate(f"{curve[-1]:.3f}", (steps[-1], curve[-1]), xytext=(6, 0), textcoords="offset points",
                      color=INK, size=9, va="center", annotation_clip=False)  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlim(1, max(2, len(losses)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("step", color=GRAY, size=9)
    axes.set_title("Loss: mean squared error, each step and smoothed", color=GRAY, size=9, loc="left", pad=10)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.tick_params(colors=GRAY, labelsize=8.5, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PNG of at most 256 colors, atomically."""
    write(rendered(figure).quantize(256, dither=Image.Dither.NONE), path)


def write(picture: Image.Image, path: Path) -> None:
    """Write ``picture`` as a PNG, atomically."""
    with replacing(path) as file:
        picture.save(file, format="PNG", optimize=True)


def rendered(figure: Figure) -> Image.Image:
    """Render ``figure`` to pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]


def _canvas(width: float, height: float, unit: float) -> tuple[Figure, Axes]:
    """Make a figure of one plane without axes, with ``unit`` inches to its unit."""
    figure = Figure(figsize=(unit * width, unit * height), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    return figure, axes


def _frame(axes: Axes, width: float, height: float, margin: float) -> None:
    """Set the limits of the plane to ``width`` and, downwards, ``height``, with a margin."""
    axes.set_xlim(-margin, width + margin)
    axes.set_ylim(height + margin, -margin)
    axes.set_aspect("equal")


def _place(axes: Axes, tile: Tile, x: float, y: float, gap: float) -> None:
    """Draw a tile into the unit square at ``(x, y)``."""
    half = gap / 2
    extent = (x + half, x + 1 - half, y + 1 - half, y + half)
    axes.imshow(tile, cmap=SHADES, vmin=-1, vmax=1, extent=extent, interpolation="none", aspect="auto")


def _enlarge(pixels: Tile, factor: int = 16) -> Float[np.ndarray, "{factor}*h {factor}*w"]:
    """Enlarge a tile by bicubic interpolation."""
    image = Image.fromarray(np.clip(pixels, -1, 1).astype(np.float32))
    size = (pixels.shape[1] * factor, pixels.shape[0] * factor)
    return np.clip(np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float32), -1, 1)


def _check_gray(name: str, images: Images) -> None:
    if images.ndim != 4 or images.shape[3] != 1:
        raise ValueError(f"{name} must be images (n, h, w, 1) of one channel, got {images.shape}")


def _shown(image: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w 3"]:
    """Map an image ``(h, w, 1)`` or ``(h, w, 3)`` to colors in [-1, 1]."""
    image = np.clip(np.nan_to_num(image), -1, 1)
    return image if image.shape[2] == 3 else 2 * np.asarray(SHADES((image[..., 0] + 1) / 2))[..., :3] - 1


def _smooth(values: Real[np.ndarray, " n"], width: int) -> Float[np.ndarray, " n"]:
    """Compute the geometric mean over up to ``width`` values on either side; over fewer near the start.

    NaN is excluded from the means; without other values the mean is NaN.
    """
    known = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.log(np.where(known, values, 1.0)))])
    number = np.concatenate([[0], np.cumsum(known)])
    index = np.arange(len(values))
    half = np.minimum(width, index)
    low, high = index - half, np.minimum(index + half + 1, len(values))
    count = number[high] - number[low]
    out: Float[np.ndarray, " n"] = np.exp((total[high] - total[low]) / np.where(count, count, np.nan))
    return out
