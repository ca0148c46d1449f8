"""Answers that were asked for → answers that grow, all in one thread: each takes a step in turn.

A model is not made for several threads, and one token of one answer after the other is what a processor does best.
Some answers grow together, the rest waits in a bounded queue in the order of asking; who comes when it is full is told
so at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from typing import TypeAlias

from runtime.generate.engine import Piece, Writing

#: what an answer tells whoever waits for it: a piece of it, or why there is none
Event: TypeAlias = "Piece | Exception"


class Full(Exception):
    """The queue holds as many answers as it may."""


class Job:
    """One answer that somebody waits for in an event loop."""

    def __init__(self, writing: Writing, loop: asyncio.AbstractEventLoop) -> None:
        self.writing = writing
        self.asked = time.monotonic()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self._loop = loop
        self.cancelled = False

    def cancel(self) -> None:
        """Nobody waits any more: no further token is chosen."""
        self.cancelled = True

    def tell(self, event: Event) -> None:
        """From the worker's thread; a loop that has ended hears nothing."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.events.put_nowait, event)


class Worker:
    """One thread over one model. `together`: answers that grow at once; `most`: answers that may wait beside them."""

    def __init__(self, *, together: int, most: int) -> None:
        self._together, self._most = together, most
        self._waiting: deque[Job] = deque()
        self._active: list[Job] = []
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its present step; answers that are not whole stay so."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def active(self) -> int:
        return len(self._active)

    def submit(self, job: Job) -> None:
        """Raises Full when too many wait already."""
        with self._changed:
            if len(self._waiting) >= self._most and len(self._active) >= self._together:
                self._forget()
                if len(self._waiting) >= self._most:
                    raise Full
            self._waiting.append(job)
            self._changed.notify()

    def _forget(self) -> None:
        """Leave out those for whom nobody waits any more."""
        self._waiting = deque(job for job in self._waiting if not job.cancelled)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._active = [job for job in self._active if not (job.cancelled or job.writing.finish)]
                self._forget()
                while self._waiting and len(self._active) < self._together:
                    self._active.append(self._waiting.popleft())
                if self._stopped:
                    return
                if not self._active:
                    # woken by whoever asks next; a cancelled job needs no waking
                    self._changed.wait()
                    continue
                round_ = list(self._active)
            for job in round_:
                if not job.cancelled and not self._stopped:
                    self._step(job)

    def _step(self, job: Job) -> None:
        try:
            job.tell(job.writing.advance())
        except Exception as error:
            # whatever it is, it is the end of this answer and of no other
            job.cancel()
            job.tell(error)
