"""Signals to a real `apply`: the first lets it come to a safe point, the second leaves at once, the third ends it; what
each leaves is settled by the next apply, or by `state resolve`. A clock that was set back changes nothing of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.flow import world
from tests.flow.world import MAIN, SIGNALLED, Home, signals
from tests.longer import also, longer

pytestmark = pytest.mark.slow

#: as SIGNALLED, so many times in a row; it does not go on before the last has done its work
SEVERAL = (
    """
import os, re, sys, time
number, times, event, path = (
    int(os.environ["KC_SIGNAL"]), int(os.environ["KC_COUNT"]), os.environ["KC_EVENT"], re.compile(os.environ["KC_PATH"])
)
done = []
def audit(name, arguments):
    if name == event and not done and any(path.search(str(item)) for item in arguments):
        done.append(1)
        raised = None
        for _ in range(times):
            try:
                os.kill(os.getpid(), number)
                time.sleep(0.01 if times < 3 else 0.2)
            except KeyboardInterrupt as stop:
                raised = stop
        if times > 2:
            time.sleep(60)
        if raised is not None:
            raise raised
sys.addaudithook(audit)
"""
    + MAIN
)
#: in the midst of the first step, and its outputs are about to be stored
INSIDE, STORING = r"scratch/[0-9a-f]+/out/dataset/", r"store/sha256/"
PART = ("--only", "tokenizer")


def ended(home: Home) -> tuple[str, str]:
    """The type of the last line, and how the run ended by it."""
    last = home.journal()[-1]
    return last["type"], last["data"].get("outcome", "")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = world.make(tmp_path_factory.mktemp("quiet") / "project")
    home.apply(*PART).ended(0, "")
    return home


@pytest.mark.parametrize(
    ("times", "number"), [(1, signal.SIGTERM), also(1, signal.SIGHUP), also(2, signal.SIGINT), also(3, signal.SIGTERM)]
)
def test_signals_end_an_apply_the_sooner_the_more_there_are(fresh: Home, quiet: Home, number: int, times: int) -> None:
    result = fresh.apply(*PART, code=SEVERAL, env=signals(number, "open", INSIDE, times)).ended(
        128 + number, "killed" if times == 3 else "interrupted"
    )
    assert "stopping at the next safe point" in result.err
    assert result.last["next"].startswith(
        "the same command" if times == 3 else f"kcompiler apply {fresh.spec.relative_to(fresh.root)}"
    )
    types = [line["type"] for line in fresh.journal()]
    if times == 1:
        assert ended(fresh) == ("run_closed", "interrupted")
        assert "step_failed" not in types
    elif times == 2:
        assert ended(fresh) == ("run_closed", "interrupted")
        assert types.count("step_interrupted") == 1
        assert "step_committed" not in types
    else:
        assert types[-1] == "step_claimed", "it had no time to say anything"
    info = fresh.run("state", "lock-info").ended(0, "")
    assert ("dead and did not give the lease back" in info.out) == (times == 3)
    fresh.apply(*PART).ended(0, "")
    assert fresh.digests() == quiet.digests()
    assert [line["type"] for line in fresh.journal()].count("step_committed") == 2


@longer
def test_what_was_finished_when_it_was_killed_is_settled_by_word(fresh: Home, quiet: Home) -> None:
    killed = signals(signal.SIGKILL, "os.rename", STORING)
    assert fresh.apply(*PART, code=SIGNALLED, env=killed).code == -signal.SIGKILL
    assert ended(fresh)[0] == "step_staged"
    fresh.run("state", "resolve", "tokenizer", "--as", "committed").ended(2, "nothing-in-doubt")
    told = fresh.run("state", "list").ended(0, "")
    assert "interrupted when all was made, apply stores it" in told.out
    fresh.run("state", "resolve", "data", "--as", "committed").ended(0, "")
    assert ended(fresh)[0] == "step_committed"
    result = fresh.apply(*PART).ended(0, "")
    assert result.steps()["data"] == "reused"
    assert fresh.digests() == quiet.digests()


def test_what_is_said_to_have_failed_begins_anew(fresh: Home, quiet: Home) -> None:
    killed = signals(signal.SIGKILL, "os.rename", STORING)
    assert fresh.apply(*PART, code=SIGNALLED, env=killed).code == -signal.SIGKILL
    victim = next((fresh.state / "scratch").glob("*/out/dataset/train.jsonl"))
    victim.write_bytes(victim.read_bytes()[:-1])
    refused = fresh.run("state", "resolve", "data", "--as", "committed").ended(1, "not-whole")
    # the advice, followed
    fresh.run(*refused.last["next"].split()[1:]).ended(0, "")
    assert fresh.run("state", "resolve", "data", "--as", "failed").ended(2, "nothing-in-doubt").last["next"]
    result = fresh.apply(*PART).ended(0, "")
    assert result.steps()["data"] == "committed"
    assert fresh.digests() == quiet.digests()
    assert fresh.records()["data"]["attempts"] == 2


#: the clock is an hour before what it was
BEFORE = (
    """
import time
from kcompiler.cli import clock
from runtime.machine import apply as machine
machine.apply.__kwdefaults__["now"] = lambda: time.time() - 3600
clock.now = lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
"""
    + MAIN
)


def test_a_clock_that_was_set_back_loses_nothing_and_runs_nothing_twice(fresh: Home, quiet: Home) -> None:
    fresh.apply("--only", "data").ended(0, "")
    result = fresh.apply(*PART, code=BEFORE).ended(0, "")
    assert result.steps()["data"] == "reused"
    times = [line["ts"] for line in fresh.journal()]
    assert times != sorted(times), "the clock was set back"
    assert [line["seq"] for line in fresh.journal()] == list(range(1, len(times) + 1))
    assert fresh.digests() == quiet.digests()
    assert set(fresh.apply(*PART).ended(0, "").steps().values()) >= {"reused"}
    assert [line["type"] for line in fresh.journal()].count("step_committed") == 2
    assert all(record["wall_s"] >= 0 for record in fresh.records().values())
    assert "from the future" not in fresh.run("state", "list").ended(0, "").out
    assert "from the future" in fresh.run("state", "list", code=BEFORE).ended(0, "").out


def test_the_surroundings_change_no_artifact(tmp_path: Path, quiet: Home) -> None:
    """Locale, time zone, hash seed, umask and the name of the folder."""
    home = world.make(tmp_path / f"a b \U0001f3b1 {'x' * 200}")
    around = {"LC_ALL": "C", "TZ": "Pacific/Chatham", "PYTHONHASHSEED": "7"}
    home.apply(*PART, env=around, umask=0o077).ended(0, "")
    assert home.digests() == quiet.digests()
