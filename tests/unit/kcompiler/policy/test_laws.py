"""What cannot be is no evidence: numbers outside their range, counts that are none, numbers that do not fit together."""

from __future__ import annotations

import ast
import copy
import functools
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kcompiler import assets
from kcompiler.policy import cases, evidence, shape
from kcompiler.policy.laws import sums
from kcompiler.policy.laws.sums import LAWS
from runtime.contract import report as facts
from tests.unit.kcompiler.judge.mutants import mutants
from tests.unit.kcompiler.policy.test_reports import EVERY

DATA: dict[str, Any] = {
    "rows": facts.measured(90, "row"),
    "eligible": facts.measured(60, "row"),
    "controls": facts.measured(30, "row"),
    "gone": facts.unavailable("not measured", "row"),
    "runners": {
        "student": {"right": facts.rate(40, 60), "exact": facts.rate(30, 60)},
        "coreml": {"right": facts.rate(5, 10), "exact": facts.rate(5, 10)},
    },
    "shapes": [{"n": facts.measured(1, "row")}, {"n": facts.measured(2, "row")}],
}

#: (where, law, what is said when it does not hold; "" where it holds or says nothing)
HELD: list[tuple[str, str, str]] = [
    ("", "rows == eligible + controls", ""),
    ("", "rows == eligible", "/: `rows == eligible` does not hold (90 and 60)"),
    ("", "eligible <= rows", ""),
    ("", "rows <= rows", ""),
    ("", "rows <= eligible", "/: `rows <= eligible` does not hold (90 and 60)"),
    ("", "eligible == rows", "/: `eligible == rows` does not hold (60 and 90)"),
    ("", "rows == gone", ""),
    ("", "gone == rows", ""),
    ("", "rows == nowhere", ""),
    ("", "rows#k == eligible", ""),
    ("nowhere.*", "rows == eligible", ""),
    ("runners.*", "exact#k <= right#k", ""),
    ("runners.*", "right#k <= exact#k", "/runners/student: `right#k <= exact#k` does not hold (40 and 30)"),
    ("runners.*", "right#n == /eligible", "/runners/coreml: `right#n == /eligible` does not hold (10 and 60)"),
    ("runners.student", "right#n == /eligible", ""),
    ("runners.coreml", "right <= exact", ""),
    ("runners.student", "right == exact", "does not hold (0.6666666666666666 and 0.5)"),
    ("", "eligible + shapes[*].n == rows", "does not hold (63 and 90)"),
    ("", "shapes#items == 2", ""),
    ("", "shapes#items == 3", "/: `shapes#items == 3` does not hold (2 and 3)"),
    ("", "controls == shapes#items + 28", ""),
    ("", "controls == shapes#items + 29", "/: `controls == shapes#items + 29` does not hold (30 and 31)"),
    ("", "rows#items == 2", ""),
    ("", "runners#items == 3", ""),
    ("", "nowhere#items == 0", ""),
]


@pytest.mark.parametrize(("where", "law", "said"), HELD)
def test_a_law_holds_or_says_where_it_does_not(where: str, law: str, said: str) -> None:
    found = sums.broken(DATA, [{"in": where, "hold": [law]}])
    assert (said in found) if said else found == ""


@pytest.mark.parametrize("text", ["rows", "rows > eligible", "rows#m == eligible", "rows ==", "ro ws == rows"])
def test_what_is_no_law_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"law|count|path|begin"):
        sums.parse(text)


RATE = facts.rate(3, 4)
IMPOSSIBLE: list[tuple[str, dict[str, Any]]] = [
    ("more than all", {**RATE, "k": 5, "value": 1.25}),
    ("another quotient", {**RATE, "value": 0.8}),
    ("a broken count", {**RATE, "n": -4}),
    ("an F1 that its counts do not give", {**RATE, "tp": 1, "fp": 0, "fn": 3}),
    ("an interval beside its value", facts.measured(1.0, "nat", low=2.0)),
    ("an interval below its value", facts.measured(1.0, "nat", high=0.5)),
]


