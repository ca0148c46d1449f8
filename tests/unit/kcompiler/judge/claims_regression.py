"""What the kinds `regression` and `presence` must say: not worse than a pinned report, and a datum that is there."""

from __future__ import annotations

from typing import Any

from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import ALONE, HEX, Claim, number, obligation, one, report

PARAMS: dict[str, Any] = {
    "metric": "right",
    "baseline": {"file": "baseline/measure.json", "digest": "sha256:" + "0" * 64},
    "better": "higher",
    "margin": "0.05",
    "unit": "ratio",
}
BOUND = {name: HEX[name] for name in ("dataset", "tool_registry", "tokenizer", "prompt_wrapper")}


def made(expect: object, **params: Any) -> dict[str, Any]:
    return obligation({**PARAMS, **params}, kind="regression@2", expect=expect)


def before(right: Any, **changes: Any) -> dict[str, Any]:
    """What the lock says of a baseline."""
    pins = {"report": "sha256:" + "0" * 64, "plan": "sha256:" + "1" * 64, "fingerprints": dict(BOUND)}
    return {**pins, "data": {"/data/right": right}} | changes


def held(claim: str, bound: dict[str, str], pinned: dict[str, str], word: str, **more: Any) -> Claim:
    """Of two reports whose fingerprints are these."""
    params = more.pop("params", {})
    given = report({"right": facts.rate(9, 10)}, fingerprints=bound)
    expect = before(facts.rate(9, 10), fingerprints=pinned)
    return Claim(claim, {"measure": given}, [made(expect, **params)], [word], ALONE[word], more)


def margins() -> list[Claim]:
    now = lambda k: {"right": facts.rate(k, 100)}  # noqa: E731
    was = before(facts.rate(80, 100))
    seconds = before(number(2.0, "s"))
    return [
        one("as good as it was", now(80), made(was), "pass", observed="0", threshold=">= -0.05", distance="0.05",
            pointer="/data/right", matches=1),
        one("better than it was", now(99), made(was), "pass", observed="0.19"),
        one("worse by the margin", now(75), made(was), "pass", observed="-0.05", distance="0"),
        one("worse by more than the margin", now(74), made(was), "fail", observed="-0.06",
            reason="0.74 less 0.8 is -0.06, which misses >= -0.05."),
        one("no margin, and as good", now(80), made(was, margin="0"), "pass"),
        one("no margin, and one item less", now(79), made(was, margin="0"), "fail"),
        one("of an error lower is better", now(85), made(was, better="lower"), "pass", threshold="<= 0.05"),
        one("and more by more than the margin fails", now(86), made(was, better="lower"), "fail"),
        one("a share of what it was", now(76), made(was, by="quotient"), "pass", observed="0.95", threshold=">= 0.95"),
        one("less than that share", now(75), made(was, by="quotient"), "fail",
            reason="0.75 of 0.8 is 0.9375, which misses >= 0.95."),
        one("a time that grew within the share", {"right": number(2.1, "s")},
            made(seconds, by="quotient", better="lower", unit="s"), "pass", threshold="<= 1.05"),
        one("a time that grew more", {"right": number(2.2, "s")},
            made(seconds, by="quotient", better="lower", unit="s"), "fail"),
        one("the end of a number's interval", {"right": number(2.0, "s", high=2.3, low=1.9)},
            made(seconds, by="quotient", better="lower", unit="s", on="end"), "fail", observed="1.15"),
        one("the lower end where more is better", {"right": number(2.0, "s", high=2.3, low=1.95)},
            made(seconds, unit="s", on="end", margin="0.05"), "pass", observed="-0.05"),
        one("the exact end of a rate", now(90), made(was, on="end"), "pass", observed="0.036282376"),
        one("no end of an interval", {"right": number(2.0, "s")}, made(seconds, unit="s", on="end"), "not_evaluated",
            reason="has no `low` end"),
        one("no quotient of nothing", {"right": number(1.0, "s")},
            made(before(number(0.0, "s")), by="quotient", unit="s"), "not_evaluated", reason="have no quotient"),
        one("no quotient of less than nothing", {"right": number(-1.0, "s")},
            made(seconds, by="quotient", unit="s"), "not_evaluated", reason="have no quotient"),
        one("nothing of something is a quotient", {"right": number(0.0, "s")},
            made(seconds, by="quotient", unit="s"), "fail", observed="0"),
    ]  # fmt: skip


