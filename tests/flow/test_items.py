"""What an auditor reads of an evaluation: the worst answers, and whether the report is what all of them give."""

from __future__ import annotations

import json

from runtime.contract import items
from runtime.machine.durable import protect
from tests.flow.world import LIGHT, Home, Result

STEP = "evaluate-answers"


def test_the_worst_answers_are_shown_with_what_was_asked_and_why(applied: tuple[Home, Result]) -> None:
    home = applied[0]
    shown = home.run("show", "items", "specs/tiny.yaml", STEP, "--worst", "2", "--runner", "coreml", code=LIGHT)
    assert shown.ended(0, "").out.count("sha256:") == 2
    assert "the 2 worst" in shown.out
    listed = json.loads(home.run("show", "items", "specs/tiny.yaml", STEP, "--format", "json", code=LIGHT).out)["data"][
        "content"
    ]
    assert len(listed) == 10
    held = items.read((home.stored(STEP, "items") / items.FILE).read_bytes())
    assert all({name: one[name] for name in items.FIELDS} in held for one in listed)
    told = home.run("show", "items", "specs/tiny.yaml", STEP, "--runner", "nobody").ended(2, "usage")
    assert "no items of runner `nobody` there: teacher, student, ce_only, coreml" in told.err
    told = home.run("show", "items", "specs/tiny.yaml").ended(2, "usage")
    assert f"say which evaluation's items: {STEP}" in told.err


def test_the_audit_judges_every_item_again(done: Home) -> None:
    sound = done.audit().ended(0, "")
    count = len((done.stored(STEP, "items") / items.FILE).read_bytes().splitlines())
    assert f"{count} items" in sound.out
    report = done.evidence / "reports" / f"{STEP}.json"
    report.write_text(
        report.read_text().replace('"unit": "question",\n      "value": 30', '"unit": "question",\n      "value": 31')
    )
    assert "KA26" in done.audit().ended(3, "evidence-broken").out
    folder = done.stored(STEP, "items")
    protect(folder, writable=True)
    (folder / items.FILE).write_text(
        (folder / items.FILE).read_text().replace("another_answer", "", 1).replace("not_permitted", "", 1)
    )
    assert "KA25" in done.audit().ended(3, "evidence-broken").out
    (folder / items.FILE).write_text("{")
    shown = done.run("show", "items", "specs/tiny.yaml", STEP).ended(3, "evidence-broken")
    assert "the items of step `evaluate-answers` are damaged: line 1 is incomplete" in shown.err
    (folder / items.FILE).unlink()
    shown = done.run("show", "items", "specs/tiny.yaml", STEP).ended(2, "no-evidence")
    assert "are not in the store of this project" in shown.err
