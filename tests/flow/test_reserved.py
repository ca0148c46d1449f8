"""What a step takes is set aside before it begins: kill -9 before that, after it, within the step and before it is
settled; the next apply counts it, and no two applies have the same rest."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal
from runtime.contract.chain import Line
from runtime.machine import account, meter
from runtime.machine.apply import Locked, Run, apply, forecast
from runtime.machine.journal import Past
from runtime.machine.meter import FILE, LATEST
from runtime.machine.state import State
from tests.flow.test_machine_crash import Quick, end_of, in_child, lines, start_child
from tests.unit.runtime import machinery
from tests.unit.runtime.machinery import approve, chain, quick_folder

ROUNDS, PAUSE_S = 20, 0.01
MUCH = {"usd": 0.0, "gpu_hours": 1e9, "wall_s": 1e9, "cpu_s": 1e9}


@pytest.fixture(autouse=True, scope="module")
def _toy() -> Iterator[None]:
    machinery.install()
    yield
    machinery.remove()


@pytest.fixture(autouse=True)
def _beating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life so close that the time of a kill is known well; one accelerator is held all the time."""
    monkeypatch.setattr(meter, "INTERVAL_S", 0.02)
    monkeypatch.setattr(meter, "accelerators", lambda: 1)


@pytest.fixture
def root() -> Iterator[Path]:
    with quick_folder() as path:
        yield path


def form(root: Path, rounds: int = ROUNDS, **bounds: float) -> dict[str, Any]:
    """The chain, bounded. Another number of rounds is another form of the spec: `grow` runs anew, and what it took the
    last time is known."""
    content = chain(root, rounds=rounds, pause_s=PAUSE_S)
    return {**content, "budgets": {**MUCH, **bounds}}


def go(root: Path, content: Mapping[str, Any], **options: Any) -> Run:
    return apply(content, root=root, **{"judge": approve, "disk": Quick(), **options})


def told(root: Path, content: Mapping[str, Any]) -> dict[str, account.Account]:
    """Budget → what whoever looks is told of it; nothing is changed by looking."""
    expected = forecast(content, root=root)
    done = [one.key for one in expected if one.record is not None]
    left = [one.key for one in expected if one.record is None]
    return {one.name: one for one in account.look(root, content, done, left)}


def claims(root: Path, step: str = "grow") -> list[Line]:
    return [line for line in lines(root) if line.type == "step_claimed" and line.data["step"] == step]


def refused(run: Run) -> Refusal:
    (error,) = [step.error for step in run.steps if step.error]
    assert isinstance(error, Refusal)
    return error


class KillingAt(Quick):
    """SIGKILL right before, or right after, the bytes of the first journal line of a type of a step are written."""

    def __init__(self, kind: str, step: str, when: str) -> None:
        self.marks, self.when = (f'"type":"{kind}"'.encode(), f'"step":"{step}"'.encode()), when

    def append(self, path: Path, data: bytes) -> None:
        hit = all(mark in data for mark in self.marks)
        if hit and self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().append(path, data)
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)


def dying(root: Path, content: Mapping[str, Any], kind: str, when: str) -> int:
    go(root, content, disk=KillingAt(kind, "grow", when))
    return 0


def dying_within(root: Path, content: Mapping[str, Any], at: int) -> int:
    def kill() -> bool:
        for state in (root / ".kcompiler/scratch").glob("*/work/state.json"):
            if json.loads(state.read_text())[1] >= at:
                time.sleep(0.05)
                os.kill(os.getpid(), signal.SIGKILL)
        return False

    go(root, content, stop_requested=kill)
    return 0


@pytest.fixture
def known(root: Path) -> dict[str, float]:
    """What `grow` took the last time."""
    assert go(root, form(root)).outcome == "done"
    (record,) = [line.data for line in lines(root) if line.type == "step_committed" and line.data["step"] == "grow"]
    assert record["wall_s"] > ROUNDS * PAUSE_S
    return {name: record[name] for name in ("wall_s", "gpu_s", "training_tokens")}


NEXT = ROUNDS + 1


def test_what_a_step_takes_is_in_the_line_that_says_that_it_begins(root: Path, known: dict[str, float]) -> None:
    assert claims(root)[0].data["reserved"] == {}, "nothing was known of it"
    assert go(root, form(root, NEXT)).outcome == "done"
    assert claims(root)[1].data["reserved"] == pytest.approx(known)
    assert {one.reserved for one in told(root, form(root, NEXT)).values()} == {0.0}, "settled"


