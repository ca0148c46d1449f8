"""Laws of the judge: exact at every count, never lenient with broken evidence, monotonous, blind to order."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kcompiler import assets, policy
from kcompiler.judge import judge
from runtime.contract import report as facts
from runtime.contract.report import dump
from tests.unit.kcompiler.judge.samples import bound, number, obligation, report
from tests.unit.kcompiler.policy import plans

THRESHOLDS = st.decimals(min_value=0, max_value=1, places=4).map(lambda value: format(value, "f"))
OPS = {
    ">=": lambda value, threshold: value >= threshold,
    ">": lambda value, threshold: value > threshold,
    "<=": lambda value, threshold: value <= threshold,
    "<": lambda value, threshold: value < threshold,
    "==": lambda value, threshold: value == threshold,
}
SNAPSHOTS = Path(__file__).parents[1] / "unit" / "kcompiler" / "policy" / "reports"
VERIFY: dict[str, Any] = json.loads((SNAPSHOTS / "verify.json").read_text())
PACKS = policy.load(["caws/core"], [assets.folder("policies")])
SPEC = {
    "risk_tier": 3,
    "budgets": {"wall_s": 1, "cpu_s": 1},
    "shapes": {"prefill": [64, 128, 256]},
    "evaluation": {"suites": []},
}
ASKED = policy.obligations(PACKS, SPEC, {"coreml.parity": ["verify"]}, {"verify": plans.VERIFY})[0]


def outcome(data: dict[str, Any], params: dict[str, Any]) -> str:
    return judge({"measure": report(data)}, [obligation(params)]).outcomes[0].outcome


@given(n=st.integers(1, 20_000), misses=st.integers(0, 5))
def test_a_single_miss_among_any_number_is_seen(n: int, misses: int) -> None:
    """F20: 1 in 20,000 is not all, whatever a rounded rate says."""
    k = max(n - misses, 0)
    assert outcome({"x": facts.rate(k, n)}, bound("x", "==", "1", "ratio")) == ("pass" if k == n else "fail")


@given(n=st.integers(1, 20_000), data=st.data(), threshold=THRESHOLDS, op=st.sampled_from(sorted(OPS)))
def test_rates_are_compared_as_fractions(n: int, data: st.DataObject, threshold: str, op: str) -> None:
    k = data.draw(st.integers(0, n))
    holds = OPS[op](Fraction(k, n), Fraction(threshold))
    assert outcome({"x": facts.rate(k, n)}, bound("x", op, threshold, "ratio")) == ("pass" if holds else "fail")


@given(value=st.floats(allow_nan=True, allow_infinity=True), op=st.sampled_from(sorted(OPS)), threshold=THRESHOLDS)
def test_any_float_is_compared_as_the_text_it_is_written_as(value: float, op: str, threshold: str) -> None:
    """F18: NaN and infinities become `unavailable` when they are written, and pass nothing."""
    datum = number(value)
    if datum["tag"] == "unavailable":
        assert outcome({"x": datum}, bound("x", op, threshold)) == "not_evaluated"
        return
    holds = OPS[op](Fraction(repr(value)), Fraction(threshold))
    assert outcome({"x": datum}, bound("x", op, threshold)) == ("pass" if holds else "fail")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_pass_or_raise(noise: bytes) -> None:
    verdict = judge(
        {"measure": noise}, [obligation(bound("x", ">=", 0)), obligation({}, kind="genuine@1", rule="lab/g")]
    )
    assert (verdict.counts["pass"], verdict.verdict) == (0, "NOTHING_EVALUATED")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(raw=st.dictionaries(st.sampled_from([*obligation({}), "other"]), JSON, max_size=12))
def test_no_obligation_raises_and_a_broken_one_blocks(raw: dict[str, Any]) -> None:
    written = json.loads(json.dumps(raw).replace("NaN", "0").replace("-Infinity", "0").replace("Infinity", "0"))
    made = judge({"measure": report({"x": number(1.0)})}, [written]).outcomes[0]
    assert made.outcome in ("error", "not_evaluated", "skipped", "fail", "pass")
    assert made.outcome == "skipped" or made.blocks == (written.get("mode") != "warn" or made.outcome == "error")


def places(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path to a key or element below a node."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, item in items for place in [(*at, key), *places(item, (*at, key))]]


PLACES = places(VERIFY)
NEEDED = {"kind", "schema_version", "step", "fingerprints", "environment", "data"}


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The real parity report with one thing replaced; `...` removes it."""
    made = copy.deepcopy(VERIFY)
    *parents, last = place
    node: Any = made
    for part in parents:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return made


def test_the_real_report_passes() -> None:
    assert judge({"verify": VERIFY}, ASKED).verdict == "PASS"


@settings(deadline=None, max_examples=40)
@given(place=st.sampled_from(PLACES), value=st.sampled_from([None, 1, -1, "", "x", [], {}, True, ...]))
def test_nothing_in_a_report_makes_the_judge_raise(place: tuple[Any, ...], value: Any) -> None:
    """One place of a real report replaced by anything: an answer, and never a pass where a demanded datum is spoilt."""
    verdict = judge({"verify": changed(place, value)}, ASKED)
    assert len(verdict.outcomes) == len(ASKED)
    if len(place) == 1 and place[0] in NEEDED and VERIFY[place[0]] != value:
        assert verdict.verdict != "PASS"


@settings(deadline=None, max_examples=40)
@given(place=st.sampled_from([place for place in PLACES if place[0] == "data" and place[-1] == "tag"]))
def test_an_estimate_never_helps(place: tuple[Any, ...]) -> None:
    """Any measurement turned into an estimate passes no more rules than before."""
    made = changed(place, "estimated")
    node = made
    for part in place[:-1]:
        node = node[part]
    node["by"] = "a guess"
    if node["value"] is None:
        return
    before, after = judge({"verify": VERIFY}, ASKED), judge({"verify": made}, ASKED)
    assert {one.rule for one in after.outcomes if one.outcome == "pass"} <= {
        one.rule for one in before.outcomes if one.outcome == "pass"
    }


@settings(deadline=None, max_examples=40)
@given(order=st.permutations(range(6)), drop=st.sets(st.integers(0, 5)))
def test_more_obligations_never_make_a_verdict_better(order: list[int], drop: set[int]) -> None:
    """PASS of all means PASS of each non-empty part, in any order; the recorded outcomes are the same."""
    params = [bound("x", op, threshold) for op, threshold in ((">=", "0.5"), ("<=", "0.9"), ("==", "0.7"))]
    made = [obligation(one, rule=f"lab/{index}") for index, one in enumerate([*params, *params])]
    given_reports = {"measure": report({"x": number(0.7)})}
    whole = judge(given_reports, [made[index] for index in order])
    part = judge(given_reports, [made[index] for index in order if index not in drop])
    assert whole.verdict == "PASS"
    assert part.verdict == ("PASS" if len(drop) < 6 else "NOTHING_EVALUATED")
    assert {one.rule: one for one in part.outcomes}.items() <= {one.rule: one for one in whole.outcomes}.items()


@given(st.permutations(["a", "b", "c"]))
def test_the_order_of_reports_does_not_matter(order: list[str]) -> None:
    reports = {step: report({"x": number(1.0)}, step=step) for step in order}
    asked = [obligation(bound("x", ">=", "0.5"), from_="step:b")]
    assert judge(reports, asked).dump() == judge(dict(sorted(reports.items())), asked).dump()


def test_bytes_and_values_are_the_same_evidence() -> None:
    assert judge({"verify": VERIFY}, ASKED).dump() == judge({"verify": dump(VERIFY).encode()}, ASKED).dump()
