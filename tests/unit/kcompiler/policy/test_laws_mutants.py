"""Every comparison in the laws that a report must obey is noticed by an honest report or by one that contradicts itself.

The reports are those of test_derived.py and some more; they are made and read once, and of each mutant the laws alone
are asked.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from kcompiler.policy import datum, evidence
from kcompiler.policy.laws import formulas, whole
from runtime.contract import report as facts
from runtime.contract import strict_json
from runtime.contract.report import dump
from runtime.contract.statistics import chance
from runtime.contract.statistics.paired import wins_of
from tests.unit.kcompiler.judge.mutants import Mutant, long, mutants
from tests.unit.kcompiler.policy import genuine
from tests.unit.kcompiler.policy import test_derived as derived
from tests.unit.kcompiler.test_turned import exchanged

Report = dict[str, Any]
MODULES = [f"kcompiler.policy.laws.{name}" for name in ("sides", "counts", *(f"formulas.{one}" for one in formulas.names()))]  # fmt: skip
LAWS = "kcompiler.policy.laws."
EXACTLY = "a number that lies exactly at the end of what rounding is granted"
#: (module, mutant) that no report can show, and why
UNNOTICEABLE: dict[tuple[str, str], str] = {
    (
        LAWS + "sides",
        "{'wins', 'losses'} <= node.keys() → {'wins', 'losses'} < node.keys()",
    ): "a datum has a value, too",
    (
        LAWS + "sides",
        "least - size <= found.value * found.n <= most + size → least - size < found.value * found.n <= most + size",
    ): EXACTLY,
    (
        LAWS + "sides",
        "least - size <= found.value * found.n <= most + size → least - size <= found.value * found.n < most + size",
    ): EXACTLY,
    (LAWS + "counts", "0 <= low <= high <= 1 → 0 <= low < high <= 1"): "no interval of a count is a point",
    (
        LAWS + "counts",
        "abs(_beyond(k, n, float(low)) - tail) < _LOOSE → abs(_beyond(k, n, float(low)) - tail) <= _LOOSE",
    ): EXACTLY,
    (
        LAWS + "counts",
        "abs(_beyond(n - k, n, 1 - float(high)) - tail) < _LOOSE → abs(_beyond(n - k, n, 1 - float(high)) - tail) <= _LOOSE",
    ): EXACTLY,
    (
        LAWS + "counts",
        "found is expected → found is not expected",
    ): "the formulas of pairs give numbers, and no report a text",
    (
        LAWS + "formulas.calibration",
        "at / width - ROUNDING <= float(sure.value or 0) <= (at + 1) / width + ROUNDING → at / width - ROUNDING < float(sure.value or 0) <= (at + 1) / width + ROUNDING",
    ): EXACTLY,
    (
        LAWS + "formulas.calibration",
        "at / width - ROUNDING <= float(sure.value or 0) <= (at + 1) / width + ROUNDING → at / width - ROUNDING <= float(sure.value or 0) < (at + 1) / width + ROUNDING",
    ): EXACTLY,
    (LAWS + "formulas.chance", "n > _MOST → n >= _MOST"): "it bounds work",
    (
        LAWS + "formulas.zoo",
        "values[high] < values[low] → values[high] <= values[low]",
    ): "equal numbers are not apart",
    (LAWS + "formulas.zoo", "'right' in zoo → 'right' not in zoo"): "it says where, of a report that is refused",
    (LAWS + "formulas.mcnemar", "adjusted[name] < ALPHA → adjusted[name] <= ALPHA"): "no p of counts is exactly 0.05",
}


def changed(kind: str, change: Callable[[Report], object]) -> Report:
    report = derived.other(kind)
    change(report["data"])
    return report


def unpaired(data: Report, right: int = 74) -> None:
    """A share of the teacher's accuracy where nothing says which items the two have in common."""
    data["teacher_gain"] = facts.unavailable("not of the same items", "item/item")
    data["of_teacher"] = chance.share_of_counts([at < right for at in range(80)], 78, 80, 2)


def shared(wrong: int, of_teacher: int) -> Report:
    """So many of 80 items the student and its teacher have wrong, and another share of the teacher's accuracy."""
    report = genuine.choices(teacher=of_teacher, student=wrong)
    report["data"]["of_teacher"] |= {"value": 0.5, "low": 0.4, "high": 0.6}
    return report


def familiar(data: Report, macro: bool) -> None:
    """The student's answers by class are not told."""
    for row in data["by_class"].values():
        row["student"] = facts.unavailable("not counted", "ratio")
    data["clustered"]["student"] = facts.unavailable("not counted", "1")
    if not macro:
        data["macro"]["student"] = facts.unavailable("not counted", "1")


