import os
import signal
import threading

import pytest

from artifex.training.run.signals import EXIT_CODES, Stop

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("second", NUMBERS)
def test_the_first_signal_asks_and_the_second_acts_as_before(number: signal.Signals, second: signal.Signals) -> None:
    acted: list[int] = []
    outside = {each: signal.signal(each, lambda n, _: acted.append(n)) for each in NUMBERS}
    try:
        with Stop() as stop:
            assert not stop()
            assert stop.signal is None
            os.kill(os.getpid(), number)
            assert stop()
            assert stop.signal is number
            assert acted == []
            os.kill(os.getpid(), second)
            assert acted == [second]
        os.kill(os.getpid(), number)
        assert acted == [second, number]
    finally:
        for each, handler in outside.items():
            signal.signal(each, handler)


def test_handlers_are_put_back_whatever_happens() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]

    def fail_inside() -> None:
        with Stop():
            assert [signal.getsignal(number) for number in NUMBERS] != before
            raise OSError

    with pytest.raises(OSError, match=r"^$"):
        fail_inside()
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_a_thread_that_gets_no_signals_is_never_asked_to_stop() -> None:
    answers: list[bool] = []

    def ask() -> None:
        with Stop() as stop:
            answers.append(stop())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [False]


def test_sigterm_is_a_success_and_ctrl_c_is_not() -> None:
    assert EXIT_CODES == {signal.SIGINT: 130, signal.SIGTERM: 0}
