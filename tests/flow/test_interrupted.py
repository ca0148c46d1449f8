"""`apply` killed, stopped or run twice at once: the next one goes on, and the end is that of an undisturbed run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.flow.world import LIGHT, NAME, SIGNALLED, STEPS, Home, Result, command, environment, signals
from tests.longer import also, longer

pytestmark = pytest.mark.slow

#: a durable state of a training is about to count
STATE = r"work/training/state-\d+\.json$"
#: the converted package is about to be made durable
PACKAGE = r"out/package/quantized\.mlpackage/Data/com\.apple\.CoreML/model\.mlmodel$"


def interrupted(home: Home, number: int, event: str, path: str, count: int = 1) -> Result:
    """An apply that sends itself a signal at a place."""
    return home.apply(code=SIGNALLED, env=signals(number, event, path, count))


def claimed(home: Home) -> str:
    """The step the last line about a step is of, which must be the line that it began."""
    last = [line for line in home.journal() if line["type"].startswith("step_")][-1]
    assert last["type"] == "step_claimed", last
    return str(last["data"]["step"])


def test_killed_while_training_and_while_converting_it_ends_as_undisturbed(
    applied: tuple[Home, Result], fresh: Home
) -> None:
    """In another folder, so that equal digests also say that no path counts."""
    # the teacher's only state, then the student's first: the kill is before its second
    assert interrupted(fresh, signal.SIGKILL, "os.rename", STATE, 3).code == -signal.SIGKILL
    assert claimed(fresh) == "train-kd"
    assert interrupted(fresh, signal.SIGKILL, "open", PACKAGE).code == -signal.SIGKILL
    assert claimed(fresh) == "convert"
    result = fresh.apply().ended(1, "fail")
    assert [step for step, what in result.steps().items() if what == "reused"] == STEPS[: STEPS.index("convert")]
    assert fresh.digests() == applied[0].digests()
    attempts = {step: (record["attempts"], record["lost_attempts"]) for step, record in fresh.records().items()}
    assert attempts == {step: (2, 0) if step in ("train-kd", "convert") else (1, 0) for step in STEPS}
    assert fresh.audit().code == 0


def test_a_killed_training_continues_where_its_last_state_was(done: Home) -> None:
    before = done.digests()
    done.lose("train-kd", "checkpoint")
    assert interrupted(done, signal.SIGKILL, "os.rename", STATE, 2).code == -signal.SIGKILL
    assert claimed(done) == "train-kd"
    status = done.run("status", f"specs/{NAME}.yaml", code=LIGHT).ended(0, "")
    assert re.search(
        r"> +train +ready +2/3 .*train-kd interrupted at step 4 of 12, apply goes on from there", status.out
    )
    result = done.apply().ended(1, "fail")
    assert "train-kd: continuing at step 4 of 12" in result.err
    assert result.steps()["train-kd"] == "committed"
    assert done.digests() == before
    assert {what for step, what in result.steps().items() if step != "train-kd"} == {"reused"}


@pytest.mark.parametrize("number", [signal.SIGTERM, also(signal.SIGINT)])
@longer
def test_a_signal_while_training_stops_in_order_and_the_next_apply_continues(done: Home, number: int) -> None:
    before = done.digests()
    done.lose("train-kd", "checkpoint")
    result = interrupted(done, number, "os.rename", STATE).ended(128 + number, "interrupted")
    assert result.last["next"] == f"kcompiler apply specs/{NAME}.yaml"
    assert "stopping at the next safe point" in result.err
    told = re.search(r"^train-kd: (interrupted at step (\d+) of 12, apply goes on from there)$", result.err, re.M)
    assert told, result.text
    assert told[1] in result.reason("train-kd")
    # what is told is so: status says the same, and the next apply does it
    assert f"train-kd {told[1]}" in done.run("status", f"specs/{NAME}.yaml", code=LIGHT).ended(0, "").out
    kept = done.run("state", "gc", code=LIGHT).ended(0, "")
    assert "1 scratch folder " in kept.out
    types = [line["type"] for line in done.journal()]
    assert types[-1] == "run_closed"
    assert "step_interrupted" in types
    partial = json.loads((done.evidence / "verdict.json").read_bytes())
    assert partial["verdict"] != "PASS", "an old verdict must not stand beside the evidence of a part"
    assert partial["counts"]["not_evaluated"] > 0
    result = done.apply().ended(1, "fail")
    assert "train-kd: continuing at step 4 of 12" in result.err
    assert done.digests() == before
    assert "interrupted" not in done.run("status", f"specs/{NAME}.yaml", code=LIGHT).ended(0, "").out
    assert done.audit().code == 0


@contextmanager
def standing_still(home: Home, event: str, path: str) -> Iterator[subprocess.Popen[str]]:
    """An apply that stops itself (SIGSTOP) at a place; it is continued by whoever asks, and is gone afterwards."""
    process = subprocess.Popen(
        command("apply", f"specs/{NAME}.yaml", code=SIGNALLED),
        cwd=home.root,
        env=environment(signals(signal.SIGSTOP, event, path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8")
            if stat.rpartition(")")[2].split()[0] == "T":
                break
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        else:
            pytest.fail("the first apply never came to its place")
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see that a process stands still")
@longer
def test_of_two_applies_at_once_the_second_exits_5_and_names_the_first(done: Home) -> None:
    before = done.digests()
    done.lose("train-kd", "checkpoint")
    with standing_still(done, "os.rename", STATE) as first:
        second = done.apply(code=LIGHT).ended(5, "locked")
        assert re.search(rf"process {first.pid} on \S+ since \d{{4}}-", second.err), second.text
        assert done.run("plan", f"specs/{NAME}.yaml", code=LIGHT).code == 0, "looking needs no lease"
        done.run("state", "gc", code=LIGHT).ended(5, "locked")
        status = done.run("status", f"specs/{NAME}.yaml", code=LIGHT).ended(0, "")
        assert f"train-kd process {first.pid} is at work on it" in status.out
        os.kill(first.pid, signal.SIGCONT)
        out, _ = first.communicate(timeout=60)
        assert first.returncode == 1, out
    assert done.digests() == before
    assert done.audit().code == 0
