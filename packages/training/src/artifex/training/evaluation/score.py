"""Scores: a number, and everything needed to compare it with another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Setting = str | int | float | bool


@dataclass(frozen=True)
class Score:
    """One metric of generated samples.

    Attributes:
        metric: its name, such as ``"fid"``.
        value: the number.
        error: its standard error, None if there is no estimate of it.
        better: the better direction.
        extractor: name of the feature extractor; scores of different extractors are not comparable.
        generated: number of generated samples, None if it needs none.
        real: number of real samples, None if it needs none.
        settings: other parameters that it depends on.
    """

    metric: str
    value: float
    error: float | None
    better: Literal["higher", "lower"]
    extractor: str
    generated: int | None
    real: int | None
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def __str__(self) -> str:
        """Format as ``kid 0.0123 ± 0.0004 (raw values; 1,000 generated, 1,797 real; block = 100)``."""
        details = (self.extractor, counted(self.generated, self.real), self.settings_text)
        return f"{self.metric} {self.value_text} ({'; '.join(filter(None, details))})"

    @property
    def value_text(self) -> str:
        """``0.0123 ± 0.0004``, or the value alone."""
        return f"{self.value:.5g}" if self.error is None else f"{self.value:.4g} ± {self.error:.2g}"

    @property
    def settings_text(self) -> str:
        """``block = 100, seed = 0``."""
        return listed(self.settings)


def counted(generated: int | None, real: int | None) -> str:
    """``1,000 generated, 1,797 real``."""
    pairs = ((generated, "generated"), (real, "real"))
    return ", ".join(f"{count:,} {kind}" for count, kind in pairs if count is not None)


def listed(settings: Mapping[str, Setting]) -> str:
    """``block = 100, seed = 0``."""
    return ", ".join(f"{name} = {value}" for name, value in settings.items())
