"""What a metric gives: a number, and all that is needed to compare it with another."""

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
        error: its standard error, None where no estimate of it is known.
        better: which way is better.
        extractor: what the features are, by name; scores of two extractors can't be compared.
        generated: how many generated samples it is of, None where none are needed.
        real: how many real ones they were held against, None where none are needed.
        settings: what else it depends on.
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
        """``kid 0.0123 ± 0.0004 (raw values; 1,000 generated, 1,797 real; block = 100)``."""
        said = (self.extractor, counted(self.generated, self.real), self.said_settings)
        return f"{self.metric} {self.said_value} ({'; '.join(filter(None, said))})"

    @property
    def said_value(self) -> str:
        """``0.0123 ± 0.0004``, or the value alone."""
        return f"{self.value:.5g}" if self.error is None else f"{self.value:.4g} ± {self.error:.2g}"

    @property
    def said_settings(self) -> str:
        """``block = 100, seed = 0``."""
        return listed(self.settings)


def counted(generated: int | None, real: int | None) -> str:
    """``1,000 generated, 1,797 real``."""
    pairs = ((generated, "generated"), (real, "real"))
    return ", ".join(f"{count:,} {kind}" for count, kind in pairs if count is not None)


def listed(settings: Mapping[str, Setting]) -> str:
    """``block = 100, seed = 0``."""
    return ", ".join(f"{name} = {value}" for name, value in settings.items())
