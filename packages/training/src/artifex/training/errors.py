"""What a command tells in one line."""


class CheckpointError(Exception):
    """A checkpoint that could not be written, or can't be read; the message is one line: where, and why."""
