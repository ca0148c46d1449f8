"""What a check of kind `bound` must say about numbers, rates, intervals, tags, places and thresholds."""

from __future__ import annotations

from collections.abc import Mapping

from kcompiler.policy.laws.counts import PAIRED
from runtime.contract import report as facts
from runtime.contract.statistics.paired import wins_of
from tests.unit.kcompiler.judge.samples import Claim, bound, number, obligation, one, share


def limits(value: float, outcome: Mapping[str, str]) -> list[Claim]:
    """One claim per operator about `value` against 0.5."""
    return [
        one(f"{value} {op} 0.5: {word}", {"x": number(value)}, obligation(bound("x", op, "0.5")), word)
        for op, word in outcome.items()
    ]


def operators() -> list[Claim]:
    below = {">=": "fail", ">": "fail", "<=": "pass", "<": "pass", "==": "fail"}
    equal = {">=": "pass", ">": "fail", "<=": "pass", "<": "fail", "==": "pass"}
    above = {">=": "pass", ">": "pass", "<=": "fail", "<": "fail", "==": "fail"}
    return [*limits(0.4999999999999999, below), *limits(0.5, equal), *limits(0.5000000000000001, above)]


def rates() -> list[Claim]:
    """Rates and F1 are compared by the counts behind them."""
    every = obligation(bound("x", "==", 1, "ratio"))
    least = obligation(bound("x", ">=", "0.999", "ratio"))
    most = obligation(bound("x", "<=", "0.02", "ratio"))
    return [
        one("2999 of 3000 is not all", {"x": facts.rate(2999, 3000)}, every, "fail", observed="2999/3000"),
        one("3000 of 3000 is all", {"x": facts.rate(3000, 3000)}, every, "pass", distance="0", pointer="/data/x"),
        one("a rate rounded to 1.0 contradicts its counts", {"x": share(1.0, n=3000, k=2999)}, every, "error"),
        one("more hits than items are no rate", {"x": share(1.5, n=2, k=3)}, every, "error"),
        one("counts of nothing are no rate", {"x": share(0, n=0, k=0)}, every, "not_evaluated", reason="on no items"),
        one("an F1 of 1.0 on no items", {"x": share(1.0, n=0, tp=9, fp=0, fn=0)}, every, "not_evaluated"),
        one("an F1 that does not say on how many items", {"x": share(1.0, tp=9, fp=0, fn=0)}, every, "error"),
        one(
            "a difference that its pairs do not give",
            {"x": {**wins_of(80, 8, 2), "value": 0.5, "high": 0.6}},
            obligation(bound("x", ">=", "0.01", PAIRED)),
            "error",
        ),
        one("a difference of pairs", {"x": wins_of(80, 8, 2)}, obligation(bound("x", ">=", "0.01", PAIRED)), "pass"),
        one("a rate without counts", {"x": share(1.0)}, every, "error"),
        one("a rate of so many, and how many of them is not said", {"x": share(1.0, n=200)}, every, "error"),
        one("half an F1", {"x": share(1.0, n=9, tp=9)}, every, "error"),
        one(
            "a number of another kind measured on no items",
            {"x": number(0, "finding", n=0)},
            obligation(bound("x", "==", 0, "finding")),
            "not_evaluated",
            reason="on no items",
        ),
        one("hits without a count are no datum", {"x": share(1.0, k=1)}, every, "error"),
        one(
            "an F1 is compared by its counts",
            {"x": share(0.8, n=9, tp=2, fp=1, fn=0)},
            obligation(bound("x", "==", "0.8", "ratio")),
            "pass",
        ),
        one(
            "a third is not 0.3333333333333333",
            {"x": share(1 / 3, n=9, tp=1, fp=2, fn=2)},
            obligation(bound("x", "<=", "0.3333333333333333", "ratio")),
            "fail",
            observed="~0.3333333333",
        ),
        one("an F1 that is not its counts", {"x": share(0.81, n=9, tp=2, fp=1, fn=0)}, least, "error"),
        one("an F1 of nothing", {"x": share(0, n=9, tp=0, fp=0, fn=0)}, most, "error", reason="0 of 0"),
        one("an F1 with all its errors zero", {"x": share(1.0, n=9, tp=2, fp=0, fn=0)}, every, "pass"),
    ]


