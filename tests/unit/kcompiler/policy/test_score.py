"""Which slips in a rule its cases notice, and that the case which is advised notices the one that lived."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kcompiler.judge import judge
from kcompiler.policy import cases, score
from kcompiler.policy.load import LoadedRule
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import report
from tests.unit.kcompiler.policy.test_load import lab

GOOD = report({"level": facts.rate(9, 10), "other": facts.rate(1, 10)}, kind="eval.sound", step="evaluate-sound")
CASES: dict[str, Any] = {
    "pass": {"report": GOOD, "expect": {"outcome": "pass"}},
    "fail": {"change": {"/data/level": facts.rate(1, 10)}, "expect": {"outcome": "fail"}},
    "missing": {"remove": ["/data/level"], "expect": {"outcome": "not_evaluated"}},
}


def rule(folder: Path, **changes: Any) -> LoadedRule:
    loaded = lab(folder).packs[0].rules[0]
    for name, content in {**CASES, **changes}.items():
        (loaded.folder / f"{name}.json").write_text(json.dumps(content))
    return loaded


def lived(loaded: LoadedRule) -> list[str]:
    return [one.mutant.sort for one in score.scored(loaded, judge, killers=False).lived if one.mutant.asked]


def test_three_thin_cases_leave_the_edge_and_the_mode_unnoticed(tmp_path: Path) -> None:
    found = lived(rule(tmp_path))
    assert {"mode", "operator", "threshold"} <= set(found)
    assert "unit" not in found


def test_what_is_advised_notices_what_lived(tmp_path: Path) -> None:
    loaded = rule(tmp_path)
    found = [one for one in score.scored(loaded, judge).lived if one.mutant.asked]
    assert found
    assert all(one.case is not None for one in found)
    before = (loaded.folder / "pass.json").read_text()
    wrote = score.write(loaded, found)
    assert {"fail"} < set(wrote)
    assert cases.check(loaded, judge) == []
    assert lived(loaded) == []
    assert json.loads((loaded.folder / "pass.json").read_text())["report"] == json.loads(before)["report"]


def test_a_rule_that_changes_is_noticed_by_its_own_cases(tmp_path: Path) -> None:
    loaded = rule(tmp_path)
    score.write(loaded, score.scored(loaded, judge).lived)
    text = (loaded.folder / "rule.yaml").read_text()
    for old, new in ((">=", ">"), ("mode: block", "mode: warn")):
        if old in text:
            (loaded.folder / "rule.yaml").write_text(text.replace(old, new))
            changed = lab_again(loaded)
            assert cases.check(changed, judge) != [], new
    assert cases.check(loaded, judge) == []


def lab_again(loaded: LoadedRule) -> LoadedRule:
    from kcompiler import policy

    return policy.load(["lab"], [loaded.folder.parents[1]]).packs[0].rules[0]


def test_a_file_that_does_not_say_what_it_expects_is_no_case(tmp_path: Path) -> None:
    loaded = rule(tmp_path, edge=CASES["fail"])
    assert cases.check(loaded, judge) == [
        "lab/loud: edge.json is no case: call it after what it expects, such as pass-edge.json"
    ]


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"outcome": "fail", "blocks": False}, "does not block"),
        ({"outcome": "fail", "threshold": ">= 0.1"}, "is asked"),
        ({"outcome": "fail", "observed": "2/10"}, "to be seen"),
        ({"outcome": "fail", "matches": 7}, "7 places"),
    ],
)
def test_what_a_case_says_besides_its_outcome_is_held_against_it(
    tmp_path: Path, said: dict[str, Any], complaint: str
) -> None:
    (found,) = cases.check(rule(tmp_path, fail={**CASES["fail"], "expect": said}), judge)
    assert found.startswith("lab/loud/fail.json")
    assert complaint in found


def test_one_place_does_not_count_as_two(tmp_path: Path) -> None:
    from kcompiler.policy.kinds.bound import Params

    with pytest.raises(ValueError, match="stands twice"):
        Params.model_validate({"metric": ["level", "level"], "op": ">=", "threshold": "0.5", "unit": "ratio"})
