"""``artifex bench kernels``: check the kernels on this machine, and time them."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from artifex.command import CommandError
from artifex.command.folder import check_results, make_writable
from artifex.training.bench.kernels import KERNELS
from artifex.training.bench.machine import device_name, folder_name
from artifex.training.bench.measure import WrongResultError
from artifex.training.bench.report import FILES, table, write
from artifex.training.bench.run import run


def run_kernels(out: Path, minutes: float, only: Sequence[str]) -> None:
    """Check and time the kernels, and write the results into a subfolder of ``out`` named after the device.

    Raises:
        CommandError: if ``out`` can't be used, ``only`` names no kernel, or a kernel returns wrong results.
    """
    names = [kernel.name for kernel in KERNELS]
    for name in only:
        if name not in names:
            raise CommandError(f"--only must be one of {', '.join(names)}, got {name!r}")
    folder = out / folder_name(device_name())
    check_results(folder, FILES, ())
    make_writable(folder)
    progress = Console(stderr=True)
    with progress.status("starting") as status:
        chosen = [kernel for kernel in KERNELS if not only or kernel.name in only]
        try:
            report = run(chosen, 60 * minutes, lambda what: status.update(what))
        except WrongResultError as error:
            raise CommandError(str(error), 1) from error
    write(report, folder)
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(table(report))
    for check in report.checks:
        console.print(f"checked: {check}", style="dim", highlight=False, soft_wrap=True)
    console.print(
        f"\ncopy {report.copy_rate[0] / 1e9:.3g} GB/s before and {report.copy_rate[1] / 1e9:.3g} after, "
        f"matrix products {report.matmul_rate[0] / 1e12:.3g} and {report.matmul_rate[1] / 1e12:.3g} TFLOP/s; "
        f"half of the rounds lie within {report.noise:.0%} of each other"
        + (f"\nno time was left for {', '.join(report.skipped)}" if report.skipped else "")
        + f"\n{folder / FILES[0]}  every number\n{folder / FILES[1]}   the picture",
        highlight=False,
        soft_wrap=True,
    )
