"""What a check of kind `relative` must say about two numbers of one report, of two, and of a report and the plan."""

from __future__ import annotations

from typing import Any

from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import ALONE, FAIL, Claim, number, obligation, one, report, share

PARAMS: dict[str, Any] = {"metric": "student", "to": "teacher", "op": ">=", "threshold": "-0.05", "unit": "ratio"}


def made(expect: object = None, **params: Any) -> dict[str, Any]:
    """An obligation of this kind; a parameter that is None is left out."""
    merged = {name: value for name, value in {**PARAMS, **params}.items() if value is not None}
    return obligation(merged, kind="relative@1", expect=expect)


def sides(student: Any, teacher: Any, **more: Any) -> dict[str, Any]:
    return {"student": student, "teacher": teacher, **more}


def beyond_chance() -> list[Claim]:
    """A quotient of what is left of both sides above guessing."""
    asked = made(by="quotient", threshold="0.5", chance="chance")
    quarter = number(0.25)
    return [
        one("half of what is beyond chance", sides(facts.rate(50, 100), facts.rate(75, 100), chance=quarter), asked, "pass",
            observed="0.5", pointer="/data/student", reason="50/100 of 75/100, both less chance 0.25, is 0.5, which meets"),
        one("less than half of it", sides(facts.rate(49, 100), facts.rate(75, 100), chance=quarter), asked, "fail",
            observed="0.48"),
        one("worse than chance", sides(facts.rate(20, 100), facts.rate(75, 100), chance=quarter), asked, "fail",
            observed="-0.1"),
        one("a teacher that guesses", sides(facts.rate(50, 100), facts.rate(25, 100), chance=quarter), asked,
            "not_evaluated", reason="25/100 is not beyond chance, 0.25.", pointer="/data/chance"),
        one("a teacher just beyond it", sides(facts.rate(26, 100), facts.rate(26, 100), chance=quarter), asked, "pass"),
        one("chance is not there", sides(facts.rate(50, 100), facts.rate(75, 100)), asked, "not_evaluated"),
        one("chance below nothing", sides(facts.rate(50, 100), facts.rate(75, 100), chance=number(-0.1)), asked,
            "not_evaluated"),
        one("chance of nothing", sides(facts.rate(50, 100), facts.rate(100, 100), chance=number(0)), asked, "pass"),
        one("chance in another unit", sides(facts.rate(50, 100), facts.rate(75, 100), chance=number(1, "s")), asked,
            "error"),
        one("chance that is known and not measured",
            sides(facts.rate(50, 100), facts.rate(75, 100), chance=facts.estimated(0.25, "1", by="choices")), asked, "pass"),
        one("chance counts no items", sides(facts.rate(50, 100), facts.rate(75, 100), chance=quarter),
            made(by="quotient", threshold="0.5", chance="chance", need={"min_n": 100}), "pass"),
        one("chance of other numbers has their unit", sides(number(2, "s"), number(3, "s"), chance=number(1, "s")),
            made(by="quotient", threshold="0.5", chance="chance", unit="s"), "pass", observed="0.5"),
        one("chance of a difference", sides(facts.rate(50, 100), facts.rate(75, 100), chance=quarter),
            made(chance="chance"), "error", reason="taken off both sides of a quotient"),
        one("chance that is a side", sides(facts.rate(50, 100), facts.rate(75, 100), chance=quarter),
            made(by="quotient", chance="teacher"), "error", reason="is neither of them"),
    ]  # fmt: skip


