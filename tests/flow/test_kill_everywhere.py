"""The small plan of the real command line under kill -9: two hundred times at random, and before every system call.

Documented and run as one command, `KCOMPILER_CRASH=1 python -m pytest -s tests/flow/test_machine_crash.py
tests/flow/test_kill_everywhere.py` (about half an hour on two cores); the quick set kills a few times.
KCOMPILER_SEED=N repeats the moments of a run, whose seed is printed.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from runtime.contract.chain import check_head, read
from tests.flow.test_kills import TIMED
from tests.flow.test_machine_crash import check_recovered, short, undisturbed
from tests.flow.world import Home, Result
from tests.longer import longer
from tests.unit.runtime import machinery

WHOLE = "KCOMPILER_CRASH" in os.environ
KILLS = 200 if WHOLE else 4
SEED = int(os.environ.get("KCOMPILER_SEED") or time.time_ns() % 1_000_000)
#: a small plan: rows and their tokenizer (kills of the whole of it: test_kills.py)
OPTIONS = ("--only", "tokenizer")


class Acknowledged:
    """The lines of a journal that were there when its writer was killed: none of them may ever go or change."""

    def __init__(self, home: Home) -> None:
        self._state, self._lines = home.state, list[bytes]()

    def look(self) -> None:
        journal, head = self._state / "journal.jsonl", self._state / "head"
        if not journal.exists():
            assert self._lines == []
            return
        chain = read(journal.read_bytes())
        check_head(chain, head.read_bytes() if head.exists() else None)
        texts = [line.text for line in chain.lines]
        assert texts[: len(self._lines)] == self._lines, "an acknowledged line is gone"
        self._lines = texts
        done = [line.data["action"] for line in chain.lines if line.type == "step_committed"]
        assert len(set(done)) == len(done), "a step was committed twice"


@pytest.mark.slow
@longer
def test_killed_at_random_moments_nothing_acknowledged_is_lost_and_nothing_is_done_twice(
    fresh: Home, tmp_path: Path
) -> None:
    print(f"\nseed {SEED}: KCOMPILER_SEED={SEED} repeats these moments")
    chance = random.Random(SEED)
    # the first pays for imports that later ones do not: what a run takes is the second's time
    for name in ("first", "quiet"):
        quiet = fresh.copy(tmp_path / name)
        began = time.monotonic()
        quiet.apply(*OPTIONS, code=TIMED.format(seconds=3600.0)).ended(0, "")
        whole_s = time.monotonic() - began
    kills = runs = 0
    before: dict[str, int] = {}
    while kills < KILLS:
        home = fresh.copy(tmp_path / f"killed-{runs}")
        lines, ended = Acknowledged(home), Result(-1, "", "")
        while ended.code == -1 or ended.code == -signal.SIGKILL:
            # half of the moments soon, while things begin and are recovered; none after all was done
            share = chance.uniform(0.0, chance.choice([0.1, 1.0])) if WHOLE else chance.uniform(0.1, 0.9)
            seconds = whole_s * share if kills < KILLS else 3600.0
            ended = home.apply(*OPTIONS, code=TIMED.format(seconds=seconds))
            lines.look()
            if ended.code == -signal.SIGKILL:
                kills += 1
                last = home.journal()[-1]["type"] if (home.state / "journal.jsonl").exists() else "nothing"
                before[last] = before.get(last, 0) + 1
        ended.ended(0, "")
        assert home.digests() == quiet.digests()
        assert home.run("state", "verify").ended(0, "").out.startswith("sound")
        runs += 1
        shutil.rmtree(home.root / ".kcompiler" / "scratch")
    print(f"{kills} kills in {runs} runs; the last line was then: {before}")
    assert len(before) > 1 or not WHOLE


PROGRAM = """
import pathlib, sys
from tests.unit.runtime import machinery as m
m.install()
from runtime.machine.apply import apply
root = pathlib.Path(sys.argv[1])
content = m.lock(root, m.chain(root, rounds=3)["steps"][:2])
apply(content, root=root, judge=m.approve)
"""
#: system calls that change what a file system holds
CALLS = (
    *("write", "pwrite64", "fsync", "fdatasync", "ftruncate", "truncate"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
    *("chmod", "fchmod", "fchmodat", "utimensat", "link", "linkat", "copy_file_range", "sendfile"),
)


def counted(root: Path) -> Mapping[str, int]:
    """How often an undisturbed run makes each of these calls."""
    told = root / "calls"
    (root / "home").mkdir()
    command = ["strace", "-f", "-qq", "-o", str(told), "-e", f"trace={','.join(CALLS)}"]
    subprocess.run(
        [*command, sys.executable, "-c", PROGRAM, str(root / "home")],
        env={**machinery.environ(), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )
    found: dict[str, int] = {}
    for name in re.findall(r"^\d+ +(\w+)\(", told.read_text(errors="replace"), re.MULTILINE):
        found[name] = found.get(name, 0) + 1
    return found


def traced() -> bool:
    """Whether strace is here and may look into processes."""
    try:
        return subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not WHOLE, reason="KCOMPILER_CRASH=1 asks for it: a process for each system call")
@pytest.mark.skipif(WHOLE and not traced(), reason="needs strace")
def test_killed_before_every_system_call_that_changes_a_file_it_ends_as_undisturbed(tmp_path: Path) -> None:
    """The kernel's own view: also what Python, the C library or a step does to files without asking our disk."""
    machinery.install()
    try:
        with machinery.quick_folder() as folder:
            expected = undisturbed(folder, short)
            calls = counted(folder)
            killed = 0
            for name, count in calls.items():
                for number in range(1, count + 1):
                    root = folder / f"{name}-{number}"
                    root.mkdir()
                    inject = f"inject={name}:signal=KILL:when={number}"
                    done = subprocess.run(
                        [
                            *("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject),
                            *(sys.executable, "-c", PROGRAM, str(root)),
                        ],
                        env={**machinery.environ(), "PYTHONDONTWRITEBYTECODE": "1"},
                        check=False,
                        capture_output=True,
                    )
                    killed += done.returncode != 0
                    assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
                    check_recovered(root, short(root), expected)
                    shutil.rmtree(root, ignore_errors=True)
            print(f"\nkilled before {killed} of {sum(calls.values())} system calls: {dict(calls)}")
            assert killed > 150
    finally:
        machinery.remove()
