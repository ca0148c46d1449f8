"""Every shipped gate proves itself: three cases beside it, noticed mutants, a schema, a page for each complaint."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from kcompiler import assets, diagnostic, policy
from kcompiler.diff.strengthens import weaker
from kcompiler.judge import judge
from kcompiler.policy import cases, kinds, lint, score
from kcompiler.policy.load import LoadedPack, LoadedRule
from kcompiler.policy.published import document

ROOT = Path(__file__).resolve().parents[2]
POLICIES, SCHEMAS = assets.folder("policies"), assets.folder("schemas")
PACKS = policy.load(policy.available([POLICIES]), [POLICIES])
RULES = [rule for pack in PACKS.packs for rule in pack.own]


def named(rule: LoadedRule) -> str:
    return rule.name


def test_every_pack_loads() -> None:
    assert list(PACKS.problems) == []
    assert len(RULES) == len(list(POLICIES.rglob("rule.yaml")))


def test_a_tier_only_strengthens_the_one_below() -> None:
    assert list(weaker(PACKS.packs)) == []
    tiers = {pack.pack.name: pack for pack in PACKS.packs if pack.pack.name.startswith("caws/tier-")}
    ids = {name: {rule.rule.id for rule in pack.rules} for name, pack in tiers.items()}
    assert ids["caws/tier-3"] <= ids["caws/tier-2"] <= ids["caws/tier-1"]
    assert [pack.pack.risk_tiers for _, pack in sorted(tiers.items())] == [[1], [2], [3]]


@pytest.mark.parametrize("pack", PACKS.packs, ids=lambda pack: pack.pack.name)
def test_nothing_is_wrong_with_a_shipped_pack(pack: LoadedPack) -> None:
    """As `policy lint` says it: cases that do not prove their rule, a number without a source, a condition that no spec
    can meet, a rule that stands twice. Which slips the cases notice is asked below."""
    found = lint.findings([pack], judge, mutants=False)
    assert [f"{one.file}:{one.line}: {one.summary}: {one.label}" for one in found] == []


def test_lint_looks_at_every_rule_and_case(tmp_path: Path) -> None:
    """The test above can fail: a case that says something else is found, and a number that nobody can trace."""
    shutil.copytree(POLICIES / "export-coreml", tmp_path / "export-coreml")
    rule = tmp_path / "export-coreml" / "probe-error"
    text = (rule / "fail.json").read_text(encoding="utf-8")
    assert text.count('"fail"') == 1
    (rule / "fail.json").write_text(text.replace('"fail"', '"pass"'), encoding="utf-8")
    text = (rule / "rule.yaml").read_text(encoding="utf-8")
    (rule / "rule.yaml").write_text(text[text.index("id: ") :], encoding="utf-8")
    (pack,) = policy.load(["export-coreml"], [tmp_path]).packs
    assert {one.code for one in lint.findings([pack], judge, mutants=False)} == {"KC6050", "KC6052"}


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_a_gate_is_one_folder(rule: LoadedRule) -> None:
    """The rule, its cases, and what it compares with."""
    every = {f"{name}.json" for name in cases.names(rule)} | {"rule.yaml"}
    pinned = getattr(rule.params, "baseline", None)
    every |= {Path(pinned.file).parts[0]} if pinned is not None else set()
    assert {path.name for path in rule.folder.iterdir()} == every


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_a_shipped_rule_blocks(rule: LoadedRule) -> None:
    """Or it is for toys alone, and one that asks the same of everything else blocks."""
    if rule.rule.mode == "block":
        return
    assert rule.rule.mode == "warn"
    assert [when.texts for _, when in rule.rule.conditions if when.spec == "risk_tier"] == [["3"]]
    twins = [one for one in RULES if one.rule.mode == "block" and (one.kind, one.params) == (rule.kind, rule.params)]
    asked = [when.texts for one in twins for _, when in one.rule.conditions if when.spec == "risk_tier"]
    assert asked == [["1", "2"]]


#: slips that are asked in every run; those of paths are many (tests/README.md)
QUICK = frozenset({"mode", "operator", "threshold", "unit", "on", "how", "expression"})


#: every third rule; all of them with KCOMPILER_MUTANTS=1
SLIPPED = [rule for rule in RULES if rule.rule.mode == "block"][:: 1 if "KCOMPILER_MUTANTS" in os.environ else 3]


@pytest.mark.parametrize("rule", SLIPPED, ids=named)
def test_the_cases_notice_a_slip_in_the_rule(rule: LoadedRule) -> None:
    """Policy mutation score: `kcompiler policy test PACK --add` writes the cases that are missing."""
    every = "KCOMPILER_MUTANTS" in os.environ
    # with all of them, those as well that not every report can tell: where a changed datum would, a case has it
    found = score.scored(rule, judge, killers=every, only=lambda one: every or (one.asked and one.sort in QUICK))
    assert found.mutants >= 2
    assert [one.mutant.what for one in found.lived if one.asked] == []


def at_the_point(rule: LoadedRule) -> bool:
    """Whether a rule decides a share of items by the share itself. All of them, or none, is a count and no estimate."""
    params = rule.params.model_dump(by_alias=True)
    if rule.rule.kind == "assert":
        return re.search(r"\.(?:k|value)\b", params["that"]) is not None
    judged = params.get("unit") == "ratio" and params.get("op", "==") != "=="
    return judged and params.get("on", "point") == "point" and params.get("paired") is None


def test_a_rule_over_a_share_decides_on_its_bound_or_says_why_the_point_is_right() -> None:
    """Each rate carries a bound, and a rule says on which of both it gates (DESIGN.md, 6)."""
    asked = [rule for rule in RULES if at_the_point(rule)]
    assert len(asked) > 5
    said = {rule.name: (rule.folder / "rule.yaml").read_text(encoding="utf-8").partition("\nid: ")[0] for rule in asked}
    assert [name for name, head in said.items() if not re.search(r"^# The point: \w+", head, re.MULTILINE)] == []
    ends = [
        rule.name for rule in RULES if rule not in asked and "# The point:" in (rule.folder / "rule.yaml").read_text()
    ]
    assert ends == []


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.schema.json")), ids=lambda path: path.name)
def test_a_schema_is_a_schema(path: Path) -> None:
    """In the draft its name says: the twin for editors is draft-07, every other one is 2020-12."""
    schema = json.loads(path.read_text(encoding="utf-8"))
    draft = Draft7Validator if path.name.endswith(".draft07.schema.json") else Draft202012Validator
    draft.check_schema(schema)
    assert schema["$schema"] == draft.META_SCHEMA["$schema"]
    assert schema.get("title") or schema.get("description")


def test_the_schema_of_policies_is_the_one_of_the_models() -> None:
    """To write it anew: json.dump of kcompiler.policy.published.document(), two spaces, one line end."""
    text = json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
    assert (SCHEMAS / "policy.schema.json").read_text(encoding="utf-8") == text


def test_every_pack_and_rule_satisfies_the_published_schema() -> None:
    validator = Draft202012Validator(document())
    for pack in PACKS.packs:
        assert list(validator.iter_errors(pack.tree.data)) == []
        for rule in pack.rules:
            assert list(validator.iter_errors(rule.tree.data)) == [], rule.name
            wrong = {**rule.tree.data, "params": {**rule.tree.data["params"], "treshold": 1}}  # type: ignore[dict-item, index]
            assert list(validator.iter_errors(wrong)) != []


def test_every_kind_is_used_by_a_shipped_rule() -> None:
    assert {rule.rule.kind for rule in RULES} == set(kinds.names())


def test_every_code_of_policies_has_a_page() -> None:
    used = {
        code
        for room in ("cli", "diff", "plan", "policy", "waiver")
        for path in (ROOT / "kcompiler" / room).rglob("*.py")
        for code in re.findall(r"KC6\d{3}", path.read_text())
    }
    assert used == {code for code in diagnostic.codes() if code.startswith("KC6")}
