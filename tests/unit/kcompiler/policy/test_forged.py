"""Every datum of every suite's report, forged by itself: a law refuses it, or it is listed here as free, with the reason.

A datum is changed as a forger would: its value, its ends, how many items it is of, a count, all that goes with these
made again. What is refused is refused by whoever reads the report, and by the stand-alone verifier as well. What is not
refused follows from nothing else in the report: `FREE` says why, and who finds it. Quick: some data of each report;
`KCOMPILER_LONG=1`: all, and nothing is listed in vain.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import pytest

from kcompiler.policy import evidence
from kcompiler.policy.laws import whole
from kcompiler.verifier import laws
from runtime.contract import efficiency
from runtime.contract.statistics import means, ratios
from runtime.contract.statistics.paired import mcnemar_of, wins_of
from runtime.contract.statistics.rates import rate
from tests.longer import LONG
from tests.unit.kcompiler.policy import genuine, judged
from tests.unit.kcompiler.policy.suites import report as report_of
from tests.unit.kcompiler.policy.test_derived import MAKE, numbers

Report = dict[str, Any]
#: one datum in so many is forged where not all are
EVERY = 1 if LONG else 13


class Free(NamedTuple):
    """Data of a kind of report (`*`: of every kind) that may be changed in these ways by themselves, and why."""

    kind: str
    paths: tuple[str, ...]
    how: tuple[str, ...]
    why: str


#: what was counted or measured item by item and stands in the report once: whoever has the items makes the whole report
#: again and compares it (`kcompiler audit`, KA26); without the rows, as in a bundle, it says that nobody did (KA90)
COUNTED = "counted of the items, and said once: audit counts them again"
#: how far items scatter: with it the ends move, which follow from it
SCATTER = "how items scatter is said once: audit computes it again from them"
#: shown for people, a few of all; no rule reads one
SHOWN = "an example for people to look at: audit makes it again"
PAIRED = ("kd_gain", "teacher_gain", "package_gain", "zoo.above.*")
FREE: tuple[Free, ...] = (
    # what a model has right and wrong alone is bounded by what it has right; where McNemar's test stands beside it, it
    # is said twice
    Free("*", PAIRED, ("pairs",), "which items two models differ on: audit asks the items"),
    Free("*", ("zoo.right.*",), ("k",), "below the best policy: audit asks every policy again"),
    Free("language_model", ("zoo.worth.prior",), ("value",), "below the best policy: audit asks every policy again"),
    Free("answers", ("zoo.worth.*",), ("value",), "below the best policy: audit asks every policy again"),
    Free("answers", PAIRED, ("sd",), SCATTER),
    Free("language_model", (*PAIRED, "init_gain", "original_gain"), ("sd",), SCATTER),
    Free("language_model", ("kd_gain_bootstrap",), ("ends",), "a second opinion that follows from the items alone"),
    Free("preference", ("scores.*.*.margin",), ("sd", "value"), "how much likelier: audit asks the items' scores"),
    Free("integration", tuple(f"runners.*.{one}" for one in ("lax", "semantic", "strict")), ("sums",), SCATTER),
    Free("answers", ("answer_mass.*", "distance.*"), ("value",), COUNTED),
    Free("answers", ("preserved",), ("k",), COUNTED),
    Free("answers", ("privacy_ok.*",), ("k",), COUNTED),
    Free("bfcl", ("runners.*.privacy_ok",), ("k",), COUNTED),
    Free("choice", ("by_length.*", "ties.*"), ("k",), COUNTED),
    Free("gold", ("answers",), ("value",), COUNTED),
    Free("gold", ("privacy_ok.*", "top_share.*"), ("k",), COUNTED),
    Free("integration", ("runners.*.privacy_ok",), ("k",), COUNTED),
    Free("judge", ("abstain_below",), ("value",), "as the spec asked, within a bin: audit has its lock"),
    Free("judge", ("balanced.*", "identical_tied.*", "injection_unmoved.*", "swap_kept.*"), ("k",), COUNTED),
    Free("language_model", ("kd_wins",), ("k",), COUNTED),
    Free("preference", ("scores.*.*.preferred", "ties.*"), ("k",), COUNTED),
    Free("preference", ("worst.*.margins.*",), ("value",), SHOWN),
    Free("same_text", ("common.*",), ("value",), COUNTED),
    Free("same_text", ("ties.*",), ("k",), COUNTED),
    Free("same_text", ("different.*",), ("value",), SHOWN),
    Free("scenarios", ("fixture_hit_rate.*",), ("n",), COUNTED),
    Free("scenarios", ("privacy_ok.*",), ("k",), COUNTED),
    Free("scenarios", ("fixtures_unreviewed",), ("value",), "of the fixtures, and of no item: audit has the tools"),
    Free("tool_use", ("runners.*.privacy_ok",), ("k",), COUNTED),
)


EACH: dict[str, Callable[[], Report]] = {
    **MAKE,
    "judged": judged.compared,
    "language_model": partial(genuine.texts, uneven=0.1),
    "same_text": genuine.originals,
}


def spending(fewer: int = 0, teacher: int = 38, package: int = 30) -> Report:
    """Report `efficiency` of forty rows; so many of them the package was not asked. What both have right."""
    sides = {
        "teacher": (teacher, 24, 0),
        "student": (30, 20, 0),
        "ce_only": (25, 22, 0),
        "coreml": (package, 21, fewer),
    }
    found = {name: efficiency.Spent(40) for name in sides}
    for name, (right, wrote, without) in sides.items():
        for at in range(40 - without):
            found[name].add(at, 30, wrote + at % 3, at >= 40 - right)
    return {**report_of("efficiency", efficiency.data(found)), "kind": efficiency.KIND}


#: reports of suites, and those that are made of a suite's items
FORGED: dict[str, Callable[[], Report]] = {**EACH, "efficiency": spending}


def anew(make: Callable[[], Report]) -> Callable[[], Report]:
    """A maker of a report that makes it again, and keeps none."""
    if isinstance(make, partial):
        return partial(anew(make.func), **make.keywords)
    return getattr(make, "__wrapped__", make)


@cache
def honest(kind: str) -> Report:
    report: Report = json.loads(json.dumps(FORGED[kind]()))
    return report


@cache
def schema(kind: str) -> Any:
    found = evidence._schema(f"report.{honest(kind)['kind']}")
    assert found is not None
    return found


def refused(kind: str, report: Report) -> bool:
    """Whether its schema or a law refuses a report; both texts of the laws say the same of what its schema allows."""
    known = schema(kind)
    if known.accepts is None or not known.accepts(report):
        return True
    wrong = whole.contradiction(report, known.content)
    again = laws.contradiction(report, known.content)
    assert bool(wrong) == bool(again), (wrong, again)
    return bool(wrong)


def forged(datum: Report) -> Iterator[tuple[str, Report]]:
    """Ways in which a forger would change a datum, each consistent in itself where it can be."""
    if isinstance(datum["value"], bool):
        yield "value", {**datum, "value": not datum["value"]}
    elif "test" in datum:
        won = datum["wins"] + (1 if datum["wins"] + datum["losses"] < datum["n"] else -1)
        yield "wins", {**datum, **mcnemar_of(datum["n"], won, datum["losses"])}
        yield "value", {**datum, "value": datum["value"] / 2 + 0.1}
    elif "both" in datum:
        yield "both", ratios.kept(datum["n"], datum["both"] - 1, datum["wins"], datum["losses"])
        yield "wins", ratios.kept(datum["n"], datum["both"], datum["wins"] + 1, datum["losses"])
        yield "losses", ratios.kept(datum["n"], datum["both"] - 1, datum["wins"], datum["losses"] + 1)
        yield "ends", narrow(datum)
    elif "wins" in datum:
        n, won, lost = datum["n"], datum["wins"], datum["losses"]
        yield "wins", {**datum, **wins_of(n, won + (1 if won + lost < n else -1), lost)}
        if won + lost + 2 <= n:
            yield "pairs", {**datum, **wins_of(n, won + 1, lost + 1)}
        if won and lost:
            yield "pairs", {**datum, **wins_of(n, won - 1, lost - 1)}
        yield "n", {**datum, **wins_of(n + 1, won, lost)}
        yield "ends", narrow(datum)
    elif "tp" in datum:
        for count in ("tp", "fp", "fn"):
            counts = {name: datum[name] + (name == count) for name in ("tp", "fp", "fn")}
            value = 2 * counts["tp"] / (2 * counts["tp"] + counts["fp"] + counts["fn"])
            yield count, held({**datum, **counts, "value": value})
        yield "n", {**datum, "n": datum["n"] + 1}
        if "low" in datum:
            yield "ends", narrow(datum)
            squares = [datum[name] for name in ratios.SUMS]
            counted = (datum["n"], datum["tp"], datum["fp"], datum["fn"])
            yield "sums", ratios.f1_of(*counted, [squares[0], squares[1] + 1, squares[2]])
    elif "k" in datum:
        k, n = datum["k"], datum["n"]
        for one in (rate(k - 1 if k else 1, n), rate(min(k + 2, n) if k < n else max(0, n - n // 3), n)):
            yield "k", {**datum, **{name: one[name] for name in datum if name in one}}
        one = rate(2 * k, 2 * n)
        yield "n", {**datum, **{name: one[name] for name in datum if name in one}}
        if "low" in datum:
            yield "ends", narrow(datum)
            yield "ends", {**narrow(datum), "interval": "of another name"}
    else:
        yield from _of_number(datum)


def _of_number(datum: Report) -> Iterator[tuple[str, Report]]:
    whole_ = isinstance(datum["value"], int)
    for step in (1, -1) if whole_ else (0.01, -0.01, 0.3):
        value = datum["value"] + step
        yield "value", {**datum, "value": value, **{end: datum[end] + step for end in ("low", "high") if end in datum}}
    # of what scatters less than rounding, nothing narrower is to be told
    if "low" in datum and datum["high"] - datum["low"] > 1e-6:
        yield "ends", narrow(datum)
    if "sd" in datum:
        yield "sd", means.student_of(datum["n"], datum["value"], datum["sd"] / 2 + 0.001, datum["unit"])
        yield "n", means.student_of(datum["n"] + 1, datum["value"], datum["sd"], datum["unit"])
    elif "n" in datum:
        yield "n", {**datum, "n": datum["n"] * 2}


def narrow(datum: Report) -> Report:
    """As sure as can be."""
    width = datum["high"] - datum["low"]
    low, high = datum["value"] - width / 100, datum["value"] + width / 100
    return {**datum, "low": low, "high": high} if width else {**datum, "low": datum["low"] - 0.01}


def held(datum: Report) -> Report:
    """With ends that hold the value."""
    ends = {"low": min, "high": max}
    return {**datum, **{end: pick(datum[end], datum["value"]) for end, pick in ends.items() if end in datum}}


def about(kind: str, path: str) -> set[int]:
    """Which lines of the table are about a datum."""
    return {
        number
        for number, one in enumerate(FREE)
        if one.kind in ("*", kind) and any(fnmatch.fnmatchcase(path, each) for each in one.paths)
    }


def free(kind: str, path: str, how: str) -> set[int]:
    """Which lines of the table say that a datum may be changed so."""
    return {number for number in about(kind, path) if how in FREE[number].how}


def put(data: Any, at: tuple[str | int, ...], datum: Report) -> Report:
    """What stood in a report's data before `datum` was put there."""
    for name in at[:-1]:
        data = data[name]
    before: Report = data[at[-1]]
    data[at[-1]] = datum
    return before


