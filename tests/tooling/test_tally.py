"""The count that CI prints last, against reports that pytest wrote."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tooling.tally import tally

pytestmark = pytest.mark.slow

TESTS = """
import pytest

def test_a(): pass
def test_b(): pass
def test_c(): pass
def test_d(): assert False
@pytest.mark.skip
def test_e(): pass
"""


def report(folder: Path, text: str) -> str:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(text)
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml", "test_it.py")
    bare = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    subprocess.run(command, cwd=folder, env=bare, stdout=subprocess.DEVNULL)
    return (folder / "report.xml").read_text()


def test_counts(tmp_path: Path) -> None:
    assert tally(report(tmp_path, TESTS)) == "3 passed, 1 failed, 1 skipped"


def test_reports_add_up(tmp_path: Path) -> None:
    one = report(tmp_path, TESTS)
    assert tally(one, report(tmp_path, "def test_a(): pass\n"), one) == "7 passed, 2 failed, 2 skipped"


def test_nothing_skipped(tmp_path: Path) -> None:
    assert tally(report(tmp_path, "def test_a(): pass\n")) == "1 passed, 0 failed"


def test_an_error_while_collecting_is_a_failure(tmp_path: Path) -> None:
    assert tally(report(tmp_path, "import not_there\n")) == "0 passed, 1 failed"


def test_an_error_in_a_fixture_is_a_failure(tmp_path: Path) -> None:
    text = "import pytest\n@pytest.fixture\ndef f(): raise ValueError\ndef test_a(f): pass\ndef test_b(): pass\n"
    assert tally(report(tmp_path, text)) == "1 passed, 1 failed"


def test_no_suite() -> None:
    with pytest.raises(ValueError, match="expected a JUnit report"):
        tally("<testsuites/>")