def exactness() -> list[Claim]:
    """Numbers are compared as the text they are written as."""
    least = obligation(bound("x", ">=", "0.999", "ratio"))
    most = obligation(bound("x", "<=", "0.02"))
    return [
        one(
            "a difference from above", {"x": number(0.6)}, obligation(bound("x", "==", "0.5")), "fail", distance="-0.1"
        ),
        one(
            "a difference from below", {"x": number(0.4)}, obligation(bound("x", "==", "0.5")), "fail", distance="-0.1"
        ),
        one("999 of 1000 is 0.999", {"x": facts.rate(999, 1000)}, least, "pass", distance="0"),
        one(
            "998 of 1000 is not",
            {"x": facts.rate(998, 1000)},
            least,
            "fail",
            distance="-0.001",
            threshold=">= 0.999",
            reason="998/1000 ratio misses >= 0.999; 1 of 1000 items must change.",
        ),
        one(
            "a rate that passes needs no change",
            {"x": facts.rate(1000, 1000)},
            least,
            "pass",
            reason="1000/1000 ratio meets >= 0.999.",
        ),
        one("0.02 is at most 0.02, whatever a double makes of it", {"x": number(0.02)}, most, "pass", distance="0"),
        one(
            "the next double after 0.02 is more",
            {"x": number(0.020000000000000004)},
            most,
            "fail",
            observed="0.020000000000000004",
        ),
        one(
            "an integer is compared as one",
            {"x": number(9007199254740991, "item")},
            obligation(bound("x", "==", "9007199254740991", "item")),
            "pass",
        ),
        one(
            "a threshold written as a number is its text", {"x": number(0.1)}, obligation(bound("x", "==", 0.1)), "pass"
        ),
        one(
            "a small threshold written as a number is its text",
            {"x": number(0.00001)},
            obligation(bound("x", "==", 1e-05)),
            "pass",
        ),
    ]


def counterfactuals() -> list[Claim]:
    def must(op: str, threshold: str, k: int, reason: str) -> Claim:
        made = obligation(bound("x", op, threshold, "ratio"))
        return one(f"{k}/10 {op} {threshold}: {reason}", {"x": facts.rate(k, 10)}, made, "fail", reason=reason)

    return [
        must(">=", "0.75", 6, "; 2 of 10 items"),
        must(">=", "0.7", 6, "; 1 of 10 items"),
        must(">", "0.7", 6, "; 2 of 10 items"),
        must(">", "0.75", 6, "; 2 of 10 items"),
        must("<=", "0.35", 6, "; 3 of 10 items"),
        must("<=", "0.3", 6, "; 3 of 10 items"),
        must("<", "0.3", 6, "; 4 of 10 items"),
        must("<", "0.35", 6, "; 3 of 10 items"),
        must("<=", "0", 6, "; 6 of 10 items"),
        must(">=", "1", 6, "; 4 of 10 items"),
        must(">", "1", 6, "; no outcome"),
        must("<", "0", 6, "; no outcome"),
        must("==", "1", 6, "6/10 ratio misses == 1"),
        *otherwise(),
    ]


def otherwise() -> list[Claim]:
    """From where on it would pass, as the verdict has it: of what does not, and only where that can be said."""
    most, many = (obligation(bound("x", ">=", "0.75", "ratio", **more)) for more in ({}, {"need": {"min_n": 20}}))
    said = "passes from 0.75 on: 8 of 10 items or more, and there are 6"
    return [
        one(
            "a share that failed: of how many it would not", {"x": facts.rate(6, 10)}, most, "fail", counterfactual=said
        ),
        one("a share that passed: nothing", {"x": facts.rate(8, 10)}, most, "pass", counterfactual=""),
        one(
            "too few items: how many would do",
            {"x": facts.rate(6, 10)},
            many,
            "inconclusive",
            counterfactual="decided from 20 items on; there are 10",
        ),
        one("what is not there: nothing", {}, most, "not_evaluated", counterfactual=""),
        one(
            "a number that counts nothing: where the bound is",
            {"x": number(0.5)},
            obligation(bound("x", ">", "0.5")),
            "fail",
            counterfactual="passes above 0.5",
        ),
    ]


