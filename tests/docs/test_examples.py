"""Every Python block of the documentation runs, block after block in one namespace a file."""

from pathlib import Path

import pytest

from tooling.blocks import blocks
from tooling.workspace import ROOT, portions


def pages() -> list[Path]:
    readmes = [ROOT / "README.md", *(portion.project / "README.md" for portion in portions())]
    found = [*(page for page in readmes if page.exists()), *sorted((ROOT / "docs").rglob("*.md"))]
    return [page.relative_to(ROOT) for page in found if blocks(page.read_text())]


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(), ids=str)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for code in blocks((ROOT / page).read_text()):
        exec(compile(code, str(page), "exec"), names)


def test_blocks_are_found_where_they_stand() -> None:
    text = "a\n```python\nx = 1\n```\n\n=== tab\n\n    ```python title='t'\n    y = 2\n    ```\n```text\nz\n```\n"
    first, second = blocks(text)
    assert first == "\n\nx = 1\n"
    assert second == "\n" * 8 + "y = 2\n"