def more_on_both_sides(data: Report) -> None:
    """The same difference to the best policy, of more wins and losses than there are."""
    above = data["zoo"]["above"]
    name = next(one for one in above if above[one]["value"] is not None)
    node = above[name]
    spare = (node["n"] - node["wins"] - node["losses"]) // 2
    above[name] = wins_of(node["n"], node["wins"] + spare, node["losses"] + spare)


HONEST: dict[str, Callable[[], Report]] = {
    "a share of unpaired sides": lambda: changed("choice", unpaired),
    "no classes are told": lambda: changed("choice", lambda data: familiar(data, False)),
}
WRONG: dict[str, Callable[[], Report]] = {
    "another share of unpaired sides": lambda: changed("choice", lambda data: unpaired(data, 70)),
    "a mean over classes that are not told": lambda: changed("choice", lambda data: familiar(data, True)),
    "a share of a teacher that is always right": lambda: shared(6, 0),
    "a share where no item is right in both": lambda: shared(80, 2),
    "a policy of numbers that was not judged": lambda: changed(
        "gold", lambda data: data["zoo"]["right"].pop("last_number")
    ),
    "more wins and losses than there are": lambda: changed("choice", more_on_both_sides),
}
PAIR = wins_of(10, 7, 3)
#: a datum and whether it agrees with its own counts
DATA: list[tuple[Report, bool]] = [
    (PAIR, True),
    (wins_of(10, 0, 0), True),
    ({**PAIR, "losses": 4}, False),
    ({key: one for key, one in PAIR.items() if key not in ("wins", "losses")}, True),
    ({key: one for key, one in PAIR.items() if key != "losses"}, False),
    ({key: one for key, one in PAIR.items() if key != "wins"}, False),
    ({**PAIR, "low": None}, False),
]


def forgeries() -> Iterator[Report]:
    for kind in derived.MAKE:
        report = derived.honest(kind)
        for at, one in derived.numbers(report["data"]):
            if any(fnmatch.fnmatchcase(".".join(map(str, at)), pattern) for pattern in (*derived.GIVEN, "right.*")):
                yield from (derived.put(report, at, lied) for lied in derived.forged(one))


def _agrees(node: Report) -> bool:
    try:
        datum.read(node)
    except datum.BadDatum:
        return False
    return True


def _asked(report: Report) -> tuple[Report, Any]:
    read: Any = strict_json.loads(dump(report))
    schema = evidence._schema(f"report.{read['kind']}")
    assert schema is not None
    return read, schema.content


@cache
def cases() -> tuple[list[tuple[Report, Any]], list[tuple[Report, Any]]]:
    """Reports with their schemas: those that obey, and those that a law, and no schema, refuses."""
    honest = [_asked(made) for made in (*map(derived.honest, derived.MAKE), *(make() for make in HONEST.values()))]
    told = [*forgeries(), *(make() for _, make in derived.WRONG), *(make() for make in WRONG.values())]
    return honest, [one for one in map(_asked, told) if whole.contradiction(*one)]


def notices() -> bool:
    """Whether some report is taken for what it is not."""
    honest, wrong = cases()
    try:
        if any(_agrees(node) is not right for node, right in DATA):
            return True
        return any(whole.contradiction(*one) for one in honest) or not all(whole.contradiction(*one) for one in wrong)
    except Exception:
        return True


def survives(file: str, mutant: Mutant) -> bool:
    with exchanged(file, mutant.compiled(file)) as changed:
        return not changed or not notices()


@pytest.mark.slow
@pytest.mark.parametrize("module", [long(one) for one in MODULES])
def test_no_comparison_can_be_turned(module: str) -> None:
    assert not notices()
    file = str(importlib.import_module(module).__file__)
    found = [one for one in mutants(Path(file).read_text(encoding="utf-8")) if isinstance(one.child, ast.Compare)]
    asked = [one for one in found if (module, f"{one.was} → {one.now}") not in UNNOTICEABLE]
    assert len(found) - len(asked) == sum(name == module for name, _ in UNNOTICEABLE)
    assert [str(one) for one in asked if survives(file, one)] == []


@pytest.mark.parametrize("claim", WRONG)
def test_a_report_that_contradicts_itself_is_no_evidence(claim: str) -> None:
    assert "contradicts itself" in evidence.read(WRONG[claim]()).problem


@pytest.mark.parametrize("claim", HONEST)
def test_an_honest_report_obeys(claim: str) -> None:
    assert evidence.read(HONEST[claim]()).problem == ""