def intervals() -> list[Claim]:
    gain = obligation(bound("x", ">", 0, "nats", on="low"))
    cap = obligation(bound("x", "<", 1, "nats", on="high"))
    x = {"low": 0.1, "high": 0.9}
    return [
        one(
            "the low end decides: above", {"x": number(0.5, "nats", **x)}, gain, "pass", observed="0.1", distance="0.1"
        ),
        one("the low end decides: at", {"x": number(0.5, "nats", low=0.0)}, gain, "fail", distance="0"),
        one("the low end decides: below", {"x": number(0.5, "nats", low=-0.1)}, gain, "fail"),
        one("no low end, no answer", {"x": number(0.5, "nats", high=0.9)}, gain, "not_evaluated"),
        one(
            "the high end decides: below", {"x": number(0.5, "nats", **x)}, cap, "pass", observed="0.9", distance="0.1"
        ),
        one("the high end decides: above", {"x": number(0.5, "nats", high=1.5)}, cap, "fail"),
        one("no high end, no answer", {"x": number(0.5, "nats", low=0.1)}, cap, "not_evaluated"),
        one("an interval above its value is none", {"x": number(0.5, "nats", low=0.6)}, gain, "error"),
        one("an interval below its value is none", {"x": number(0.5, "nats", high=0.4)}, cap, "error"),
        *(
            one(
                f"the interval of an F1 is within 0 and 1: {claim}",
                {"x": share(0.75, tp=3, fp=1, fn=1, n=5, **{end: far})},
                rule,
                "error",
            )
            for claim, end, far, rule in (
                ("its low end", "low", -0.01, obligation(bound("x", ">=", "0.1", "ratio", on="low"))),
                ("its high end", "high", 1.01, obligation(bound("x", "<=", "0.9", "ratio", on="high"))),
                ("whoever asks", "low", -0.01, obligation(bound("x", ">=", "0.1", "ratio"))),
            )
        ),
        one(
            "the interval of an F1 may be all that is possible",
            {"x": share(0.75, tp=3, fp=1, fn=1, n=5, low=0.0, high=1.0)},
            obligation(bound("x", ">=", "0.1", "ratio", on="low")),
            "fail",
        ),
        one("an interval may be a point", {"x": number(0.5, "nats", low=0.5, high=0.5)}, gain, "pass"),
        one(
            "the low end of a rate is computed from its counts, whatever the report says",
            {"x": share(0.5, n=10, k=5, low=0.45)},
            obligation(bound("x", ">=", "0.3", "ratio", on="low")),
            "fail",
            observed="0.222441101",
            reason="0.222441101 ratio misses >= 0.3",
        ),
        one(
            "what is no rate has the interval it says",
            {"x": number(0.5, "nats", n=10, low=0.1)},
            gain,
            "pass",
            observed="0.1",
        ),
        one(
            "so is the high end",
            {"x": share(0.5, n=10, k=5, high=0.55)},
            obligation(bound("x", "<=", "0.7", "ratio", on="high")),
            "fail",
            observed="0.777558899",
        ),
        one(
            "a rate without an interval has one by its counts",
            {"x": share(1.0, n=59, k=59)},
            obligation(bound("x", ">=", "0.95", "ratio", on="low")),
            "pass",
        ),
        one(
            "one item fewer proves less",
            {"x": share(1.0, n=58, k=58)},
            obligation(bound("x", ">=", "0.95", "ratio", on="low")),
            "fail",
        ),
        *(
            one(
                f"the {end} end with {op} would be the favourable one",
                {"x": number(0.5, "nats", **x)},
                obligation(bound("x", op, "0.5", "nats", on=end)),
                "error",
                reason="favourable",
            )
            for end, op in (("low", "<="), ("low", "<"), ("low", "=="), ("high", ">="), ("high", ">"), ("high", "=="))
        ),
        *(
            one(
                f"the {end} end with {op} is the unfavourable one",
                {"x": number(0.5, "nats", **x)},
                obligation(bound("x", op, "0.5", "nats", on=end)),
                "fail",
            )
            for end, op in (("low", ">="), ("low", ">"), ("high", "<="), ("high", "<"))
        ),
    ]