def test_killed_before_it_is_set_aside_nothing_is_taken(root: Path, known: dict[str, float]) -> None:
    before = told(root, form(root, NEXT))
    assert in_child(dying, root, form(root, NEXT), "step_claimed", "before") == -signal.SIGKILL
    assert told(root, form(root, NEXT)) == before
    assert go(root, form(root, NEXT)).outcome == "done"
    assert len(claims(root)) == 2


@pytest.mark.parametrize(
    ("kind", "when"), [("step_claimed", "after"), ("step_staged", "before")], ids=["set aside", "before it is settled"]
)
def test_killed_before_it_is_settled_all_of_it_counts(
    root: Path, known: dict[str, float], kind: str, when: str
) -> None:
    """Until the next apply, which finds the last sign of life; and for good where there is none."""
    before = told(root, form(root, NEXT))
    assert in_child(dying, root, form(root, NEXT), kind, when) == -signal.SIGKILL
    found = told(root, form(root, NEXT))
    assert found["wall_s"].reserved == pytest.approx(known["wall_s"])
    assert found["gpu_hours"].reserved == pytest.approx(known["gpu_s"] / 3600, abs=1e-8)
    assert found["wall_s"].spent == before["wall_s"].spent
    State(root).close()
    after = told(root, form(root, NEXT))
    assert {one.reserved for one in after.values()} == {0.0}
    (killed,) = [line.data for line in lines(root) if line.type == "step_killed"]
    assert after["wall_s"].spent == pytest.approx(before["wall_s"].spent + killed["wall_s"])
    assert after["gpu_hours"].spent == pytest.approx(before["gpu_hours"].spent + killed["gpu_s"] / 3600, abs=1e-8)
    run = go(root, form(root, NEXT))
    assert run.outcome == "done"
    assert told(root, form(root, NEXT))["gpu_hours"].spent > after["gpu_hours"].spent


def asked(content: Mapping[str, Any], *steps: str) -> dict[str, Any]:
    """The same, with a rule of phase pre-step about these steps."""
    rules = [{"rule": "lab/kept", "mode": "block", "report": "start", "from": f"step:start.{one}"} for one in steps]
    return {**content, "obligations": [*content["obligations"], *rules]}


class Strict:
    """A judge that holds a step back until an attempt of this number."""

    def __init__(self, least: int) -> None:
        self.least, self.seen = least, list[dict[str, Any]]()

    def __call__(self, reports: Mapping[str, bytes], steps: Any = None) -> list[dict[str, Any]]:
        found = []
        for key in steps or ():
            if key.startswith("start."):
                report = json.loads(reports[key])
                self.seen.append(report["data"])
                word = "pass" if report["data"]["attempt"]["value"] >= self.least else "fail"
                about = {"rule": "lab/kept", "step": key, "remedy": "wait"}
                found.append({**about, "outcome": word, "blocking": True, "blocks": word == "fail"})
        return found


def test_a_rule_holds_back_one_step_and_gives_back_what_was_set_aside(root: Path, known: dict[str, float]) -> None:
    content, judge = asked(form(root, NEXT), "grow"), Strict(2)
    before = told(root, content)
    run = go(root, content, judge=judge)
    assert run.outcome == "blocked"
    assert {one.step: (one.status, one.reason) for one in run.steps} == {
        "make": ("reused", "unchanged"),
        "grow": ("blocked", "held_back"),
        "join": ("blocked", "upstream_failed"),
        "aside": ("blocked", "upstream_failed"),
    }
    assert run.steps[1].detail == "lab/kept: wait"
    (data,) = judge.seen
    assert data["budgets"]["wall_s"]["reserved"]["value"] == pytest.approx(known["wall_s"])
    assert (data["inputs"]["all"]["value"], data["inputs"]["missing"]["value"]) == (1, 0)
    assert [(line.type, line.data.get("blocking")) for line in lines(root)[-5:-2]] == [
        ("step_claimed", None),
        ("gate_evaluated", ["lab/kept"]),
        ("step_interrupted", None),
    ]
    after = told(root, content)
    assert {one.reserved for one in after.values()} == {0.0}
    assert after["wall_s"].spent - before["wall_s"].spent < known["wall_s"], "it did no work"
    assert go(root, content, judge=judge).outcome == "done", "asked again, it passes"
    # what was not done before it was asked is no evidence, and what was committed is
    texts = {path.stem: json.loads(path.read_text()) for path in (root / "generated/toy/evidence/reports").glob("*")}
    assert texts["start.grow"]["data"] == judge.seen[1] == claims(root)[-1].data["start"]


