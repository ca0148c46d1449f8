"""A pack that strengthens another has its rules, and none of them weaker: wrong packs first."""

from __future__ import annotations

from pathlib import Path

import pytest

from kcompiler import policy
from kcompiler.diff.strengthens import weaker
from kcompiler.policy import LoadedPack, oblige

RULE = """\
id: valid
title: The student gives only permitted answers
on: eval.answers
kind: bound
params: {metric: [validity.student, validity.coreml], op: ">=", threshold: "0.9", unit: ratio, on: low, min_matches: 2}
remedy: train longer
"""
OTHER = RULE.replace("id: valid", "id: enough").replace(
    'metric: [validity.student, validity.coreml], op: ">=", threshold: "0.9", unit: ratio, on: low, min_matches: 2',
    'metric: [questions], op: ">=", threshold: "30", unit: question',
)


def write(root: Path, pack: str, rules: dict[str, str], more: str = "") -> None:
    folder = root / pack
    folder.mkdir(parents=True)
    (folder / "pack.yaml").write_text(f"name: {pack}\nversion: 1\ntitle: Rules of a test\nmin_n: 25\n{more}")
    for name, text in rules.items():
        (folder / name).mkdir()
        (folder / name / "rule.yaml").write_text(text)


def loaded(root: Path, rules: dict[str, str], more: str = "strengthens: below\n") -> LoadedPack:
    write(root, "below", {"valid": RULE, "enough": OTHER})
    write(root, "above", rules, more)
    found = policy.load(["above"], [root])
    assert found.problems == ()
    return found.packs[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('threshold: "0.9"', 'threshold: "0.8"'),
        ('op: ">="', 'op: "<="'),
        (", on: low", ""),
        ("[validity.student, validity.coreml]", "[validity.student]"),
        ("min_matches: 2", "min_matches: 1"),
        ("validity.coreml", "validity.teacher"),
        ("kind: bound", "mode: warn\nkind: bound"),
        ("kind: bound", "mode: skip\nreason: a trial\nkind: bound"),
        ("kind: bound", "phase: release\nkind: bound"),
        ("kind: bound", "effective_on: 2030-01-01\nkind: bound"),
        ("kind: bound", "when: {spec: teacher.source, has: hf}\nkind: bound"),
        ("min_matches: 2", "min_matches: 2, need: {min_n: 5}"),
    ],
)
def test_a_rule_that_lets_more_through_is_found(tmp_path: Path, old: str, new: str) -> None:
    assert old in RULE
    text = RULE.replace(old, new)
    if 'op: "<="' in text:
        text = text.replace(", on: low", ", on: high")
    if "[validity.student]" in text:
        text = text.replace("min_matches: 2", "min_matches: 1")
    found = list(weaker([loaded(tmp_path, {"valid": text})]))
    assert [(one.code, one.file) for one in found] == [("KC6046", "policies/above/valid/rule.yaml")]


def test_what_asks_as_much_or_more_is_none_and_the_rest_is_taken_over(tmp_path: Path) -> None:
    pack = loaded(tmp_path, {"valid": RULE.replace('"0.9"', '"0.95"')})
    assert list(weaker([pack])) == []
    assert [(one.name, one.inherited) for one in pack.rules] == [("above/enough", True), ("above/valid", False)]
    assert [one.name for one in pack.own] == ["above/valid"]
    asked, wrong = oblige.obligations(
        policy.Policy(packs=[pack], problems=()), {"risk_tier": 3}, {"eval.answers": ["e"]}
    )
    assert wrong == []
    assert [(one["rule"], one["pack"]) for one in asked] == [("above/enough", "above@1"), ("above/valid", "above@1")]


def test_a_higher_least_number_of_items_holds_for_what_is_taken_over(tmp_path: Path) -> None:
    write(tmp_path, "below", {"valid": RULE})
    write(tmp_path, "above", {}, "strengthens: below\n")
    (tmp_path / "above" / "pack.yaml").write_text(
        "name: above\nversion: 1\ntitle: Rules of a test\nstrengthens: below\nmin_n: 60\n"
    )
    found = policy.load(["above"], [tmp_path])
    assert found.problems == ()
    assert found.packs[0].rules[0].params.model_dump()["need"]["min_n"] == 60
    assert list(weaker(found.packs)) == []


def test_the_digest_covers_the_pack_below(tmp_path: Path) -> None:
    first = loaded(tmp_path, {}).digest
    file = tmp_path / "below" / "valid" / "rule.yaml"
    file.write_text(RULE.replace('"0.9"', '"0.95"'))
    assert policy.load(["above"], [tmp_path]).packs[0].digest != first


def test_a_pack_that_is_not_there_is_told_at_the_line_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, "above", {"valid": RULE}, "strengthens: belw\n")
    found = policy.load(["above"], [tmp_path])
    assert found.packs == ()
    assert [(one.code, one.file, one.line) for one in found.problems] == [("KC6001", "policies/above/pack.yaml", 5)]
