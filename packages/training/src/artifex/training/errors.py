"""Errors that a command reports in one line."""


class CheckpointError(Exception):
    """A checkpoint that could not be written or read; the message is one line with the path and the reason."""


class MismatchError(CheckpointError, ValueError):
    """A checkpoint whose state has other names, shapes or dtypes than the restore target."""
