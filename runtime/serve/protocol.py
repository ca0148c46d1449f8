"""uvicorn's HTTP/1.1, and an end to connections that stall: heads that never end, readers that do not read.

An answer to somebody who does not read it fills the buffers of the system and then ours. From there on the reader has
a few seconds to empty them; then the connection is cut, and the answer is cancelled with it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: bytes that wait in the process and in the system for one reader
_OURS, _SYSTEM = 1 << 16, 1 << 16


def protocol(stall_s: float, head_s: float, dropped: Callable[[str], None]) -> type[H11Protocol]:
    """A protocol class for uvicorn. `dropped` is told why a connection was cut: "slow" or "head"."""

    class Impatient(H11Protocol):
        _stalled: asyncio.TimerHandle | None = None
        _head: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=_OURS)
            raw = transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM)
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            _off(self._stalled)
            self._stalled = None
            _off(self._head)
            self._head = None
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                _off(self._head)
                self._head = None
            elif self._head is None:
                self._await_head()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(stall_s, self._cut, "slow")

        def resume_writing(self) -> None:
            _off(self._stalled)
            self._stalled = None
            super().resume_writing()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._leave()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._leave()

        def _leave(self) -> None:
            """A connection that closes sends what is left only to somebody who reads it."""
            if self.transport.is_closing():
                self.loop.call_later(stall_s, self.transport.abort)

        def _await_head(self) -> None:
            self._head = self.loop.call_later(head_s, self._cut, "head")

        def _cut(self, why: str) -> None:
            if not self.transport.is_closing():
                dropped(why)
            self.transport.abort()

    return Impatient


def _off(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
