"""Language of docstrings, comments, local names and pages.

uv run python -m tooling.prose [PATH ...]        one complaint a line; exit 1 if there is any
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator

from tooling.workspace import ROOT

_OPENINGS = re.compile(r"\s*(What|How|Why|Where|When|Whether|Who)\b")
_WORDS = re.compile(
    r"\b(told|tells?|sa(?:ys?|id)|(?<!you )knows?|ask(?:s|ed)?|kin|anew|thrice|abreast|for ever|nor|lest|likeness)\b",
    re.IGNORECASE,
)
_NAMES = frozenset({"told", "said", "seen", "held", "place"})
_CODE = re.compile(r"(`+).+?\1")


def python(source: str) -> Iterator[tuple[int, str]]:
    """Complain of the docstrings, comments and bound names of a Python file, with their lines."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                if opening := _OPENINGS.match(text):
                    yield node.lineno, f"a docstring opens with {opening[1]!r}: expected a noun phrase or an imperative"
                yield from words(enumerate(text.splitlines(), node.lineno))
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) if name in _NAMES:
                yield node.lineno, f"the name {name!r}: expected the name of the thing"
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    yield from words((token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT)


def markdown(text: str) -> Iterator[tuple[int, str]]:
    """Complain of the prose of a page, with its lines; code is left alone."""
    blocks = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
    return words((number, line) for number, line in enumerate(blocks.splitlines(), 1) if not line.startswith("    "))


def words(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Complain of archaisms, and of code that speaks or thinks."""
    for number, line in lines:
        for word in _WORDS.findall(_CODE.sub("", line)):
            yield number, f"{word!r}: expected plain technical English"


def main(paths: Iterable[str] = ()) -> int:
    """Print all complaints about the committed files, or about those of them below ``paths``; 1 if there is any."""
    listed = subprocess.run(["git", "ls-files", *paths], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = 0
    for path in (
        ROOT / line for line in listed.splitlines() if line.endswith((".py", ".md")) and (ROOT / line).exists()
    ):
        check = python if path.suffix == ".py" else markdown
        for number, complaint in sorted(check(path.read_text())):
            print(f"{path.relative_to(ROOT)}:{number}: {complaint}")
            found += 1
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