def baselines() -> list[Claim]:
    good = {"right": facts.rate(9, 10)}
    was = before(facts.rate(9, 10))
    places = {"/data/shapes/0/right": facts.rate(9, 10), "/data/shapes/1/right": facts.rate(9, 10)}
    listed = before(None, data=places)
    shapes = lambda *ks: {"shapes": [{"right": facts.rate(k, 10)} for k in ks]}  # noqa: E731
    return [
        one("the baseline is gone", good, made({"missing": "no baseline `b/x.json` lies beside the rule"}),
            "inconclusive", reason="no baseline `b/x.json` lies beside the rule.", pointer=""),
        one("the plan names none", good, made(None), "not_evaluated", reason="the plan names no baseline."),
        one("the plan names something else", good, made("x"), "not_evaluated"),
        one("a baseline without data", good, made({"fingerprints": {}}), "error", reason="is no report"),
        one("a baseline of no run", good, made({name: part for name, part in was.items() if name != "plan"}),
            "inconclusive", reason="the baseline is unanchored: nothing says of which run it is.", pointer=""),
        one("a run that is no text", good, made({**was, "plan": 1}), "inconclusive", reason="unanchored"),
        one("a baseline of no run that is allowed", good,
            made({name: part for name, part in was.items() if name != "plan"}, unanchored="allowed"), "pass"),
        one("a baseline without fingerprints", good, made({"data": {}}), "error", reason="is no report"),
        held("another dataset", HEX, {**BOUND, "dataset": HEX["model"]}, "inconclusive",
             reason="the baseline was measured on another dataset.", pointer="/fingerprints/dataset"),
        held("another tokenizer", HEX, {**BOUND, "tokenizer": HEX["model"]}, "inconclusive"),
        held("a fingerprint less", HEX, {key: BOUND[key] for key in ("dataset", "tokenizer")}, "inconclusive",
             reason="another tool_registry"),
        held("a fingerprint more", {"dataset": HEX["dataset"]}, BOUND, "inconclusive"),
        held("another model is what is compared", HEX, {**BOUND, "model": HEX["dataset"]}, "pass"),
        held("unless it must be the same", HEX, {**BOUND, "model": HEX["dataset"]}, "inconclusive",
             params={"same": ["model"]}),
        held("a fingerprint that is not asked for", HEX, {**BOUND, "tokenizer": HEX["model"]}, "pass",
             params={"same": ["dataset"]}),
        held("what neither report has is no difference", {"dataset": HEX["dataset"]}, {"dataset": HEX["dataset"]},
             "pass"),
        held("no fingerprint at all", {}, {}, "inconclusive", reason="neither report says", pointer="/fingerprints"),
        one("every place is compared", shapes(9, 9), made(listed, metric="shapes[*].right"), "pass", matches=2),
        one("the worst of them decides", shapes(9, 1), made(listed, metric="shapes[*].right"), "fail",
            pointer="/data/shapes/1/right"),
        one("a place that is left out", shapes(9), made(listed, metric="shapes[*].right"), "inconclusive",
            reason="the baseline has a number at /data/shapes/1/right, and this report has none."),
        one("a place that is new", shapes(9, 9, 9), made(listed, metric="shapes[*].right"), "inconclusive",
            reason="the baseline has nothing here.", pointer="/data/shapes/2/right"),
        one("the number is not there", {}, made(was), "not_evaluated", reason="no field `right`"),
        one("the number is unavailable", {"right": facts.unavailable("gone", "ratio")}, made(was), "not_evaluated",
            reason="unavailable: gone."),
        one("it was unavailable", good, made(before(facts.unavailable("gone", "ratio"))), "not_evaluated",
            reason="the baseline: unavailable: gone."),
        one("it was no datum", good, made(before("much")), "error", reason="the baseline: not a datum"),
        one("it is no datum", {"right": "much"}, made(was), "error", reason="not a datum"),
        one("it was in another unit", good, made(before(number(0.9, "s"))), "error", reason="the baseline: the unit is"),
        one("too few items", good, made(before(facts.rate(90, 100)), need={"min_n": 11}), "inconclusive",
            reason="10 items, at least 11 are needed."),
        one("there were too few", {"right": facts.rate(90, 100)}, made(was, need={"min_n": 11}), "inconclusive",
            reason="the baseline: 10 items, at least 11 are needed."),
    ]  # fmt: skip


