"""The built site against the packages: every public name has its entry, every formula became MathML.

uv run --group docs python -m tooling.reference SITE        SITE is what ``mkdocs build`` wrote
"""

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tooling.workspace import portions

# Modules that need an extra.
_OPTIONAL = re.compile(r"\.triton(_kernels)?$")
_ANCHOR = re.compile(r'id="(artifex\.[\w.]+)"')


def missing(module: str, names: Iterable[str], anchors: Iterable[str]) -> list[str]:
    """Return those of a module's public ``names`` that have no anchor of their own, there or in a module below.

    Classes differ from modules by their capital: ``artifex.samplers.DDIM.tableau`` is no entry of ``tableau``.
    """
    parents = (anchor.rpartition(".") for anchor in anchors if anchor.startswith(f"{module}."))
    entries = {name for parent, _, name in parents if parent.islower()}
    return [name for name in names if name not in entries]


def exports(package: str) -> dict[str, list[str]]:
    """Return what ``package`` and each package or module below it list in ``__all__``; those without are left out."""
    top = importlib.import_module(package)
    below = (
        info.name for info in pkgutil.walk_packages(top.__path__, f"{package}.") if not _OPTIONAL.search(info.name)
    )
    found = {name: list(getattr(importlib.import_module(name), "__all__", ())) for name in (package, *below)}
    return {name: public for name, public in found.items() if public}


def unlisted(package: str, public: Mapping[str, Iterable[str]], anchors: Iterable[str]) -> Iterator[str]:
    """Complain of ``public`` names that have no entry among ``anchors``, or of there being no names.

    Args:
        package: The import package, such as ``artifex.schedules``. A name may have its entry anywhere in it.
        public: The names, by the package at or below it that lists them.
        anchors: The paths that the site has entries for.
    """
    if not public:
        yield f"{package}: expected an __all__ in it or in a package below it, got none"
    for module, names in public.items():
        for name in missing(package, names, anchors):
            yield f"{module}.{name}: public, but has no entry: not on its page, or no docstring?"


def complaints(site: Path) -> Iterator[str]:
    """Complain of public names without an entry in the reference, and of formulas left as TeX."""
    pages = {page: page.read_text() for page in sorted(site.rglob("*.html"))}
    anchors = {match[1] for text in pages.values() for match in _ANCHOR.finditer(text)}
    for portion in portions():
        yield from unlisted(portion.module, exports(portion.module), anchors)
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
