"""A service and an address → a server that runs until it is told to stop, and then finishes what it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from runtime.contract import Refusal
from runtime.serve.app import Service, loopback
from runtime.serve.protocol import protocol

__all__ = ["bound", "loopback", "run"]


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes one that is free. Raises Refusal for an address that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(socket.SOMAXCONN)
    except (OSError, OverflowError) as error:
        made.close()
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Refusal(
            f"{host}:{port} cannot be listened on: {why}",
            action="choose another --host or --port; --port 0 takes one that is free",
            code="KR0210",
        ) from None
    return made


class _Server(uvicorn.Server):
    """uvicorn, which drains by itself; a signal is the wish to stop and no end of the process."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._heard) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        # once more: no more waiting for answers that grow
        self.force_exit = self.should_exit
        self.should_exit = True
        self._service.draining = True


def run(service: Service, listening: socket.socket, started: Callable[[], None]) -> int:
    """Serve until SIGTERM or SIGINT; then refuse what is new, finish what is under way within the limit, and return how
    many answers were cut. `started` is called once requests are answered."""
    limits = service.limits
    config = uvicorn.Config(
        service.app(),
        http=protocol(limits.stall_s, limits.head_s, lambda why: service.metrics.dropped.labels(why).inc()),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(limits.drain_s),
        loop="asyncio",
    )
    server = _Server(config, service)
    service.connections = lambda: len(server.server_state.connections)

    async def serve() -> int:
        told = asyncio.create_task(_when_started(server, started))
        await server.serve(sockets=[listening])
        told.cancel()
        return service.cut

    return asyncio.run(serve())


async def _when_started(server: uvicorn.Server, started: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    started()
