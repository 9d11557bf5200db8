"""Ctrl-C and SIGTERM as a request to stop after the current step."""

import signal
import threading
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any, Final

EXIT_CODES: Final = {signal.SIGINT: 130, signal.SIGTERM: 0}
"""Exit codes of a command that stopped in an orderly way; for SIGTERM that is success."""


class Stop(AbstractContextManager["Stop"]):
    """Catches the first SIGINT or SIGTERM within a ``with`` block; a second one has its usual effect.

    Called, it returns True after a signal. Outside of the main thread, where Python delivers no signals, it always
    returns False.

    Attributes:
        signal: the one received, None before.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Return True if a signal was received."""
        return self.signal is not None

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in EXIT_CODES}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}
