"""The command ``artifex``, run again and again in forks of one process that has everything imported.

A line of JSON on stdin, ``{"arguments": [...], "errors": path}``, starts one; its stderr goes to that path. What
happens in it is printed on stdout, a line for each event:

    pid N           it runs, under this number
    step K          step K is done
    saving K        the background begins to write the checkpoint of step K
    saved K         it is committed, and what is obsolete is deleted
    digest HEX      training is over; of all leaves of the final state
    ended CODE      its exit code, or minus the signal that killed it
"""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import jax
import numpy as np

import artifex.training.config.network_plan  # noqa: F401  otherwise each run imports it again
from artifex.command.app import main
from artifex.training.checkpoints.checkpointer import Checkpointer
from artifex.training.cli import train
from artifex.training.cli.progress import Bar
from artifex.training.run.folder import RunFolder
from artifex.training.run.report import Report
from artifex.training.run.trained import Trained

write = Checkpointer._write


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class TellingBar(Bar):
    def __call__(self, report: Report) -> None:
        say("step", report.step)


def telling_write(self: Checkpointer, step: int, *args: object) -> None:
    say("saving", step)
    write(self, step, *args)  # type: ignore[arg-type]
    say("saved", step)


def tell_digest(folder: RunFolder, trained: Trained, unreadable: Sequence[str]) -> None:
    leaves = jax.tree.leaves_with_path(trained.state)
    parts = (f"{path}{leaf.dtype}{leaf.shape}".encode() + np.asarray(leaf).tobytes() for path, leaf in leaves)
    say("digest", hashlib.sha256(b"".join(parts)).hexdigest())


def run(arguments: list[str], errors: str) -> NoReturn:
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    # What the command prints is no event; ``say`` writes past it.
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    os._exit(main(arguments))


if __name__ == "__main__":
    train.Bar = TellingBar  # type: ignore[attr-defined]
    Checkpointer._write = telling_write  # type: ignore[method-assign, assignment]
    train._report = tell_digest
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(**json.loads(line))
        say("pid", pid)
        say("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