def margins() -> list[Claim]:
    """Every operator, at the margin and on both sides of it, in exact arithmetic."""
    hundred = [(89, "below"), (90, "at"), (91, "above")]
    right = {
        ">=": ("fail", "pass", "pass"),
        ">": ("fail", "fail", "pass"),
        "<=": ("pass", "pass", "fail"),
        "<": ("pass", "fail", "fail"),
        "==": ("fail", "pass", "fail"),
    }
    return [
        *(
            one(
                f"{k} of 100 against 95 of 100, {op} -0.05: {where}",
                sides(facts.rate(k, 100), facts.rate(95, 100)),
                made(op=op),
                word,
                pointer="/data/student",
                matches=1,
            )
            for op, words in right.items()
            for (k, where), word in zip(hundred, words, strict=True)
        ),
        one(
            "it says which numbers it compared",
            sides(facts.rate(21, 100), facts.rate(95, 100)),
            made(),
            "fail",
            reason="21/100 less 95/100 is -0.74, which misses >= -0.05.",
            observed="-0.74",
            threshold=">= -0.05",
            distance="-0.69",
        ),
        one(
            "a difference has the unit of its sides",
            sides(number(1.5, "nat"), number(1.25, "nat")),
            made(unit="nat", op="<=", threshold="0.5"),
            "pass",
            reason="1.5 less 1.25 is 0.25 nat, which meets <= 0.5.",
            distance="0.25",
        ),
        one(
            "a tenth of ten is no rounding error",
            sides(number(0.3, "nat"), number(0.1, "nat")),
            made(unit="nat", op="==", threshold="0.2"),
            "pass",
        ),
        one(
            "a share of the teacher",
            sides(facts.rate(65, 100), facts.rate(1, 1)),
            made(by="quotient", threshold="0.65"),
            "pass",
            reason="65/100 of 1/1 is 0.65, which meets >= 0.65.",
        ),
        one(
            "a share that is too small",
            sides(number(2, "nat"), number(4, "nat")),
            made(by="quotient", threshold="0.51", unit="nat"),
            "fail",
            reason="2 of 4 is 0.5, which misses >= 0.51.",
        ),
        one(
            "nothing is no share of anything",
            sides(facts.rate(0, 4), facts.rate(2, 4)),
            made(by="quotient", threshold="0.5"),
            "fail",
            observed="0",
        ),
        one(
            "there is no share of nothing",
            sides(facts.rate(1, 4), facts.rate(0, 4)),
            made(by="quotient"),
            "not_evaluated",
            reason="no quotient",
            pointer="/data/student",
        ),
        one(
            "nor of less than nothing",
            sides(number(1, "nat"), number(-1, "nat")),
            made(by="quotient", unit="nat", op="<="),
            "not_evaluated",
        ),
        one(
            "nor is a debt a share",
            sides(number(-1, "nat"), number(1, "nat")),
            made(by="quotient", unit="nat", op="<="),
            "not_evaluated",
        ),
    ]


def evidence_of_sides() -> list[Claim]:
    """Each side must be there, measured, in the rule's unit, one number, and with counts."""
    good = facts.rate(95, 100)
    gone = facts.unavailable("no runner `teacher`", "ratio")
    many = made(need={"min_n": 100})
    return [
        one("a teacher who is not there", sides(good, gone), made(), "not_evaluated", reason="no runner"),
        one("a student who is not there", sides(gone, good), made(), "not_evaluated", pointer="/data/student"),
        one("no field for the other side", {"student": good}, made(), "not_evaluated", reason="no field `teacher`"),
        one("no field for the one side", {"teacher": good}, made(), "not_evaluated", reason="no field `student`"),
        one("a rate on no items", sides(share(1.0, n=0, k=0), good), made(), "not_evaluated", reason="on no items"),
        one("what is broken decides before what is missing", sides(gone, number(0.9, "percent")), made(), "error"),
        one("a side in another unit", sides(good, number(0.9, "percent")), made(), "error", reason="unit"),
        one("a flag is no side", sides(number(True), good), made(unit="1"), "error", reason="flag"),
        one("a list is no side", sides([good], good), made(), "error", reason="not a datum"),
        one(
            "one place is compared, not several",
            {"student": [good, good], "teacher": good},
            made(metric="student[*]"),
            "error",
            reason="leads to 2 places",
            pointer="/data/student/0",
        ),
        one("a hundred items on both sides", sides(good, good), many, "pass"),
        one("99 items of the student", sides(facts.rate(95, 99), good), many, "inconclusive", pointer="/data/student"),
        one("99 items of the teacher", sides(good, facts.rate(95, 99)), many, "inconclusive", pointer="/data/teacher"),
        one(
            "a mean that does not say of how many",
            sides(number(1, "nat"), number(1, "nat", n=100)),
            made(unit="nat", need={"min_n": 100}),
            "not_evaluated",
            reason="no count",
        ),
        one(
            "an estimate is no measured side",
            sides(facts.estimated(1, "nat", by="a formula"), number(1, "nat")),
            made(unit="nat"),
            "not_evaluated",
            reason="estimated",
        ),
        one(
            "unless the rule says so",
            sides(facts.estimated(1, "nat", by="a formula"), number(1, "nat")),
            made(unit="nat", need={"tag": "estimated"}),
            "pass",
        ),
    ]


