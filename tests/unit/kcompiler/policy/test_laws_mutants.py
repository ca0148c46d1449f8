"""Every comparison in the laws that a report must obey is noticed by an honest report or by one that contradicts itself.

The reports are those of test_derived.py and some more; they are made and read once, and of each mutant the laws alone
are asked.
"""

from __future__ import annotations

import ast
import copy
import fnmatch
import importlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kcompiler.policy import datum, evidence
from kcompiler.policy.laws import formulas, remade, sums, whole
from runtime.contract import report as facts
from runtime.contract import strict_json
from runtime.contract.report import dump
from runtime.contract.statistics import chance, means, ratios
from runtime.contract.statistics.paired import wins_of
from runtime.contract.statistics.rates import rate
from tests.unit.kcompiler.judge.mutants import Mutant, long, mutants
from tests.unit.kcompiler.policy import genuine, judged
from tests.unit.kcompiler.policy import test_derived as derived
from tests.unit.kcompiler.policy import test_forged as alone
from tests.unit.kcompiler.test_turned import exchanged
from tests.unit.runtime.suites import models, scenes

Report = dict[str, Any]
MODULES = [f"kcompiler.policy.laws.{name}" for name in ("sides", "counts", *(f"formulas.{one}" for one in formulas.names()))]  # fmt: skip
LAWS = "kcompiler.policy.laws."
FORMULAS = LAWS + "formulas."
#: reports of a kind, refused by the same laws, of which those show something that formulas share
FEW = 12
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
    (
        LAWS + "formulas.calibration",
        "(at + 1) / width > least - ROUNDING → (at + 1) / width >= least - ROUNDING",
    ): EXACTLY,
    (
        LAWS + "formulas.distributions",
        "(mine := float(top.value or 0)) > most + ROUNDING → (mine := float(top.value or 0)) >= most + ROUNDING",
    ): EXACTLY,
    (
        LAWS + "formulas.distributions",
        "_apart(top, rows) > float(far.value or 0) + ROUNDING → _apart(top, rows) >= float(far.value or 0) + ROUNDING",
    ): EXACTLY,
    (
        LAWS + "formulas.distributions",
        "due['uniform'] - ROUNDING <= prior <= math.log(rows.value) + ROUNDING → due['uniform'] - ROUNDING < prior <= math.log(rows.value) + ROUNDING",
    ): EXACTLY,
    (
        LAWS + "formulas.distributions",
        "due['uniform'] - ROUNDING <= prior <= math.log(rows.value) + ROUNDING → due['uniform'] - ROUNDING <= prior < math.log(rows.value) + ROUNDING",
    ): EXACTLY,
    (LAWS + "sides", "abs(node[name] - end) > slack → abs(node[name] - end) >= slack"): EXACTLY,
    (
        LAWS + "formulas.zoo",
        "above[GOLD].get('low', 0) > 0 → above[GOLD].get('low', 0) >= 0",
    ): "no interval of wins and losses ends at exactly 0",
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


def without(kind: str) -> Report:
    """The honest report of a kind where there is no package."""

    def reported(suite: Any, runners: Mapping[str, Any], *given: Any) -> Report:
        return models.reported(suite, {name: one for name, one in runners.items() if name != "coreml"}, *given)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(genuine, "reported", reported)
        return alone.anew(alone.EACH[kind])()


def even(prompt: str, answer: str) -> float:
    """No token is likelier than another."""
    return float(0.5 ** (len(answer.split()) + 1))


@cache
def fewer(late: int = 0) -> Report:
    """A package that is asked 40 of 60 tasks; the teacher has the first one wrong, or all from `late` on."""

    def teacher(row: Report, at: int) -> str:
        wrong = int(row["id"]) >= late if late else int(row["id"]) < 1
        return "No." if wrong else scenes.rightly(row, at)

    return genuine.scenarios_of({"teacher": teacher, "student": scenes.rightly, "coreml": scenes.rightly}, limit=40)


def altered(report: Report, *changes: tuple[str, Any]) -> Report:
    """A report in which these data are others."""
    report = copy.deepcopy(report)
    for path, one in changes:
        alone.put(report["data"], tuple(path.split(".")), one)
    return report


def margins(report: Report, value: float) -> Report:
    """Another mean margin of the student, with the interval that goes with it, by the declared score."""
    data = report["data"]
    at = f"scores.{data['score']}.student.margin"
    sd, unit = data["scores"][data["score"]]["student"]["margin"]["sd"], "nat/token"
    return altered(report, (at, means.student_of(80, value, sd, unit)))


