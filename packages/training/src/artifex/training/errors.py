"""What a command tells in one line."""


class CheckpointError(Exception):
    """A checkpoint that could not be written, or can't be read; the message is one line: where, and why."""


class MismatchError(CheckpointError, ValueError):
    """A checkpoint whose state has other names, shapes or dtypes than were asked for."""
