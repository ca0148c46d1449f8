"""Answers of student and teacher before a judge, from a folder or a server to the gates: a judge who has not passed
decides nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kcompiler import lock
from runtime.contract import hosted, items
from runtime.contract.verdicts import Pair
from tests.flow.courts import COURT, EVEN, KEY, REFEREE, apply, court, knows, of_the_court, outcomes, there
from tests.flow.world import Home, make
from tests.longer import longer


def another_model_between_the_steps_decides_nothing(home: Home) -> None:
    """Refused where it answers; evaluated anew by what the message advises; swapped reports are no evidence."""
    home.change(lambda data: data.update(policies=["quality/judged"]))
    with there(home, EVEN) as (server, state):

        def turns(asked: Pair, value: Any) -> Any:
            return value if knows(asked) else {**value, "model": "judge-1-0601"}

        state["reply"] = turns
        found = apply(home)
        assert found.code != 0, found.text
        found.ended(found.code, found.last["outcome"])
        assert "KR0127" in found.err
        assert "`judge-1` was evaluated" in found.err
        assert of_the_court(home) <= {"not_evaluated"}
        # the advice is followed: the judge is evaluated anew
        state["reply"], state["model"] = (lambda _, value: value), "judge-1-0601"
        home.change(lambda data: data["evaluation"]["judge"]["server"].update(served_as="judge-1-0601"))
        apply(home).ended(0, "")
        assert of_the_court(home) == {"pass"}
        report = json.loads((home.evidence / f"reports/{COURT}.json").read_text())
        about = json.loads((home.evidence / f"reports/{REFEREE}.json").read_text())
        which = hosted.judge(server.url, "judge-1", "judge-1-0601")
        assert report["environment"]["judge"] == about["environment"]["judge"] == which
        assert report["fingerprints"]["judge"] == about["fingerprints"]["model"] == hosted.fingerprint(which)
        home.audit().ended(0, "")
        assert {one["Authorization"] for one in server.headers} == {f"Bearer {KEY}"}
        assert not [path for path in home.root.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


@pytest.mark.slow
@longer
def test_what_a_judge_says_counts_for_nothing_until_it_has_passed(tmp_path: Path) -> None:
    home = court(make(tmp_path))
    # a judge that fails is not even asked
    ended = home.apply().ended(1, "fail")
    assert f"{COURT}: blocked, {REFEREE}: quality/judged/judge-" in ended.err
    found = outcomes(home)
    assert found[REFEREE, "judge-beyond-trivial"]["outcome"] == "fail", found[REFEREE, "judge-beyond-trivial"]
    assert {one["outcome"] for (step, _), one in found.items() if step == COURT} == {"not_evaluated"}
    # where a pack lets it speak, nothing that it says is decided
    home.change(lambda data: data.update(policies=["caws/core", "lab/lenient"]))
    home.apply().ended(1, "inconclusive")
    mine = [one for (step, _), one in outcomes(home).items() if step == COURT]
    # before this judge the rows' own answers are worth nothing either: of what is above policies nothing is measured
    unmeasured = [one for one in mine if one["outcome"] != "inconclusive"]
    assert {(one["rule"], one["outcome"]) for one in unmeasured} <= {
        ("lab/lenient/judged-above-trivial", "not_evaluated")
    }
    assert {one["reason"] for one in mine if one["rule"].startswith("lab/") and one not in unmeasured} == {
        f"no blocking rule bounds the calibration error of the judge in the report of `{REFEREE}`"
    }
    held = items.read((home.stored(COURT, "items") / items.FILE).read_bytes())
    asked = [one for one in held if one["runner"] == "student"]
    assert len(asked) * 2 == len(held) > 120
    assert all(list(one["output"]) == ["text", "asked", "swapped", "zoo"] for one in asked)
    report = json.loads((home.evidence / f"reports/{COURT}.json").read_text())
    assert report["data"]["items"]["value"] == len(asked)
    # the audit judges the lines of both reports again, and every obligation names the judge
    count = len(held) + len(items.read((home.stored(REFEREE, "items") / items.FILE).read_bytes()))
    assert f"{count} items" in home.audit().ended(0, "").out
    another_model_between_the_steps_decides_nothing(home)
    plan = json.loads(home.lock.read_text())
    assert {one.get("judged_by") for one in plan["obligations"] if one["from"] == f"step:{COURT}"} == {
        f"step:{REFEREE}"
    }
    for one in plan["obligations"]:
        one.pop("judged_by", None)
    home.lock.write_text(lock.dump(plan))
    assert "does not name the judge that its report rests on" in home.audit().ended(1, "disagreement").out