def likeliest(top: float, *changes: tuple[str, float]) -> Report:
    """Another share of the student's likeliest answer, and further data of other values."""
    data = derived.honest("answers")["data"]
    new = [("top_share.student", top), *changes]
    return altered(derived.honest("answers"), *((path, {**_at(data, path), "value": value}) for path, value in new))


def _at(data: Any, path: str) -> Report:
    for name in path.split("."):
        data = data[name]
    found: Report = data
    return found


def covered(sure: float, coverage: Report, right: Report) -> Report:
    """A judge that says of other pairs that it was sure enough, which is 0.9."""
    report = judged.judges(sure=sure, abstain_below=0.9)
    return altered(report, ("coverage.student", coverage), ("when_sure.student", right))


HONEST: dict[str, Callable[[], Report]] = {
    "a share of unpaired sides": lambda: changed("choice", unpaired),
    "no classes are told": lambda: changed("choice", lambda data: familiar(data, False)),
    "no package wrote": lambda: without("gold"),
    "no package called": lambda: without("bfcl"),
    "no package preferred": lambda: without("preference"),
    "no call is wrong": lambda: genuine.tools(0, 0, 0),
    "two texts": lambda: genuine.texts(items=2),
    "no text costs less": lambda: genuine.texts(student=0.5),
    "every answer is preferred": lambda: genuine.preferences(student=0),
    "no answer is preferred": lambda: genuine.preferences(likes=even),
    "no task is failed by both": lambda: genuine.scenes(teacher=0),
    "a package that is asked fewer": fewer,
    "a package that is asked what its teacher does": lambda: fewer(40),
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
    "another share than its categories have": lambda: likeliest(0.3, ("distance.student", 0.5)),
    "a greater share than any category has": lambda: likeliest(0.4, ("distance.student", 0.5)),
    "nearer than the likeliest answers are": lambda: likeliest(
        0.5,
        *(
            (f"categories.{subject}.{name}.student", share)
            for subject in ("even", "odd")
            for name, share in (("Yes", 0.5), ("No", 0.25), ("Maybe", 0.25))
        ),
    ),
    "every text costs more, and less in all": lambda: altered(genuine.texts(), ("kd_wins", rate(0, 40))),
    "every text costs less, and more in all": lambda: altered(
        genuine.texts(student=0.5, ce_only=0.9), ("kd_wins", rate(40, 40))
    ),
    "every text costs less, and the same in all": lambda: altered(
        genuine.texts(student=0.5), ("kd_wins", rate(40, 40))
    ),
    "all are preferred, and are worse": lambda: margins(genuine.preferences(student=0), -1.0),
    "all are preferred, and are no better": lambda: margins(genuine.preferences(student=0), 0.0),
    "none is preferred, and are better": lambda: margins(genuine.preferences(student=80), 1.0),
    "more won and lost of the teacher": lambda: altered(
        derived.honest("scenarios"), ("of_teacher.student", ratios.kept(60, 56, 1, 3))
    ),
    "sure of fewer than its bins hold": lambda: covered(0.95, rate(99, 100), rate(90, 99)),
    "sure in a bin that is not": lambda: covered(0.6, rate(1, 100), rate(1, 1)),
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
    (rate(5, 10), True),
    ({**rate(5, 10), "low": 0.4}, False),
    ({**rate(5, 10), "low": 0.4, "interval": "another"}, True),
]


def forgeries() -> Iterator[Report]:
    """What others give, forged as test_derived.py forges it; then every datum of every suite's report."""
    for kind in derived.MAKE:
        report = derived.honest(kind)
        for at, one in derived.numbers(report["data"]):
            if any(fnmatch.fnmatchcase(".".join(map(str, at)), pattern) for pattern in (*derived.GIVEN, "right.*")):
                yield from (derived.put(report, at, lied) for lied in derived.forged(one))
    for kind in alone.FORGED:
        report = copy.deepcopy(alone.honest(kind))
        for at, one in derived.numbers(alone.honest(kind)["data"]):
            for _, lied in alone.forged(dict(one)):
                before = alone.put(report["data"], at, lied)
                yield report
                alone.put(report["data"], at, before)


