from __future__ import annotations

import os
import signal

import pytest

from runtime.machine.signals import stoppable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_the_second_stops(number: signal.Signals) -> None:
    heard: list[int] = []
    with stoppable(heard.append) as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert (stop.signal, heard) == (number, [number])
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