def won(value: float) -> dict[str, Any]:
    """A difference over ten pairs of rates."""
    return number(value, "item/item", n=10, low=-1.0, high=1.0)


GAIN = {"metric": "teacher", "to": "student", "op": ">", "threshold": "0", "unit": "nat", "paired": "gain"}


def pairs() -> list[Claim]:
    """Where items are paired, the unfavourable end of the interval decides, and it must belong to these sides."""

    def gain(claim: str, outcome: str, datum: Any, sizes: tuple[Any, Any] = (50, 50), **more: Any) -> Claim:
        first = more.pop("first", {})
        data = sides(number(1.0, "nat", n=sizes[1]), number(1.5, "nat", n=sizes[0]), gain=datum)
        return one(claim, data, made(**{**GAIN, **more}), outcome, **first)

    def nats(value: float, **more: Any) -> dict[str, Any]:
        return number(value, "nat", **{"n": 50, "low": 0.1, "high": 0.9, **more})

    bad = {"pointer": "/data/gain"}
    return [
        gain(
            "the low end is a gain",
            "pass",
            nats(0.5),
            first={**bad, "observed": "0.1", "matches": 1, "reason": "0.5 over 50 pairs; its `low` end 0.1 meets > 0."},
        ),
        gain("the low end is none", "fail", nats(0.5, low=0.0), first={**bad, "distance": "0"}),
        gain("the low end is a loss", "fail", nats(0.5, low=-0.1), first=bad),
        gain("at least none", "pass", nats(0.5, low=0.0), op=">="),
        gain("a loss inside the margin", "pass", nats(0.5, low=-0.04), threshold="-0.05"),
        gain("the high end decides about an upper bound", "fail", nats(0.5), op="<", threshold="0.9"),
        gain("the high end is below it", "pass", nats(0.5), op="<", threshold="0.91", first={"observed": "0.9"}),
        gain("the high end is at it", "pass", nats(0.5), op="<=", threshold="0.9"),
        gain("no interval, no answer", "not_evaluated", number(0.5, "nat", n=50), first={"reason": "no `low` end"}),
        gain(
            "no upper end, no answer about an upper bound",
            "not_evaluated",
            number(0.5, "nat", n=50, low=0.1),
            op="<",
            threshold="1",
            first={"reason": "no `high` end"},
        ),
        gain("a difference of something else", "error", nats(0.6), first={**bad, "reason": "not the difference"}),
        gain("a difference the other way round", "error", nats(-0.5, low=-0.6), op="<", first=bad),
        gain("a difference summed in doubles", "pass", nats(0.5000000001)),
        gain("a difference as far off as doubles may be", "pass", nats(0.5000015)),
        gain("a difference further off than doubles are", "error", nats(0.500002)),
        gain(
            "more pairs than items of the one", "error", nats(0.5, n=51), (50, 60), first={"reason": "51 pairs of 50"}
        ),
        gain("more pairs than items of the other", "error", nats(0.5, n=51), (60, 50), first=bad),
        gain("fewer pairs than both have items", "error", nats(0.5, n=49), first={"reason": "49 pairs of 50 and 50"}),
        gain("so it has where one side has more", "pass", nats(0.6), (60, 50)),
        gain("or the other", "pass", nats(0.6), (50, 60)),
        gain("pairs of nothing", "not_evaluated", nats(0.5, n=0), first={"reason": "no items"}),
        gain("a difference that does not say of how many", "not_evaluated", number(0.5, "nat", low=0.1)),
        gain("a side that does not say of how many", "not_evaluated", nats(0.5), (None, 50), first={"reason": "count"}),
        gain("too few pairs", "inconclusive", nats(0.6, n=49), need={"min_n": 50}),
        gain("the difference is not there", "not_evaluated", facts.unavailable("no `ce_only`", "nat")),
        gain("it has another unit", "error", number(0.5, "1", n=50, low=0.1)),
        one(
            "the sides count although the difference decides",
            {"student": number(1.0, "nat", n=50), "gain": nats(0.5)},
            made(**GAIN),
            "not_evaluated",
            reason="no field `teacher`",
        ),
        one(
            "the paired difference of two rates is in items of items",
            sides(facts.rate(45, 50), facts.rate(40, 50), gain=number(0.1, "item/item", n=50, low=-0.02, high=0.2)),
            made(paired="gain"),
            "pass",
            reason="0.1 over 50 pairs; its `low` end -0.02 meets >= -0.05.",
        ),
        *[
            one(claim, sides(left, right, gain=apart), made(paired="gain", threshold="-2"), outcome)
            for claim, left, right, apart, outcome in [
                ("few of many at their best", facts.rate(9, 10), facts.rate(15, 20), won(0.4), "pass"),
                ("few of many better than that", facts.rate(9, 10), facts.rate(15, 20), won(0.5), "error"),
                ("few of many at their worst", facts.rate(9, 10), facts.rate(15, 20), won(-0.1), "pass"),
                ("few of many worse than that", facts.rate(9, 10), facts.rate(15, 20), won(-0.2), "error"),
                ("no more than all that are right", facts.rate(9, 10), facts.rate(5, 20), won(0.4), "pass"),
                ("more than all that are right", facts.rate(9, 10), facts.rate(5, 20), won(0.3), "error"),
                ("none of many need be right", facts.rate(9, 10), facts.rate(5, 20), won(0.9), "pass"),
                ("many of which few are pairs", facts.rate(15, 20), facts.rate(9, 10), won(-0.4), "pass"),
                ("many of which few are pairs, further off", facts.rate(15, 20), facts.rate(9, 10), won(-0.5), "error"),
            ]
        ],
        one(
            "large numbers are summed with large errors",
            sides(number(4e6, "nat", n=50), number(5e6, "nat", n=50), gain=number(1000004.0, "nat", n=50, low=1.0)),
            made(**GAIN),
            "pass",
        ),
        one(
            "whichever of the two is large",
            sides(number(-5e6, "nat", n=50), number(0.0, "nat", n=50), gain=number(5000004.0, "nat", n=50, low=1.0)),
            made(**GAIN),
            "pass",
        ),
    ]


