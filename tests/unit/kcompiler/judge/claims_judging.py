"""What the judge must say whatever the check: which evidence counts, what blocks, what it amounts to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.unit.kcompiler.judge.samples import NOTHING, PASS, Claim, bound, environment, number, obligation, report

GOOD = obligation(bound("x", ">=", "0.5"))
BAD = obligation(bound("x", ">=", "0.95"), rule="lab/high")
FEW = obligation(bound("x", ">=", "0.5", need={"min_n": 99}), rule="lab/few")
GONE = obligation(bound("y", ">=", "0.5"), rule="lab/gone")
LOST = obligation(bound("x", ">=", "0.5"), rule="lab/lost", from_="step:other")
ODD = obligation(bound("x", ">=", "0.5", "percent"), rule="lab/odd")
SKIP = obligation(bound("x", ">=", "2"), rule="lab/skip", mode="skip", reason="not on this platform")
GIVEN = {"measure": report({"x": number(0.9, n=10)})}


def warn(made: Mapping[str, Any]) -> dict[str, Any]:
    return {**made, "mode": "warn"}


def says(
    claim: str, made: Sequence[Mapping[str, Any]], outcomes: Sequence[str], word: str, code: int, **first: Any
) -> Claim:
    return Claim(claim, GIVEN, made, outcomes, (word, code), first)


def given_as(claim: str, changed: Any, outcome: str = "error", **first: Any) -> Claim:
    return Claim(claim, {"measure": changed}, [GOOD], [outcome], NOTHING, first)


SAMPLE = report({"x": number(0.9)})


def amounts() -> list[Claim]:
    """What several outcomes amount to."""
    return [
        says(
            "an obligation may have the shortest names",
            [{**GOOD, "rule": "r", "pack": "p"}],
            ["pass"],
            "PASS",
            0,
            mode="block",
        ),
        says("no obligation, no verdict", [], [], "NOTHING_EVALUATED", 3),
        says(
            "only skipped rules, no verdict",
            [SKIP],
            ["skipped"],
            "NOTHING_EVALUATED",
            3,
            blocks=False,
            remedy="measure again",
            reason="not on this platform",
        ),
        says("a skipped rule does not block", [GOOD, SKIP], ["pass", "skipped"], "PASS", 0, blocks=False, remedy=""),
        says(
            "a failed warning does not block",
            [warn(BAD), GOOD],
            ["fail", "pass"],
            "PASS",
            0,
            blocks=False,
            remedy="measure again",
        ),
        says("a broken warning does not block", [warn(ODD), GOOD], ["error", "pass"], "PASS", 0),
        says("a failed rule blocks", [BAD, GOOD], ["fail", "pass"], "FAIL", 1, blocks=True, remedy="measure again"),
        says("missing evidence blocks", [GONE, GOOD], ["not_evaluated", "pass"], "INCONCLUSIVE", 1, blocks=True),
        says("too little evidence blocks", [FEW, GOOD], ["inconclusive", "pass"], "INCONCLUSIVE", 1, blocks=True),
        says("a failure is worse than a lack", [FEW, BAD], ["inconclusive", "fail"], "FAIL", 1),
        says(
            "a report that was not given blocks",
            [LOST, GOOD],
            ["not_evaluated", "pass"],
            "INCONCLUSIVE",
            1,
            reason="`other` has given no report",
        ),
    ]


def precedence() -> list[Claim]:
    """Which outcome decides when there are several."""
    return [
        says("broken evidence is answered with 2", [ODD, GOOD], ["error", "pass"], "FAIL", 2, blocks=True),
        says("broken evidence beats a failure", [BAD, ODD], ["fail", "error"], "FAIL", 2),
        says(
            "an obligation that would be waived is none",
            [{**BAD, "waivable": True}, GOOD],
            ["error", "pass"],
            "FAIL",
            2,
        ),
        says("the same obligation twice", [GOOD, GOOD], ["pass", "error"], "FAIL", 2),
        says(
            "one rule for two steps is two obligations",
            [GOOD, {**GOOD, "from": "step:other"}],
            ["pass", "not_evaluated"],
            "INCONCLUSIVE",
            1,
        ),
    ]


def broken_obligations() -> list[Claim]:
    """Obligations that cannot be read block, whatever they meant."""
    return [
        says(
            "an obligation without a mode blocks",
            [{k: v for k, v in GOOD.items() if k != "mode"}, warn(BAD)],
            ["error", "fail"],
            "FAIL",
            2,
            blocks=True,
            reason="mode",
            rule="lab/rule",
            matches=0,
        ),
        says("an unknown mode blocks", [{**GOOD, "mode": "note"}, warn(BAD)], ["error", "fail"], "FAIL", 2),
        says(
            "an unknown key blocks",
            [{**GOOD, "treshold": 1}, warn(BAD)],
            ["error", "fail"],
            "FAIL",
            2,
            reason="treshold",
        ),
        says("a skip without a reason blocks", [{**SKIP, "reason": ""}, warn(BAD)], ["error", "fail"], "FAIL", 2),
        says("a reason without a skip blocks", [{**GOOD, "reason": "late"}, warn(BAD)], ["error", "fail"], "FAIL", 2),
        says(
            "an unknown kind of check",
            [{**GOOD, "kind": "vibes@1"}, warn(BAD)],
            ["error", "fail"],
            "FAIL",
            2,
            reason="vibes",
        ),
        says(
            "another version of a check",
            [{**GOOD, "kind": "bound@2"}, warn(BAD)],
            ["error", "fail"],
            "FAIL",
            2,
            reason="bound@1",
        ),
    ]


def broken_evidence() -> list[Claim]:
    """What is no evidence is an error, and alone it is no judgement."""
    return [
        given_as("an empty file", b""),
        given_as("an empty report", b"{}"),
        given_as("a list", b"[]", reason="not an object"),
        given_as("a report with NaN", b'{"kind": NaN}', reason="NaN"),
        given_as("a report with a key twice", b'{"kind": "sample", "kind": "sample"}', reason="duplicate"),
        given_as("a report in memory with NaN", {"x": float("nan")}),
        given_as("a report in memory that is no JSON", {"x": object()}),
        Claim(
            "a kind may have the shortest name",
            {"measure": report({"x": number(0.9)}, kind="s")},
            [obligation(bound("x", ">=", "0.5"), report="s")],
            ["pass"],
            PASS,
        ),
        given_as("a report of another kind", SAMPLE | {"kind": "other"}, pointer="/kind"),
        given_as("a report by another step", SAMPLE | {"step": "other"}, pointer="/step"),
        given_as("a report without data", {key: value for key, value in SAMPLE.items() if key != "data"}),
        given_as("a bare number in the data", report({"x": 0.9})),
        given_as("null in the data", report({"x": None})),
        given_as("a section nobody knows", SAMPLE | {"extra": {}}, reason="extra"),
        given_as("another version of the envelope", SAMPLE | {"schema_version": "2.0"}),
        given_as(
            "a kind that breaks its own schema", SAMPLE | {"kind": "run", "data": {}}, reason="report.run.schema.json"
        ),
        given_as(
            "a forged report of a kind with a schema",
            SAMPLE | {"kind": "run", "data": {}, "environment": environment(forged=True, backend="null")},
            reason="of kind `run`",
        ),
        given_as(
            "a report that is forged a little",
            SAMPLE | {"kind": "run", "data": {}, "environment": environment(forged=1)},
            reason="report.run.schema.json",
        ),
        given_as("a kind that is no kind", SAMPLE | {"kind": "../run"}, reason="no report kind"),
        given_as(
            "a forged report",
            report({"x": number(0.9)}, environment=environment(forged=True, backend="null")),
            "not_evaluated",
            reason="forged",
        ),
    ]


def sizes() -> list[Claim]:
    """How large a report may be; slow, so asked last."""
    return [
        given_as("a report as large as is read", b" " * (16 * 1024 * 1024), reason="not strict JSON"),
        given_as("a report larger than is read", b" " * (16 * 1024 * 1024 + 1), reason="at most 16777216 are read"),
    ]
