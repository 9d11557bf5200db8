"""The parts of a network's config that follow from the names and shapes of a checkpoint's arrays."""

from collections.abc import Mapping
from dataclasses import dataclass

from artifex.backbones.interop.checkpoint import CheckpointError
from artifex.backbones.interop.key_mapping import Shape


@dataclass(frozen=True)
class Shapes:
    """The shapes of arrays by their names."""

    values: Mapping[str, Shape]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def of(self, key: str, *ranks: int) -> Shape:
        """The shape of an array that the network must have, of one of ``ranks``.

        Raises:
            CheckpointError: if there is no such array, or it has another rank.
        """
        if key not in self.values:
            raise CheckpointError(f"tensors are missing: {key}")
        if len(self.values[key]) not in ranks:
            expected = " or ".join(map(str, ranks))
            raise CheckpointError(f"{key} must have {expected} axes, got shape {self.values[key]}")
        return self.values[key]

    def count(self, module: str) -> int:
        """The number of modules ``module.0``, ``module.1``, ...

        Raises:
            CheckpointError: if one of them is missing.
        """
        start = f"{module}."
        found = {key.removeprefix(start).partition(".")[0] for key in self.values if key.startswith(start)}
        numbers = {int(number) for number in found if number.isdecimal()}
        if missing := sorted(set(range(len(numbers))) - numbers):
            raise CheckpointError(f"tensors are missing: {module}.{missing[0]}.*")
        return len(numbers)
