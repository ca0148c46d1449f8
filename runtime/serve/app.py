"""An engine, its worker and limits → an ASGI application with OpenAI's routes, health and metrics."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as Incoming
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from runtime.contract import MachineError, Refusal
from runtime.generate.engine import Engine, Piece
from runtime.serve import wire
from runtime.serve.metrics import Metrics
from runtime.serve.patience import within
from runtime.serve.reply import Reply
from runtime.serve.wire import Wrong
from runtime.serve.worker import Full, Job, Worker

log = logging.getLogger("kcompiler.serve")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server grants. Sizes in bytes and tokens, times in seconds."""

    body: int = 1 << 20
    body_s: float = 30.0
    tokens: int = 1024
    queue: int = 256
    together: int = 8
    connections: int = 1024
    stall_s: float = 10.0
    head_s: float = 10.0
    judge_s: float = 1.0
    drain_s: float = 30.0


@dataclass
class Service:
    """What the routes share. `token`: what callers must bring, "" where nobody needs one; `draining`: no new answers;
    `cut`: answers that were ended before they were whole, by nobody's wish but the server's."""

    engine: Engine
    name: str
    limits: Limits
    token: str = ""

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        self.worker = Worker(together=self.limits.together, most=self.limits.queue)
        self.draining, self.cut = False, 0
        #: how many connections there are; whoever listens knows
        self.connections: Callable[[], int] = lambda: 0
        self.started = int(time.time())
        self.metrics.watch("kcompiler_waiting_answers", "Answers in the queue.", lambda: self.worker.waiting)
        self.metrics.watch("kcompiler_active_answers", "Answers that grow.", lambda: self.worker.active)

    def app(self) -> Starlette:
        """The application. Its worker runs as long as it does."""

        @contextlib.asynccontextmanager
        async def life(_app: Starlette) -> AsyncIterator[None]:
            self.worker.start()
            try:
                yield
            finally:
                await asyncio.to_thread(self.worker.stop)

        made = Starlette(
            routes=[
                Route("/v1/chat/completions", self._guarded(self.chat), methods=["POST"]),
                Route("/v1/models", self._guarded(self.models), methods=["GET"]),
                Route("/v1/models/{name:path}", self._guarded(self.model), methods=["GET"]),
                Route("/metrics", self._guarded(self.measured), methods=["GET"]),
                Route("/healthz", self.healthy, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _http},
            lifespan=life,
        )
        # a path with a slash more is no route, and nobody is sent to the host that a caller has named
        made.router.redirect_slashes = False
        return made

    # routes

    async def healthy(self, _request: Incoming) -> Response:
        return JSONResponse(
            {"status": "draining" if self.draining else "ok", "model": self.name},
            status_code=503 if self.draining else 200,
        )

    async def measured(self, _request: Incoming) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self, _request: Incoming) -> Response:
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Incoming) -> Response:
        self._known(str(request.path_params["name"]))
        return JSONResponse(self._model())

    async def chat(self, request: Incoming) -> Response:
        """POST /v1/chat/completions. Raises Wrong."""
        if self.draining:
            raise Wrong("the server is going down", status=503, retry_after=5)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Wrong("content-type must be application/json", status=415)
        asked = wire.request(await self._body(request))
        self._known(asked.model)
        prepared = await asyncio.to_thread(wire.prepare, self.engine, asked, self.limits.tokens)
        try:
            writing = await asyncio.to_thread(self.engine.write, prepared.ask)
        except Refusal as refusal:
            raise Wrong(f"{refusal.message}; {refusal.action}") from None
        job = Job(writing, asyncio.get_running_loop())
        reply = Reply(prepared, writing, asked.model, int(time.time()))
        try:
            self.worker.submit(job)
        except Full:
            raise Wrong("too many requests wait already; try again", status=429, retry_after=1) from None
        self.metrics.tokens.labels("prompt").inc(len(prepared.ask.ids))
        if prepared.stream:
            return _Stream(self, job, reply)
        return await self._completion(request, job, reply)

    # what they need

    def _model(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": self.started, "owned_by": "kcompiler"}

    def _known(self, name: str) -> None:
        if name != self.name:
            raise Wrong(
                f"the model `{name}` is not served here; `{self.name}` is",
                status=404,
                param="model",
                code="model_not_found",
            )

    def _guarded(self, route: Callable[[Incoming], Awaitable[Response]]) -> Callable[[Incoming], Awaitable[Response]]:
        """The route for whoever may use it, and every error in OpenAI's form."""

        async def answer(request: Incoming) -> Response:
            path = request.scope["path"] if not request.path_params else "/v1/models/{name}"
            try:
                if self.connections() > self.limits.connections:
                    raise Wrong("too many connections; try again", status=503, retry_after=1)
                self._admit(request)
                response = await route(request)
            except Wrong as wrong:
                response = _wrong(wrong)
            except (MachineError, ValueError) as error:
                log.error("an answer failed: %s", error)
                response = _wrong(Wrong(f"the answer failed: {error}", status=500))
            self.metrics.requests.labels(path, str(response.status_code)).inc()
            return response

        return answer

    def _admit(self, request: Incoming) -> None:
        """Raises Wrong for a caller without the token; without one to ask for, for a page of another site."""
        if self.token:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(given.strip().encode(), self.token.encode())
            if scheme.lower() != "bearer" or not same:
                raise Wrong("a valid bearer token is needed", status=401, code="invalid_api_key")
            return
        host = request.headers.get("host", "")
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        # an address is no name that could lead elsewhere tomorrow
        if not loopback(name.lower()):
            raise Wrong("without a token this server answers to localhost only", status=403)

    async def _body(self, request: Incoming) -> bytes:
        """Raises Wrong for one that is too large or too slow."""
        size = request.headers.get("content-length", "0")
        large = Wrong(f"a request has at most {self.limits.body} bytes", status=413)
        if size.isdigit() and int(size) > self.limits.body:
            raise large
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self.limits.body_s):
                async for part in request.stream():
                    parts.append(part)
                    if sum(map(len, parts)) > self.limits.body:
                        raise large
        except TimeoutError:
            raise Wrong(f"the request was not whole after {self.limits.body_s:g} s", status=408) from None
        return b"".join(parts)

    async def _completion(self, request: Incoming, job: Job, reply: Reply) -> Response:
        """A whole completion; cancelled when the caller goes away."""
        gone = asyncio.create_task(_gone(request.receive))
        try:
            async with contextlib.aclosing(self.pieces(job, gone)) as pieces:
                async for piece in pieces:
                    reply.keep(piece)
            if not job.writing.finish:
                return Response(status_code=499)
            with within(self.limits.judge_s):
                found = reply.whole()
            return JSONResponse(found)
        finally:
            gone.cancel()

    async def pieces(self, job: Job, gone: asyncio.Task[None]) -> AsyncGenerator[Piece]:
        """The pieces of an answer until its end or until nobody waits for it. Raises what the worker met."""
        begun = failed = False
        try:
            while not gone.done():
                event = asyncio.create_task(job.events.get())
                await asyncio.wait({event, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    event.cancel()
                    return
                found = event.result()
                if isinstance(found, Exception):
                    failed = True
                    self.metrics.ends.labels("failed").inc()
                    raise found
                if not begun:
                    begun = True
                    self.metrics.first.observe(time.monotonic() - job.asked)
                yield found
                if found.finish:
                    self.metrics.ends.labels(found.finish).inc()
                    self.metrics.whole.observe(time.monotonic() - job.asked)
                    return
        finally:
            if not job.writing.finish:
                job.cancel()
                if gone.done():
                    self.metrics.ends.labels("gone").inc()
                elif not failed:
                    self.cut += 1
            self.metrics.tokens.labels("completion").inc(job.writing.tokens)


class _Stream(Response):
    """Server-sent events of one answer. An answer that fails tells so in its stream and ends it without `[DONE]`."""

    def __init__(self, service: Service, job: Job, reply: Reply) -> None:
        super().__init__(status_code=200, media_type="text/event-stream", headers={"cache-control": "no-store"})
        # a stream has no length
        self.raw_headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        self._service, self._job, self._reply = service, job, reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        gone = asyncio.create_task(_gone(receive))
        try:
            async for text in self._events(gone):
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._job.cancel()
            gone.cancel()

    async def _events(self, gone: asyncio.Task[None]) -> AsyncIterator[str]:
        try:
            yield _event(self._reply.first())
            async with contextlib.aclosing(self._service.pieces(self._job, gone)) as pieces:
                async for piece in pieces:
                    for chunk in self._reply.chunks(piece):
                        yield _event(chunk)
            if not self._job.writing.finish:
                return
            with within(self._service.limits.judge_s):
                chunks = list(self._reply.last())
            for chunk in chunks:
                yield _event(chunk)
            yield "data: [DONE]\n\n"
        except (MachineError, ValueError) as error:
            log.error("an answer failed: %s", error)
            yield _event(Wrong(f"the answer failed: {error}", status=500).body())


def loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _event(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def _gone(receive: Receive) -> None:
    """Returns when the caller has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _wrong(wrong: Wrong) -> Response:
    headers = {"retry-after": str(wrong.retry_after)} if wrong.retry_after else {}
    if wrong.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(wrong.body(), status_code=wrong.status, headers=headers)


async def _http(_request: Incoming, error: Exception) -> Response:
    """No such route, or not by this method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    response = _wrong(Wrong("no such route" if status == 404 else str(getattr(error, "detail", error)), status=status))
    response.headers.update(getattr(error, "headers", None) or {})
    return response
