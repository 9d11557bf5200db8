"""Python blocks of Markdown pages."""

import re
import textwrap
from typing import Final

_BLOCK: Final = re.compile(r"^( *)```python\b[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[str]:
    """The code of each block, moved down to its own line of the file so that tracebacks point there."""
    return ["\n" * text.count("\n", 0, match.start(2)) + textwrap.dedent(match[2]) for match in _BLOCK.finditer(text)]
