"""A chat-completions server of our own, a stage for steps, and a dataset of a few rows."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runtime.contract import Used, rows
from runtime.contract.peak import Peak

Reply = tuple[int, Mapping[str, str], Any]


class Stage:
    """A Context whose artifacts are folders below `root` and whose reports are kept."""

    step_id, versions, seed = "teacher", {}, 7

    def __init__(self, root: Path) -> None:
        self.root, self.digests = root, {}
        self.scratch, self.paid = root / "scratch", root / ".kcompiler" / "paid"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.data: dict[str, Any] = {}
        self.environment: dict[str, Any] = {}
        self.said: list[str] = []
        self.used_up: dict[str, int] = {}
        #: the most that was under way at once, and what is now
        self.most_underway = self.now_underway = 0

    def out(self, port: str) -> Path:
        (self.root / port).mkdir(parents=True, exist_ok=True)
        return self.root / port

    def say(self, message: str) -> None:
        self.said.append(message)

    def progress(self, done: int, total: int, note: str = "") -> None:
        assert 0 <= done <= total

    def kept(self, done: int) -> None: ...

    def used(self, what: Used, amount: int) -> None:
        self.used_up[what] = self.used_up.get(what, 0) + amount

    def measures(self, peak: Callable[[], Peak]) -> None:
        self.peak = peak

    def underway(self, what: Used, amount: int) -> None:
        assert what == "teacher_tokens"
        self.now_underway, self.most_underway = amount, max(self.most_underway, amount)

    def report(
        self,
        port: str,
        data: Mapping[str, Any],
        *,
        fingerprints: Mapping[str, str],
        environment: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.environment = dict(environment)
        self.data[port] = json.loads(json.dumps(data, allow_nan=False))


def dataset(folder: Path, prompts: list[str]) -> Path:
    """A dataset whose training split asks these prompts."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [
        {"id": f"r{i}", "prompt": prompt, "response": "A", "class": "", "spans": {}, "source": "s"}
        for i, prompt in enumerate(prompts)
    ]
    (folder / "train.jsonl").write_text("".join(rows.written(made, "train.jsonl")))  # type: ignore[arg-type]
    (folder / "manifest.json").write_text(json.dumps({"tool_registry_sha256": "0" * 64}))
    return folder


def completion(text: str, *, finish: str = "stop", logprobs: Mapping[str, float] | None = None, tokens: int = 3) -> Any:
    """What an OpenAI-compatible server replies."""
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    if logprobs:
        top = [{"token": token, "logprob": number} for token, number in logprobs.items()]
        choice["logprobs"] = {"content": [{"token": text[:1], "logprob": 0.0, "top_logprobs": top}]}
    usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
    return {"id": "x", "object": "chat.completion", "model": "teacher-1", "choices": [choice], "usage": usage}


class Server:
    """`answer(prompt, how often it was asked)` → status, headers, JSON. Requests are kept with their headers."""

    def __init__(self, answer: Callable[[str, int], Reply], delay_s: float = 0.0) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.at_once = 0
        lock, running = threading.Lock(), [0]
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    prompt = body["messages"][0]["content"]
                    count = sum(one["messages"][0]["content"] == prompt for one in server.asked)
                    server.asked.append(body)
                    server.headers.append(dict(self.headers.items()))
                    server.times.append(time.monotonic())
                    running[0] += 1
                    server.at_once = max(server.at_once, running[0])
                time.sleep(delay_s)
                status, headers, value = answer(prompt, count)
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                with lock:
                    running[0] -= 1
                self.send_response(status)
                for name, text in headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def serving(answer: Callable[[str, int], Reply], delay_s: float = 0.0) -> Iterator[Server]:
    server = Server(answer, delay_s)
    try:
        yield server
    finally:
        server.close()