@pytest.mark.parametrize(("claim", "datum"), IMPOSSIBLE, ids=[case[0] for case in IMPOSSIBLE])
def test_counts_that_are_none_are_found_wherever_they_stand(claim: str, datum: dict[str, Any]) -> None:
    assert sums.broken({"a": [{"b/c": datum}]}, []).startswith("/a/0/b~1c: "), claim


def test_a_sound_datum_contradicts_nothing() -> None:
    assert sums.broken({"a": [RATE], "b": facts.measured(1.0, "nat", low=0.5, high=1.0), "c": "text"}, []) == ""


def stated() -> Iterator[tuple[str, str, str]]:
    for kind in shape.kinds():
        schema = json.loads((assets.folder("schemas") / f"report.{kind}.schema.json").read_text())
        for group in schema["properties"]["data"].get(LAWS, ()):
            yield from ((kind, group["in"], text) for text in group["hold"])


@pytest.mark.parametrize(("kind", "where", "text"), list(stated()))
def test_every_law_is_about_what_its_schema_has(kind: str, where: str, text: str) -> None:
    """A law about a name that is not there would say nothing for ever."""
    law = sums.parse(text)
    for term in (*law.left, *law.right):
        if term.path is None:
            continue
        start = shape.of_report(kind)
        assert start is not None
        parent = "" if term.whole or not where else f"{where}."
        whole = sums.parse(f"{parent}{term.text.partition('#')[0].removeprefix('/')} == rows").left[0].path
        assert not isinstance(shape.follow(whole, start), shape.Lost), term.text


@pytest.mark.parametrize("step", sorted(EVERY))
def test_real_reports_obey(step: str) -> None:
    assert evidence.read(EVERY[step]).problem == ""


