"""Reports whose digests were made anew all the way: what they say is made again, with a store and without one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcompiler.audit import again
from kcompiler.audit.items import stored
from runtime import catalog
from runtime.contract import regression
from runtime.contract import report as facts
from tests.unit.runtime.contract import speeds

HERE = {"processor": "Apple M1 Max", "memory": "64", "threads": "8"}
NOW, BEFORE = "sha256:" + "1" * 64, "baselines/speed.json"
Data = dict[str, Any]


def report(kind: str, step: str, data: Data, **environment: Any) -> Data:
    around = {"backend": "torch", "forged": False, "versions": {}, "hardware": {}, **environment}
    made = facts.envelope(kind=kind, step=step, subject={}, fingerprints={}, environment=around, data=data)
    found: Data = json.loads(facts.dump(made))
    return found


def times(of: int) -> Data:
    pairs = [(of + n, 2 * of + n) for n in range(60)]
    return speeds.data({"torch": speeds.runner("torch", HERE, {32: pairs}, new=3)}, HERE)


class Compared:
    """A benchmark, its baseline, and the report that compares them, as store, project and evidence have them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = report("benchmark", "benchmark-speed", times(10**6))
        self.before = report("benchmark", "benchmark-speed", times(2 * 10**6))
        data = regression.regression(self.now["data"], self.before["data"])
        self.made = report("benchmark.regression", "regression-speed", data)
        self.version = catalog.load("steps", "regression").version
        self.forged = False

    def audit(self) -> list[tuple[str, str, str]]:
        folder = stored(self.root, NOW)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(facts.dump(self.now))
        (self.root / BEFORE).parent.mkdir(exist_ok=True)
        (self.root / BEFORE).write_text(speeds.pinned(self.before))
        return self.find()

    def find(self) -> list[tuple[str, str, str]]:
        step = {
            "id": "regression-speed",
            "kind": f"regression@{self.version}",
            "params": {"id": "speed"},
            "takes": {"now": "step:benchmark-speed#report", "baseline": "input:pinned"},
        }
        plan = {"steps": [step], "inputs": [{"name": "pinned", "path": BEFORE}]}
        records = {"regression-speed": {"forged": self.forged, "components": {"input.now": NOW}}}
        given = {"regression-speed": facts.dump(self.made).encode()}
        found = again.remade(self.root, plan, records, given, "seen")
        return [(one.code, one.subject, one.message) for one in found]

    def contradictions(self) -> list[tuple[str, str]]:
        given = {"benchmark-speed": self.now, "regression-speed": self.made}
        found = again.contradictions({name: facts.dump(one).encode() for name, one in given.items()}, "seen")
        return [(one.code, one.subject) for one in found]


@pytest.fixture
def compared(tmp_path: Path) -> Compared:
    return Compared(tmp_path)


def test_a_sound_comparison_is_what_its_two_sides_give(compared: Compared) -> None:
    assert (compared.audit(), compared.contradictions()) == ([], [])


def test_a_comparison_with_times_that_nobody_pinned_is_found_where_it_is_consistent(compared: Compared) -> None:
    """The forger takes a baseline of slower times and computes every quotient anew: only the pinned file knows."""
    slower = regression.regression(compared.now["data"], times(10**8))
    compared.made["data"] = json.loads(facts.dump(slower))
    assert compared.contradictions() == []
    (code, subject, message), *rest = compared.audit()
    assert (code, message, rest) == ("KA28", "not what it was made of gives", [])
    assert subject.startswith("seen/reports/regression-speed.json#/data/before/torch/shapes/prompt_32/first/0")


def test_what_gives_no_comparison_is_found(compared: Compared) -> None:
    compared.before["environment"]["forged"] = True
    ((code, subject, message),) = compared.audit()
    assert (code, subject) == ("KA28", "seen/reports/regression-speed.json")
    assert "cannot be compared with: forged" in message


def test_what_is_not_at_hand_is_said_and_no_more(compared: Compared) -> None:
    ((code, _, message),) = compared.find()
    assert (code, "not made again, what it takes is not here" in message) == ("KA90", True)
    compared.version += 1
    ((code, _, message),) = compared.audit()
    assert (code, "is not the one that is here" in message) == ("KA90", True)
    compared.forged = True
    assert compared.audit() == []


def _decode(data: Data) -> None:
    data["runners"]["torch"]["shapes"]["prompt_32"]["decode"]["p50"]["value"] = 1e9


def _no_times(data: Data) -> None:
    data["runners"]["torch"]["shapes"]["prompt_32"]["ns"] = {"first": [], "rest": []}


def _quotient(data: Data) -> None:
    data["runners"]["torch"]["shapes"]["prompt_32"]["decode"]["value"] *= 2


@pytest.mark.parametrize(
    ("whose", "change"), [("now", _decode), ("now", _no_times), ("made", _quotient)], ids=["decode", "ns", "quotient"]
)
def test_what_contradicts_itself_needs_no_store(compared: Compared, whose: str, change: Callable[[Data], None]) -> None:
    told = getattr(compared, whose)
    sound = copy.deepcopy(told)
    change(told["data"])
    name = {"now": "benchmark-speed", "made": "regression-speed"}[whose]
    assert compared.contradictions() == [("KA27", f"seen/reports/{name}.json")]
    setattr(compared, whose, sound)
    assert compared.contradictions() == []


def test_a_comparison_of_another_benchmark_needs_no_store(compared: Compared) -> None:
    other = regression.regression(times(10**5), compared.before["data"])
    compared.made["data"] = json.loads(facts.dump(other))
    assert compared.contradictions() == [("KA27", "seen/reports/regression-speed.json")]


def test_a_report_that_cannot_be_read_is_named() -> None:
    (found,) = again.contradictions({"apply": b"{"}, "seen")
    assert (found.code, found.subject) == ("KA27", "seen/run.json")