def settings() -> list[Claim]:
    good, was = {"right": facts.rate(9, 10)}, before(facts.rate(9, 10))
    outside = {"file": "../measure.json", "digest": "sha256:" + "0" * 64}
    return [
        one("a margin below nothing", good, made(was, margin="-0.1"), "error", reason="from 0 on"),
        one("a quotient that everything meets", good, made(was, by="quotient", margin="1"), "error",
            reason="lets everything pass"),
        one("a difference may be as large", good, made(was, margin="1"), "pass"),
        one("a quotient of what is better low may", good, made(was, by="quotient", better="lower", margin="1"), "pass"),
        one("a quotient short of it", good, made(was, by="quotient", margin="0.99"), "pass"),
        one("no direction", good, made(was, better="more"), "error"),
        one("no fingerprint is asked for", good, made(was, same=[]), "error"),
        one("an unknown fingerprint", good, made(was, same=["weather"]), "error"),
        one("a baseline elsewhere", good, made(was, baseline=outside), "error", reason="baseline.file"),
    ]  # fmt: skip


def present(at: Any = "right", **params: Any) -> dict[str, Any]:
    return obligation({"at": at, **params}, kind="presence@1")


def presences() -> list[Claim]:
    many, few = facts.rate(9, 10), facts.rate(1, 2)
    return [
        one("a datum is there", {"right": many}, present(), "pass", observed="0.9", threshold="there", matches=1,
            pointer="/data/right", reason="is measured."),
        one("a flag is there, whatever it says", {"right": facts.measured(False, "bool")}, present(), "pass",
            observed="false"),
        one("a datum is not there", {}, present(), "fail", reason="no field `right` here.", pointer="/data"),
        one("a list of none", {"shapes": []}, present("shapes[*].right"), "fail", reason="nothing is listed here"),
        one("an unavailable datum", {"right": facts.unavailable("gone", "ratio")}, present(), "fail",
            observed="unavailable", reason="unavailable: gone."),
        one("a rate of nothing", {"right": {"value": 0.9, "unit": "1", "tag": "measured", "n": 0}}, present(), "fail",
            reason="unavailable: measured on no items."),
        one("an estimate", {"right": facts.estimated(0.9, "1", by="x")}, present(), "fail",
            reason="estimated, not measured."),
        one("an estimate where it may be one", {"right": facts.estimated(0.9, "1", by="x")},
            present(need={"tag": "estimated"}), "pass", reason="is estimated."),
        one("no datum", {"right": "much"}, present(), "error"),
        one("one of two is not there", {"right": many}, present(["right", "left"]), "fail"),
        one("each of two is there", {"right": many, "left": many}, present(["right", "left"], min_matches=2), "pass",
            matches=2),
        one("fewer places than asked", {"shapes": [{"right": many}]}, present("shapes[*].right", min_matches=2),
            "not_evaluated"),
        one("as many items as asked", {"right": many}, present(need={"min_n": 10}), "pass"),
        one("fewer items than asked", {"right": many}, present(need={"min_n": 11}), "inconclusive",
            reason="10 items, at least 11 are needed.", pointer="/data/right"),
        one("a number that counts none", {"right": number(1.0)}, present(need={"min_n": 1}), "fail",
            reason="no count stands behind it."),
        one("rates of fewer items", {"right": few}, present(rates_min_n=3), "inconclusive"),
        one("rates of as many", {"right": few}, present(rates_min_n=2), "pass"),
        one("what is no rate", {"right": number(1.0, n=2)}, present(rates_min_n=3), "pass"),
        one("what is asked of all is asked of rates", {"right": few}, present(rates_min_n=3, need={"min_n": 2}), "pass"),
        one("one item of a rate, and one place", {"right": facts.rate(1, 1)}, present(rates_min_n=1, min_matches=1), "pass"),
        one("more places than paths lead to", {"right": many}, present(min_matches=2), "error"),
    ]  # fmt: skip


def every() -> list[Claim]:
    return [*margins(), *baselines(), *settings(), *presences()]
