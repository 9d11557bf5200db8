"""What was measured, as a table, a file of numbers and a picture."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from rich.table import Table

from artifex.training.bench.measure import Result
from artifex.training.files import replacing
from artifex.training.run.plots import DPI, GREY, INK, LINE, PAPER, TEAL, save

FILES: Final = ("kernels.json", "kernels.png")
COLOURS: Final = {"xla": TEAL, "pallas": "#c8553d", "triton": "#e0a030", "cudnn": "#5b4b8a", "reference": INK}
"""Of the implementations in the picture; peers are grey."""


@dataclass(frozen=True)
class Report:
    """One run of the benchmark.

    Attributes:
        device: the processor's or accelerator's name.
        date: the day it was run, ``YYYY-MM-DD``.
        versions: of the packages that matter.
        copy_rate: bytes a second that a plain copy of a large array moves, before and after all else.
        matmul_rate: operations a second of matrix products, before and after all else.
        noise: the median of all racers' spreads.
        load: processes that wanted a core, on average over the last minute, before and after; None where unknown.
        checks: what was found right before anything was timed.
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
    """Writes ``FILES`` into ``folder``."""
    with replacing(folder / FILES[0]) as file:
        file.write((json.dumps(asdict(report), indent=1) + "\n").encode())
    save(figure(report), folder / FILES[1])


def table(report: Report) -> Table:
    """A row for each workload: its fastest implementation against the reference, the peers and the machine."""
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
    """Three digits in the unit that fits."""
    size, unit = next((x for x in ((1.0, "s"), (1e-3, "ms")) if seconds >= x[0]), (1e-6, "us"))
    return f"{seconds / size:.3g} {unit}"


def figure(report: Report) -> Figure:
    """How many times as fast as the reference each implementation and peer is, a line for each workload."""
    results = report.results[::-1]
    picture = Figure(figsize=(8.4, 1.3 + 0.22 * len(results)), dpi=DPI, facecolor=PAPER, layout="constrained")
    axes = picture.add_subplot(facecolor=PAPER)
    names = list(dict.fromkeys(name for r in report.results for name in r.racers if name != "reference"))
    for name in names:
        there = [i for i, r in enumerate(results) if name in r.racers]
        speedups = [results[i].racers[name].speedup["reference"] for i in there]
        marker = "o" if name in COLOURS else "|"
        axes.scatter(speedups, there, s=26, color=COLOURS.get(name, GREY), marker=marker, label=name, zorder=3)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}x" if str(value)[0] in "25" else "")
    axes.set_yticks(range(len(results)), [f"{r.kernel}  {r.case}  {r.direction}" for r in results])
    axes.set_ylim(-0.7, len(results) - 0.3)
    axes.set_title(f"Times faster than the reference: {report.device}", color=GREY, size=9, loc="left", pad=10)
    axes.grid(axis="both", color=LINE, linewidth=0.6)
    axes.tick_params(which="both", colors=GREY, labelsize=7.5, length=0)
    axes.spines[:].set_visible(False)
    axes.legend(loc="lower right", fontsize=8, labelcolor=GREY, facecolor=PAPER, edgecolor=LINE)
    return picture