def test_killed_between_the_report_and_the_step_it_is_asked_again(root: Path, known: dict[str, float]) -> None:
    content, judge = asked(form(root, NEXT), "grow"), Strict(1)
    assert in_child(dying, root, content, "step_claimed", "after") == -signal.SIGKILL
    assert claims(root)[-1].data["start"]["attempt"]["value"] == 1, "it is durable before anything is decided"
    assert go(root, content, judge=judge).outcome == "done"
    assert [one["attempt"]["value"] for one in judge.seen] == [2, 2], "before the step, and with its reports"
    record = [one.data for one in lines(root) if (one.type, one.data.get("step")) == ("step_committed", "grow")][-1]
    assert record["start"] == claims(root)[-1].data["start"] == judge.seen[1]


def test_without_such_a_rule_it_is_written_down_for_one_that_comes(root: Path, known: dict[str, float]) -> None:
    judge = Strict(2)
    assert go(root, form(root, NEXT), judge=judge).outcome == "done"
    assert judge.seen == []
    assert not list((root / "generated/toy/evidence/reports").glob("start*"))
    # asked later, of what is reused: it stops nothing, as nothing begins, and what it says is in the evidence
    run = go(root, asked(form(root, NEXT), "grow"), judge=judge)
    assert {one.status for one in run.steps} == {"reused"}
    assert [one["step"] for one in judge.seen] == ["grow"]
    assert (root / "generated/toy/evidence/reports/start.grow.json").is_file()


def test_killed_when_it_is_settled_it_counts_once(root: Path, known: dict[str, float]) -> None:
    assert in_child(dying, root, form(root, NEXT), "step_staged", "after") == -signal.SIGKILL
    staged = told(root, form(root, NEXT))
    assert staged["wall_s"].reserved == 0.0
    go(root, form(root, NEXT), only=["grow"])
    assert told(root, form(root, NEXT))["gpu_hours"] == staged["gpu_hours"]


def test_killed_within_it_counts_until_its_death_and_only_the_rest_is_set_aside_again(
    root: Path, known: dict[str, float]
) -> None:
    assert in_child(dying_within, root, form(root, NEXT), 10) == -signal.SIGKILL
    assert told(root, form(root, NEXT))["wall_s"].reserved == pytest.approx(known["wall_s"])
    assert go(root, form(root, NEXT)).outcome == "done"
    (killed,) = [line.data for line in lines(root) if line.type == "step_killed"]
    assert killed["wall_s"] > 10 * PAUSE_S
    useful = killed["wall_s"] - killed["lost_s"]
    again = claims(root)[-1].data["reserved"]
    assert again["wall_s"] == pytest.approx(max(0.0, known["wall_s"] - useful), abs=1e-5)
    assert again["training_tokens"] < known["training_tokens"]


def without_a_sign(root: Path) -> None:
    """As a power cut leaves it: the line is durable, what only the file system had is gone."""
    for name in (FILE, LATEST):
        for path in (root / ".kcompiler/scratch").glob(f"*/{name}"):
            path.unlink()


def test_without_a_sign_of_life_what_was_set_aside_counts_as_taken(root: Path, known: dict[str, float]) -> None:
    before = told(root, form(root, NEXT))
    assert in_child(dying_within, root, form(root, NEXT), 3) == -signal.SIGKILL
    without_a_sign(root)
    State(root).close()
    hours = known["gpu_s"] / 3600
    held = told(root, form(root, NEXT))["gpu_hours"]
    assert (held.spent, held.reserved) == (before["gpu_hours"].spent, pytest.approx(hours, abs=1e-8))
    # there would be enough, if it were forgotten
    tight = form(root, NEXT, gpu_hours=before["gpu_hours"].spent + 1.5 * hours)
    assert refused(go(root, tight)).code == "KR0131"
    run = go(root, form(root, NEXT))
    assert run.outcome == "done"
    grown = [line.data for line in lines(root) if line.type == "step_committed" and line.data["step"] == "grow"][-1]
    assert grown["held"]["gpu_s"] == pytest.approx(known["gpu_s"])
    assert grown["lost_attempts"] == 1
    spent = told(root, form(root, NEXT))["gpu_hours"].spent
    assert spent == pytest.approx(before["gpu_hours"].spent + hours + grown["gpu_s"] / 3600, rel=0.2)
    assert spent > before["gpu_hours"].spent + hours