def what_was_before() -> list[Claim]:
    """The other side is what the plan expects: a number, or the counts of a rate."""
    rate, nats = {"student": facts.rate(90, 100)}, {"student": number(1.0, "nat")}
    alone = {"to": None}
    lower = {**alone, "unit": "nat", "op": "<=", "threshold": "0.1"}
    return [
        one("as good as before, less the margin", rate, made({"k": 95, "n": 100}, **alone), "pass", distance="0"),
        one("worse than before by more", rate, made({"k": 96, "n": 100}, **alone), "fail", reason="90/100 less 96/100"),
        one("never before right", rate, made({"k": 0, "n": 1}, **alone), "pass"),
        one("always right before", rate, made({"k": 1, "n": 1}, **alone), "fail"),
        one("a number of before", nats, made(0.9, **lower), "pass", distance="0", reason="1 less 0.9 is 0.1 nat"),
        one("and one that was better", nats, made(0.89, **lower), "fail"),
        one("nothing was before", rate, made(**alone), "not_evaluated", reason="nothing to compare"),
        one("a rate of before without counts", rate, made(0.95, **alone), "error", reason="give k and n"),
        *(
            one(f"{wrong!r} was never measured", rate, made(wrong, **alone), "error", reason="neither a number nor")
            for wrong in (
                "0.95",
                True,
                [95, 100],
                {"k": 95},
                {"k": 95, "n": 100, "x": 1},
                {"k": 101, "n": 100},
                {"k": -1, "n": 100},
                {"k": 0, "n": 0},
                {"k": 0.5, "n": 1},
                {"k": True, "n": 1},
                {"k": 1, "n": True},
                {"k": 1, "n": 2.0},
            )
        ),
    ]


