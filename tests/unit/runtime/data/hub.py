"""A hub of our own, as much of it as a snapshot needs: the listing of one commit, and its files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c" * 40


class Hub:
    """Where it listens, and the paths it was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []


@contextmanager
def serving(files: Mapping[str, bytes], repository: str = "org/name", commit: str = COMMIT) -> Iterator[Hub]:
    """`files` of one repository at one commit; everything else is not there."""
    hub = Hub()
    listing = json.dumps(
        [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in files.items()
        ]
    ).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._reply(body=False)

        def do_GET(self) -> None:
            self._reply(body=True)

        def _reply(self, body: bool) -> None:
            hub.asked.append(self.path)
            path, there = self.path.partition("?")[0], f"/{repository}/resolve/{commit}/"
            status, data = 404, b"{}"
            headers = {"X-Error-Code": "RevisionNotFound" if f"/{repository}" in path else "RepoNotFound"}
            if path == f"/api/models/{repository}/tree/{commit}":
                status, data, headers = 200, listing, {}
            elif path.startswith(there):
                status, data = 200, files[path.removeprefix(there)]
                headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": commit}
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
