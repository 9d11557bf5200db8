"""``artifex info``: print the default configuration, or that of a run."""

from artifex.command import CommandError, as_command_error
from artifex.training.checkpoints.checkpointer import Checkpointer
from artifex.training.config.describe import described
from artifex.training.config.run import RunConfig
from artifex.training.config.yaml import ConfigError, dump_config, validated
from artifex.training.data import Digits
from artifex.training.errors import CheckpointError
from artifex.training.files import expanded
from artifex.training.run.folder import RunFolder


@as_command_error(CheckpointError)
def run(what: str) -> None:
    """Print the default configuration, or the configuration and step of a checkpoint.

    Raises:
        CommandError: if ``what`` is neither.
    """
    print(described(RunConfig(data=Digits())) if what == "config" else _checkpoint(what), end="")


def _checkpoint(what: str) -> str:
    try:
        path = expanded(what)
    except ValueError as error:
        raise CommandError(str(error)) from error
    folder = RunFolder.containing(path).checkpoint
    with Checkpointer(folder) as checkpointer:
        step = checkpointer.latest() if folder.is_dir() else None
        if step is None:
            raise CommandError(f"WHAT must be 'config' or the folder of a run, got {str(path)!r}")
        metadata = checkpointer.metadata()
    try:
        config = validated(RunConfig, metadata["config"])
    except ConfigError as error:
        raise CommandError(f"{path} holds a configuration that this version of Artifex can't read: {error}") from error
    return f"# step {step} of {config.steps}, after {metadata['seconds']:.0f} s of training\n" + dump_config(config)
