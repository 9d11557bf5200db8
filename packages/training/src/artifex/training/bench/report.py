"""Reports of measurements as a table, a JSON file and a picture."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from rich.table import Table

from artifex.training.bench.measure import Result
from artifex.training.files import replacing
from artifex.training.run.plots import DPI, GRAY, INK, LINE, PAPER, TEAL, save

FILES: Final = ("kernels.json", "kernels.png")
COLORS: Final = {
    "xla": TEAL,
    "pallas": "#c8553d",
    "triton": "#e0a030",
    "cudnn": "#5b4b8a",
    "winograd": "#7a9a3a",
    "polyphase": "#3a6ea5",
    "reference": INK,
}
"""Colors of the implementations in the picture; peers are gray."""


@dataclass(frozen=True)
class Report:
    """One run of the benchmark.

    Attributes:
        device: the processor's or accelerator's name.
        date: of the run, ``YYYY-MM-DD``.
        versions: of the relevant packages.
        copy_rate: bytes a second of a copy of a large array, before and after the measurements.
        matmul_rate: operations a second of matrix products, before and after the measurements.
        noise: the median of all spreads.
        load: load average of the last minute, before and after; None if unknown.
        checks: that passed before anything was timed.
        results: in the order they were measured.
        skipped: workloads for which no time was left.
    """

    device: str
    date: str
    versions: dict[str, str]
    copy_rate: tuple[float, float]
    matmul_rate: tuple[float, float]
    noise: float
    load: tuple[float, float] | None
    checks: list[str]
    results: list[Result]
    skipped: list[str]


def write(report: Report, folder: Path) -> None:
    """Write ``FILES`` into ``folder``."""
    with replacing(folder / FILES[0]) as file:
        file.write((json.dumps(asdict(report), indent=1) + "\n").encode())
    save(figure(report), folder / FILES[1])


def table(report: Report) -> Table:
    """Make a table of the workloads: the fastest implementation against reference, peers and machine."""
    peers = list(dict.fromkeys(name for r in report.results for x in r.racers.values() for name in x.speedup))
    out = Table(title=report.device, title_justify="left", box=None, header_style="dim", pad_edge=False)
    for name in ("", "", "implementation"):
        out.add_column(name, no_wrap=True)
    for name in ("time", *(f"x {peer}" for peer in peers), "of copy", "of matmul", "spread"):
        out.add_column(name, justify="right", no_wrap=True)
    kernel = ""
    for result in report.results:
        if result.kernel != kernel:
            kernel = result.kernel
            out.add_row(f"[bold]{kernel}")
        implementation = result.fastest[0]
        racer = result.racers[implementation]
        out.add_row(
            f"  {result.case}",
            result.direction,
            implementation,
            duration(racer.seconds),
            *(f"{racer.speedup[peer]:.2f}" if peer in racer.speedup else "" for peer in peers),
            f"{racer.of_copy:.0%}",
            "" if racer.of_matmul is None else f"{racer.of_matmul:.0%}",
            f"{racer.spread:.0%}",
        )
    return out


def duration(seconds: float) -> str:
    """Format seconds with three digits and a unit."""
    size, unit = next((x for x in ((1.0, "s"), (1e-3, "ms")) if seconds >= x[0]), (1e-6, "us"))
    return f"{seconds / size:.3g} {unit}"


def figure(report: Report) -> Figure:
    """Plot the speedup over the reference of each implementation and peer, a line for each workload."""
    results = report.results[::-1]
    picture = Figure(figsize=(8.4, 1.3 + 0.22 * len(results)), dpi=DPI, facecolor=PAPER, layout="constrained")
    axes = picture.add_subplot(facecolor=PAPER)
    names = list(dict.fromkeys(name for r in report.results for name in r.racers if name != "reference"))
    for name in names:
        rows = [i for i, r in enumerate(results) if name in r.racers]
        speedups = [results[i].racers[name].speedup["reference"] for i in rows]
        marker = "o" if name in COLORS else "|"
        axes.scatter(speedups, rows, s=26, color=COLORS.get(name, GRAY), marker=marker, label=name, zorder=3)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}x" if str(value)[0] in "25" else "")
    axes.set_yticks(range(len(results)), [f"{r.kernel}  {r.case}  {r.direction}" for r in results])
    axes.set_ylim(-0.7, len(results) - 0.3)
    axes.set_title(f"Times faster than the reference: {report.device}", color=GRAY, size=9, loc="left", pad=10)
    axes.grid(axis="both", color=LINE, linewidth=0.6)
    axes.tick_params(which="both", colors=GRAY, labelsize=7.5, length=0)
    axes.spines[:].set_visible(False)
    axes.legend(loc="lower right", fontsize=8, labelcolor=GRAY, facecolor=PAPER, edgecolor=LINE)
    return picture
