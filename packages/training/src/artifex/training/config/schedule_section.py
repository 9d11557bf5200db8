"""The common part of the configurations of schedules."""

from abc import abstractmethod
from typing import ClassVar, Final

from artifex.schedules import Schedule
from artifex.schedules.arrays import HostArray
from artifex.training.config.times import TimesConfig, UniformTimes
from artifex.training.section import Section

NETWORK_TIME: Final = 1000.0
"""The upper end of the times that networks are made for."""


class ScheduleSection(Section):
    """A schedule's section: it builds the schedule, its training times and the grid of a sampler."""

    TIMES: ClassVar[tuple[str, ...]] = ("uniform", "logit_normal")
    """Kinds of training times that fit the schedule."""

    @abstractmethod
    def build(self) -> Schedule:
        """Build the schedule."""

    def default_times(self) -> TimesConfig:
        """Return the distribution of training times that the schedule's paper uses."""
        # As close to clean data as the papers go.
        return UniformTimes(low=1e-5)

    def timesteps(self, n: int) -> HostArray:
        """Return the grid of a sampler of ``n`` steps.

        Raises:
            ValueError: if a chain has fewer steps.
        """
        return self.build().times(n)

    @property
    def time_range(self) -> tuple[float, float]:
        """The first and the last time."""
        return 0.0, 1.0

    @property
    def time_scale(self) -> float:
        """Factor from the schedule's times to those of a network."""
        return NETWORK_TIME / self.time_range[1]

    def check_times(self, times: TimesConfig) -> None:
        """Raise a ValueError if training times do not fit the schedule."""
        name = getattr(self, "kind", "")
        if times.kind not in self.TIMES:
            raise ValueError(
                f"times.kind must be {' or '.join(self.TIMES)} for the schedule {name}, got {times.kind!r}"
            )
        low, high = self.time_range
        if isinstance(times, UniformTimes) and not low <= times.low < times.high <= high:
            raise ValueError(
                f"times.low and times.high must be in [{low:g}, {high:g}] for the schedule {name}, "
                f"got {times.low} and {times.high}"
            )
