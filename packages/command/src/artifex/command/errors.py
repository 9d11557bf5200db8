"""The error of a command."""

from collections.abc import Iterator
from contextlib import contextmanager


class CommandError(Exception):
    """A command that failed; the message is one line: what was expected, and what was got.

    Attributes:
        code: the exit code, 2 for invalid input.
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def message_of(error: Exception) -> str:
    """Return the message of an error; of the operating system's, file and reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror.lower()
    return str(error)


@contextmanager
def as_command_error(*errors: type[Exception], code: int = 1) -> Iterator[None]:
    """Turn errors of these classes into a CommandError with their message; a ``with`` block or a decorator."""
    try:
        yield
    except errors as error:
        raise CommandError(message_of(error), code) from error
