"""The report of an evaluation is made again from its items, whatever their digests say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kcompiler.audit import items as audited
from kcompiler.render import items as rendered
from runtime import catalog, digest
from runtime.contract import Suite, items, rows
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
    assert kept.audit() == (0, [("KA90", "seen/reports/evaluate-gold.json", "not made again: its items, or the rows they answer, are not in the store")])  # fmt: skip
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
    assert json.loads(rendered.dump([first]))[0]["reason"] == "off"
