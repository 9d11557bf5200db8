"""Two programs in turns, a process each, so that what else the machine does meets both alike.

A process answers lines of its input, each the name of a case, with the time that one call of it took (`serve`); the
other end is a `Side`. Nothing here is imported but the standard library: a peer's environment has what the peer needs.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

LARGE_PAGES: Final[Mapping[str, str]] = {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")}
"""As the command ``artifex`` has it for itself, see `artifex.command.__main__`, so what the shell sets stays; for both
sides of a race."""
LARGER_LOOPS: Final[Mapping[str, str]] = {"XLA_FLAGS": "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion"}
"""As the command has it for itself too; for our side."""

Case = Callable[[], object]
"""One call, finished when it returns."""


@dataclass(frozen=True)
class Time:
    """Cost of one call.

    Attributes:
        wall: seconds gone by.
        work: seconds of all cores together in this process. Shared cores do not change them much, but threads that
            wait by spinning count as work: compare those of one thread a side.
    """

    wall: float
    work: float


def serve(make: Callable[[], tuple[Mapping[str, Case], Mapping[str, object]]]) -> None:
    """Make the cases, print their remarks, then answer until the input ends.

    What anybody else prints goes to the error stream.
    """
    out, sys.stdout = sys.stdout, sys.stderr
    cases, about = make()
    print(json.dumps(dict(about)), file=out, flush=True)
    for line in sys.stdin:
        wall, work = time.perf_counter(), time.process_time()
        cases[line.strip()]()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - work]), file=out, flush=True)


class Side:
    """One of the processes: ``python script *arguments``, which ends in `serve`."""

    def __init__(self, python: str, script: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [python, str(Path(script).resolve()), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.about: dict[str, Any] = self._answer()

    def _answer(self) -> Any:  # noqa: ANN401 -- JSON
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {self.process.wait()}")
        return json.loads(line)

    def call(self, case: str) -> Time:
        """Has it call a case once."""
        assert self.process.stdin is not None
        print(case, file=self.process.stdin, flush=True)
        return Time(*self._answer())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass(frozen=True)
class Race:
    """Calls of one case by two sides in turns."""

    ours: list[Time]
    theirs: list[Time]

    @property
    def ratio(self) -> float:
        """Speedup by the medians of the wall times."""
        return median(t.wall for t in self.theirs) / median(t.wall for t in self.ours)

    def summary(self) -> str:
        """Both sides and their ratio: by the median, by the fastest call, and by work."""

        def walls(times: list[Time]) -> str:
            return f"{median(t.wall for t in times) * 1e3:.1f} ms (least {min(t.wall for t in times) * 1e3:.1f})"

        least = min(t.wall for t in self.theirs) / min(t.wall for t in self.ours)
        work = median(t.work for t in self.theirs) / median(t.work for t in self.ours)
        return (
            f"ours {walls(self.ours)}, theirs {walls(self.theirs)}: {self.ratio:.2f}x "
            f"(of the least {least:.2f}x, of work {work:.2f}x)"
        )


def race(ours: Side, theirs: Side, case: str, rounds: int, *, warm: int = 0) -> Race:
    """Both sides call a case in turns, ``rounds`` times after ``warm`` calls that do not count."""
    for _ in range(warm):
        ours.call(case)
        theirs.call(case)
    pairs = [(ours.call(case), theirs.call(case)) for _ in range(rounds)]
    return Race([a for a, _ in pairs], [b for _, b in pairs])
