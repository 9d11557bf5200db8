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
        """``kid 0.0123 ± 0.0004 (digits classifier; 1,000 generated, 1,797 real; block = 100)``."""
        said = f"{self.value:.5g}" if self.error is None else f"{self.value:.4g} ± {self.error:.2g}"
        counts = ", ".join(
            f"{count:,} {kind}"
            for count, kind in ((self.generated, "generated"), (self.real, "real"))
            if count is not None
        )
        settings = ", ".join(f"{name} = {value}" for name, value in self.settings.items())
        return f"{self.metric} {said} ({'; '.join(filter(None, (self.extractor, counts, settings)))})"
