"""Hooks of mkdocs: complete reference pages, and formulas as MathML so that pages need no script and no network."""

import html
import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from math_core import LatexError, LatexToMathML

# This file is loaded by its path, so it imports nothing of `tooling`.
_ROOT = Path(__file__).parents[1]
_PACKAGE = re.compile(r"^::: (artifex(?:\.[a-z]\w*)+)$", re.MULTILINE)
_INCLUDE = re.compile(r'^--8<-- "([\w./]+)"$', re.MULTILINE)
_LINK = re.compile(r"\]\((?:\./)?docs/")
# What pymdownx.arithmatex makes of $...$ and $$...$$ with `generic: true`.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_CONVERTER = LatexToMathML(fancy_error=False)


def hidden(package: str) -> Iterator[str]:
    """Yield the paths of what ``package``, or a module, exports and mkdocstrings leaves out.

    That are modules, and functions or classes that share their name with a module, which hides them from it.
    """
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if isinstance(value, ModuleType):
            yield value.__name__
            yield from hidden(value.__name__)
        elif hasattr(module, "__path__") and importlib.util.find_spec(f"{package}.{name}") is not None:
            yield f"{value.__module__}.{name}"


def include(path: Path) -> str:
    """Return a page that stands at the repository's root, with its links into ``docs/`` as they are on the site."""
    return _LINK.sub("](", path.read_text())


def on_page_markdown(markdown: str, **_: object) -> str:
    """Include files of the repository's root, and give an entry to everything that a package's entry leaves out."""

    def complete(match: re.Match[str]) -> str:
        options = "\n    options:\n      show_root_heading: true\n      show_root_toc_entry: true\n"
        return "\n".join([match[0], "", *(f"::: {path}{options}" for path in hidden(match[1]))])

    included = _INCLUDE.sub(lambda match: include(_ROOT / match[1]), markdown)
    return _PACKAGE.sub(complete, included)


def on_page_content(content: str, **_: object) -> str:
    """Replace every formula of a page's HTML.

    Raises:
        ValueError: If a formula is not understood, which ends the build.
    """

    def replace(match: re.Match[str]) -> str:
        tag, tex = match[1], " ".join(html.unescape(match[2]).split())
        try:
            math = _CONVERTER.convert_with_local_state(tex, displaystyle=tag == "div")
        except LatexError as error:
            raise ValueError(f"formula {tex!r}: {error}") from None
        return f'<{tag} class="math">{math}</{tag}>'

    return _FORMULA.sub(replace, content)
