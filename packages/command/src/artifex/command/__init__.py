"""The command ``artifex`` and what its subcommands share.

Subcommands are entry points of the group ``artifex.commands``: functions with typer's annotations, or ``typer.Typer``.
"""

from artifex.command.errors import CommandError as CommandError
from artifex.command.errors import as_command_error as as_command_error
from artifex.command.errors import message_of as message_of

__all__ = ["CommandError", "as_command_error", "message_of"]
