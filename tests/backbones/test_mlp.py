import dataclasses

import pytest

from artifex.backbones import MLPConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": 0}, "features must be at least 1, got 0"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"hidden": 7}, "hidden must be even and at least 4, got 7"),
        ({"num_classes": 0}, "num_classes must be None or at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_configs_are_refused(change: dict[str, int | float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(MLPConfig(), **change)  # type: ignore[arg-type]
