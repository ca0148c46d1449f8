"""A repository of weights from a hub of our own: one commit, configuration and safetensors only."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal, Unavailable
from runtime.data.fetch import fetch
from runtime.steps.fetch import FetchParams
from tests.unit.runtime.data.teaching import Stage

COMMIT = "c" * 40
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model-00001-of-00002.safetensors": b"\x01" * 5000,
    "model-00002-of-00002.safetensors": b"\x02" * 5000,
    "pytorch_model.bin": b"a pickle",
    "modeling_evil.py": b"import os",
    "consolidated.safetensors": b"\x03" * 5000,
    "onnx/config.json": b"{}",
    "README.md": b"# a model",
}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a snapshot needs: the listing of a commit, and files by commit."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self._reply(body=False)

    def do_GET(self) -> None:
        self._reply(body=True)

    def _reply(self, body: bool) -> None:
        type(self).asked.append(self.path)
        api = f"/api/models/org/name/tree/{COMMIT}"
        path = self.path.partition("?")[0]
        status, data, headers = (
            404,
            b"{}",
            {"X-Error-Code": "RevisionNotFound" if "/org/name" in path else "RepoNotFound"},
        )
        if path == api:
            data = json.dumps(
                [
                    {"type": "file", "path": name, "size": len(text), "oid": hashlib.sha1(text).hexdigest()}
                    for name, text in FILES.items()
                ]
            ).encode()
            status, headers = 200, {}
        elif path.startswith(f"/org/name/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/org/name/resolve/{COMMIT}/")
            status, data = 200, FILES[name]
            headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield Hub
    server.shutdown()
    server.server_close()


def test_configuration_tokenizer_and_safetensors_of_the_commit_come_and_nothing_else(
    tmp_path: Path, hub: type[Hub]
) -> None:
    stage = Stage(tmp_path)
    fetch({}, FetchParams(repository="org/name", revision=COMMIT), stage)
    found = {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    wanted = ("config.json", "tokenizer.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert found == {name: FILES[name] for name in wanted}
    assert not [path for path in hub.asked if path.endswith((".bin", ".py", "consolidated.safetensors"))]
    assert stage.data["report"]["files"]["value"] == 4
    assert stage.data["report"]["revision"] == COMMIT


@pytest.mark.parametrize(("repository", "revision"), [("org/name", "d" * 40), ("org/other", COMMIT)])
def test_what_the_hub_does_not_have_is_refused(tmp_path: Path, hub: type[Hub], repository: str, revision: str) -> None:
    with pytest.raises(Refusal, match=r"no such commit|does not exist"):
        fetch({}, FetchParams(repository=repository, revision=revision), Stage(tmp_path))


def test_a_hub_that_cannot_be_reached_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="cannot be fetched"):
        fetch({}, FetchParams(repository="org/name", revision=COMMIT), Stage(tmp_path))


@pytest.mark.parametrize("repository", ["name", "../../etc", "org/name/x", "org/..", "-o/x", "https://x/y"])
def test_a_repository_is_an_organisation_and_a_name(repository: str) -> None:
    with pytest.raises(ValueError, match="repository"):
        FetchParams(repository=repository, revision=COMMIT)
