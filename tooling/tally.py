"""The test count of pytest runs, as one plain line.

uv run python -m tooling.tally REPORT...        a REPORT is what ``pytest --junitxml=REPORT`` wrote
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def tally(*reports: str) -> str:
    """Return ``12 passed, 0 failed``, and ``, 3 skipped`` where there are any, of JUnit reports given as text.

    An error in a fixture or at collection counts as a failure; an expected failure as a skip.

    Raises:
        ValueError: If a report holds no test suite.
    """
    suites: list[ET.Element] = []
    for report in reports:
        found = list(ET.fromstring(report).iter("testsuite"))
        if not found:
            raise ValueError("expected a JUnit report with a testsuite, found none")
        suites += found
    total, failures, errors, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    failed = failures + errors
    line = f"{total - failed - skipped} passed, {failed} failed"
    return f"{line}, {skipped} skipped" if skipped else line


if __name__ == "__main__":
    print(tally(*(Path(name).read_text() for name in sys.argv[1:])))
