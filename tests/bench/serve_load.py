"""Serve under many connections: none lost, memory flat, slow readers dropped.

    python -m tests.bench.serve_load [--connections 200] [--seconds 60]

A tiny model of random weights (the server is measured, not the model) behind `kcompiler serve`'s own service, on
loopback. Each connection streams one answer after the other and counts as lost what is neither a whole stream nor a
refusal that says when to come again. Ten more connections ask for a long answer and never read it; they hold places
among the answers that grow until they are dropped, and the others wait for it. Memory is that of
the server's process (VmRSS), when all had their first answer and at the end: growth beside what it had.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.tensor.generate import folders
from tests.tensor.serve import serving

SLOW = 10
#: seconds that a stalled reader has here; ten in a server as it is started
STALL_S = 5.0


def memory(pid: int) -> float:
    """Resident memory of a process in MiB."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found
    return int(found[1]) / 1024


def request(port: int, tokens: int, **more: object) -> bytes:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "cat"}], "max_tokens": tokens, "stream": True}
    text = json.dumps({**body, "temperature": 1.0, **more}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(text) + text


async def answer(reader: asyncio.StreamReader) -> tuple[str, int]:
    """How one response ended: "whole", "busy" or what was wrong; and how many chunks it had."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status = head.split(" ", 2)[1]
    if status != "200":
        length = re.search(r"content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        return ("busy" if status in ("429", "503") and "retry-after" in head else f"status {status}"), 0
    chunks, last = 0, b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        last = (await reader.readexactly(size + 2))[:-2]
        chunks += 1
    await reader.readuntil(b"\r\n")
    return ("whole" if last == b"data: [DONE]\n\n" else f"ended with {last[:60]!r}"), chunks


async def talk(port: int, until: float, tally: Counter[str], waits: list[float]) -> None:
    """One connection that asks until the time is up; what it has begun it hears to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.monotonic() < until:
            began = time.monotonic()
            writer.write(request(port, 16))
            await writer.drain()
            how, chunks = await asyncio.wait_for(answer(reader), 120)
            tally[how] += 1
            tally["chunks"] += chunks
            waits.append(time.monotonic() - began)
            if how == "busy":
                await asyncio.sleep(1)
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        tally[f"lost: {type(error).__name__}"] += 1
    finally:
        writer.close()


async def ignore(port: int, until: float, tally: Counter[str]) -> None:
    """One connection that asks for a long answer and does not read it."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", port))
        raw.sendall(request(port, 60_000, logprobs=True, top_logprobs=20))
        await asyncio.sleep(max(0.0, until - time.monotonic()))
    tally["slow readers"] += 1


async def load(port: int, pid: int, connections: int, seconds: float) -> tuple[Counter[str], list[float], float, float]:
    tally: Counter[str] = Counter()
    waits: list[float] = []
    until = time.monotonic() + seconds
    tasks = [asyncio.create_task(talk(port, until, tally, waits)) for _ in range(connections)]
    tasks += [asyncio.create_task(ignore(port, until, tally)) for _ in range(SLOW)]
    while tally["whole"] < connections and time.monotonic() < until:
        await asyncio.sleep(0.1)
    before = memory(pid)
    await asyncio.gather(*tasks)
    return tally, waits, before, memory(pid)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--connections", type=int, default=200)
    asked.add_argument("--seconds", type=float, default=60)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = folders.llama(Path(name) / "tiny", context=4096)
        with serving.odd(folder, goes_on=True, limits={"tokens": 60_000, "stall_s": STALL_S}) as server:
            port = int(server.url.split(":")[2].split("/")[0])
            tally, waits, before, after = asyncio.run(load(port, server.pid, given.connections, given.seconds))
            slow = server.metric('kcompiler_dropped_connections_total{why="slow"}')
            server.wait("kcompiler_active_answers", 0, 60)
            os.kill(server.pid, signal.SIGTERM)
            code = server.ended(60)
    chunks, busy = tally.pop("chunks"), tally.pop("busy", 0)
    whole, ignored = tally.pop("whole"), tally.pop("slow readers")
    waits.sort()
    print(f"{given.connections} connections, {given.seconds:g} s: {whole} whole streams of {chunks} chunks")
    print(f"turned away with Retry-After {busy}, lost {sum(tally.values())} {dict(tally) or ''}")
    print(f"seconds an answer: median {waits[len(waits) // 2]:.2f}, worst {waits[-1]:.2f}")
    print(f"memory of the server: {before:.1f} MiB, then {after:.1f} MiB ({after / before - 1:+.1%})")
    print(f"slow readers dropped: {slow:g} of {ignored}; ended with code {code}")


if __name__ == "__main__":
    main()