def tags() -> list[Claim]:
    made = obligation(bound("x", ">=", "0.5"))
    lenient = obligation(bound("x", ">=", "0.5", need={"tag": "estimated"}))
    many = obligation(bound("x", ">=", "0.5", need={"min_n": 15}))
    guess = {"x": facts.estimated(0.9, "1", by="a formula")}
    gone = {"x": facts.unavailable("no Mac", "ratio")}
    return [
        one("an estimate is no measurement", guess, made, "not_evaluated", reason="estimated, not measured"),
        one("a rule may accept estimates", guess, lenient, "pass"),
        one("a measurement is good enough for such a rule", {"x": number(0.9)}, lenient, "pass"),
        one("what is unavailable does not pass", gone, made, "not_evaluated", reason="no Mac", pointer="/data/x"),
        one("nor where estimates are accepted", gone, lenient, "not_evaluated", reason="no Mac"),
        one("another unit is another quantity", {"x": number(0.9, "percent")}, made, "error"),
        one("a flag is no number", {"x": number(True)}, made, "error"),
        one("14 items where 15 are needed are inconclusive", {"x": number(0.9, n=14)}, many, "inconclusive"),
        one(
            "one item is enough where one is needed",
            {"x": number(0.9, n=1)},
            obligation(bound("x", ">=", "0.5", need={"min_n": 1})),
            "pass",
        ),
        one("15 items are enough", {"x": number(0.9, n=15)}, many, "pass"),
        one("15 items at 0.1 fail", {"x": number(0.1, n=15)}, many, "fail"),
        one("a number without a count is not enough", {"x": number(0.9)}, many, "not_evaluated"),
        one(
            "a NaN was written as unavailable", {"x": number(float("nan"))}, made, "not_evaluated", reason="not finite"
        ),
    ]


EVERY = obligation(bound("v[*].x", ">=", "0.5"))
THREE = obligation(bound("v[*].x", ">=", "0.5", min_matches=3))
FP16 = obligation(bound("v[?variant=fp16].x", ">=", "0.5"))
GOOD, BAD = {"variant": "fp16", "x": number(0.9)}, {"variant": "int8", "x": number(0.1)}
WORSE = {"variant": "int4", "x": number(0.05)}
GONE = {"variant": "fp16", "x": facts.unavailable("no Mac", "ratio")}


def places() -> list[Claim]:
    """Every place counts, and the one that decides is shown."""
    return [
        one(
            "one bad place fails all",
            {"v": [GOOD, BAD]},
            EVERY,
            "fail",
            pointer="/data/v/1/x",
            matches=2,
            reason="0.1 misses >= 0.5.",
        ),
        one(
            "two places of a path that leads to one",
            {"x": number(0.9)},
            obligation(bound("x", ">=", "0.5", min_matches=2)),
            "error",
            reason="`min_matches: 2` can never be met",
        ),
        one(
            "every path counts",
            {"v": [GOOD], "w": number(0.1)},
            obligation(bound(["v[*].x", "w"], ">=", "0.5")),
            "fail",
            pointer="/data/w",
            matches=2,
        ),
        one(
            "each path must lead somewhere",
            {"w": number(0.9)},
            obligation(bound(["v[*].x", "w"], ">=", "0.5")),
            "not_evaluated",
        ),
        one("no path leads nowhere", {"w": number(0.9)}, obligation(bound([], ">=", "0.5")), "error", reason="metric"),
        one("two good places are simply good", {"v": [GOOD, GOOD]}, EVERY, "pass", reason="0.9 meets >= 0.5."),
        one(
            "one place is enough where one is needed",
            {"v": [GOOD]},
            obligation(bound("v[*].x", ">=", "0.5", min_matches=1)),
            "pass",
        ),
        one("a measured datum is no list of places", {"v": number(0.9)}, EVERY, "not_evaluated", pointer="/data/v"),
        one(
            "nor has it elements to select",
            {"v": {"a": True}},
            obligation(bound("v.a[?b=c].x", ">=", "0.5")),
            "not_evaluated",
            pointer="/data/v/a",
        ),
        one(
            "the worst place is shown",
            {"v": [BAD, WORSE, GOOD]},
            EVERY,
            "fail",
            pointer="/data/v/1/x",
            matches=3,
            reason="(and 1 more like it)",
        ),
        one(
            "the tightest place is shown",
            {"v": [GOOD, {"x": number(0.6)}]},
            EVERY,
            "pass",
            pointer="/data/v/1/x",
            reason="0.6 meets >= 0.5",
        ),
        *counted(),
    ]


def counted() -> list[Claim]:
    """How many of three numbers below, two equal ones and four above miss a bound, and which of them is told."""
    data = {"v": [{"x": number(value)} for value in (2, 1, 3, 4, 0, 2, 3, 1, 4)]}
    told = {">=": (2, 4), ">": (4, 4), "<=": (3, 3), "<": (5, 3), "==": (6, 3)}
    return [
        one(
            f"all that miss {op} 2 are counted",
            data,
            obligation(bound("v[*].x", op, "2", min_matches=1)),
            "fail",
            pointer=f"/data/v/{place}/x",
            reason=f"(and {more} more like it)",
            matches=9,
        )
        for op, (more, place) in told.items()
    ]


