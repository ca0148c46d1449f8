"""Two plans by meaning: nothing of trust is missed, nothing is invented."""

import copy
import json
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import given, settings

from kcompiler.diff.difference import compare, followers, short

BASE = json.loads((Path(__file__).parents[3] / "golden/views/base.lock.json").read_text(encoding="utf-8"))


def spots(value, path=()):
    """Every leaf, as a path; an empty list or mapping has none."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from spots(value[key], (*path, key))
    else:
        yield path


def at(value, path):
    for key in path:
        value = value[key]
    return value


LEAVES = sorted(spots(BASE), key=str)
#: values whose change means nothing by itself
SILENT = {"sources", "lock", "estimates"}
#: the version of a rule's pack is told once, under the packs; what the rule asks, under the rule
TOLD_ELSEWHERE = {"derivation", "pack"}


def test_a_plan_does_not_differ_from_itself():
    assert compare(BASE, copy.deepcopy(BASE)) == []
    assert followers(BASE, copy.deepcopy(BASE)) == []


TELLING = [
    path for path in LEAVES if path[0] not in SILENT and (path[-1] not in TOLD_ELSEWHERE or path[0] == "policies")
]


@given(st.sampled_from(TELLING))
@settings(max_examples=150)
def test_every_changed_leaf_is_told(path):
    new = copy.deepcopy(BASE)
    old = at(BASE, path)
    parent = at(new, path[:-1])
    parent[path[-1]] = (
        not old if isinstance(old, bool) else old + 1 if isinstance(old, int | float) else f"{old or ''}x"
    )
    assert compare(BASE, new), path


@given(st.sampled_from(["inputs", "policies", "steps", "obligations"]), st.data())
@settings(max_examples=40)
def test_what_is_gone_is_told(section, data):
    new = copy.deepcopy(BASE)
    index = data.draw(st.integers(0, len(new[section]) - 1))
    del new[section][index]
    gone = compare(BASE, new)
    assert [item.sign for item in gone] == ["-"]
    assert [item.sign for item in compare(new, BASE)] == ["+"]
    assert gone[0].trust == (section != "steps")


def test_followers_are_those_whose_own_text_is_the_same():
    new = copy.deepcopy(BASE)
    new["steps"][3]["params"]["steps"] = 1
    for step in new["steps"][3:]:
        step["derivation"] = "sha256:" + "0" * 64
    assert followers(BASE, new) == [step["id"] for step in BASE["steps"][4:]]


def test_trust_stands_first():
    new = copy.deepcopy(BASE)
    new["steps"][3]["params"]["steps"] = 1
    new["budgets"]["usd"] = 1000.0
    assert [(item.area, item.trust) for item in compare(BASE, new)] == [("budget", True), ("step", False)]
    new["budgets"]["usd"] = 1.0
    assert [(item.area, item.trust) for item in compare(BASE, new)] == [("budget", False), ("step", False)]


def test_numbers_that_differ_are_shown_differently():
    shown = [short(value) for value in (2592000.0, 2592001.0, 1234567.5, 0.1, 0.10000001, 2e-05, 1e300)]
    assert shown == ["2592000", "2592001", "1234567.5", "0.1", "0.10000001", "2e-05", "1e+300"]


def test_what_gates_are_measured_on_is_trust():
    def changed(kind, params, report=""):
        step = {
            "id": "s",
            "kind": kind,
            "backend": "b",
            "promise": "bytes",
            "code": "c",
            "derivation": "d",
            "gives": {"report": {"report": report}},
        }
        return compare({"steps": [{**step, "params": params[0]}]}, {"steps": [{**step, "params": params[1]}]})

    def rows(*sides):
        return tuple({"sources": [{"name": "a", **side}]} for side in sides)

    cases = [
        ("data@1", ({"held_out": 0.2}, {"held_out": 0.1}), "", "weaker", True),
        ("data@1", ({"held_out": 0.1}, {"held_out": 0.2}), "", "stronger", True),
        ("data@1", rows({"split": "test"}, {"split": "auto"}), "", "incomparable", True),
        ("data@1", rows({"split": "auto", "limit": 1}, {"split": "auto", "limit": 2}), "", "incomparable", True),
        (
            "data@1",
            rows({"split": "test", "params": {"rows": 9}}, {"split": "test", "params": {"rows": 8}}),
            "",
            "incomparable",
            True,
        ),
        ("data@1", rows({"split": "train", "license": "MIT"}, {"split": "train", "license": "X"}), "", "", True),
        ("data@1", rows({"split": "train", "limit": 1}, {"split": "train", "limit": 2}), "", "", False),
        ("data@1", rows({"split": "validation", "limit": 1}, {"split": "validation", "limit": 2}), "", "", False),
        ("data@1", rows({"split": "validation"}, {"split": "test"}), "", "incomparable", True),
        ("data@1", ({"validation": 0.1}, {"validation": 0.2}), "", "", False),
        ("data@1", ({"sources": []}, {"sources": [{"name": "new", "split": "test"}]}), "", "incomparable", True),
        ("data@1", ({"sources": [{"name": "old", "split": "auto"}]}, {"sources": []}), "", "incomparable", True),
        ("evaluate@1", ({"params": {"limit": 0}}, {"params": {"limit": 3}}), "eval.answers", "incomparable", True),
        ("train@1", ({"steps": 1}, {"steps": 2}), "training", "", False),
    ]
    for kind, params, report, direction, trust in cases:
        (change,) = changed(kind, params, report)
        assert (change.direction, change.trust) == (direction, trust), change


def test_one_more_source_hides_no_change_of_the_others():
    def plan(*sources):
        params = {"sources": [{"name": name, "split": split} for name, split in sources]}
        step = {"id": "data", "kind": "data@1", "code": "c", "derivation": "d", "gives": {}, "params": params}
        return {"steps": [step]}

    found = compare(plan(("a", "train"), ("b", "test")), plan(("a", "test"), ("b", "train"), ("c", "train")))
    assert {item.path for item in found if item.direction == "incomparable"} == {
        "params.sources.a.split",
        "params.sources.b.split",
    }


def test_who_signs_the_lock_is_told_with_its_direction():
    def plan(approval):
        made = copy.deepcopy(BASE)
        made["policies"][0].pop("approval", None)
        if approval:
            made["policies"][0]["approval"] = approval
        return made

    def ways(old, new):
        found = compare(plan(old), plan(new))
        assert all(one.trust and one.area == "policy" for one in found)
        return [(one.path, one.direction) for one in found]

    two = {"min": 2, "approvers": {"ana": "A", "bo": "B"}}
    assert ways(two, {**two, "min": 1}) == [("approval.min", "weaker")]
    assert ways({**two, "min": 1}, two) == [("approval.min", "stronger")]
    assert ways(two, None) == [("approval.min", "weaker")]
    assert ways(None, two) == [("approval.min", "stronger")]
    assert ways(two, {**two, "approvers": {"ana": "C", "bo": "B"}}) == [("approval.approvers.ana", "incomparable")]
    # and of a pack that goes or comes
    without = plan(None)
    del without["policies"][0]
    assert [(one.sign, one.direction) for one in compare(plan(two), without)] == [("-", ""), ("~", "weaker")]
    assert [(one.sign, one.direction) for one in compare(without, plan(two))] == [("+", ""), ("~", "stronger")]


def test_a_step_that_counts_the_rows_of_its_sources_is_compared():
    """Step `calibrate` says of each source a number, and sources of a data step are objects."""

    def plan(rows):
        params = {"sources": {"answers": rows}, "split": "train"}
        step = {"id": "calibrate", "kind": "calibrate@1", "code": "c", "derivation": "d", "gives": {}, "params": params}
        return {"steps": [step]}

    assert compare(plan(48), plan(48)) == []
    assert [item.path for item in compare(plan(48), plan(64))] == ["params.sources.answers"]
