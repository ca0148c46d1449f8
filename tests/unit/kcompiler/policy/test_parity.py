"""The rule of runner parity over reports that claim more than they measured, and over too few items."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kcompiler import assets, policy
from kcompiler.judge import judge
from runtime.contract import parity
from runtime.contract import report as facts
from runtime.contract.statistics.paired import wins

PACK = policy.load(["quality/parity"], [assets.folder("policies")])
WAYS = ("coreml and student", "fp16 and student", "coreml and fp16")
MODELS = {"teacher": "teacher", "student": "student", "coreml": "student", "fp16": "student"}
ASKED = {"suite": "gold", "models": MODELS, "further": ["fp16"]}
RULES = ("parity-as-asked", "parity-disagreement", "parity-other-answers", "runner-parity")
Says = Callable[[int], str]


def line(row: int, runner: str, said: str) -> dict[str, Any]:
    """The right answer is 7, and ? was not recorded."""
    if said == "?":
        return {**line(row, runner, "7"), "output": None, "parts": {}, "reason": parity.NOT_RECORDED}
    return {
        "row": f"r{row}",
        "runner": runner,
        "prompt": "sha256:" + "1" * 64,
        "output": said,
        "parts": {"right": said == "7"},
        "reason": "" if said == "7" else "other_answer",
    }


def report(n: int, fp16: Says, student: Says = lambda _: "7") -> dict[str, Any]:
    """Of n items, on which the package says what the student says and `fp16` something of its own."""
    says: dict[str, Says] = {"teacher": lambda _: "7", "student": student, "coreml": student, "fp16": fp16}
    lines = {name: [line(i, name, of(i)) for i in range(n)] for name, of in says.items()}
    runners = {
        name: {"model": MODELS[name], **{key: one for key, one in parity.asked(name, mine).items() if key != "runner"}}
        for name, mine in lines.items()
    }
    made = facts.envelope(
        kind="parity",
        step="parity-gold",
        subject={},
        fingerprints={},
        environment={"backend": "python", "forged": False, "versions": {}},
        data={"suite": "gold", "runners": runners, **parity.pairs(lines, MODELS, 1)},
    )
    found: dict[str, Any] = json.loads(facts.dump(made))
    return found


def verdict(made: dict[str, Any], settings: dict[str, Any] | None = None) -> dict[str, str]:
    """Rule → outcome."""
    spec = {"risk_tier": 3, "evaluation": {"suites": [{"use": "gold"}], "runners": [{"use": "mil"}]}}
    asked, problems = policy.obligations(PACK, spec, {"parity": ["parity-gold"]}, {"parity-gold": settings or ASKED})
    assert problems == []
    outcomes = judge({"parity-gold": made}, asked).outcomes
    return {one.rule.removeprefix("quality/parity/"): one.outcome for one in outcomes}


def wrong(count: int, text: str = "8") -> Says:
    return lambda i: text if i < count else "7"


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (report(64, wrong(0)), "pass"),
        # sixty-three items that all agree show no more than that the gap is below 0.0302
        (report(63, wrong(0)), "inconclusive"),
        (report(64, wrong(1)), "fail"),
        (report(500, wrong(5)), "pass"),
        (report(500, wrong(10)), "fail"),
        (report(0, wrong(0)), "not_evaluated"),
        (report(1, wrong(0)), "not_evaluated"),
        # a hundred wrong ones each way, written alike: nothing is apart
        (report(200, wrong(100), wrong(100)), "pass"),
        # both wrong everywhere, alike or not: evidence of nothing
        (report(200, wrong(200), wrong(200)), "not_evaluated"),
        (report(200, wrong(200, ""), wrong(200, "")), "not_evaluated"),
        (report(200, wrong(200, "9"), wrong(200)), "not_evaluated"),
    ],
)
def test_a_gap_passes_where_enough_items_show_it(made: dict[str, Any], word: str) -> None:
    assert verdict(made)["runner-parity"] == word


def test_as_many_won_as_lost_are_no_parity() -> None:
    """Half each way of 6,000 items: the gap stays within 0.03 and every item is worth something else."""
    n = 6000
    found = verdict(report(n, lambda i: "7" if i % 2 else "8", lambda i: "8" if i % 2 else "7"))
    assert found == {
        "parity-as-asked": "pass",
        "parity-disagreement": "fail",
        "parity-other-answers": "fail",
        "runner-parity": "pass",
    }
    # of 1,000 items, 30 each way are too many at the upper end and 20 each way are not
    for each, word in ((20, "pass"), (30, "fail")):
        made = report(
            1000,
            lambda i, most=each: "8" if i < most else "7",
            lambda i, most=each: "8" if most <= i < 2 * most else "7",
        )  # type: ignore[misc]
        assert verdict(made)["parity-disagreement"] == word


@pytest.mark.parametrize(("others", "word"), [(110, "pass"), (150, "fail")])
def test_wrong_answers_that_are_not_the_same_are_two_answers(others: int, word: str) -> None:
    """Of 250 items none is worth something else; both have 200 wrong, `fp16` some of them with other texts."""
    made = report(250, lambda i: "7" if i >= 200 else "9" if i < others else "8", wrong(200))
    assert verdict(made) == {**dict.fromkeys(RULES, "pass"), "parity-other-answers": word}


OTHERS: list[dict[str, Any]] = [
    {**ASKED, "models": {**MODELS, "gguf": "student"}},
    {**ASKED, "models": {name: MODELS[name] for name in ("teacher", "student", "coreml")}},
    {**ASKED, "models": {**MODELS, "fp16": "teacher"}},
    {**ASKED, "suite": "answers"},
]


@pytest.mark.parametrize("settings", OTHERS)
def test_a_runner_that_was_asked_for_is_there(settings: dict[str, Any]) -> None:
    found = verdict(report(200, wrong(0)), settings)
    assert found.pop("parity-as-asked") == "fail"
    assert set(found.values()) == {"pass"}


def pair(data: dict[str, Any]) -> Any:
    return data["ways"]["fp16 and student"]


def rate(k: int, n: int = 200) -> dict[str, Any]:
    return facts.rate(k, n)


#: each of a report of 200 items of which every runner but the teacher has 4 wrong, alike
CONTRADICTIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "all disagree": lambda data: pair(data).update(disagreeing=rate(200)),
    "some disagree, and no row is named": lambda data: pair(data).update(disagreeing=rate(1), other_answer=rate(1)),
    "rows of nobody": lambda data: pair(data).update(rows=[f"r{i}" for i in range(200)]),
    "one row twice": lambda data: pair(data).update(
        disagreeing=rate(2), other_answer=rate(2), rows=["r1", "r1"], other_text=rate(2)
    ),
    "more other answers than other texts": lambda data: pair(data).update(other_answer=rate(3)),
    "more other wrong answers than wrong ones": lambda data: pair(data).update(
        other_answer=rate(5), other_text=rate(9)
    ),
    "fewer other answers than disagree": lambda data: pair(data).update(disagreeing=rate(1), rows=["r1"]),
    "lost everywhere": lambda data: pair(data)["difference"].update(right=lost(200)),
    "lost once, and disagreed": lambda data: pair(data).update(
        difference={"right": lost(1)}, disagreeing=rate(1), other_answer=rate(1), other_text=rate(1), rows=["r1"]
    ),
    "a difference of its own": lambda data: pair(data)["difference"]["right"].update(value=-1.0, low=-1.0),
    "a narrow one": lambda data: pair(data)["difference"]["right"].update(low=0.0, high=0.0),
    "wins without number": lambda data: pair(data)["difference"]["right"].update(wins="0"),
    "fewer than none lost": lambda data: pair(data)["difference"]["right"].update(wins=1, losses=-1),
    "none right": lambda data: data["runners"]["fp16"].update(right=rate(0)),
    "all right": lambda data: data["runners"]["fp16"].update(right=rate(200)),
    "wrong for another reason": lambda data: data["runners"]["fp16"].update(
        reasons={"right": rate(196), "cut_off": rate(4)}
    ),
    "reasons of fewer": lambda data: data["runners"]["fp16"].update(reasons={"right": rate(196)}),
    "reasons of half of them": lambda data: [
        one.update(reasons={"right": rate(100)}) for one in data["runners"].values()
    ],
    "a gap below nothing": lambda data: pair(data)["gap"].update(value=-0.5, low=-0.6, high=-0.4),
    "a narrow gap": lambda data: pair(data)["gap"].update(high=0.0),
    "a gap of another measure": lambda data: pair(data)["gap"].update(of="f1"),
    "a gap of fewer": lambda data: pair(data)["gap"].update(n=100),
    "a gap of more": lambda data: pair(data)["gap"].update(n=10_000),
    "no gap": lambda data: pair(data).pop("gap"),
    "items that are not there": lambda data: pair(data)["items"].update(value=0),
    "two that are not there": lambda data: data["ways"].update({"a and b": data["ways"].pop("fp16 and student")}),
    "one and itself": lambda data: data["ways"].update({"student and student": pair(data)}),
    "one pair twice": lambda data: data["ways"].update({"student and fp16": pair(data)}),
    "a pair less": lambda data: data["ways"].pop("coreml and fp16"),
    "no pair": lambda data: data["ways"].clear(),
    "two models as one": lambda data: data["ways"].update(
        {"teacher and student": data["models"].pop("student and teacher")}
    ),
    "one model as two": lambda data: data["models"].update({"fp16 and student": data["ways"].pop("fp16 and student")}),
    "another model": lambda data: data["runners"]["fp16"].update(model="teacher"),
    "models of their own": lambda data: [one.update(model="") for one in data["runners"].values()],
    "a runner that nobody compared": lambda data: data["runners"].update(gguf=data["runners"]["fp16"]),
}


def lost(count: int) -> dict[str, Any]:
    return wins([False] * count + [True] * (200 - count), [True] * 200)


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_its_own_counts_do_not_give_is_no_evidence(name: str) -> None:
    made = report(200, wrong(4), wrong(4))
    assert set(verdict(made).values()) == {"pass"}
    CONTRADICTIONS[name](made["data"])
    assert set(verdict(made).values()) == {"error"}


def test_what_is_not_known_does_not_pass() -> None:
    made = report(200, wrong(4), wrong(4))
    for change in (
        {"gap": {"value": 0.0, "unit": "item/item", "tag": "measured", "n": 200}},
        {"gap": {**pair(made["data"])["gap"], "tag": "estimated", "by": "eye"}},
        {"gap": facts.unavailable("not recorded", "item/item")},
    ):
        again = report(200, wrong(4), wrong(4))
        pair(again["data"]).update(change)
        assert verdict(again)["runner-parity"] in ("error", "not_evaluated")


def test_a_runner_that_could_not_be_asked_leaves_its_pairs_undecided() -> None:
    says: dict[str, list[dict[str, Any]]] = {
        name: [line(i, name, "7") for i in range(200)] for name in ("student", "coreml")
    }
    found = parity.pairs({**says, "fp16": []}, dict.fromkeys((*says, "fp16"), "student"), 1)["ways"]
    assert list(found) == sorted(WAYS)
    tags = {name: one["gap"]["tag"] for name, one in found.items()}
    assert tags == {name: "unavailable" if "fp16" in name else "measured" for name in WAYS}