def data(node: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    if isinstance(node, dict) and {"value", "unit", "tag"} <= node.keys():
        yield at, node
    elif isinstance(node, dict | list):
        for name, item in node.items() if isinstance(node, dict) else enumerate(node):
            yield from data(item, (*at, name))


def changed(report: dict[str, Any], at: tuple[str | int, ...], datum: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(report)
    put(made["data"], at, datum)
    return made


def put(place: Any, at: tuple[str | int, ...], datum: dict[str, Any]) -> None:
    for name in at[:-1]:
        place = place[name]
    place[at[-1]] = datum


#: unit → values that nothing can have
NEVER: dict[str, list[Any]] = {
    "cosine": [1e9, 1.0000001, -1.5],
    "probability": [1.0000001, -0.1],
    "ratio": [1.0000001, -0.5],
    "nat": [-0.1],
    "s": [-1.0],
    "element": [-1, 0.5],
    "finding": [-1],
    "row": [-1, 2.5],
    "question": [-1],
    "item": [-1, 39.5],
}


def beyond(unit: str, nth: int) -> Any:
    """The n-th value that nothing of this unit can have, or None."""
    return dict(enumerate(NEVER.get(unit, ()))).get(nth)


@pytest.mark.parametrize("step", [step for step in sorted(EVERY) if not step.startswith(("train", "teacher"))])
def test_an_impossible_number_is_no_evidence(step: str) -> None:
    """Each declared number of a real report, beyond its range. What only one run reports is left out.

    One reading of the schema says of all of them at once which it refuses where they stand; only what it does not name
    is read in a report of its own.
    """
    report = EVERY[step]
    validator = evidence._worded(f"report.{report['kind']}")
    numbers = [(at, datum) for at, datum in data(report["data"]) if datum["value"] is not None]
    accepted, asked = [], 0
    for nth in range(max(map(len, NEVER.values()))):
        lies = {
            at: {"value": beyond(datum["unit"], nth), "unit": datum["unit"], "tag": "measured"}
            | {name: datum[name] for name in ("n",) if name in datum}
            for at, datum in numbers
            if beyond(datum["unit"], nth) is not None
        }
        asked += len(lies)
        whole = copy.deepcopy(report)
        for at, lied in lies.items():
            put(whole["data"], at, lied)
        refused = {tuple(error.absolute_path)[1:] for error in validator.iter_errors(whole)}
        named = {path[:length] for path in refused for length in range(len(path) + 1)} if () not in refused else set()
        for at, lied in lies.items():
            if at not in named and not evidence.read(changed(report, at, lied)).problem:
                accepted.append((at, lied["value"]))
    assert accepted == []
    assert asked


def test_a_number_that_is_possible_is_not_refused_with_the_others() -> None:
    """The test above could fail: a lie that is none is read alone, and accepted."""
    report = EVERY["evaluate-gold"]
    at = ("answers",)
    nearly = {**report["data"]["answers"], "value": report["data"]["answers"]["value"] - 1}
    assert not evidence.read(changed(report, at, nearly)).problem


@functools.cache
def _longest() -> dict[str, dict[str, Any]]:
    """Kind of report → the longest one that the passing case of a shipped rule holds: of some thousand files, once."""
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for path in sorted(assets.folder("policies").rglob("pass.json")):
        report = cases.read(path).report
        if report and (size := len(json.dumps(report))) > found.get(report["kind"], (0,))[0]:
            found[report["kind"]] = (size, report)
    return {kind: report for kind, (_, report) in found.items()}


def shipped(kind: str) -> dict[str, Any]:
    """A report that the passing case of a shipped rule holds, the longest one: those of the steps that are not above."""
    return copy.deepcopy(_longest()[kind])


GGUF = {
    **shipped("teacher.restriction"),
    "kind": "weights.gguf",
    "data": {
        **dict.fromkeys(("revision", "tree"), "sha256:" + "0" * 64),
        **dict.fromkeys(("family", "tokenizer", "cut"), "llama"),
        "chat_template": True,
        "stored_types": {"Q4_1": facts.measured(200, "tensor"), "F32": facts.measured(72, "tensor")},
        "tensors": facts.measured(272, "tensor"),
        "parameters": facts.measured(134_515_008, "parameter"),
    },
}
FURTHER = {
    **{
        kind: shipped(kind)
        for kind in ("student.cut", "student.migration", "teacher.answers", "teacher.restriction", "teacher.signals")
    },
    "tokenizer.contract": shipped("tokenizer.contract"),
    "weights.gguf": GGUF,
}
#: what may be below zero: how much one thing has more than another
DIFFERENCES = ("margin", "shift")
WHOLE = ("row", "token", "parameter", "tensor", "id", "answer")


@pytest.mark.parametrize("kind", FURTHER)
def test_an_impossible_number_is_no_evidence_though_it_only_informs(kind: str) -> None:
    report = FURTHER[kind]
    assert evidence.read(report).problem == ""
    accepted, lies = [], 0
    for at, datum in data(report["data"]):
        # nothing that these count, measure or share is below zero, none of it is a text or not a number
        never: list[Any] = ["7", None, float("nan"), float("inf")]
        never += [] if at[-1] in DIFFERENCES else [-1]
        never += [0.5] if datum["unit"] in WHOLE else []
        never += [1.0000001] if datum["unit"] == "ratio" or "mass_kept" in at else []
        for value in never:
            lies += 1
            if not evidence.read(changed(report, at, {**datum, "value": value, "tag": "measured"})).problem:
                accepted.append((at, value))
    assert accepted == []
    assert lies > 10


@pytest.mark.parametrize(
    ("kind", "at", "value"),
    [
        ("student.cut", ("parts", 0, "kept"), 10**9),
        ("student.migration", ("kept",), 10**9),
        ("student.migration", ("dropped",), 0),
        ("student.migration", ("new_by", "pieces"), 10**6),
        ("teacher.answers", ("faults", "empty"), 3),
        ("teacher.answers", ("rows",), 101),
        ("teacher.restriction", ("vocab_size",), 10**6),
        ("teacher.signals", ("shards",), 10**9),
        ("teacher.signals", ("tokens",), 19_999),
        ("tokenizer.contract", ("reserved",), 10**9),
        ("weights.gguf", ("stored_types", "F32"), 73),
        ("weights.gguf", ("parameters",), 271),
    ],
)
def test_counts_that_contradict_each_other_there_are_no_evidence(
    kind: str, at: tuple[str | int, ...], value: int
) -> None:
    datum = dict(data(FURTHER[kind]["data"]))[at]
    problem = evidence.read(changed(FURTHER[kind], at, {**datum, "value": value})).problem
    assert "does not hold" in problem


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("quantization.calibration", ("matrices",)),
        ("quantization.ledger", ("variants", 1, "functions", 0, "blocks")),
        ("quantization.ledger", ("delta", "functions", 0, "blocks")),
    ],
)
def test_a_list_that_lacks_a_part_or_names_one_twice_is_no_evidence(kind: str, at: tuple[str | int, ...]) -> None:
    report = shipped(kind)
    assert evidence.read(report).problem == ""
    for change in (lambda parts: parts[:-1], lambda parts: [*parts, parts[0]]):
        made = copy.deepcopy(report)
        place = made["data"]
        for name in at[:-1]:
            place = place[name]
        place[at[-1]] = change(place[at[-1]])
        assert "does not hold" in evidence.read(made).problem


