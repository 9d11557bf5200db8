"""The built site against the packages: every public name has its entry, every formula became MathML.

uv run --group docs python -m tooling.reference SITE        SITE is what ``mkdocs build`` wrote
"""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tooling.workspace import portions

_ANCHOR = re.compile(r'id="(artifex\.[\w.]+)"')


def missing(module: str, names: list[str], anchors: set[str]) -> list[str]:
    """Return those of a module's public ``names`` that have no anchor of their own, there or in a module below.

    Classes are told from modules by their capital: ``artifex.samplers.Ddim.tableau`` is no entry of ``tableau``.
    """
    parents = (anchor.rpartition(".") for anchor in anchors if anchor.startswith(f"{module}."))
    entries = {name for parent, _, name in parents if parent.islower()}
    return [name for name in names if name not in entries]


def complaints(site: Path) -> Iterator[str]:
    """Complain of public names without an entry in the reference, and of formulas left as TeX."""
    pages = {page: page.read_text() for page in sorted(site.rglob("*.html"))}
    anchors = {match[1] for text in pages.values() for match in _ANCHOR.finditer(text)}
    for portion in portions():
        public: list[str] = getattr(importlib.import_module(portion.module), "__all__", [])
        for name in missing(portion.module, public, anchors):
            yield f"{portion.module}.{name}: public, but has no entry: no docstring?"
    for page, text in pages.items():
        if 'class="arithmatex"' in text:
            yield f"{page.relative_to(site)}: holds a formula that is still TeX"


def main() -> int:
    """Print every complaint; return the exit status."""
    found = list(complaints(Path(sys.argv[1])))
    print("\n".join(found) if found else "every public name has its entry")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
