"""``artifex train``: train from a configuration."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from signal import Signals

import jax
import numpy as np

from artifex.command import CommandError, as_command_error, message_of
from artifex.command.folder import check_results, make_writable
from artifex.training.cli.progress import Bar
from artifex.training.config.run import RunConfig
from artifex.training.config.yaml import ConfigError, read_config
from artifex.training.data import DataError, UnreadableError, summary
from artifex.training.errors import CheckpointError
from artifex.training.run.folder import RunFolder
from artifex.training.run.report import NonFiniteError
from artifex.training.run.signals import EXIT_CODES, Stop
from artifex.training.run.trained import Trained
from artifex.training.run.trainer import Trainer
from artifex.training.sharding import distributed

Hosts = tuple[str, int | None, int | None, int]


@as_command_error(CheckpointError)
def run(
    config: Path | None,
    overrides: Sequence[str],
    out: Path,
    resume: bool,
    accept_changed_data: bool,
    hosts: Hosts | None,
) -> None:
    """Train in ``out``; ``hosts`` are the arguments of ``distributed.start``.

    Raises:
        CommandError: for a configuration or folder that can't be used, and if training is interrupted or fails.
    """
    if accept_changed_data and not resume:
        raise CommandError("--accept-changed-data is for --resume")
    if hosts is not None:
        try:
            distributed.start(*hosts)
        except (ValueError, RuntimeError) as error:
            raise CommandError(message_of(error)) from error
    with distributed.exit_together():
        _run(config, overrides, RunFolder(out), resume, accept_changed_data)


def _run(
    config: Path | None, overrides: Sequence[str], folder: RunFolder, resume: bool, accept_changed_data: bool
) -> None:
    out = folder.path
    check_results(out, folder.FILES, folder.FOLDERS)
    done = folder.latest_step()
    chosen = _resumed(config, overrides, folder, done) if resume else _fresh(config, overrides, out, done)
    try:
        trainer = Trainer(chosen, out)
        changed = {} if done is None else trainer.changes(accept_changed_data=accept_changed_data)
        memory = trainer.memory
        if chosen.memory == "check":
            memory.check()
    except (OSError, ValueError) as error:
        raise CommandError(message_of(error)) from error
    make_writable(out)
    if jax.process_index() == 0:
        print(f"{summary(trainer.data)}\n{memory}", flush=True)
    if changed and jax.process_index() == 0:
        settings = ", ".join(f"{name} {new!r} for {old!r}" for name, (old, new) in changed.items())
        print(f"from step {done} on: {settings}", file=sys.stderr)
    try:
        with Bar(chosen.steps, done or 0, chosen.batch_size, chosen.log.every) as bar, Stop() as stop:
            # A run that ended before its first checkpoint starts over.
            trained = trainer.fit(
                resume=done is not None, accept_changed_data=accept_changed_data, callback=bar, stop=stop
            )
    except UnreadableError as error:
        raise CommandError(f"{error}; with data.corrupt=skip training continues without such images", 1) from error
    except (DataError, NonFiniteError) as error:
        raise CommandError(str(error), 1) from error
    except OSError as error:
        raise CommandError(f"{error.filename or out} could not be written: {error.strerror or error}", 1) from error
    if not trained.finished:
        number = stop.signal or Signals.SIGTERM  # another process received it
        raise CommandError(_how_to_resume(out, trained, number), EXIT_CODES[number])
    _report(folder, trained, trainer.unreadable)


def _fresh(config: Path | None, overrides: Sequence[str], out: Path, done: int | None) -> RunConfig:
    if config is None:
        raise CommandError("CONFIG must be given, or --resume; `artifex info config` prints a default one")
    if done is not None:
        raise CommandError(f"{out} holds a run of {done} steps: --resume continues it, another --out keeps it")
    return _read(config, overrides)


def _resumed(config: Path | None, overrides: Sequence[str], folder: RunFolder, done: int | None) -> RunConfig:
    if done is None and not folder.config.is_file():
        raise CommandError(f"--resume expects an earlier run in {folder.path}, got none")
    return _read(folder.config if config is None else config, overrides)


def _read(path: Path, overrides: Sequence[str]) -> RunConfig:
    try:
        return read_config(path, overrides)
    except ConfigError as error:
        raise CommandError(message_of(error)) from error


def _how_to_resume(out: Path, trained: Trained, number: Signals) -> str:
    """Describe how to resume a run that was stopped."""
    step, steps = trained.steps_done, trained.config.steps
    kept = f"the checkpoint of step {step} of {steps} is saved" if step else "no step was completed"
    return f"stopped by {number.name}; {kept}. Continue with: artifex train --resume --out {shlex.quote(str(out))}"


def _report(folder: RunFolder, trained: Trained, unreadable: Sequence[str]) -> None:
    """Print a summary: the result, and where it is."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(trained.state.parameters))
    losses, skipped = np.asarray(trained.losses), int(trained.state.skipped)
    images = trained.steps_done * trained.config.batch_size
    if jax.process_index() > 0:
        return
    print(
        f"{parameters:,} parameters learned for {trained.steps_done:,} steps in {trained.seconds:.0f} s, "
        f"{images / trained.seconds:,.0f} images a second\n"
        f"  loss {losses[-100:].mean():.4f}, the mean of the last {min(100, len(losses))} steps\n"
        + (f"  {skipped:,} steps were skipped: their loss or gradient was not finite\n" if skipped else "")
        + (f"  {len(unreadable):,} unreadable files were skipped, such as {unreadable[0]}\n" if unreadable else "")
        + f"\n{folder.config}  all settings\n{folder.checkpoint}   parameters, their average, and the optimizer"
    )
