"""Reports that contradict themselves: what others in them give may not be said otherwise.

Each numeric datum of an honest report of each kind is changed by itself, as a forger would, with the interval that goes
with it; the report is refused, or the datum is one that was measured and that nothing beside it gives.
"""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from kcompiler.policy import evidence
from kcompiler.policy.laws import formulas
from runtime.contract import report as facts
from runtime.contract.statistics.paired import mcnemar_of, wins_of
from runtime.contract.statistics.rates import EXACT, rate
from tests.unit.kcompiler.policy import genuine, judged

Report = dict[str, Any]
MAKE: dict[str, Callable[[], Report]] = {
    "answers": genuine.proportions,
    "bfcl": genuine.functions,
    "choice": genuine.choices,
    "gold": genuine.golds,
    "integration": genuine.carried,
    "judge": judged.judges,
    "judged": judged.compared,
    "language_model": genuine.texts,
    "needle": genuine.needles,
    "preference": genuine.preferences,
    "scenarios": genuine.scenes,
    "tool_use": genuine.tools,
}


@cache
def honest(kind: str) -> Report:
    return MAKE[kind]()


def numbers(node: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Report]]:
    if isinstance(node, dict) and {"value", "unit", "tag"} <= node.keys():
        if node["tag"] == "measured":
            yield at, node
    elif isinstance(node, dict | list):
        for name, item in node.items() if isinstance(node, dict) else enumerate(node):
            yield from numbers(item, (*at, name))


def forged(datum: Report) -> Iterator[Report]:
    """Consistent in itself, and another one."""
    if "wins" in datum:
        won = datum["wins"] + (1 if datum["wins"] + datum["losses"] < datum["n"] else -1)
        made = (mcnemar_of if "test" in datum else wins_of)(datum["n"], won, datum["losses"])
        yield {**datum, **made}
        yield {**datum, "value": datum["value"] / 2 + 0.1}
    elif datum.get("interval") == EXACT and "k" in datum:
        yield rate(datum["k"] - 1 if datum["k"] else 1, datum["n"])
    elif "tp" not in datum:
        value = datum["value"] + (1 if isinstance(datum["value"], int) else 0.01)
        yield {**datum, "value": value, **{end: datum[end] + 0.01 for end in ("low", "high") if end in datum}}


def put(report: Report, at: tuple[str | int, ...], datum: Report) -> Report:
    changed = copy.deepcopy(report)
    place: Any = changed["data"]
    for name in at[:-1]:
        place = place[name]
    place[at[-1]] = datum
    return changed


@pytest.mark.parametrize("kind", MAKE)
def test_an_honest_report_obeys(kind: str) -> None:
    assert evidence.read(honest(kind)).problem == ""


#: what a gate reads and others give, and how each of it may be forged
GIVEN = ("kd_gain", "teacher_gain", "package_gain", "init_gain", "zoo.above.*", "mcnemar.*", "corrected.*", "macro.*")
GIVEN += ("won", "lost", "tied", "flipped", "net", "zoo.held", "by_injection.*", "injection_unmoved.*")
GIVEN += ("accuracy.*", "agreement.*", "calibration.*", "of_teacher*", "zoo.gold", "gold_nll.*", "runners.*.right")
GIVEN += ("runners.*.accuracy", "runners.*.whole", "runners.*.nll_by_item", "reliability.*", "preferred.*", "chance")


@pytest.mark.parametrize("kind", MAKE)
def test_no_datum_that_others_give_can_be_changed_alone(kind: str) -> None:
    report, asked, accepted = honest(kind), 0, []
    for at, datum in numbers(report["data"]):
        name = ".".join(map(str, at))
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in (*GIVEN, "right.*")):
            continue
        for lied in forged(datum):
            asked += 1
            if not evidence.read(put(report, at, lied)).problem:
                accepted.append((name, lied["value"]))
    assert accepted == []
    assert asked > 3


def other(kind: str, *changes: tuple[str, Any]) -> Report:
    report = copy.deepcopy(honest(kind))
    for path, value in changes:
        *parents, last = path.split(".")
        place: Any = report["data"]
        for name in parents:
            place = place[name]
        place[last] = value
    return report


