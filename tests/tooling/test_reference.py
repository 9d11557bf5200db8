"""What counts as an entry of the reference."""

import pytest

from tooling.reference import missing


@pytest.mark.parametrize(
    ("anchor", "found"),
    [
        ("artifex.samplers.sample", True),
        ("artifex.samplers.sample.sample", True),
        ("artifex.samplers.Ddim.sample", False),
        ("artifex.samplers.sampled", False),
        ("artifex.kernels.sample", False),
    ],
)
def test_entry(anchor: str, found: bool) -> None:
    assert missing("artifex.samplers", ["sample"], {anchor}) == ([] if found else ["sample"])