def absences() -> list[Claim]:
    """A path never skips what is not there."""
    return [
        one(
            "a place without the field is missing",
            {"v": [GOOD, {"variant": "int8"}]},
            EVERY,
            "not_evaluated",
            pointer="/data/v/1",
            reason="no field `x`",
        ),
        one("an empty list matches nothing", {"v": []}, EVERY, "not_evaluated", reason="nothing is listed"),
        one("an empty object matches nothing", {"v": {}}, EVERY, "not_evaluated"),
        one("no list at all", {"v": "none"}, EVERY, "not_evaluated"),
        one("no such field", {"w": [GOOD]}, EVERY, "not_evaluated", pointer="/data"),
        one(
            "every value of an object", {"v": {"b": BAD, "a/b": GOOD}}, EVERY, "fail", pointer="/data/v/b/x", matches=2
        ),
        one(
            "an object's key is escaped in the pointer", {"v": {"a/b~": BAD}}, EVERY, "fail", pointer="/data/v/a~1b~0/x"
        ),
        one(
            "a datum is no list of places",
            {"v": facts.unavailable("no Mac", "ratio")},
            EVERY,
            "not_evaluated",
            reason="no Mac",
        ),
    ]


def selections() -> list[Claim]:
    """Enough places, the right ones, and which of them decides."""
    return [
        one("two places where three are needed", {"v": [GOOD, GOOD]}, THREE, "not_evaluated", matches=2),
        one("three places where three are needed", {"v": [GOOD, GOOD, GOOD]}, THREE, "pass", matches=3),
        one("two bad places where three are needed", {"v": [BAD, BAD]}, THREE, "fail"),
        one("a selection selects", {"v": [BAD, GOOD]}, FP16, "pass", pointer="/data/v/1/x", matches=1),
        one("a selection that selects nothing", {"v": [BAD]}, FP16, "not_evaluated", reason="`variant` = `fp16`"),
        one("a selection in what is no list", {"v": {"variant": "fp16"}}, FP16, "not_evaluated"),
        one("a selection among texts", {"v": ["fp16"]}, FP16, "not_evaluated"),
        one(
            "a flag is no identifier",
            {"v": [{"variant": True, "x": number(0.9)}]},
            obligation(bound("v[?variant=True].x", ">=", "0.5")),
            "not_evaluated",
        ),
        one(
            "inside an unavailable thing nothing is available",
            {"v": facts.unavailable("no Mac", "ratio")},
            obligation(bound("v.x", ">=", "0.5")),
            "not_evaluated",
            reason="no Mac",
        ),
        one(
            "inside a number there is nothing",
            {"v": number(0.9)},
            obligation(bound("v.value", ">=", "0.5")),
            "error",
            reason="not a datum",
        ),
        one("what cannot be read decides before what fails", {"v": [BAD, {"x": number(True)}]}, EVERY, "error"),
        one("what fails decides before what is missing", {"v": [GONE, BAD]}, EVERY, "fail"),
        one("what is missing decides before what passes", {"v": [GOOD, GONE]}, EVERY, "not_evaluated"),
        one("a list is no datum", {"v": [{"x": [number(0.9)]}]}, EVERY, "error"),
    ]


def expectations() -> list[Claim]:
    wall = bound("x", "<=", unit="s")
    data = {"x": number(100, "s")}
    return [
        one("the plan's threshold decides: met", data, obligation(wall, expect=100), "pass", threshold="<= 100"),
        one("the plan's threshold decides: missed", data, obligation(wall, expect=99.5), "fail", distance="-0.5"),
        one("no threshold anywhere", data, obligation(wall), "not_evaluated"),
        one("a text is no threshold", data, obligation(wall, expect="100"), "error"),
        one("a flag is no threshold", data, obligation(wall, expect=True), "error"),
        one("a misspelt operator", data, obligation(bound("x", "=>", 1, "s")), "error", reason="op"),
        one(
            "an unknown parameter", data, obligation(bound("x", ">=", 1, "s", tolerance=2)), "error", reason="tolerance"
        ),
        one("a broken path", data, obligation(bound("x[", ">=", 1, "s")), "error", reason="metric"),
        one("a threshold that is no number", data, obligation(bound("x", ">=", "1e3", "s")), "error"),
        one("no place is not enough to demand", data, obligation(bound("x", ">=", 1, "s", min_matches=0)), "error"),
        one("no item is not enough to demand", data, obligation(bound("x", ">=", 1, "s", need={"min_n": 0})), "error"),
    ]
