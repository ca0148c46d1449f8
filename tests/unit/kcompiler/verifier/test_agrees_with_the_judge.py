"""The stand-alone verifier and the judge, written apart: one outcome for every case of every shipped rule."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kcompiler import judge as judging
from kcompiler import policy
from kcompiler.judge import judge
from kcompiler.policy import cases, evidence
from kcompiler.policy.load import LoadedRule
from kcompiler.verifier import said_again, verdict
from runtime import digest
from runtime.contract.report import dump
from tests.longer import LONG

ROOT = Path(__file__).resolve().parents[4]
SCHEMAS = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "schemas").glob("*.schema.json"))
}
PINS = {name: digest.of_file(ROOT / "schemas" / f"{name}.schema.json") for name in SCHEMAS}
VERIFIER = verdict.Schemas(SCHEMAS, PINS)


@cache
def rules() -> list[LoadedRule]:
    packs = policy.load(policy.available([ROOT / "policies"]), [ROOT / "policies"])
    assert not packs.problems
    return [rule for pack in packs.packs for rule in pack.rules]


def cases_of(rule: LoadedRule) -> Iterator[tuple[str, cases.Case]]:
    for name in cases.names(rule):
        yield f"{rule.name}/{name}", cases.read(rule.folder / f"{name}.json")


def both(reports: Mapping[str, Any], obligations: list[dict[str, Any]], as_of: str | None = None) -> tuple[Any, Any]:
    """What the judge and the verifier say: word, exit code, counts, and outcome and blocking of each."""
    given = {step: dump(report).encode() for step, report in reports.items()}
    one = judge(given, obligations, as_of=as_of)
    read = {step: VERIFIER.evidence(data) for step, data in given.items()}
    other = verdict.verdict(read, obligations, None, as_of)
    assert {step: found.digest for step, found in read.items()} == one.reports
    for raw, mine, told in zip(obligations, one.to_json()["outcomes"], other.outcomes, strict=True):
        assert said_again.unlike(raw, mine, told) == []
    return (
        (one.verdict, one.exit_code, one.counts, [(o.rule, o.step, o.outcome, o.blocks) for o in one.outcomes]),
        (other.word, other.code, other.counts, [(o.rule, o.step, o.word, o.blocks) for o in other.outcomes]),
    )


def test_every_case_of_every_shipped_rule() -> None:
    """Of each the judge says what the case expects: tests/house/test_policies.py."""
    seen: dict[str, set[str]] = {}
    for at, rule in enumerate(rules()):
        # of rules of one kind that ended in every way, every third
        if not LONG and at % 3 and len(seen.get(rule.rule.kind, ())) > 3:
            continue
        for name, case in cases_of(rule):
            obligation = [cases.obligation(rule, case)]
            if LONG:
                one, other = both(cases.given(case), obligation)
                assert other == one, name
            read = {step: VERIFIER.evidence(dump(report).encode()) for step, report in cases.given(case).items()}
            (found,) = verdict.verdict(read, obligation, None, None).outcomes
            assert found.word == case.expect.outcome, name
            assert case.expect.blocks in (None, found.blocks), name
            seen.setdefault(rule.rule.kind, set()).add(found.word)
    assert len(seen) >= 11
    assert all({"pass", "fail"} < words for words in seen.values()), "each kind in each way"
    assert {"error", "inconclusive", "not_evaluated"} <= set.union(*seen.values())


#: kinds whose failures are no distance from a bound
NO_DISTANCE = ("all_true", "as_asked", "covers", "fingerprints", "genuine", "presence")


def test_how_far_a_rule_fails_and_how_every_place_ended() -> None:
    """What a waiver is compared with: of some failing cases of each kind, KCOMPILER_LONG=1 of all."""
    looked: dict[str, int] = {}
    measured: set[str] = set()
    for rule in rules():
        for name, case in cases_of(rule):
            kind = rule.rule.kind
            enough = looked.get(kind, 0) >= (1 if kind in measured or kind in NO_DISTANCE else 40)
            if case.expect.outcome != "fail" or (enough and not LONG):
                continue
            looked[kind] = looked.get(kind, 0) + 1
            given, raw = (
                {step: dump(one).encode() for step, one in cases.given(case).items()},
                cases.obligation(rule, case),
            )
            _, one = judging._outcome(raw, {step: evidence.read(data) for step, data in given.items()}, set())
            _, other = verdict._outcome(raw, {step: VERIFIER.evidence(data) for step, data in given.items()}, set())
            assert one is not None
            assert other.tags - {"pass"} == one.tags - {"pass"}, name
            assert other.margin == (one.margin if one.distance else None), name
            measured |= {kind} if one.distance else set()
    assert len(looked) >= 11
    assert measured == looked.keys() - set(NO_DISTANCE)


def places(node: Any, pointer: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield pointer
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, item in inner:
        yield from places(item, (*pointer, name))


def spoilt(report: Mapping[str, Any], at: tuple[Any, ...], how: str) -> Any:
    made: Any = copy.deepcopy(dict(report))
    holder = made
    for name in at[:-1]:
        holder = holder[name]
    value = holder[at[-1]]
    if how == "gone":
        del holder[at[-1]]
    elif isinstance(value, bool):
        holder[at[-1]] = not value
    elif isinstance(value, int | float):
        holder[at[-1]] = value + 1 if how == "more" else -value
    else:
        holder[at[-1]] = {"more": None, "less": "estimated"}[how]
    return made


@pytest.mark.parametrize("part", range(4) if LONG else [1])
def test_every_kind_of_report_with_one_thing_changed(part: int) -> None:
    """A number, a count, a tag, a fingerprint, a key: what the one calls broken, the other does too."""
    seen: set[tuple[str, str]] = set()
    changed = differs = 0
    every = 11 if LONG else 499
    for number, rule in enumerate(rules()):
        case = cases.read(rule.folder / "pass.json")
        kind = (str((case.report or {}).get("kind")), rule.rule.kind)
        if case.report is None or (kind in seen and not LONG) or number % 4 != part:
            continue
        seen.add(kind)
        obligation = [cases.obligation(rule, case)]
        for at in list(places(case.report))[1 + number % every :: every]:
            for how in ("gone", "more", "less"):
                made = spoilt(case.report, at, how)
                try:
                    step = str(made.get("step"))
                    one, other = both({step: made}, obligation)
                except ValueError:
                    continue  # the judge itself cannot be given such a value
                changed += 1
                differs += one[0] != "PASS"
                assert other == one, (rule.name, at, how)
    assert changed > 20
    assert differs > 5