@cache
def accepted(kind: str, every: int = EVERY) -> tuple[tuple[str, str], ...]:
    """(path, how) of each datum that is not refused when it is changed."""
    report, found = json.loads(json.dumps(honest(kind))), []
    for at, datum in list(numbers(honest(kind)["data"]))[::every]:
        for how, lied in forged(dict(datum)):
            before = put(report["data"], at, lied)
            if lied != datum and not refused(kind, report):
                found.append((".".join(map(str, at)), how))
            put(report["data"], at, before)
    return tuple(found)


@pytest.mark.parametrize("kind", FORGED)
def test_an_honest_report_obeys(kind: str) -> None:
    assert evidence.read(FORGED[kind]()).problem == ""
    assert not refused(kind, json.loads(json.dumps(honest(kind))))


@pytest.mark.parametrize("kind", FORGED)
def test_no_datum_is_forged_by_itself(kind: str) -> None:
    assert [one for one in accepted(kind) if not free(kind, *one)] == []


def test_nothing_is_free_in_vain() -> None:
    """Which ways are free is looked at again, where all are asked."""
    if LONG:
        used = {number for kind in FORGED for one in accepted(kind) for number in free(kind, *one)}
        assert sorted(used) == list(range(len(FREE)))
    assert all(one.why for one in FREE)


