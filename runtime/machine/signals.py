"""SIGINT, SIGTERM, SIGHUP → a stop at the next safe point; a second one → KeyboardInterrupt at once; a third → death.

The third is heard by a thread: the main one may be inside a library that looks at nothing for minutes, or busy with
what the second one asked of it. It dies as by a kill: the next apply goes on from what is durable.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: signals that are borne
_MOST = 2


class StopRequest:
    """Whether, and by which signal, a stop was asked for."""

    def __init__(self) -> None:
        #: number of the first signal, 0 while there was none
        self.signal = 0

    def __call__(self) -> bool:
        return self.signal != 0


def _nobody(number: int) -> None:
    del number


@contextmanager
def stoppable(heard: Callable[[int], None] = _nobody, dying: Callable[[int], None] = _nobody) -> Iterator[StopRequest]:
    """Within it the first signal only sets the request (and calls `heard`), the second raises KeyboardInterrupt, the
    third ends the process at once with 128 + its number, after `dying`, which is called by another thread and must
    take no lock. Main thread only, as signals are."""
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if request.signal:
            raise KeyboardInterrupt
        request.signal = number
        heard(number)

    here, there = socket.socketpair()
    here.setblocking(False)
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    woken = signal.set_wakeup_fd(here.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_count, args=(there, dying), name="signals", daemon=True)
    watch.start()
    try:
        yield request
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        # said, and not only closed: a forked child may hold this end, too
        here.send(bytes(1))
        watch.join()
        here.close()


def _count(end: socket.socket, dying: Callable[[int], None]) -> None:
    """One byte a signal, written by the interpreter in the moment that it comes; until a byte that is none."""
    seen = 0
    with end:
        while True:
            for number in end.recv(64):
                if number == 0:
                    return
                seen += number in _SIGNALS
                if seen > _MOST:
                    with contextlib.suppress(Exception):
                        dying(number)
                    os._exit(128 + number)
