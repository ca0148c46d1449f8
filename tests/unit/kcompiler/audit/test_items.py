"""The report of an evaluation is made again from its items, whatever their digests say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from kcompiler.audit import items as audited
from kcompiler.render import items as rendered
from runtime import catalog, digest
from runtime.contract import Suite, apart, items, parity, rows
from runtime.contract import report as facts
from tests.unit.runtime.suites.models import Scripted, lines_of, row

ROWS = [row(f"{n} ?", f"#### {n}", "odd" if n % 2 else "even", name=f"r{n}") for n in range(12)]
SUITE: Suite = catalog.load("suites", "gold")
PARAMS = {"match": "numeric", "numeric": {"after": "####"}, "coreml_limit": 4}
STEP = {
    "id": "evaluate-gold",
    "seed": "7",
    "params": {"suite": "gold", "suite_version": SUITE.version, "params": PARAMS, "split": "test", "rows": None},
    "gives": {"report": {"kind": "report", "report": "eval.gold"}, "items": {"kind": "items"}},
}


@dataclass
class Kept:
    """A store with a dataset and items, and what the journal and the evidence say of them."""

    root: Path
    lines: list[items.Line]
    report: dict[str, Any]
    step: dict[str, Any] = field(default_factory=lambda: json.loads(json.dumps(STEP)))
    forged: bool = False

    def put(self, name: str, data: bytes) -> str:
        """An artifact under the digest it really has."""
        folder = self.root / "new"
        folder.mkdir()
        (folder / name).write_bytes(data)
        found = digest.of_folder(folder)
        target = audited.stored(self.root, found)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
        return found

    def audit(self, data: bytes | None = None) -> tuple[int, list[tuple[str, str, str]]]:
        held = self.put(items.FILE, items.written(self.lines) if data is None else data)
        dataset = self.put("test.jsonl", "".join(rows.written(ROWS, "test.jsonl")).encode())  # type: ignore[arg-type]
        record = {
            "forged": self.forged,
            "components": {"input.dataset": dataset},
            "gives": {"items": {"kind": "items", "digest": held}},
        }
        report = {"evaluate-gold": facts.dump(self.report).encode()}
        count, found = audited.recomputed(self.root, {"steps": [self.step]}, {"evaluate-gold": record}, report, "seen")
        return count, [(one.code, one.subject, one.message) for one in found]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    runners = {name: Scripted(lambda p: f"#### {p.split()[0]}" if p[0] != "3" else "#### 4") for name in ("student", "coreml")}  # fmt: skip
    params = SUITE.params.model_validate(PARAMS)
    lines = lines_of(SUITE, runners, ROWS, [], params, 7)
    return Kept(tmp_path, lines, {"data": SUITE.data_of(lines, ROWS, [], params, 7)})


def test_a_sound_report_is_what_its_items_give(kept: Kept) -> None:
    assert kept.audit() == (16, [])
    kept.forged = True
    assert kept.audit() == (0, []), "what was forged is marked as such and judged by nobody"


Change = Callable[[list[items.Line]], Any]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[3].update(reason=""), "row `r3` by runner `student` is not what its output gives: reason"),
        (lambda lines: lines[3]["parts"].update(right=True), "row `r3` by runner `student` is not what its output"),
        (lambda lines: lines[3].update(output="#### 3"), "row `r3` by runner `student` is not what its output"),
        (lambda lines: lines.pop(3), "has a line for row `r4` where row `r3` is due"),
        (lambda lines: lines.pop(), "runner `coreml` has no line for row `r3`"),
        (lambda lines: lines.append(lines[0]), "runner `student` has a line for row `r0`, which it is not asked"),
    ],
)
def test_a_changed_line_is_found_under_a_digest_that_fits(kept: Kept, change: Change, words: str) -> None:
    change(kept.lines)
    count, ((code, subject, message),) = kept.audit()
    assert (count, code, subject) == (0, "KA25", "seen/reports/evaluate-gold.json")
    assert words in message


def test_a_changed_answer_with_parts_that_fit_is_found_by_the_report(kept: Kept) -> None:
    """A forger who judges as the suite does: the lines are sound, and the report is about others."""
    kept.lines[3] = {**kept.lines[5], "row": "r3", "prompt": kept.lines[3]["prompt"], "output": "#### 3"}
    kept.lines[3]["parts"] = {**kept.lines[3]["parts"], "read": "3"}
    count, ((code, subject, message),) = kept.audit()
    assert (count, code, message) == (16, "KA26", "not what the items give")
    assert subject.startswith("seen/reports/evaluate-gold.json#/data/")


def _less(data: dict[str, Any]) -> None:
    del data["mcnemar"]


EDITS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "right/student/k": lambda data: data["right"]["student"].update(k=12),
    "right/student/value": lambda data: data["right"]["student"].update(value=0.9167),
    "match": lambda data: data.update(match="exact"),
    "worst": lambda data: data["worst"].pop(),
    "mcnemar": _less,
    "more": lambda data: data.update(more=1),
    "top_share/student/k": lambda data: data["top_share"]["student"].update(k=True),
}


@pytest.mark.parametrize("place", EDITS)
def test_an_edited_report_is_found_at_its_place(kept: Kept, place: str) -> None:
    EDITS[place](kept.report["data"])
    assert kept.audit() == (16, [("KA26", f"seen/reports/evaluate-gold.json#/data/{place}", "not what the items give")])


def test_another_machines_last_digit_is_no_edit(kept: Kept) -> None:
    datum = kept.report["data"]["right"]["student"]
    datum["value"] *= 1 + 1e-12
    assert kept.audit() == (16, [])
    datum["value"] *= 1 + 1e-7
    assert [code for code, *_ in kept.audit()[1]] == ["KA26"]


def test_what_is_not_at_hand_is_said_and_no_more(kept: Kept) -> None:
    kept.step["params"]["split"] = "validation"
    assert kept.audit() == (0, [("KA90", "seen/reports/evaluate-gold.json", "not made again: its items, or the rows they answer, are not in the store; what no other number in it gives is the word of who made it, or signed it")])  # fmt: skip
    kept.step["params"] |= {"split": "test", "suite_version": 99}
    assert [(code, message) for code, _, message in kept.audit()[1]] == [
        ("KA90", "not made again: suite `gold` 99 is not the one that is here")
    ]


def test_rows_of_another_part_are_other_rows(kept: Kept) -> None:
    kept.step["params"]["rows"] = {"source": None, "subject": "odd"}
    assert [code for code, *_ in kept.audit()[1]] == ["KA25"]


@pytest.mark.parametrize("data", [b"[]\n", b"{", b'{"row":1}\n', b"\xff\n"])
def test_items_that_are_none_are_damage(kept: Kept, data: bytes) -> None:
    assert [code for code, *_ in kept.audit(data)[1]] == ["KA25"]


@dataclass
class Further(Kept):
    """The same store with a further runner's items, and how far they are from those of the suite's own."""

    second: list[items.Line] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    pairs: dict[str, Any] = field(default_factory=dict)
    use: str = "checkpoint"

    def told(self) -> None:
        """Reports that these items do give."""
        both = items.by_runner([*self.lines, *self.second])
        self.asked = {"suite": "gold", "use": self.use, **parity.asked("again", self.second)}
        self.pairs = apart.told("gold", both, {"student": "student", "again": "student"}, 7)

    def find(self) -> tuple[int, list[tuple[str, str, str]]]:
        own = self.put(items.FILE, items.written(self.lines))
        theirs = self.put(items.FILE, items.written(self.second))
        dataset = self.put("test.jsonl", "".join(rows.written(ROWS, "test.jsonl")).encode())  # type: ignore[arg-type]
        ask = {
            "id": "ask-gold-again",
            "seed": "7",
            "params": {**STEP["params"], "runner": "again", "use": self.use},  # type: ignore[dict-item]
            "gives": {"report": {"kind": "report", "report": "asked"}, "items": {"kind": "items"}},
        }
        pair = {
            "id": "parity-gold",
            "seed": "7",
            "params": {"suite": "gold", "models": {"student": "student", "again": "student"}, "further": ["again"]},
            "gives": {"report": {"kind": "report", "report": "parity"}},
        }
        records: dict[str, Any] = {
            "ask-gold-again": {
                "forged": False,
                "components": {"input.dataset": dataset},
                "gives": {"items": {"kind": "items", "digest": theirs}},
            },
            "parity-gold": {
                "forged": False,
                "components": {"input.items": own, "input.items_again": theirs},
                "gives": {},
            },
        }
        given = {
            "ask-gold-again": facts.dump({"data": self.asked}).encode(),
            "parity-gold": facts.dump({"data": self.pairs}).encode(),
        }
        count, found = audited.recomputed(self.root, {"steps": [ask, pair]}, records, given, "seen")
        return count, [(one.code, one.subject, one.message) for one in found]


@pytest.fixture
def further(kept: Kept) -> Further:
    second = [{**one, "runner": "again"} for one in kept.lines if one["runner"] == "student"]
    made = Further(kept.root, kept.lines, kept.report, second=second)
    made.told()
    return made


def test_a_further_runners_items_and_parity_are_made_again(further: Further) -> None:
    assert further.find() == (12, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines[3].update(reason=""), "row `r3` by runner `again` is not what its output gives"),
        (lambda lines: lines[3].update(output="#### 3"), "row `r3` by runner `again` is not what its output gives"),
        (lambda lines: lines.pop(3), "not one of runner `again` for each row"),
        (lambda lines: lines.pop(), "not one of runner `again` for each row"),
        (lambda lines: lines.append(lines[0]), "not one of runner `again` for each row"),
        (lambda lines: lines[3].update(runner="student"), "not one of runner `again` for each row"),
        (
            lambda lines: lines[3].update(output=None, parts={}, reason=parity.NOT_RECORDED),
            "row `r3` is said not to be recorded",
        ),
    ],
)
def test_a_changed_line_of_a_further_runner_is_found_with_reports_that_fit(
    further: Further, change: Change, words: str
) -> None:
    further.second = json.loads(json.dumps(further.second))
    change(further.second)
    further.told()
    count, found = further.find()
    # a line under another runner's name is apart in the comparison as well
    assert (count, found[0][:2]) == (0, ("KA25", "seen/reports/ask-gold-again.json"))
    assert words in found[0][2]


def test_what_was_not_recorded_is_no_damage_of_a_record(further: Further) -> None:
    further.use = "recorded"
    lost: dict[str, Any] = {"output": None, "parts": {}, "reason": parity.NOT_RECORDED}
    further.second[3] = {**further.second[3], **lost}
    further.told()
    assert further.find() == (12, [])
    further.second[3] = {**further.second[3], "output": "#### 3"}
    further.told()
    assert [code for code, *_ in further.find()[1]] == ["KA25"]


def test_an_edited_report_of_a_further_runner_or_of_parity_is_found(further: Further) -> None:
    further.asked["right"]["k"] = 12
    further.pairs["ways"]["again and student"]["disagreeing"]["k"] = 1
    assert further.find() == (
        12,
        [
            ("KA26", "seen/reports/ask-gold-again.json#/data/right/k", "not what the items give"),
            ("KA26", "seen/reports/parity-gold.json#/data/ways/again and student/disagreeing/k", "not what the items give"),
        ],
    )  # fmt: skip


def test_a_runner_that_could_not_be_asked_has_no_items_and_nothing_right(further: Further) -> None:
    further.second = []
    further.told()
    further.asked = {"suite": "gold", "use": further.use, **parity.asked("again", [], "no such machine")}
    assert further.find() == (0, [])
    further.asked["right"] = further.report["data"]["right"]["student"]
    assert [(code, subject) for code, subject, _ in further.find()[1]] == [
        ("KA26", "seen/reports/ask-gold-again.json#/data/right/confidence")
    ]


def test_parity_without_its_items_is_said_not_to_be_made_again(further: Further) -> None:
    shown = further.find()
    assert shown == (12, [])
    shutil.rmtree(audited.stored(further.root, further.put(items.FILE, items.written(further.lines))))
    kept = further.put
    further.put = lambda name, data: "sha256:" + "0" * 64 if data == items.written(further.lines) else kept(name, data)  # type: ignore[method-assign]
    assert [(code, subject) for code, subject, _ in further.find()[1]] == [("KA90", "seen/reports/parity-gold.json")]


def test_the_worst_are_what_is_wrong_and_others_have_right() -> None:
    def line(name: str, runner: str, reason: str, cost: float = 0.0) -> items.Line:
        return {**items.line(row(name, "a"), runner, "said\x1b[2J", {"cost": cost}, reason)}

    lines = [
        line("a", "student", ""), line("b", "student", "off"), line("c", "student", "off"), line("d", "student", "off", 2.0),
        line("a", "teacher", ""), line("b", "teacher", "off"), line("c", "teacher", ""), line("d", "teacher", "off"),
    ]  # fmt: skip
    cost = lambda one: float(one["parts"]["cost"])  # noqa: E731
    assert [one["row"] for one in rendered.worst(lines, cost, 9, "student")] == ["c", "d", "b", "a"]
    assert [one["row"] for one in rendered.worst(lines, None, 3, "student")] == ["c", "b", "d"]
    (first,) = rendered.worst(lines, cost, 1)
    assert (first["row"], first["runner"], first["right"]) == ("c", "student", ["teacher"])
    text = rendered.text("evaluate-x", lines, [first])
    assert "8 items of 2 runners, 5 not right; the 1 worst" in text
    assert "\x1b" not in text
    assert first["prompt"] in text
    assert first["reason"] == "off"


def test_lines_of_a_suite_that_completes_none_are_judged_too(further: Further, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, lost = (
        replace(catalog.load("suites", "gold"), complete=None),
        {"output": None, "parts": {}, "reason": parity.NOT_RECORDED},
    )
    monkeypatch.setattr(audited.catalog, "load", lambda *_: plain)
    assert further.find() == (12, [])
    further.use = "recorded"
    further.second = json.loads(json.dumps(further.second))
    further.second[3] |= lost
    further.told()
    assert further.find() == (12, [])
    further.second[2] |= {"output": "#### 3"}
    further.told()
    ((code, subject, message), *_) = further.find()[1]
    assert (code, subject) == ("KA25", "seen/reports/ask-gold-again.json")
    assert message.startswith("artifact `items` of step `ask-gold-again` is not what a suite leaves")


def test_a_comparison_of_what_is_no_line_is_named(further: Further) -> None:
    further.second = json.loads(json.dumps(further.second))
    del further.second[3]["parts"]  # type: ignore[arg-type]
    found = {subject: message for _, subject, message in further.find()[1]}
    assert found["seen/reports/parity-gold.json"].startswith("what it compares is not what a suite leaves")
