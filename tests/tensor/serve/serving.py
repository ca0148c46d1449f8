"""A server in a process of its own, whose model may be slow, endless, scripted or broken; and a client for it.

Settings: `limits` (fields of Limits), `token`, `delay` (seconds a step), `say` (the model writes this text and ends),
`endless` (it never ends), `fail_after` (its logits are not finite from that token on).
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]


class Odd:
    """A model around another one."""

    def __init__(self, model: Any, words: Any, settings: dict[str, Any]) -> None:
        self.name, self.width, self.context = (
            model.name,
            model.width,
            100_000 if "endless" in settings else model.context,
        )
        self._model, self._settings, self._stops = model, settings, sorted(words.stops)
        text = settings.get("say")
        self._script = [*words.backend.encode(text, add_special_tokens=False).ids, min(words.stops)] if text else []

    def begin(self, ids):
        if not self._script:
            place, logits = self._model.begin(ids[: self._model.context - 1])
        else:
            place, logits = None, np.zeros(self.width, np.float32)
        return Walk(self, place, self._settings), self.made(logits, 0)

    def made(self, logits, count):
        time.sleep(self._settings.get("delay", 0))
        if self._script:
            logits = np.zeros(self.width, np.float32)
            logits[self._script[count % len(self._script)]] = 9.0
        if self._settings.get("endless"):
            logits = np.zeros(self.width, np.float32)
            logits[40 + count % 20] = 9.0
        if "goes_on" in self._settings:
            logits = logits.copy()
            logits[self._stops] = -np.inf
        if count >= self._settings.get("fail_after", count + 1):
            logits = np.full(self.width, np.nan, np.float32)
        return logits


class Walk:
    def __init__(self, odd: Odd, place: Any, settings: dict[str, Any]) -> None:
        self._odd, self._place, self._settings, self._count = odd, place, settings, 0

    def step(self, token):
        self._count += 1
        simple = self._place is None or self._settings.get("endless")
        return self._odd.made(None if simple else self._place.step(token), self._count)


def main(folder: str, given: dict[str, Any], told: Connection) -> None:
    """What a process of its own does."""
    from runtime.generate import opening
    from runtime.serve import server
    from runtime.serve.app import Limits, Service

    engine = opening.engine(opening.of_folder(Path(folder)), "torch")
    engine.model = Odd(engine.model, engine.words, given)
    service = Service(engine, "tiny", Limits(**given.get("limits", {})), given.get("token", ""))
    listening = server.bound("127.0.0.1", 0)
    port = listening.getsockname()[1]
    sys.exit(1 if server.run(service, listening, lambda: told.send(f"http://127.0.0.1:{port}/v1")) else 0)


@dataclass
class Server:
    """One that runs: its address, the number of its process, and what waits for its end."""

    url: str
    pid: int
    ended: Callable[[float], int | None]

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **more)

    def ask(self, text: str = "cat", **more: Any) -> dict[str, Any]:
        return {"model": "tiny", "messages": [{"role": "user", "content": text}], **more}

    def metric(self, name: str) -> float:
        """A number of /metrics; 0 where it was never counted."""
        text = httpx.get(self.url.replace("/v1", "/metrics"), timeout=60).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0

    def wait(self, name: str, value: float, seconds: float = 20) -> None:
        """Until a metric has that value."""
        end = time.monotonic() + seconds
        while self.metric(name) != value:
            assert time.monotonic() < end, f"{name} is {self.metric(name)}, never {value}"
            time.sleep(0.05)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream that ended as it should."""
    texts = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert texts[-1] == "[DONE]", texts
    return [json.loads(text) for text in texts[:-1]]


@contextlib.contextmanager
def command(*arguments: str) -> Iterator[Server]:
    """`kcompiler` as anybody starts it, once it says where it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kcompiler", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said = ""
        while not (found := re.search(r"at (http://\S+)", said)):
            line = process.stderr.readline()
            assert line, f"it ended with {process.wait()}: {said}"
            said += line
        yield Server(found[1], process.pid, lambda seconds: process.wait(seconds))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@contextlib.contextmanager
def odd(folder: Path, **settings: Any) -> Iterator[Server]:
    """A server with an odd model: forked from a process that has imported everything already."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["runtime.generate.opening", "runtime.serve.server", __name__])
    ours, theirs = processes.Pipe()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        process = processes.Process(target=main, args=(str(folder), settings, theirs))
        process.start()
    theirs.close()

    def ended(seconds: float) -> int | None:
        process.join(seconds)
        return process.exitcode

    try:
        yield Server(ours.recv(), process.pid or 0, ended)
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()
