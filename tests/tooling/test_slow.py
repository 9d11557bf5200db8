"""The marker ``slow``: what ``-m "not slow"`` leaves out, and that it leaves some of every package."""

import ast
from pathlib import Path

import pytest

from tooling.workspace import ROOT, portions

# Tests lie in folders of the names that the projects have.
PACKAGES = [portion.project.name for portion in portions()]


def is_slow(nodes: list[ast.expr]) -> bool:
    return any("pytest.mark.slow" in ast.unparse(node) for node in nodes)


def quick_tests(file: Path) -> list[str]:
    """The names of a file's tests without the marker ``slow``, on the test or the module."""
    body = ast.parse(file.read_text()).body
    marks = [
        node.value for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    if is_slow(marks):
        return []
    functions = [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return [node.name for node in functions if not is_slow(node.decorator_list)]


@pytest.mark.parametrize("package", PACKAGES)
def test_some_tests_of_every_package_are_quick(package: str) -> None:
    files = sorted((ROOT / "tests" / package).rglob("test_*.py"))
    quick = [name for file in files for name in quick_tests(file)]
    assert len(quick) >= 20


def test_marks_are_read_of_modules_functions_and_rows(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text("import pytest\n@pytest.mark.slow\ndef test_a(): ...\ndef test_b(): ...\ndef helper(): ...\n")
    assert quick_tests(file) == ["test_b"]
    file.write_text("import pytest\npytestmark = [pytest.mark.slow]\ndef test_a(): ...\n")
    assert quick_tests(file) == []
