"""Programs that work on what a stranger wrote, apart: they hear no signals of the terminal and end with their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.contract import tables
from runtime.models.tokenizer.contained import Contained
from runtime.models.tokenizer.sandbox import Sandbox
from tests.unit.runtime.machinery import environ

PARENT = """
import sys
from runtime.models.tokenizer import sandbox
sandbox.SPARE = 0.0
one = sandbox.Sandbox(sys.argv[1], "2026-01-01", seconds=1.0)
print(one._process.process.pid, flush=True)
if sys.argv[2] == "busy":
    one.render([], [], {}, generation_prompt=False)
else:
    sys.stdin.read()
"""
#: takes minutes
LONG = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}"


def gone(process: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{process}/stat")
        try:
            if stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
@pytest.mark.parametrize("how", ["idle", "busy"])
def test_a_child_does_not_outlive_its_parent(how: str) -> None:
    """Killed, a parent cannot end anybody: its child sees the end of its input, or of its processor time."""
    command = [sys.executable, "-c", PARENT, LONG, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ()) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.kill()
        parent.wait()
        assert gone(child, 60.0)


def test_a_child_hears_no_signal_of_the_terminal_and_knows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C goes to every process of a group: a renderer that died of it would fail a step that may come to an end."""
    monkeypatch.setenv("TEACHER_KEY", "canary")
    one = Sandbox("{{ messages }}", "2026-01-01")
    assert isinstance(one._process, Contained)
    child = one._process.process.pid
    assert os.getsid(child) == child != os.getsid(0)
    told = Path(f"/proc/{child}/environ")
    if told.exists():
        assert b"canary" not in told.read_bytes()


def test_the_reader_of_tables_hears_and_knows_as_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", "canary")
    program = tmp_path / "reader.py"
    program.write_text(
        "import json, os, sys\nsys.stdin.read()\nprint(json.dumps({'env': dict(os.environ), 'sid': os.getsid(0)}))"
    )
    monkeypatch.setattr(tables, "PROGRAM", program)
    file = tmp_path / "x.parquet"
    file.write_bytes(b"")
    found = tables.lines(file, "parquet", frozenset())
    said = next(found)[2].decode()
    found.close()
    assert "canary" not in said
    assert f'"sid": {os.getsid(0)}' not in said
