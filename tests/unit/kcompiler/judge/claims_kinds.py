"""What the other kinds of check must say: covers, all_true, fingerprints, genuine, as_asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import ALONE, HEX, Claim, environment, number, obligation, one, report
from tests.unit.runtime.contract import speeds


def covering() -> list[Claim]:
    params = {"identifiers": "shapes[*].name"}
    loose = params | {"how": "contains"}
    grouped = {"each": "v[*]", "identifiers": "shapes[*].name"}

    def made(
        given: object, expect: object, outcome: str, claim: str, by: Mapping[str, Any] = params, **first: Any
    ) -> Claim:
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
        one(
            "no group",
            {"v": []},
            obligation(grouped, kind="covers@1", expect=["a"]),
            "not_evaluated",
            reason="nothing is listed",
        ),
    ]


def flags() -> list[Claim]:
    made = obligation({"at": "p[*].passed"}, kind="all_true@1")
    two = obligation({"at": "p[*].passed", "min_matches": 2}, kind="all_true@1")
    yes, no = {"passed": facts.measured(True, "bool")}, {"passed": facts.measured(False, "bool")}
    return [
        one("all true", {"p": [yes, yes]}, made, "pass", matches=2, observed="true", reason="is true."),
        one("two of three are false", {"p": [no, yes, no]}, made, "fail", reason="is false (and 1 more like it)."),
        one("one that is true", {"p": [yes]}, made, "pass", matches=1),
        one(
            "one that is true where one is needed",
            {"p": [yes]},
            obligation({"at": "p[*].passed", "min_matches": 1}, kind="all_true@1"),
            "pass",
        ),
        one("one false", {"p": [yes, no]}, made, "fail", pointer="/data/p/1/passed", observed="false"),
        one("nothing to be true", {"p": []}, made, "not_evaluated"),
        one("a flag is missing", {"p": [yes, {"other": "x"}]}, made, "not_evaluated"),
        one(
            "a flag is unavailable", {"p": [yes, {"passed": facts.unavailable("gone", "bool")}]}, made, "not_evaluated"
        ),
        one("a number is no flag", {"p": [{"passed": number(1, "bool")}]}, made, "error"),
        one("a bare flag is no datum", {"p": [{"passed": True}]}, made, "error"),
        one(
            "flags at several paths",
            {"p": [yes], "q": facts.measured(False, "bool")},
            obligation({"at": ["p[*].passed", "q"]}, kind="all_true@1"),
            "fail",
            pointer="/data/q",
            matches=2,
        ),
        one("fewer flags than needed", {"p": [yes]}, two, "not_evaluated", matches=1),
        one("as many as needed", {"p": [yes, yes]}, two, "pass"),
        one(
            "two flags at one place",
            {"p": yes},
            obligation({"at": "p.passed", "min_matches": 2}, kind="all_true@1"),
            "error",
            reason="`min_matches: 2` can never be met: without `.*` or `[*]` there is one place",
        ),
        one(
            "three flags at two places",
            {"p": yes, "q": yes},
            obligation({"at": ["p.passed", "q.passed"], "min_matches": 3}, kind="all_true@1"),
            "error",
            reason="there are 2 places",
        ),
        one(
            "one place named twice",
            {"p": yes},
            obligation({"at": ["p.passed", "p.passed"], "min_matches": 2}, kind="all_true@1"),
            "error",
            reason="`p.passed` stands twice",
        ),
        one(
            "two flags at two places",
            {"p": yes, "q": yes},
            obligation({"at": ["p.passed", "q.passed"], "min_matches": 2}, kind="all_true@1"),
            "pass",
        ),
        one(
            "two flags of a list beside one place",
            {"p": [yes], "q": yes},
            obligation({"at": ["q.passed", "p[*].passed"], "min_matches": 3}, kind="all_true@1"),
            "not_evaluated",
            reason="at least 3",
        ),
    ]


def bindings() -> list[Claim]:
    made = obligation({"names": list(HEX)}, kind="fingerprints@1")
    without = {name: value for name, value in HEX.items() if name != "tokenizer"}

    def with_marks(claim: str, marks: Mapping[str, Any], outcome: str, **first: Any) -> Claim:
        reports = {"measure": report({"x": "y"}, fingerprints=dict(marks))}
        return Claim(claim, reports, [made], [outcome], ALONE[outcome], first)

    return [
        with_marks("all five fingerprints", HEX, "pass", matches=5),
        one("a single fingerprint", {"x": "y"}, obligation({"names": ["model"]}, kind="fingerprints@1"), "pass"),
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

    def of(claim: str, outcome: str, data: Mapping[str, Any] | None = None, **more: Any) -> Claim:
        first = {key: more.pop(key) for key in ("pointer", "reason") if key in more}
        reports = {"measure": report({"x": number(1.0)} if data is None else data, **more)}
        return Claim(claim, reports, [made], [outcome], ALONE[outcome], first)

    return [
        of("a report that was measured", "pass", reason="made by backend torch"),
        of(
            "a report that says it is forged",
            "fail",
            environment=environment(forged=True, backend="null"),
            reason="is forged",
            pointer="/environment/forged",
        ),
        of("forged, though a backend is named", "fail", environment=environment(forged=True)),
        of("made by the null backend", "fail", environment=environment(backend="null"), pointer="/environment/backend"),
        of("made by no backend", "fail", environment=environment(backend="none")),
        of("does not say whether it is forged", "error", environment={"backend": "torch"}),
        of("a report without a single fact", "not_evaluated", data={}, pointer="/data"),
        of("a placeholder in the data", "fail", data={"x": {"y": ["ok", " TODO: measure"]}}, pointer="/data/x/y/1"),
        of(
            "a placeholder in the environment",
            "fail",
            environment=environment(device="placeholder"),
            pointer="/environment/device",
        ),
        *(
            of(f"placeholder {text!r}", "fail", data={"x": text})
            for text in (
                "tbd",
                "N/A",
                "xxx",
                "dummy",
                "Mocked",
                "fake ",
                "stub",
                "change-me",
                "not implemented",
                "??",
                "...",
                "Lorem ipsum dolor",
            )
        ),
        *(
            of(f"{text!r} is no placeholder", "pass", data={"x": text})
            for text in ("todos are done", "a fake smile", "stubborn", "It is certain.", "kl")
        ),
    ]


def demands() -> list[Claim]:
    """What a rule demands to be measured is a measurement."""
    strict = obligation({"measured": ["x"]}, kind="genuine@1")
    return [
        one(
            "what a model said is quoted, not claimed",
            {"x": {"said": ["...", {"y": "TODO"}]}, "z": "kl"},
            obligation({"quoted": ["said"]}, kind="genuine@1"),
            "pass",
        ),
        one(
            "a field beside the quoted one is claimed",
            {"x": {"said": ["..."], "method": "TODO"}},
            obligation({"quoted": ["said"]}, kind="genuine@1"),
            "fail",
            pointer="/data/x/method",
        ),
        one("demanded and measured", {"x": number(1.0)}, strict, "pass"),
        one(
            "demanded and estimated",
            {"x": facts.estimated(1.0, "s", by="timing")},
            strict,
            "not_evaluated",
            pointer="/data/x",
        ),
        one("demanded and missing", {"y": number(1.0)}, strict, "not_evaluated"),
        one("demanded and no datum", {"x": "measured"}, strict, "error"),
    ]


def asked_for() -> list[Claim]:
    here = {"processor": "one", "threads": "2"}
    runner = speeds.runner("torch", here, {8: [(1000, 2000)] * 20}, new=4)
    data = speeds.data({"torch": runner}, here)
    asked = {
        "id": "speed",
        "runners": ["torch"],
        "prompts": [8],
        "new_tokens": 4,
        "warm_up": 2,
        "repetitions": 20,
        "threads": 2,
    }

    def made(expect: object, outcome: str, claim: str, **more: Any) -> Claim:
        given = report(data, kind="benchmark")
        obliged = obligation({}, kind="as_asked@1", report="benchmark", expect=expect)
        return Claim(claim, {"measure": given}, [obliged], [outcome], ALONE[outcome], more)

    def other(claim: str, outcome: str, reason: str, **around: bool) -> Claim:
        given = report(
            {**data, "warm_up": facts.measured(1, "answer")}, kind="benchmark", environment=environment(**around)
        )
        obliged = obligation({}, kind="as_asked@1", report="benchmark", expect=asked)
        return Claim(claim, {"measure": given}, [obliged], [outcome], ALONE[outcome], {"reason": reason})

    return [
        other("times of another warm-up", "error", "it contradicts itself: torch: measured after another warm-up"),
        other("made up, and said so", "not_evaluated", "forged", forged=True),
        made(asked, "pass", "what was asked for is there", reason="all that was asked for is there.", pointer="/data"),
        made({**asked, "prompts": [8, 16]}, "fail", "a length is not there", reason="asked for 8, 16, measured 8"),
        made({**asked, "warm_up": 1, "id": "x"}, "fail", "two things are not", reason="; ", pointer="/data"),
        made(None, "not_evaluated", "nobody says what was asked"),
        made([], "error", "a list is no parameters"),
        made({}, "error", "parameters of another step"),
        made({**asked, "runners": 7}, "error", "parameters that are none"),
        one(
            "a kind of which nobody knows what was asked",
            {"x": {}},
            obligation({}, kind="as_asked@1", expect=asked),
            "error",
        ),
    ]