def spent() -> Iterator[Report]:
    """What right answers took, said otherwise."""
    for fewer, change in alone.SPENT.values():
        report = json.loads(json.dumps(alone.spending(fewer)))
        change(report["data"])
        yield report


def _agrees(node: Report) -> bool:
    try:
        datum.read(node)
    except datum.BadDatum:
        return False
    return True


class Case(NamedTuple):
    """A report as it is read, what its schema says of it, and the laws that refuse it."""

    report: Report
    schema: Any
    laws: tuple[str, ...]

    def refused(self, module: str) -> bool:
        """Whether it is refused still, where of all formulas only that of the module, if it has one, is another."""
        name = module.removeprefix(FORMULAS)
        if name == module:
            return bool(whole.contradiction(self.report, self.schema))
        return name in _refusing(self.report, self.schema, [name])


def _refusing(report: Report, schema: Any, names: Sequence[str]) -> Iterator[str]:
    """Which of these formulas refuse it."""
    due = schema["properties"]["data"].get(formulas.DERIVED, ())
    for name in names:
        if formulas.broken(report["data"], [one for one in due if one["formula"] == name]):
            yield name


def _case(made: Report) -> Case | None:
    """What the laws say of a report, and None for what its schema refuses."""
    read: Any = strict_json.loads(dump(made))
    schema = evidence._schema(f"report.{read['kind']}")
    assert schema is not None
    assert schema.accepts is not None
    if not schema.accepts(read):
        return None
    said = schema.content["properties"]["data"].get(sums.LAWS, ())
    others = ["sums"] if sums.broken(read["data"], said) or remade.contradiction(read) else []
    return Case(read, schema.content, (*others, *_refusing(read, schema.content, formulas.names())))


@cache
def cases() -> tuple[list[Case], list[Case]]:
    """Reports that obey, and those that a law, and no schema, refuses."""
    made = [
        *map(derived.honest, derived.MAKE),
        *map(alone.honest, alone.FORGED),
        *alone.few(),
        *(make() for make in HONEST.values()),
    ]
    honest = [one for one in map(_case, made) if one is not None]
    assert len(honest) == len(made)
    told = itertools.chain(
        forgeries(), spent(), (make() for _, make in derived.WRONG), (make() for make in WRONG.values())
    )
    return honest, [one for one in map(_case, told) if one is not None and one.laws]


@cache
def against(module: str) -> list[Case]:
    """The wrong reports that show something of a module: those that its formula alone refuses; of what formulas share,
    a few of each kind that the same laws refuse."""
    _, wrong = cases()
    name = module.removeprefix(FORMULAS)
    if name != module:
        return [one for one in wrong if one.laws == (name,)]
    few: dict[tuple[str, tuple[str, ...]], list[Case]] = {}
    for one in wrong:
        few.setdefault((one.report["kind"], one.laws), []).append(one)
    return [one for held in few.values() for one in held[:: max(1, len(held) // FEW)]]


def notices(module: str) -> bool:
    """Whether some report is taken for what it is not."""
    honest, _ = cases()
    try:
        if any(_agrees(node) is not right for node, right in DATA):
            return True
        return any(one.refused(module) for one in honest) or not all(one.refused(module) for one in against(module))
    except Exception:
        return True


def survives(module: str, file: str, mutant: Mutant) -> bool:
    with exchanged(file, mutant.compiled(file)) as changed:
        return not changed or not notices(module)


@pytest.mark.slow
@pytest.mark.parametrize("module", [long(one) for one in MODULES])
def test_no_comparison_can_be_turned(module: str) -> None:
    assert not notices(module)
    file = str(importlib.import_module(module).__file__)
    found = [one for one in mutants(Path(file).read_text(encoding="utf-8")) if isinstance(one.child, ast.Compare)]
    asked = [one for one in found if (module, f"{one.was} → {one.now}") not in UNNOTICEABLE]
    assert len(found) - len(asked) == sum(name == module for name, _ in UNNOTICEABLE)
    assert [str(one) for one in asked if survives(module, file, one)] == []


@pytest.mark.parametrize("claim", WRONG)
def test_a_report_that_contradicts_itself_is_no_evidence(claim: str) -> None:
    assert "contradicts itself" in evidence.read(WRONG[claim]()).problem


@pytest.mark.parametrize("claim", HONEST)
def test_an_honest_report_obeys(claim: str) -> None:
    assert evidence.read(HONEST[claim]()).problem == ""
