"""What stands around an answer: limits, tokens, the queue, readers that stall, and the end of the server."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time

import httpx
import pytest

from kcompiler.cli import _main
from tests.longer import longer
from tests.tensor.serve import serving
from tests.tensor.serve.serving import events


def post(server, body, **more):
    with server.client() as client:
        return client.post(
            "/chat/completions", **({"json": body} if isinstance(body, dict) else {"content": body}), **more
        )


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "no JSON object"),
        (b'{"model":"tiny","model":"tiny","messages":[]}', 400, "duplicate key"),
        (b'{"model":"tiny","messages":[]}', 400, "messages"),
        (b'{"model":"tiny","messages":[{"role":"robot","content":"x"}]}', 400, "role"),
        (b'{"model":"tiny","messages":[{"role":"user"}]}', 400, "content"),
        (b'{"model":"tiny","messages":[{"role":"user","content":[{"type":"image_url"}]}]}', 400, "text only"),
        (b'{"model":"tiny","messages":[{"role":"user","content":[{"type":"text","text":1}]}]}', 400, "text only"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"seed":18446744073709551616}', 400, "64 bits"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"stream":"yes"}', 400, "stream"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"max_tokens":0}', 400, "max_tokens"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"n":0}', 400, "`n` can only be 1"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"n":true}', 400, "`n` can only be 1"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"\\ud800"}]}', 400, "surrogate"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"temperature":NaN}', 400, "not JSON"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"seed":1e400}', 400, "range"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"top_logprobs":2}', 400, "needs `logprobs`"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"tool_choice":"auto"}', 400, "needs `tools`"),
        (
            b'{"model":"tiny","messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"function",'
            b'"function":{"name":"f","arguments":"{"}}]},{"role":"user","content":"x"}]}',
            400,
            "not JSON",
        ),
        (
            b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function",'
            b'"function":{"name":"f","parameters":{"type":"objekt"}}}]}',
            400,
            "tools are refused",
        ),
        (b"[" * 100_000, 400, "nested"),
        (b'{"model":"tiny","messages":[{"role":"user","content":"' + b"x" * (1 << 20) + b'"}]}', 413, "at most"),
    ],
)
def test_a_body_that_is_no_request_is_refused_in_openais_form(plain, body, status, why):
    found = post(plain, body, headers=JSON)
    assert found.status_code == status, found.text
    error = found.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert why in error["message"]
    assert error["type"] == "invalid_request_error"


def test_a_body_without_a_length_is_counted_as_it_comes(plain):
    def parts():
        for _ in range(40):
            yield b" " * (1 << 16)

    assert post(plain, parts(), headers=JSON).status_code == 413


def test_other_content_is_not_read(plain):
    """A page of another site could send this without asking: it is `simple` to a browser."""
    assert post(plain, b"{}", headers={"content-type": "text/plain"}).status_code == 415


def test_other_routes_and_methods_are_errors_in_the_same_form(plain):
    with plain.client() as client:
        wrong = client.get("/chat/completions")
        assert wrong.headers["allow"] == "POST"
        # a slash more is no way to be sent to a host that a header names
        slash = client.post("/chat/completions/", headers={"host": "evil.example"})
        for status, found in ((404, client.get("/completions")), (405, wrong), (404, slash)):
            assert found.status_code == status
            assert set(found.json()["error"]) == {"message", "type", "param", "code"}
        assert client.get("/models/gpt").status_code == 404


def test_a_name_that_leads_here_from_elsewhere_is_refused(plain):
    """Rebinding of DNS: a page of another site whose name has become 127.0.0.1."""
    found = post(plain, plain.ask(), headers={"host": "evil.example:80"})
    assert (found.status_code, found.json()["error"]["type"]) == (403, "invalid_request_error")
    assert post(plain, plain.ask(), headers={"host": "127.0.0.1.evil.example"}).status_code == 403
    # every address by which a server may listen without a token
    for host in ("localhost:1", "127.0.0.2:80", "[::1]:1"):
        assert post(plain, plain.ask(max_tokens=1), headers={"host": host}).status_code == 200


def test_health_and_numbers_are_told(plain):
    post(plain, plain.ask(max_tokens=3))
    health = httpx.get(plain.url.replace("/v1", "/healthz"))
    assert (health.status_code, health.json()) == (200, {"status": "ok", "model": "tiny"})
    assert plain.metric('kcompiler_requests_total{path="/v1/chat/completions",status="200"}') >= 1
    assert plain.metric('kcompiler_tokens_total{kind="completion"}') >= 1
    assert plain.metric("kcompiler_active_answers") == 0


def test_many_at_once_get_their_own_answers(plain):
    asks = [plain.ask(f"Tell me about {n}", max_tokens=12, temperature=1, seed=n) for n in range(24)]
    alone = [post(plain, ask).json()["choices"][0]["message"]["content"] for ask in asks]
    found: dict[int, str] = {}

    def ask(number):
        with (
            plain.client() as client,
            client.stream("POST", "/chat/completions", json={**asks[number], "stream": True}) as stream,
        ):
            found[number] = "".join(one["choices"][0]["delta"].get("content", "") for one in events(stream))

    threads = [threading.Thread(target=ask, args=[number]) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(24)] == alone
    assert len(set(alone)) > 12


def test_only_a_caller_with_the_token_is_answered(folder):
    token = "a-token-of-some-length"
    with serving.odd(folder, token=token) as server:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Basic {token}"},
            {"authorization": "Bearer"},
        ):
            found = post(server, server.ask(), headers=headers)
            assert (found.status_code, found.json()["error"]["code"]) == (401, "invalid_api_key")
            assert found.headers["www-authenticate"] == "Bearer"
        right = {"authorization": f"Bearer {token}"}
        assert post(server, server.ask(max_tokens=2), headers={**right, "host": "elsewhere"}).status_code == 200
        base = server.url.replace("/v1", "")
        assert httpx.get(f"{base}/metrics").status_code == 401
        assert httpx.get(f"{base}/v1/models").status_code == 401
        assert httpx.get(f"{base}/healthz").status_code == 200


@longer
def test_a_full_queue_says_so_and_when_to_come_again(folder):
    with serving.odd(folder, delay=0.1, endless=True, limits={"together": 1, "queue": 1}) as server:

        def ask():
            post(server, server.ask(max_tokens=30))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        server.wait("kcompiler_waiting_answers", 1)
        full = post(server, server.ask(max_tokens=1))
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        assert full.json()["error"]["type"] == "rate_limit_error"
        for thread in threads:
            thread.join()
        assert post(server, server.ask(max_tokens=1)).status_code == 200


def test_more_connections_than_there_may_be_are_told_so(folder):
    with serving.odd(folder, limits={"connections": 2}) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        full = post(server, server.ask(max_tokens=1))
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        assert full.json()["error"]["type"] == "server_error"
        for one in idle:
            one.close()
        for _ in range(100):
            if post(server, server.ask(max_tokens=1)).status_code == 200:
                break
            time.sleep(0.05)
        else:
            pytest.fail("places are not given back")


@pytest.mark.parametrize("stream", [True, False])
def test_nothing_is_written_for_somebody_who_has_gone(folder, stream):
    with serving.odd(folder, delay=0.02, endless=True, limits={"tokens": 5000}) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))) as raw:
            body = json.dumps(server.ask(max_tokens=5000, stream=stream)).encode()
            raw.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                b"content-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
            )
            server.wait("kcompiler_active_answers", 1)
        server.wait("kcompiler_active_answers", 0)
        server.wait('kcompiler_answers_total{end="gone"}', 1)
        assert server.metric('kcompiler_tokens_total{kind="completion"}') < 2000


def test_a_reader_that_does_not_read_is_dropped(folder):
    with serving.odd(folder, endless=True, limits={"tokens": 90_000, "stall_s": 1.0}) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", port))
            body = json.dumps(server.ask(max_tokens=90_000, stream=True)).encode()
            raw.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                b"content-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
            )
            server.wait('kcompiler_dropped_connections_total{why="slow"}', 1, 40)
            server.wait("kcompiler_active_answers", 0)
            assert server.metric('kcompiler_answers_total{end="gone"}') == 1
        assert post(server, server.ask(max_tokens=2)).status_code == 200


def test_a_request_that_never_ends_is_dropped(folder):
    with serving.odd(folder, limits={"head_s": 0.5, "body_s": 0.5}) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
            raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: local")
            assert raw.recv(1000) == b""
        with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
            raw.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                b"content-length: 100\r\n\r\n{"
            )
            assert b" 408 " in raw.recv(1000)
        assert server.metric('kcompiler_dropped_connections_total{why="head"}') == 1


def test_an_answer_that_fails_is_told_and_is_no_others(folder):
    with serving.odd(folder, fail_after=3) as server:
        found = post(server, server.ask())
        assert (found.status_code, found.json()["error"]["type"]) == (500, "server_error")
        assert "finite" in found.json()["error"]["message"]
        with (
            server.client() as client,
            client.stream("POST", "/chat/completions", json=server.ask(stream=True)) as stream,
        ):
            lines = [line for line in stream.iter_lines() if line]
        assert "finite" in json.loads(lines[-1].removeprefix("data: "))["error"]["message"]
        assert "data: [DONE]" not in lines
        assert post(server, server.ask(max_tokens=2)).status_code == 200


def test_json_that_its_schema_refuses_is_never_sent_as_an_answer(folder):
    pytest.importorskip("llguidance", reason="the extra `grammar` is not installed")
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}},
        "required": ["a"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with serving.odd(folder, say='{"a":[1,1]}') as server:
        found = post(server, server.ask(response_format=wanted))
        assert found.status_code == 500
        assert "non-unique" in found.json()["error"]["message"]
        with (
            server.client() as client,
            client.stream("POST", "/chat/completions", json=server.ask(response_format=wanted, stream=True)) as stream,
        ):
            lines = [line for line in stream.iter_lines() if line]
        assert "non-unique" in json.loads(lines[-1].removeprefix("data: "))["error"]["message"]
        cut = post(server, server.ask(response_format=wanted, max_tokens=2)).json()
        assert cut["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_a_pattern_that_takes_for_ever_takes_a_moment(folder, stream):
    """A stranger's schema: Python would search for longer than anybody lives, and nobody else would be answered."""
    pytest.importorskip("llguidance", reason="the extra `grammar` is not installed")
    text = "x" * 40 + "z"
    schema = {"type": "object", "properties": {"a": {"enum": [text], "pattern": "(x+x+)+y|z"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with serving.odd(folder, say=json.dumps({"a": text}), limits={"judge_s": 0.2}) as server:
        began = time.monotonic()
        found = post(server, server.ask(response_format=wanted, stream=stream))
        assert time.monotonic() - began < 20
        assert found.status_code == (200 if stream else 500)
        assert "within 0.2 s" in found.text
        assert "[DONE]" not in found.text
        assert post(server, server.ask(max_tokens=2)).status_code == 200


def test_on_sigterm_streams_end_whole_and_nothing_new_begins(folder):
    with serving.odd(folder, delay=0.05, endless=True) as server:
        with (
            server.client() as client,
            client.stream("POST", "/chat/completions", json=server.ask(max_tokens=40, stream=True)) as stream,
            server.client() as idle,
        ):
            assert idle.get("/models").status_code == 200
            os.kill(server.pid, signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(httpx.TransportError):
                post(server, server.ask())
            found = events(stream)
        assert found[-1]["choices"][0]["finish_reason"] == "length"
        assert len(found) > 30
        assert server.ended(30) == 0


def test_what_is_not_whole_within_the_limit_is_cut_and_counted(folder):
    with serving.odd(folder, delay=0.05, endless=True, limits={"drain_s": 1, "tokens": 5000}) as server:
        with (
            server.client() as client,
            client.stream("POST", "/chat/completions", json=server.ask(max_tokens=5000, stream=True)) as stream,
        ):
            os.kill(server.pid, signal.SIGTERM)
            with pytest.raises((httpx.TransportError, AssertionError)):
                events(stream)
        assert server.ended(30) == 1


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--host", "0.0.0.0"], "outcome=token-needed"),
        (["--host", "example.org"], "outcome=token-needed"),
        (["--token", "hunter2hunter2hunter2"], "env:NAME"),
        (["--token", "env:KC_TEST_EMPTY"], "outcome=no-token"),
        (["--token", "env:KC_TEST_SHORT"], "outcome=no-token"),
        (["--host", "192.0.2.1", "--token", "env:KC_TEST_GOOD"], "KR0210"),
        (["--runner", "coreml"], "outcome=unavailable"),
        (["--runner", "mil"], "KR0203"),
        (["--queue", "0"], "queue"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_listens(folder, capsys, monkeypatch, arguments, word):
    monkeypatch.setenv("KC_TEST_SHORT", "short")
    monkeypatch.setenv("KC_TEST_GOOD", "0123456789abcdef")
    assert _main(["serve", str(folder), "--port", "0", *arguments]) == 2
    out, err = capsys.readouterr()
    assert word in err
    assert out == ""
    assert "hunter2" not in err
