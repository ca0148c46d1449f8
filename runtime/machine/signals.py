"""SIGINT, SIGTERM and SIGHUP → a stop at the next safe point; a second one → KeyboardInterrupt at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Whether, and by which signal, a stop was asked for."""

    def __init__(self) -> None:
        #: number of the first signal, 0 while there was none
        self.signal = 0

    def __call__(self) -> bool:
        return self.signal != 0


@contextmanager
def stoppable(heard: Callable[[int], None] | None = None) -> Iterator[StopRequest]:
    """Within it the first signal only sets the request (and calls `heard`). Main thread only, as signals are."""
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if request.signal:
            raise KeyboardInterrupt
        request.signal = number
        if heard is not None:
            heard(number)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