WRONG: list[tuple[str, Callable[[], Report]]] = [
    ("no policy judged", lambda: other("tool_use", ("zoo.right", {}))),
    ("the best is none of them", lambda: other("tool_use", ("zoo.best", "copy_gold"))),
    ("the best is not the best", lambda: other("choice", ("zoo.best", "mute"))),
    ("gold is a policy", lambda: other("choice", ("zoo.right.copy_gold", rate(0, 80)))),
    ("a better policy than the best", lambda: other("judge", ("zoo.right.longer", rate(140, 140)))),
    ("gold is not right, and something is above it", lambda: other("gold", ("zoo.gold", rate(79, 80)))),
    ("one pair fewer than the sides have", lambda: other("choice", ("kd_gain", wins_of(79, 42, 0)))),
    (
        "nine nats beside a gain",
        lambda: other("answers", ("gold_nll.student", facts.measured(9.0, "nat/question", n=60))),
    ),
    ("an adjusted p of another family", lambda: other("gold", ("mcnemar.kd_gain.adjusted", 0.01))),
    ("another alpha", lambda: other("preference", ("mcnemar.kd_gain.alpha", 3.0))),
    ("called significant", lambda: other("gold", ("mcnemar.kd_gain.significant", True))),
    ("a p without its test", lambda: other("gold", ("mcnemar.kd_gain.test", "some test"))),
    ("a narrower interval", lambda: other("choice", ("accuracy.student.low", 0.92))),
    ("an interval that says how seldom it holds", lambda: other("choice", ("accuracy.student.confidence", 0.5))),
    ("a side that was not measured", lambda: other("gold", ("right.student", facts.unavailable("gone", "ratio")))),
    (
        "calibrated by its word",
        lambda: other("judge", ("calibration.student.value", 0.0), ("calibration.student.low", 0.0)),
    ),
    ("no bins", lambda: other("judge", ("reliability", {}))),
    ("texts of more bytes", lambda: other("language_model", ("zoo.bytes.value", 700))),
    ("bytes that were not counted", lambda: other("language_model", ("zoo.bytes", facts.unavailable("gone", "byte")))),
    ("another uniform", lambda: other("language_model", ("zoo.worth.uniform.value", -9.0))),
    (
        "less than uniform is known of how often bytes are",
        lambda: other("language_model", ("zoo.worth.prior.value", -6.0), ("zoo.best", "uniform")),
    ),
    ("all above another best", lambda: other("language_model", ("zoo.worth.words.value", -0.5))),
    ("words of which less is known than of bytes", lambda: other("language_model", ("zoo.worth.words.value", -4.0))),
    (
        "held where the rows' own answers hold no more than another",
        lambda: other("judged", ("zoo.gold", rate(5, 200)), ("zoo.above.copy_gold", wins_of(200, 0, 0))),
    ),
    ("without its control", lambda: other("judged", ("zoo.above.copy_gold", facts.unavailable("gone", "item/item")))),
    ("a control of other rows", lambda: other("judged", ("zoo.gold", rate(150, 200)))),
    ("more held than a constant, by its word", lambda: other("judged", ("zoo.held", rate(100, 200)))),
    ("one sentence of which nobody heard", lambda: other("judge", ("by_injection.more", {"student": rate(1, 1)}))),
    ("tokens that cost less", lambda: other("language_model", ("runners.student.nll.value", 0.01))),
]


@pytest.mark.parametrize(("claim", "make"), WRONG, ids=[case[0] for case in WRONG])
def test_a_report_that_contradicts_itself_is_no_evidence(claim: str, make: Callable[[], Report]) -> None:
    assert "contradicts itself" in evidence.read(make()).problem, claim


def test_every_formula_is_named_by_a_schema() -> None:
    kinds = [*(f"eval.{kind}" for kind in MAKE), "efficiency"]
    assert {one["formula"] for kind in kinds for one in _schema(kind)} == set(formulas.names())


def _schema(kind: str) -> list[Report]:
    found = evidence._schema(f"report.{kind}")
    assert found is not None
    return list(found.content["properties"]["data"].get(formulas.DERIVED, ()))


@pytest.mark.parametrize("kind", MAKE)
def test_a_policy_that_is_due_may_not_be_left_out(kind: str) -> None:
    """Whoever leaves out the policy that a model is, is above all others; those of a suite stand in its schema."""
    zoo = honest(kind)["data"].get("zoo", {})
    key = "right" if "right" in zoo else "worth"
    accepted = []
    for name in zoo.get(key, {}):
        left = {other_name: node for other_name, node in zoo[key].items() if other_name not in (name, zoo["best"])}
        # the best is left where it is: its place is a law of its own
        kept = {**left, zoo["best"]: zoo[key][zoo["best"]]}
        if name != zoo["best"] and not evidence.read(other(kind, (f"zoo.{key}", kept))).problem:
            accepted.append(name)
    assert accepted == SPARE.get(kind, [])


#: policies that are there for some rows only, or of a report that no policy bounds
SPARE = {"scenarios": ["always_first_tool"]}
