"""Ctrl-C and SIGTERM as a polite question: stop after this step."""

import signal
import threading
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any, Final

EXIT_CODES: Final = {signal.SIGINT: 130, signal.SIGTERM: 0}
"""What a command ends with that stopped in good order: whoever sends SIGTERM wanted just that."""


class Stop(AbstractContextManager["Stop"]):
    """Turns the first SIGINT or SIGTERM within a ``with`` block into the answer True; a second one acts as ever.

    Outside of the main thread, where Python hands out no signals, the answer is always False.

    Attributes:
        signal: which one came, None before.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in EXIT_CODES}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._step_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._step_back()

    def _step_back(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}