def two_reports() -> list[Claim]:
    """The other side stands in the report of another step."""
    params = {"metric": "rows", "to": "splits.test", "of": "made.splits", "op": "<=", "threshold": "0", "unit": "row"}
    asked = {**made(**params), "against": "step:data"}

    def claim(
        words: str, outcome: str, data: dict[str, Any] | None, made_: Any = asked, says: Any = None, **first: Any
    ) -> Claim:
        reports = {"measure": report({"rows": number(60, "row")})}
        if data is not None:
            changes = {"kind": "made.splits", "step": "data"} | data.pop("changes", {})
            reports["data"] = report(data, **changes)
        return Claim(words, reports, [made_], [outcome], says or ALONE[outcome], first)

    held = {"splits": {"test": number(60, "row")}}
    forged = {"environment": {"forged": True, "backend": "null"}}
    return [
        claim("as many as are held out", "pass", {**held}, pointer="/data/rows"),
        claim("more than are held out", "fail", {"splits": {"test": number(59, "row")}}),
        claim("the other report is not there", "not_evaluated", None, reason="step `data` has given no report"),
        claim("the other report is of another kind", "error", {**held, "changes": {"kind": "sample"}}, pointer=""),
        claim("the other report is of another step", "error", {**held, "changes": {"step": "x"}}, reason="made by"),
        claim("the other report is forged", "not_evaluated", {**held, "changes": forged}, reason="`data` is forged"),
        claim(
            "the other report lacks it",
            "not_evaluated",
            {"splits": {"train": number(60, "row")}},
            reason="report made.splits, /data/splits: no field `test`",
            pointer="",
        ),
        claim("the plan names no other report", "error", {**held}, made(**params), reason="two reports"),
        claim(
            "the plan names one that the rule does not want",
            "error",
            {**held},
            {**made(**{**params, "of": None}), "against": "step:data"},
        ),
        Claim(
            "the numbers of one report are not looked for in another",
            {"measure": report(sides(facts.rate(1, 1), facts.rate(1, 1))), "data": report({}, step="data")},
            [made()],
            ["pass"],
            ALONE["pass"],
        ),
    ]


def senseless() -> list[Claim]:
    """Parameters that compare nothing are refused, in a pack and in a plan."""
    data = sides(facts.rate(1, 1), facts.rate(1, 1), gain=number(0.0, "1", n=1, low=0.0, high=0.0))
    wrong = [
        ("another report without a place in it", {"to": None, "of": "made.splits"}, "give `to`"),
        ("pairs with what was before", {"to": None, "paired": "gain"}, "two measured sides"),
        ("a quotient of pairs", {"by": "quotient", "paired": "gain"}, "two measured sides"),
        ("pairs that are equal", {"op": "==", "paired": "gain"}, "bounded on one side"),
        ("a report that is no kind", {"of": "Data"}, "of"),
        ("a number beside itself", {"to": "student"}, "one place"),
        ("no threshold", {"threshold": None}, "threshold"),
        ("a unit without a name", {"unit": ""}, "unit"),
    ]
    return [one(claim, data, made(1, **params), "error", reason=reason) for claim, params, reason in wrong] + [
        one(
            "a number beside what was before",
            sides(facts.rate(1, 1), facts.rate(1, 1)),
            made({"k": 1, "n": 1}, to=None),
            "pass",
        ),
        Claim(
            "a rule that compares blocks like any other",
            {"measure": report(sides(facts.rate(1, 2), facts.rate(1, 1)))},
            [made(), {**made(op="<="), "rule": "lab/other"}],
            ["fail", "pass"],
            FAIL,
        ),
    ]


def every() -> list[Claim]:
    return [
        *beyond_chance(),
        *margins(),
        *evidence_of_sides(),
        *pairs(),
        *what_was_before(),
        *two_reports(),
        *senseless(),
    ]
