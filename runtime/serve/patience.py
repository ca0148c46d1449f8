"""Work on what a stranger has written, and how long it may take.

A pattern of a schema can take Python's `re` longer than anybody lives. It looks for signals while it searches, so an
alarm ends it; only the main thread hears one, which is where the event loop of a server is.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from runtime.generate.grammar import Broken


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises Broken when what is done inside takes longer. No limit in any other thread than the main one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(_number: int, _frame: FrameType | None) -> None:
        raise Broken(f"the answer could not be judged by its schema within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