def _score(**counts: float) -> Callable[[Report], object]:
    """Another score of the package, that follows of what it says that it was made of."""

    def change(data: Report) -> None:
        node = data["runners"]["coreml"]["score"]
        node |= counts
        node["value"] = 1 - (node["tokens"] / node["right"]) / (node["reference_tokens"] / node["reference_right"])

    return change


def _one(runner: str, place: str, **new: Any) -> Callable[[Report], object]:
    return lambda data: data["runners"][runner][place].update(new)


TAUGHT = sum(30 + 24 + at % 3 for at in range(40))
NOTHING = {"value": None, "tag": "unavailable", "reason": "no answer is right", "unit": "token"}
SPENT: dict[str, tuple[int, Callable[[Report], object]]] = {
    "a score of 7": (0, _one("student", "score", value=7.0)),
    "a better score": (0, _one("student", "score", value=0.99)),
    "a score without what it was made of": (0, lambda data: data["runners"]["student"]["score"].pop("tokens")),
    "fewer tokens": (0, _score(tokens=100)),
    "more right": (0, _score(right=31)),
    "a dearer reference": (0, _score(reference_tokens=5000)),
    "a reference that is right less often": (0, _score(reference_right=20)),
    "a score of more answers than there are": (0, _one("coreml", "score", n=41)),
    "a score of no answers": (0, _one("coreml", "score", n=0)),
    "all tokens, of fewer answers": (10, _score(reference_tokens=TAUGHT)),
    "more tokens than all": (10, _score(tokens=10_000)),
    "more right than all": (10, _score(right=31)),
    "more of the reference wrong than there are": (10, _score(reference_right=27)),
    "more of the reference right than were shared": (10, _score(reference_right=31)),
    "more tokens than all of the reference": (10, _score(reference_tokens=5000)),
    "a score of the reference": (
        0,
        lambda data: data["runners"]["teacher"].update(score=data["runners"]["student"]["score"]),
    ),
    "another reference": (0, lambda data: data.update(reference="ce_only")),
    "no reference": (0, lambda data: data.update(reference="none")),
    "fewer tokens by right answer": (0, _one("student", "per_right", value=1.0)),
    "by right answers of others": (0, _one("student", "per_right", n=41)),
    "nothing by right answers": (0, lambda data: data["runners"]["ce_only"].update(per_right=NOTHING)),
    "something by no right answers": (0, lambda data: data["runners"]["ce_only"].update(right=rate(0, 40))),
}


def few() -> list[Report]:
    """Honest reports of a package that was asked fewer rows: of a teacher that is always right, of one right answer."""
    return [spending(10), spending(10, teacher=40), spending(0, package=1)]


@pytest.mark.parametrize("report", few())
def test_a_package_that_is_asked_fewer_rows_has_its_score(report: Report) -> None:
    assert not refused("efficiency", json.loads(json.dumps(report)))


@pytest.mark.parametrize("claim", SPENT)
def test_what_a_right_answer_took_is_not_said_otherwise(claim: str) -> None:
    fewer, change = SPENT[claim]
    report = json.loads(json.dumps(spending(fewer)))
    assert not refused("efficiency", report)
    change(report["data"])
    assert refused("efficiency", report)


def test_without_a_right_answer_nothing_is_said_of_them() -> None:
    found = {name: efficiency.Spent(3) for name in ("teacher", "student")}
    for at in range(3):
        found["teacher"].add(at, 3, 4, True)
        found["student"].add(at, 3, 4, False)
    report = json.loads(json.dumps({**spending(), "data": efficiency.data(found)}))
    assert not refused("efficiency", report)
