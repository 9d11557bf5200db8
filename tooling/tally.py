"""The test count of a pytest run, as one plain line.

uv run python -m tooling.tally REPORT        REPORT is what ``pytest --junitxml=REPORT`` wrote
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def tally(report: str) -> str:
    """Return ``12 passed, 0 failed``, and ``, 3 skipped`` where there are any, of a JUnit report given as text.

    An error in a fixture or at collection counts as a failure; an expected failure as a skip.

    Raises:
        ValueError: If the report holds no test suite.
    """
    suites = list(ET.fromstring(report).iter("testsuite"))
    if not suites:
        raise ValueError("expected a JUnit report with a testsuite, found none")
    total, failures, errors, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    line = f"{total - failed - skipped} passed, {failed} failed"
    return f"{line}, {skipped} skipped" if skipped else line


if __name__ == "__main__":
    print(tally(Path(sys.argv[1]).read_text()))
