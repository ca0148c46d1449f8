"""Small reports and obligations, and the table of what the judge must say about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.contract import report as facts

HEX = {
    name: digit * 63 + "0"
    for name, digit in zip(("dataset", "tool_registry", "tokenizer", "prompt_wrapper", "model"), "12345", strict=True)
}


def report(data: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A report of kind `sample` by step `measure`; `changes` replace sections of the envelope."""
    made = {
        "kind": "sample",
        "schema_version": "1.0",
        "step": "measure",
        "subject": {"model": "sha256:" + HEX["model"]},
        "fingerprints": dict(HEX),
        "environment": {"forged": False, "backend": "torch", "versions": {"torch": "2.13.0"}},
        "data": dict(data),
    }
    return made | changes


def environment(**changes: Any) -> dict[str, Any]:
    return {"forged": False, "backend": "torch"} | changes


def obligation(params: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A blocking obligation of kind `bound` on `measure`; `changes` replace its fields (`from_` is `from`)."""
    made = {
        "rule": "lab/rule",
        "pack": "lab@1",
        "title": "A rule of the lab",
        "mode": "block",
        "reason": "",
        "waivable": False,
        "report": "sample",
        "from": "step:measure",
        "kind": "bound@1",
        "params": dict(params),
        "expect": None,
        "remedy": "measure again",
    }
    return made | {key.rstrip("_"): value for key, value in changes.items()}


def bound(metric: str, op: str, threshold: object = None, unit: str = "ratio", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"metric": metric, "op": op, "unit": unit} | more
    return made if threshold is None else made | {"threshold": threshold}


@dataclass(frozen=True)
class Claim:
    """What the judge must say about `reports` under `obligations`."""

    claim: str
    reports: Mapping[str, Any]
    obligations: Sequence[Mapping[str, Any]]
    outcomes: Sequence[str]
    #: verdict and exit code
    says: tuple[str, int]
    #: fields the first outcome must have; a `reason` must be contained
    first: Mapping[str, Any] = field(default_factory=dict)


PASS, FAIL, BROKEN, NOTHING = ("PASS", 0), ("FAIL", 1), ("FAIL", 2), ("NOTHING_EVALUATED", 3)
#: `says` of a single obligation by its outcome
ALONE = {
    "pass": PASS, "fail": FAIL, "inconclusive": ("INCONCLUSIVE", 1), "not_evaluated": NOTHING, "error": NOTHING,
    "skipped": NOTHING,
}  # fmt: skip


def one(claim: str, data: Mapping[str, Any], made: Mapping[str, Any], outcome: str, **first: Any) -> Claim:
    """A claim about one obligation on one report."""
    return Claim(claim, {"measure": report(data)}, [made], [outcome], ALONE[outcome], first)


def number(value: float, unit: str = "ratio", **extra: Any) -> dict[str, Any]:
    return facts.measured(value, unit, **extra)


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


def exactness() -> list[Claim]:
    every = obligation(bound("x", "==", 1))
    least = obligation(bound("x", ">=", "0.999"))
    most = obligation(bound("x", "<=", "0.02"))
    return [
        one("2999 of 3000 is not all", {"x": facts.rate(2999, 3000)}, every, "fail", observed="2999/3000"),
        one("3000 of 3000 is all", {"x": facts.rate(3000, 3000)}, every, "pass", distance="0", pointer="/data/x"),
        one("a rate rounded to 1.0 contradicts its counts", {"x": number(1.0, n=3000, k=2999)}, every, "error"),
        one("more hits than items are no rate", {"x": number(1.5, n=2, k=3)}, every, "error"),
        one("counts of nothing are no rate", {"x": number(0, n=0, k=0)}, every, "error", reason="0 of 0"),
        one("hits without a count are no datum", {"x": number(1.0, k=1)}, every, "error"),
        one("999 of 1000 is 0.999", {"x": facts.rate(999, 1000)}, least, "pass", distance="0"),
        one("998 of 1000 is not", {"x": facts.rate(998, 1000)}, least, "fail",
            distance="-0.001", threshold=">= 0.999", reason="998/1000 ratio misses >= 0.999; 1 of 1000 items must change"),
        one("0.02 is at most 0.02, whatever a double makes of it", {"x": number(0.02)}, most, "pass", distance="0"),
        one("the next double after 0.02 is more", {"x": number(0.020000000000000004)}, most, "fail",
            observed="0.020000000000000004"),
        one("an integer is compared as one", {"x": number(9007199254740991, "item")},
            obligation(bound("x", "==", "9007199254740991", "item")), "pass"),
        one("a threshold written as a number is its text", {"x": number(0.1)}, obligation(bound("x", "==", 0.1)), "pass"),
        one("a small threshold written as a number is its text", {"x": number(0.00001)},
            obligation(bound("x", "==", 1e-05)), "pass"),
    ]  # fmt: skip


def counterfactuals() -> list[Claim]:
    def must(op: str, threshold: str, k: int, reason: str) -> Claim:
        made = obligation(bound("x", op, threshold))
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
    ]


def intervals() -> list[Claim]:
    gain = obligation(bound("x", ">", 0, "nats", on="low"))
    cap = obligation(bound("x", "<", 1, "nats", on="high"))
    x = {"low": 0.1, "high": 0.9}
    return [
        one("the low end decides: above", {"x": number(0.5, "nats", **x)}, gain, "pass", observed="0.1", distance="0.1"),
        one("the low end decides: at", {"x": number(0.5, "nats", low=0.0)}, gain, "fail", distance="0"),
        one("the low end decides: below", {"x": number(0.5, "nats", low=-0.1)}, gain, "fail"),
        one("no low end, no answer", {"x": number(0.5, "nats", high=0.9)}, gain, "not_evaluated"),
        one("the high end decides: below", {"x": number(0.5, "nats", **x)}, cap, "pass", observed="0.9", distance="0.1"),
        one("the high end decides: above", {"x": number(0.5, "nats", high=1.5)}, cap, "fail"),
        one("no high end, no answer", {"x": number(0.5, "nats", low=0.1)}, cap, "not_evaluated"),
        one("an interval above its value is none", {"x": number(0.5, "nats", low=0.6)}, gain, "error"),
        one("an interval below its value is none", {"x": number(0.5, "nats", high=0.4)}, cap, "error"),
        one("an interval may be a point", {"x": number(0.5, "nats", low=0.5, high=0.5)}, gain, "pass"),
        one("the end of a rate has no counts", {"x": number(0.5, n=10, k=5, low=0.2)},
            obligation(bound("x", ">=", "0.3", on="low")), "fail", observed="0.2", reason="0.2 ratio misses >= 0.3"),
        *(one(f"the {end} end with {op} would be the favourable one", {"x": number(0.5, "nats", **x)},
              obligation(bound("x", op, "0.5", "nats", on=end)), "error", reason="favourable")
          for end, op in (("low", "<="), ("low", "<"), ("low", "=="), ("high", ">="), ("high", ">"), ("high", "=="))),
        *(one(f"the {end} end with {op} is the unfavourable one", {"x": number(0.5, "nats", **x)},
              obligation(bound("x", op, "0.5", "nats", on=end)), "fail")
          for end, op in (("low", ">="), ("low", ">"), ("high", "<="), ("high", "<"))),
    ]  # fmt: skip


def tags() -> list[Claim]:
    made = obligation(bound("x", ">=", "0.5"))
    lenient = obligation(bound("x", ">=", "0.5", need={"tag": "estimated"}))
    many = obligation(bound("x", ">=", "0.5", need={"min_n": 15}))
    guess = {"x": facts.estimated(0.9, "ratio", by="a formula")}
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
        one("15 items are enough", {"x": number(0.9, n=15)}, many, "pass"),
        one("15 items at 0.1 fail", {"x": number(0.1, n=15)}, many, "fail"),
        one("a number without a count is not enough", {"x": number(0.9)}, many, "not_evaluated"),
        one("a NaN was written as unavailable", {"x": number(float("nan"))}, made, "not_evaluated", reason="not finite"),
    ]


def places() -> list[Claim]:
    every = obligation(bound("v[*].x", ">=", "0.5"))
    three = obligation(bound("v[*].x", ">=", "0.5", min_matches=3))
    fp16 = obligation(bound("v[?variant=fp16].x", ">=", "0.5"))
    good, bad = {"variant": "fp16", "x": number(0.9)}, {"variant": "int8", "x": number(0.1)}
    worse = {"variant": "int4", "x": number(0.05)}
    gone = {"variant": "fp16", "x": facts.unavailable("no Mac", "ratio")}
    return [
        one("one bad place fails all", {"v": [good, bad]}, every, "fail", pointer="/data/v/1/x", matches=2),
        one("the worst place is shown", {"v": [bad, worse, good]}, every, "fail", pointer="/data/v/1/x", matches=3,
            reason="(and 1 more like it)"),
        one("the tightest place is shown", {"v": [good, {"x": number(0.6)}]}, every, "pass", pointer="/data/v/1/x",
            reason="0.6 ratio meets >= 0.5"),
        one("a place without the field is missing", {"v": [good, {"variant": "int8"}]}, every, "not_evaluated",
            pointer="/data/v/1", reason="no field `x`"),
        one("an empty list matches nothing", {"v": []}, every, "not_evaluated", reason="nothing is listed"),
        one("an empty object matches nothing", {"v": {}}, every, "not_evaluated"),
        one("no list at all", {"v": "none"}, every, "not_evaluated"),
        one("no such field", {"w": [good]}, every, "not_evaluated", pointer="/data"),
        one("every value of an object", {"v": {"b": bad, "a/b": good}}, every, "fail", pointer="/data/v/b/x", matches=2),
        one("an object's key is escaped in the pointer", {"v": {"a/b~": bad}}, every, "fail", pointer="/data/v/a~1b~0/x"),
        one("a datum is no list of places", {"v": facts.unavailable("no Mac", "ratio")}, every, "not_evaluated",
            reason="no Mac"),
        one("two places where three are needed", {"v": [good, good]}, three, "not_evaluated", matches=2),
        one("three places where three are needed", {"v": [good, good, good]}, three, "pass", matches=3),
        one("two bad places where three are needed", {"v": [bad, bad]}, three, "fail"),
        one("a selection selects", {"v": [bad, good]}, fp16, "pass", pointer="/data/v/1/x", matches=1),
        one("a selection that selects nothing", {"v": [bad]}, fp16, "not_evaluated", reason="`variant` = `fp16`"),
        one("a selection in what is no list", {"v": {"variant": "fp16"}}, fp16, "not_evaluated"),
        one("a selection among texts", {"v": ["fp16"]}, fp16, "not_evaluated"),
        one("a flag is no identifier", {"v": [{"variant": True, "x": number(0.9)}]},
            obligation(bound("v[?variant=True].x", ">=", "0.5")), "not_evaluated"),
        one("inside an unavailable thing nothing is available", {"v": facts.unavailable("no Mac", "ratio")},
            obligation(bound("v.x", ">=", "0.5")), "not_evaluated", reason="no Mac"),
        one("inside a number there is nothing", {"v": number(0.9)}, obligation(bound("v.value", ">=", "0.5")), "error",
            reason="not a datum"),
        one("what cannot be read decides before what fails", {"v": [bad, {"x": number(True)}]}, every, "error"),
        one("what fails decides before what is missing", {"v": [gone, bad]}, every, "fail"),
        one("what is missing decides before what passes", {"v": [good, gone]}, every, "not_evaluated"),
        one("a list is no datum", {"v": [{"x": [number(0.9)]}]}, every, "error"),
    ]  # fmt: skip


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
        one("an unknown parameter", data, obligation(bound("x", ">=", 1, "s", tolerance=2)), "error", reason="tolerance"),
        one("a broken path", data, obligation(bound("x[", ">=", 1, "s")), "error", reason="metric"),
        one("a threshold that is no number", data, obligation(bound("x", ">=", "1e3", "s")), "error"),
        one("no place is not enough to demand", data, obligation(bound("x", ">=", 1, "s", min_matches=0)), "error"),
        one("no item is not enough to demand", data, obligation(bound("x", ">=", 1, "s", need={"min_n": 0})), "error"),
    ]


def covering() -> list[Claim]:
    params = {"identifiers": "shapes[*].name"}
    loose = params | {"how": "contains"}
    grouped = {"each": "v[*]", "identifiers": "shapes[*].name"}

    def made(given: object, expect: object, outcome: str, claim: str, by: Mapping[str, Any] = params, **first: Any) -> Claim:
        shapes = [{"name": name} for name in given] if isinstance(given, list) else given
        return one(claim, {"shapes": shapes}, obligation(by, kind="covers@1", expect=expect), outcome, **first)

    def groups(first: list[str], second: list[str], outcome: str, claim: str, **more: Any) -> Claim:
        data = {"v": [{"shapes": [{"name": name} for name in names]} for names in (first, second)]}
        return one(claim, data, obligation(grouped, kind="covers@1", expect=["a", "b"]), outcome, **more)

    token = [facts.measured(64, "token"), facts.measured(128, "token")]
    return [
        made(["b", "a"], ["a", "b"], "pass", "the same names in any order", observed="b, a", matches=1),
        made(["a"], ["a", "b"], "fail", "a declared name is absent", reason="absent: b", pointer="/data"),
        made(["a", "b", "c"], ["a", "b"], "fail", "a name nobody declared", reason="extra: c"),
        made(["a", "b", "c"], ["a", "b"], "pass", "more is allowed where at least is asked", loose),
        made(["a", "c"], ["a", "b"], "fail", "less is not", loose, reason="absent: b"),
        made(["a", "b", "b"], ["a", "b"], "fail", "one name twice is not two", reason="twice: b"),
        made(["a", "b", "b"], ["a", "b"], "fail", "not even where more is allowed", loose),
        made(token, [64, 128], "pass", "whole numbers are names"),
        made(token, ["64"], "fail", "an undeclared length", reason="extra: 128"),
        made([facts.measured(64.5, "token")], [64], "error", "a fraction is no name"),
        made([facts.measured(True, "bool")], ["True"], "error", "a flag is no name"),
        made([True], ["True"], "error", "a bare flag is no name"),
        made([""], ["a"], "error", "an empty text is no name"),
        made([facts.unavailable("gone", "token")], ["a"], "error", "what is unavailable is no name"),
        made([{"x": "y"}], ["a"], "error", "an object is no name"),
        made([], ["a"], "not_evaluated", "nothing listed"),
        made("none", ["a"], "not_evaluated", "no list"),
        made(["a"], None, "not_evaluated", "no expectation"),
        made(["a"], [], "error", "nothing expected covers nothing"),
        made(["a"], "a", "error", "an expectation that is no list"),
        made(["a"], ["a", "a"], "error", "an expectation that repeats itself"),
        made(["a"], ["a", True], "error", "an expectation with a flag in it"),
        groups(["a", "b"], ["b", "a"], "pass", "each group has all", matches=2),
        groups(["a", "b"], ["a"], "fail", "one group lacks one", pointer="/data/v/1"),
        one("no group", {"v": []}, obligation(grouped, kind="covers@1", expect=["a"]), "not_evaluated"),
    ]


def flags() -> list[Claim]:
    made = obligation({"at": "p[*].passed"}, kind="all_true@1")
    two = obligation({"at": "p[*].passed", "min_matches": 2}, kind="all_true@1")
    yes, no = {"passed": facts.measured(True, "bool")}, {"passed": facts.measured(False, "bool")}
    return [
        one("all true", {"p": [yes, yes]}, made, "pass", matches=2, observed="true"),
        one("one false", {"p": [yes, no]}, made, "fail", pointer="/data/p/1/passed", observed="false"),
        one("nothing to be true", {"p": []}, made, "not_evaluated"),
        one("a flag is missing", {"p": [yes, {"other": "x"}]}, made, "not_evaluated"),
        one("a flag is unavailable", {"p": [yes, {"passed": facts.unavailable("gone", "bool")}]}, made, "not_evaluated"),
        one("a number is no flag", {"p": [{"passed": number(1, "bool")}]}, made, "error"),
        one("a bare flag is no datum", {"p": [{"passed": True}]}, made, "error"),
        one("fewer flags than needed", {"p": [yes]}, two, "not_evaluated", matches=1),
        one("as many as needed", {"p": [yes, yes]}, two, "pass"),
    ]


def bindings() -> list[Claim]:
    made = obligation({"names": list(HEX)}, kind="fingerprints@1")
    without = {name: value for name, value in HEX.items() if name != "tokenizer"}

    def with_marks(claim: str, marks: Mapping[str, Any], outcome: str, **first: Any) -> Claim:
        reports = {"measure": report({"x": "y"}, fingerprints=dict(marks))}
        return Claim(claim, reports, [made], [outcome], ALONE[outcome], first)

    return [
        with_marks("all five fingerprints", HEX, "pass", matches=5),
        with_marks("one is missing", without, "not_evaluated", pointer="/fingerprints/tokenizer"),
        with_marks("none is there", {}, "not_evaluated"),
        with_marks("a filler", HEX | {"model": "0" * 64}, "fail", pointer="/fingerprints/model"),
        with_marks("too short", HEX | {"model": "ab" * 31}, "error"),
        with_marks("upper case", HEX | {"model": "AB" * 32}, "error"),
        with_marks("null", HEX | {"model": None}, "error"),
        one("a fingerprint nobody knows", {"x": "y"}, obligation({"names": ["vibe"]}, kind="fingerprints@1"), "error"),
        one("no fingerprint asked for", {"x": "y"}, obligation({"names": []}, kind="fingerprints@1"), "error"),
    ]


def origins() -> list[Claim]:
    made = obligation({}, kind="genuine@1")
    strict = obligation({"measured": ["x"]}, kind="genuine@1")

    def of(claim: str, outcome: str, data: Mapping[str, Any] | None = None, **more: Any) -> Claim:
        first = {key: more.pop(key) for key in ("pointer", "reason") if key in more}
        reports = {"measure": report({"x": number(1.0)} if data is None else data, **more)}
        return Claim(claim, reports, [made], [outcome], ALONE[outcome], first)

    return [
        of("a report that was measured", "pass", reason="made by backend torch"),
        of("a report that says it is forged", "fail", environment=environment(forged=True, backend="null"), reason="is forged",
           pointer="/environment/forged"),
        of("forged, though a backend is named", "fail", environment=environment(forged=True)),
        of("made by the null backend", "fail", environment=environment(backend="null"), pointer="/environment/backend"),
        of("made by no backend", "fail", environment=environment(backend="none")),
        of("does not say whether it is forged", "error", environment={"backend": "torch"}),
        of("a report without a single fact", "not_evaluated", data={}, pointer="/data"),
        of("a placeholder in the data", "fail", data={"x": {"y": ["ok", " TODO: measure"]}}, pointer="/data/x/y/1"),
        of("a placeholder in the environment", "fail", environment=environment(device="placeholder"),
           pointer="/environment/device"),
        *(of(f"placeholder {text!r}", "fail", data={"x": text})
          for text in ("tbd", "N/A", "xxx", "dummy", "Mocked", "fake ", "stub", "change-me", "not implemented", "??", "...",
                       "Lorem ipsum dolor")),
        *(of(f"{text!r} is no placeholder", "pass", data={"x": text})
          for text in ("todos are done", "a fake smile", "stubborn", "It is certain.", "kl")),
        one("demanded and measured", {"x": number(1.0)}, strict, "pass"),
        one("demanded and estimated", {"x": facts.estimated(1.0, "s", by="timing")}, strict, "not_evaluated", pointer="/data/x"),
        one("demanded and missing", {"y": number(1.0)}, strict, "not_evaluated"),
        one("demanded and no datum", {"x": "measured"}, strict, "error"),
    ]  # fmt: skip


def ways_of_judging() -> list[Claim]:
    good = obligation(bound("x", ">=", "0.5"))
    bad = obligation(bound("x", ">=", "0.95"), rule="lab/high")
    few = obligation(bound("x", ">=", "0.5", need={"min_n": 99}), rule="lab/few")
    gone = obligation(bound("y", ">=", "0.5"), rule="lab/gone")
    lost = obligation(bound("x", ">=", "0.5"), rule="lab/lost", from_="step:other")
    odd = obligation(bound("x", ">=", "0.5", "percent"), rule="lab/odd")
    skip = obligation(bound("x", ">=", "2"), rule="lab/skip", mode="skip", reason="not on this platform")
    given = {"measure": report({"x": number(0.9, n=10)})}

    def waivable(made: Mapping[str, Any]) -> dict[str, Any]:
        return {**made, "waivable": True}

    def warn(made: Mapping[str, Any]) -> dict[str, Any]:
        return {**made, "mode": "warn"}

    def says(claim: str, made: Sequence[Mapping[str, Any]], outcomes: Sequence[str], word: str, code: int, **first: Any) -> Claim:
        return Claim(claim, given, made, outcomes, (word, code), first)

    def given_as(claim: str, changed: Any, outcome: str = "error", **first: Any) -> Claim:
        return Claim(claim, {"measure": changed}, [good], [outcome], NOTHING, first)

    sample = report({"x": number(0.9)})
    return [
        says("no obligation, no verdict", [], [], "NOTHING_EVALUATED", 3),
        says("only skipped rules, no verdict", [skip], ["skipped"], "NOTHING_EVALUATED", 3, blocks=False, remedy="measure again",
             reason="not on this platform"),
        says("a skipped rule does not block", [good, skip], ["pass", "skipped"], "PASS", 0, blocks=False, remedy=""),
        says("a failed warning does not block", [warn(bad), good], ["fail", "pass"], "PASS", 0, blocks=False,
             remedy="measure again"),
        says("a broken warning does not block", [warn(odd), good], ["error", "pass"], "PASS", 0),
        says("a failed rule blocks", [bad, good], ["fail", "pass"], "FAIL", 1, blocks=True, remedy="measure again"),
        says("missing evidence blocks", [gone, good], ["not_evaluated", "pass"], "INCONCLUSIVE", 1, blocks=True),
        says("too little evidence blocks", [few, good], ["inconclusive", "pass"], "INCONCLUSIVE", 1, blocks=True),
        says("a failure is worse than a lack", [few, bad], ["inconclusive", "fail"], "FAIL", 1),
        says("a report that was not given blocks", [lost, good], ["not_evaluated", "pass"], "INCONCLUSIVE", 1,
             reason="`other` has given no report"),
        says("broken evidence is answered with 2", [odd, good], ["error", "pass"], "FAIL", 2, blocks=True),
        says("broken evidence beats a failure", [bad, odd], ["fail", "error"], "FAIL", 2),
        says("a waivable failure asks for a waiver", [waivable(bad), good], ["fail", "pass"], "WAIVER_REQUIRED", 7, blocks=True),
        says("so does a waivable lack of items", [waivable(few), good], ["inconclusive", "pass"], "WAIVER_REQUIRED", 7),
        says("missing evidence cannot be waived", [waivable(gone), good], ["not_evaluated", "pass"], "INCONCLUSIVE", 1),
        says("broken evidence cannot be waived", [waivable(odd), good], ["error", "pass"], "FAIL", 2),
        says("one failure that is not waivable fails", [waivable(bad), {**bad, "rule": "lab/other"}], ["fail", "fail"], "FAIL", 1),
        says("the same obligation twice", [good, good], ["pass", "error"], "FAIL", 2),
        says("one rule for two steps is two obligations", [good, {**good, "from": "step:other"}], ["pass", "not_evaluated"],
             "INCONCLUSIVE", 1),
        says("an obligation without a mode blocks", [{k: v for k, v in good.items() if k != "mode"}, warn(bad)],
             ["error", "fail"], "FAIL", 2, blocks=True, reason="mode", rule="lab/rule"),
        says("an unknown mode blocks", [{**good, "mode": "note"}, warn(bad)], ["error", "fail"], "FAIL", 2),
        says("an unknown key blocks", [{**good, "treshold": 1}, warn(bad)], ["error", "fail"], "FAIL", 2, reason="treshold"),
        says("a skip without a reason blocks", [{**skip, "reason": ""}, warn(bad)], ["error", "fail"], "FAIL", 2),
        says("a reason without a skip blocks", [{**good, "reason": "late"}, warn(bad)], ["error", "fail"], "FAIL", 2),
        says("an unknown kind of check", [{**good, "kind": "vibes@1"}, warn(bad)], ["error", "fail"], "FAIL", 2, reason="vibes"),
        says("another version of a check", [{**good, "kind": "bound@2"}, warn(bad)], ["error", "fail"], "FAIL", 2,
             reason="bound@1"),
        given_as("an empty file", b""),
        given_as("an empty report", b"{}"),
        given_as("a list", b"[]", reason="not an object"),
        given_as("a report with NaN", b'{"kind": NaN}', reason="NaN"),
        given_as("a report with a key twice", b'{"kind": "sample", "kind": "sample"}', reason="duplicate"),
        given_as("a report in memory with NaN", {"x": float("nan")}),
        given_as("a report in memory that is no JSON", {"x": object()}),
        given_as("a report of another kind", sample | {"kind": "other"}, pointer="/kind"),
        given_as("a report by another step", sample | {"step": "other"}, pointer="/step"),
        given_as("a report without data", {key: value for key, value in sample.items() if key != "data"}),
        given_as("a bare number in the data", report({"x": 0.9})),
        given_as("null in the data", report({"x": None})),
        given_as("a section nobody knows", sample | {"extra": {}}, reason="extra"),
        given_as("another version of the envelope", sample | {"schema_version": "2.0"}),
        given_as("a kind that breaks its own schema", sample | {"kind": "run", "data": {}}, reason="report.run.schema.json"),
        given_as("a kind that is no kind", sample | {"kind": "../run"}, reason="no report kind"),
        given_as("a forged report", report({"x": number(0.9)}, environment=environment(forged=True, backend="null")),
                 "not_evaluated", reason="forged"),
    ]  # fmt: skip


def claims() -> list[Claim]:
    """Every claim, the quickest to break first."""
    return [
        *ways_of_judging(), *operators(), *tags(), *places(), *exactness(), *intervals(), *counterfactuals(),
        *expectations(), *covering(), *flags(), *bindings(), *origins(),
    ]  # fmt: skip
