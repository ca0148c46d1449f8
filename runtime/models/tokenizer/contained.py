"""A program of ours that works on what a stranger wrote, in a process that may be killed.

It answers one JSON object a line with one. Neither taking long nor growing large can be kept from a template, or from
the rules and regular expressions of a tokenizer; so whoever waits for an answer waits for a bounded time, and the
program itself bounds its memory before it reads anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: seconds for the start of a program, and those of processor time that it may take beyond what is waited for
STARTING, SPARE = 60.0, 5.0


class Stopped(Exception):
    """The program was killed, or ended by itself; the message says why, after the name of what it worked on."""


class Contained:
    """One program in its process, without the machine's environment; it ends with this object."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
            cwd="/",
            # Ctrl-C on a terminal is for whoever waits for it, who comes to a safe point first
            start_new_session=True,
        )
        weakref.finalize(self, _end, self.process)

    def answer(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """One line there, one line back. Raises Stopped when none comes in time, or at all; there is no other then."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise self._stopped("ended its process") from None
        found, until = bytearray(), time.monotonic() + seconds
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            while not found.endswith(b"\n"):
                left = until - time.monotonic()
                if left <= 0 or not waiting.select(left):
                    raise self._stopped(f"takes longer than {seconds:g} s")
                piece = os.read(process.stdout.fileno(), 1 << 16)
                if not piece:
                    raise self._stopped("ended its process")
                found += piece
        return dict(json.loads(found))

    def _stopped(self, why: str) -> Stopped:
        _end(self.process)
        return Stopped(why)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            # what was not read or written is of no use any more
            with contextlib.suppress(OSError):
                stream.close()