@pytest.mark.parametrize("name", ["lost", "lost_nearest"])
def test_what_a_matrix_loses_is_measured_on_every_token(name: str) -> None:
    report = shipped("quantization.calibration")
    at = ("matrices", 1, name)
    datum = dict(data(report["data"]))[at]
    assert "sources[*].tokens" in evidence.read(changed(report, at, {**datum, "n": 1})).problem


@pytest.mark.parametrize(
    ("step", "at", "change"),
    [
        ("evaluate-tool_use", ("rows",), {"value": 1000}),
        ("evaluate-tool_use", ("runners", "student", "span_f1"), {"value": 1.0, "tp": 1, "fp": 0, "fn": 0}),
        ("evaluate-tool_use", ("runners", "student", "exact_call"), {"value": 1.0, "k": 20, "n": 20}),
        ("evaluate-tool_use", ("runners", "student", "exact_call"), {"value": 1.0, "k": 60}),
        ("evaluate-tool_use", ("runners", "student", "right"), {"value": 1.0, "k": 90}),
        ("evaluate-tool_use", ("runners", "coreml", "right"), {"value": 1.0, "k": 900, "n": 900}),
        ("evaluate-tool_use", ("kd_gain",), {"n": 900}),
        ("evaluate-choice", ("items",), {"value": 79}),
        ("evaluate-choice", ("accuracy", "student"), {"value": 1.0, "k": 800, "n": 800}),
        ("evaluate-choice", ("corrected", "coreml"), {"n": 81}),
        ("evaluate-language_model", ("runners", "student", "nll_by_item"), {"n": 41}),
        ("evaluate-language_model", ("runners", "student", "nll"), {"value": -0.5}),
        ("evaluate-answers", ("validity", "student"), {"value": 1.0, "k": 600, "n": 600}),
        ("evaluate-answers", ("kl", "student", "all"), {"value": -0.1}),
        ("data", ("rows",), {"value": 100000}),
        ("apply", ("cpu",), {"value": -1.0}),
    ],
)
def test_a_report_that_contradicts_itself_is_no_evidence(
    step: str, at: tuple[str, ...], change: dict[str, Any]
) -> None:
    place: Any = EVERY[step]["data"]
    for name in at:
        place = place[name]
    assert evidence.read(changed(EVERY[step], at, {**place, **change})).problem


def test_every_comparison_turned_breaks_a_claim() -> None:
    source = Path(sums.__file__).read_text(encoding="utf-8")
    turned = [one for one in mutants(source) if isinstance(one.child, ast.Compare)]
    assert len(turned) > 6
    assert [str(one) for one in turned if _content(one.compiled(sums.__name__))] == []


def _content(code: types.CodeType) -> bool:
    """Whether every claim above still holds of this version of the module."""
    wrong = types.ModuleType(sums.__name__)
    try:
        kept = sys.modules[sums.__name__]
        sys.modules[sums.__name__] = wrong
        try:
            exec(code, wrong.__dict__)
        finally:
            sys.modules[sums.__name__] = kept
        for where, law, said in HELD:
            found = wrong.broken(DATA, [{"in": where, "hold": [law]}])
            if not ((said in found) if said else found == ""):
                return False
        return all(
            wrong.broken({"a": [{"b/c": datum}]}, []).startswith("/a/0/b~1c: ") for _, datum in IMPOSSIBLE
        ) and not (wrong.broken({"a": [RATE], "c": "text"}, []))
    except (ValueError, AttributeError, TypeError, LookupError):
        return False
