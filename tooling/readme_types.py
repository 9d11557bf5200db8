"""Strict types of the README's Python blocks, as one program.

uv run python -m tooling.readme_types        exit 1 if mypy complains
"""

import sys
import tempfile
from pathlib import Path

from mypy import api

from tooling.blocks import blocks
from tooling.workspace import ROOT


def check(text: str) -> tuple[str, int]:
    """Run mypy by the repository's settings on the Python blocks of ``text``; return its report and exit status."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "readme_block.py")
        program.write_text("\n".join(code.lstrip("\n") for code in blocks(text)))
        settings = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
        report, errors, status = api.run([*settings, str(program)])
    return report + errors, status


def main() -> int:
    """Check the README; return the exit status."""
    report, status = check((ROOT / "README.md").read_text())
    print(report, end="")
    return status


if __name__ == "__main__":
    sys.exit(main())