@pytest.mark.parametrize("budget", ["wall_s", "gpu_hours", "training_tokens"])
def test_a_step_does_not_begin_for_which_not_enough_is_left_and_the_advice_is_right(
    root: Path, known: dict[str, float], budget: str
) -> None:
    spent = told(root, {**form(root, NEXT), "budgets": {**MUCH, "training_tokens": 10**9}})[budget].spent
    takes = {"wall_s": known["wall_s"], "gpu_hours": known["gpu_s"] / 3600, "training_tokens": ROUNDS * 10}[budget]
    short = spent + 0.9 * takes
    tight = form(root, NEXT, **{budget: int(short) if budget == "training_tokens" else short})
    run = go(root, tight)
    assert run.outcome == "failed"
    error = refused(run)
    assert (error.code, error.place) == ("KR0131", f"budgets.{budget}")
    assert "step `grow` is not begun: it takes about" in error.message
    assert len(claims(root)) == 1, "nothing was begun, and nothing was taken"
    status = {one.step: (one.status, one.reason) for one in run.steps}
    assert status["join"] == ("blocked", "upstream_failed")
    match = re.search(rf"set budgets\.{budget} to ([0-9.]+) or more", error.action)
    assert match, error.action
    enough = float(match[1])
    done = go(root, form(root, NEXT, **{budget: int(enough) if budget == "training_tokens" else enough}))
    assert len(claims(root)) == 2, "it has begun"
    # how long it takes this time nobody promises
    assert done.outcome == "done" or refused(done).code in ("KR0130", "KR0131")


def waiting(root: Path, content: Mapping[str, Any], go_on: Path) -> int:
    def wait() -> bool:
        while claims(root)[1:] and not go_on.exists():
            time.sleep(0.005)
        return False

    go(root, content, stop_requested=wait)
    return 0


def test_two_applies_cannot_set_the_same_rest_aside(root: Path, known: dict[str, float]) -> None:
    """Enough is left for one of them: the second is refused at the door, and after the first there is nothing left."""
    spent = told(root, form(root, NEXT))["gpu_hours"].spent
    bound = {"gpu_hours": spent + 1.9 * known["gpu_s"] / 3600}
    first = start_child(waiting, root, form(root, NEXT, **bound), root / "go")
    while len(claims(root)) < 2:
        time.sleep(0.005)
    with pytest.raises(Locked):
        go(root, form(root, NEXT + 1, **bound))
    assert told(root, form(root, NEXT, **bound))["gpu_hours"].reserved == pytest.approx(known["gpu_s"] / 3600, abs=1e-8)
    os.kill(first, signal.SIGKILL)
    assert end_of(first) == -signal.SIGKILL
    without_a_sign(root)
    # the rest is still taken: by whom nobody knows any more
    assert refused(go(root, form(root, NEXT + 1, **bound))).code == "KR0131"
    assert len(claims(root)) == 2


REFUSED = 3


def ending(root: Path, content: Mapping[str, Any]) -> int:
    errors = [step.error for step in go(root, content).steps if isinstance(step.error, Refusal)]
    return REFUSED if errors else 0


def test_whatever_is_killed_when_no_more_is_set_aside_than_there_is(root: Path, known: dict[str, float]) -> None:
    """At every line that says that a step begins: what was taken, and what is set aside, is within the bound. And what
    is killed is never free: in the end nothing begins."""
    chance = random.Random(20261128)
    bound = told(root, form(root))["gpu_hours"].spent + 3.2 * known["gpu_s"] / 3600
    kills = turn = 0
    while True:
        begun, turn = len(claims(root)), turn + 1
        child = start_child(ending, root, form(root, NEXT + turn // 2, gpu_hours=bound))
        ended, status = 0, 0
        while len(claims(root)) == begun and not ended:
            ended, status = os.waitpid(child, os.WNOHANG)
            time.sleep(0.002)
        if not ended:
            time.sleep(chance.uniform(0.0, 1.2 * known["wall_s"]))
            os.kill(child, signal.SIGKILL)
            code = end_of(child)
        else:
            code = os.waitstatus_to_exitcode(status)
        kills += code == -signal.SIGKILL
        if code == REFUSED:
            break
        assert turn < 60
        if chance.random() < 0.3:
            without_a_sign(root)
    past = Past()
    for line in lines(root):
        past.add(line)
        if line.type == "step_claimed" and line.data["budgets"]["gpu_hours"] == bound:
            assert past.paid("toy").gpu_s <= bound * 3600 + 1e-5
    assert kills >= 2
    assert past.paid("toy").gpu_s > bound * 3600 - 1.5 * known["gpu_s"], "it came near the bound"
