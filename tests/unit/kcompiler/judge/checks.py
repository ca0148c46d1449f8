"""What the parts of the judge promise, as functions that assert it.

They look their modules up when they run, so that the mutation test can hand them mutated ones.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from kcompiler import waiver
from runtime import digest
from tests.unit.kcompiler.judge import checks_idle, checks_kinds, claims_believed, claims_dominance
from tests.unit.kcompiler.judge.samples import HEX, bound, number, obligation, report
from tests.unit.kcompiler.waiver import world as excuses

ENVELOPE = {"unit": "1", "tag": "measured"}


def module(name: str) -> Any:
    return importlib.import_module(f"kcompiler.{name}")


def refuses(call: Callable[[], object], error: type[Exception]) -> None:
    """The call raises exactly this error."""
    try:
        call()
    except error:
        return
    raise AssertionError(f"{error.__name__} was not raised")


def data_that_contradict_themselves_are_no_datum() -> None:
    """Each node is refused by the reader of data, whatever a schema may have let through."""
    datum = module("policy.datum")
    for node in (
        None,
        [],
        "x",
        0.5,
        {},
        {"value": 1},
        {"value": 1, "unit": "s"},
        {"unit": "s", "tag": "measured"},
        {"value": 1, "unit": 1, "tag": "measured"},
        {"value": 1, "unit": "s", "tag": "guessed"},
        {"value": 1, "unit": "s", "tag": ["measured"]},
        {"value": 1, "unit": 1, "tag": "guessed"},
        {"value": 1, "unit": "s", "tag": "unavailable", "reason": "x"},
        {"value": None, **ENVELOPE},
        {"value": "1", **ENVELOPE},
        {"value": float("nan"), **ENVELOPE},
        {"value": float("inf"), **ENVELOPE},
        {"value": 1, "n": -1, **ENVELOPE},
        {"value": 1, "n": 1.0, **ENVELOPE},
        {"value": 1, "n": True, **ENVELOPE},
        {"value": 1, "n": None, **ENVELOPE},
        {"value": 1, "k": 1, **ENVELOPE},
        {"value": 1, "k": True, "n": 1, **ENVELOPE},
        {"value": 1, "low": None, **ENVELOPE},
        {"value": 1, "low": "0", **ENVELOPE},
        {"value": 1, "high": True, **ENVELOPE},
        {"value": 1, "high": float("nan"), **ENVELOPE},
        {"value": -1, "k": -1, "n": 1, **ENVELOPE},
    ):
        refuses(lambda node=node: datum.read(node), datum.BadDatum)


def data_are_read_exactly() -> None:
    datum = module("policy.datum")
    assert datum.read({"value": 0.1, "n": 1, **ENVELOPE}) == datum.Datum("1", "measured", value=Fraction(1, 10), n=1)
    for nothing, said in (
        ({"value": 0.1, "n": 0}, "on no items"),
        ({"value": 0.5, "unit": "ratio"}, "without the counts"),
        ({"value": 0.5, "unit": "ratio", "n": 2}, "without the counts"),
        ({"value": 1.0, "unit": "ratio", "k": 1}, "without the counts"),
        ({"value": 1.0, "unit": "ratio", "n": 9, "tp": 9, "fp": 0}, "without the counts"),
        ({"value": 1.0, "unit": "ratio", "tp": 9, "fp": 0, "fn": 0}, "without the counts"),
    ):
        read = datum.read({**ENVELOPE, **nothing})
        assert (read.tag, read.value) == ("unavailable", None)
        assert said in read.reason
    assert datum.read({"value": 0.5, "unit": "ratio", "tag": "estimated"}).value == Fraction(1, 2)
    assert datum.read({**ENVELOPE, "value": 0.5, "unit": "ratio", "k": 1, "n": 2}).value == Fraction(1, 2)
    assert datum.read({"value": True, "unit": "bool", "tag": "measured"}) == datum.Datum("bool", "measured", flag=True)
    gone = datum.read({"value": None, "unit": "s", "tag": "unavailable", "reason": "no Mac"})
    assert (gone.value, gone.flag, gone.reason) == (None, None, "no Mac")
    assert datum.read({"value": 0.3, "tp": 1, "n": 2, **ENVELOPE}).value == Fraction(3, 10)
    assert datum.fraction(1e-5) == Fraction(1, 100000)
    assert [datum.fraction(value) for value in (True, "1", None, float("inf"))] == [None] * 4


def paths_that_are_no_paths_are_refused() -> None:
    path = module("policy.path")
    for text in (
        "",
        ".a",
        "[*]",
        "a.",
        "a..b",
        "a[0]",
        "a[*",
        "a[]",
        "a[?b]",
        "a[?b=]",
        "a[?=c]",
        "a b",
        "a*",
        "1a",
        "a.1",
    ):
        refuses(lambda text=text: path.parse(text), path.BadPath)


def walks_say_what_is_missing() -> None:
    path = module("policy.path")

    def found(text: str, root: object) -> list[tuple[str, bool, bool]]:
        return [
            (match.pointer, bool(match.missing), match.no_field) for match in path.walk(path.parse(text), root, "/d")
        ]

    assert found("a.b", {"a": {"b": 1}}) == [("/d/a/b", False, False)]
    assert found("a.b", {"a": {}}) == [("/d/a", True, True)]
    assert found("a[*].b", {"a": []}) == [("/d/a", True, False)]
    assert found("a[*]", {"a": {"z": 1, "y": 2}}) == [("/d/a/y", False, False), ("/d/a/z", False, False)]
    assert found("a[?b=c].d", {"a": [{"b": "c", "d": 1}, {"b": "x"}]}) == [("/d/a/0/d", False, False)]
    assert found("a[?b=64]", {"a": [{"b": 64}, {"b": "64"}, {"b": 65}]}) == [
        ("/d/a/0", False, False),
        ("/d/a/1", False, False),
    ]
    assert found("a[?b=c]", {"a": [{"b": "x"}]}) == [("/d/a", True, False)]
    assert found("a.*.b", {"a": {"z": {"b": 1}, "y": {}}}) == [("/d/a/y", True, True), ("/d/a/z/b", False, False)]
    assert found("a.*", {"a": {}}) == [("/d/a", True, False)]
    # `.*` is for names: an array is `[*]`, and a datum is one value whose fields are not places
    assert found("a.*", {"a": [1]}) == [("/d/a", True, False)]
    assert found("a.*", {"a": {"value": 1, **ENVELOPE}}) == [("/d/a", True, False)]


def numbers_are_written_exactly_or_marked() -> None:
    kind = module("policy.kind")
    assert kind.text_of(Fraction(1, 1000)) == "0.001"
    assert kind.text_of(Fraction(100)) == "100"
    assert kind.text_of(Fraction(1, 3)) == "~0.3333333333"
    assert kind.text_of(Fraction(1, 10**22)) == "0.0000000000000000000001"
    assert kind.text_of(Fraction(1, 10**23)) == "~1e-23"
    assert kind.text_of(Fraction(1, 2**40)) == "~9.094947018e-13"


def everything_read_from_files_is_closed() -> None:
    """Unknown keys, texts for numbers, later changes and infinities are refused."""
    kind, needs = module("policy.kind"), module("policy.comparison").Need
    for given in ({"tga": "measured"}, {"min_n": "15"}, {"min_n": 1.0}, {"min_n": 0}):
        refuses(lambda given=given: needs.model_validate(given), ValueError)
    refuses(lambda: setattr(needs(), "tag", "estimated"), ValueError)

    class Number(kind.Closed):  # type: ignore[name-defined, misc]
        x: float

    refuses(lambda: Number.model_validate({"x": float("inf")}), ValueError)


def kinds_say_when_they_need_an_expectation() -> None:
    kinds = module("policy.kinds")
    limit, cover, genuine = (kinds.load(name) for name in ("bound", "covers", "genuine"))
    assert limit.expects(limit.params.model_validate(bound("x", "<=")))
    assert not limit.expects(limit.params.model_validate(bound("x", "<=", 1)))
    assert cover.expects(None)
    assert not genuine.expects(None)
    assert genuine.accepts(None)
    assert (limit.accepts(1.5), limit.accepts("1"), limit.accepts(None)) == (True, False, False)
    assert (cover.accepts(["a"]), cover.accepts([]), cover.accepts(None)) == (True, False, False)
    assert [name for name in kinds.names() if kinds.load(name).sees_forged] == ["genuine"]
    asked = kinds.load("as_asked")
    assert asked.expects(None)
    assert (asked.accepts(None), asked.accepts({}), asked.accepts(["a"])) == (True, False, False)
    apart = kinds.load("relative")
    sides = {"metric": "a", "op": ">=", "threshold": "0", "unit": "s"}
    before, beside = (apart.params.model_validate({**sides, **more}) for more in ({}, {"to": "b", "of": "run"}))
    assert (apart.expects(before), apart.expects(beside)) == (True, False)
    assert (apart.other(before), apart.other(beside), limit.other(before)) == ("", "run", "")
    assert [apart.accepts(one) for one in (1, {"k": 1, "n": 2}, "1", None, {"k": 1})] == [
        True,
        True,
        False,
        False,
        False,
    ]


def kinds_say_what_they_read() -> None:
    """Each path of a rule, as it is looked up in the schemas before a run: by whom, where, and what may stand there."""
    kinds = module("policy.kinds")

    def reads(name: str, params: dict[str, Any]) -> list[tuple[str, str, tuple[str, ...], str]]:
        kind = kinds.load(name)
        return [(read.key, read.text, read.leaves, read.of) for read in kind.reads(kind.params.model_validate(params))]

    numbers, names, sides = (
        ("number", "datum"),
        ("name", "number", "datum"),
        {"op": ">=", "threshold": "0", "unit": "s"},
    )
    assert reads("covers", {"identifiers": "a"}) == [("identifiers", "a", names, "")]
    assert reads("covers", {"each": "v[*]", "identifiers": "a"}) == [
        ("each", "v[*]", (), ""),
        ("identifiers", "v[*].a", names, ""),
    ]
    assert reads("genuine", {"measured": ["a", "b"]}) == [
        ("measured", "a", ("number", "flag", "datum"), ""),
        ("measured", "b", ("number", "flag", "datum"), ""),
    ]
    assert reads("relative", {"metric": "a", **sides}) == [("metric", "a", numbers, "")]
    assert reads("relative", {"metric": "a", "to": "b", "of": "run", **sides})[1:] == [("to", "b", numbers, "run")]

    def units(name: str, **params: Any) -> list[str]:
        kind = kinds.load(name)
        return [read.unit for read in kind.reads(kind.params.model_validate({**sides, **params}))]

    assert units("bound", metric=["a", "b"]) == ["s", "s"]
    assert units("relative", metric="a", to="b", paired="c") == ["s", "s", "s"]
    assert units("relative", metric="a", to="b", paired="c", unit="ratio") == ["ratio", "ratio", "item/item"]
    assert reads("relative", {"metric": "a", "to": "b", "paired": "c", **sides})[1:] == [
        ("to", "b", numbers, ""),
        ("paired", "c", numbers, ""),
    ]


def checks_do_not_lean_on_the_schema() -> None:
    """Reports that no schema would let through are refused by the checks themselves."""
    kinds = module("policy.kinds")

    def word(name: str, params: dict[str, Any], given: dict[str, Any]) -> tuple[str, str]:
        kind = kinds.load(name)
        judged = kind.judge(kind.params.model_validate(params), given, None, None)
        return judged.word, judged.reason

    for value, wanted in (
        (None, "not_evaluated"),
        (1, "error"),
        ("ab", "error"),
        ("G" * 64, "error"),
        (["a"], "error"),
    ):
        assert word("fingerprints", {"names": ["model"]}, report({}, fingerprints={"model": value}))[0] == wanted
    for environment in ({}, {"forged": None, "backend": "torch"}, {"forged": 0, "backend": "torch"}):
        said = word("genuine", {}, report({"x": "y"}, environment=environment))
        assert said == ("fail", "the report does not say that it is not forged")
    assert (
        word("genuine", {}, report({"x": "y"}, environment={"forged": True, "backend": "torch"}))[1]
        == "the report is forged"
    )
    for backend in (None, "", 3):
        assert word("genuine", {}, report({"x": "y"}, environment={"forged": False, "backend": backend}))[0] == "fail"
    guessed = {"p": {"value": True, "unit": "bool", "tag": "estimated"}}
    assert word("all_true", {"at": "p"}, report(guessed)) == ("not_evaluated", "estimated, not measured")


def a_report_that_contradicts_itself_is_no_evidence() -> None:
    """Of a kind that has a schema: there it is known what belongs together."""
    read = module("policy.evidence").read
    whole = json.loads((Path(__file__).parents[1] / "policy" / "reports" / "data.json").read_text())
    assert read(whole).problem == ""
    whole["data"]["rows"]["value"] += 1
    assert read(whole).problem.startswith("it contradicts itself at /data/: `rows == splits.*.rows` does not hold")
    assert read(whole).report is None
    whole["kind"] = "made.splits"
    assert read(whole).problem == ""


def waivers_excuse_what_they_name() -> None:
    judge = module("judge")
    one, two, use = (
        excuses.given(),
        excuses.given(id="WV-0002", rules=["lab/second"]),
        digest.of_bytes(excuses.missed()),
    )

    def verdict(*obligations: dict[str, Any], given: Any = (one, two)) -> Any:
        held = waiver.Waivers(given=given, spec="lab", plan=excuses.PLAN)
        return judge.judge({"measure": excuses.missed()}, obligations, as_of=excuses.NOW, waivers=held)

    def said(*obligations: dict[str, Any], **more: Any) -> tuple[str, int, list[tuple[str, bool, bool]]]:
        made = verdict(*obligations, **more)
        return made.verdict, made.exit_code, [(each.outcome, each.blocks, each.waivable) for each in made.outcomes]

    excused, second = excuses.asked(), excuses.asked(rule="lab/second")
    third, firm = excuses.asked(rule="lab/third"), excuses.asked(rule="lab/firm", waivable=None)
    assert said(excused) == ("WAIVED", 0, [("waived", False, False)])
    assert said(excused, second) == ("WAIVED", 0, 2 * [("waived", False, False)])
    assert said(excused, third) == ("WAIVER_REQUIRED", 7, [("waived", False, False), ("fail", True, True)])
    assert said(third, firm) == ("FAIL", 1, [("fail", True, True), ("fail", True, False)])
    assert said(excuses.asked(mode="warn", waivable=None)) == ("PASS", 0, [("fail", False, False)])
    assert said(excused, given=()) == ("WAIVER_REQUIRED", 7, [("fail", True, True)])
    # what passes needs none, and what cannot be read is excused by none
    assert said(excuses.asked(bound("x", ">=", "0.1"))) == ("PASS", 0, [("pass", False, False)])
    assert said({**excused, "waivable": {"outcomes": []}}, third)[2][0] == ("error", True, False)
    # a waiver of missing evidence lets a judgement of nothing be one of nothing
    lenient = {**excuses.TERMS, "outcomes": ["not_evaluated"]}
    gone = excuses.asked(bound("y", ">=", "0.5"), waivable=lenient)
    assert said(gone) == ("NOTHING_EVALUATED", 3, [("waived", False, False)])
    assert said(gone, excuses.asked(bound("x", ">=", "0.1"), rule="lab/third"))[:2] == ("WAIVED", 0)
    absent = excuses.asked(bound("y", ">=", "0.5"), waivable=lenient, from_="step:never")
    made = verdict(absent)
    assert made.outcomes[0].waiver["use"] == f"never of {excuses.PLAN}"
    # the worst miss and the very report
    narrow, exact = (excuses.given(magnitude=at) for at in ("0.0499", "0.05"))
    assert said(excused, given=(narrow,))[0] == "WAIVER_REQUIRED"
    assert said(excused, given=(exact,))[0] == "WAIVED"
    named = excuses.given(subject={"report": use, "steps": ["measure"]})
    assert said(excused, given=(named,))[0] == "WAIVED"
    assert verdict(third).outcomes[0].reason == "0.45 misses >= 0.5"
    assert "(WV-0001 does not excuse it: it misses by 0.05" in verdict(excused, given=(narrow,)).outcomes[0].reason
    made = verdict(excused)
    assert made.outcomes[0].reason == "0.45 misses >= 0.5 (waived by WV-0001 until 2026-12-20)"
    assert made.outcomes[0].waiver == {
        "id": "WV-0001", "digest": one.digest, "until": "2026-12-20", "use": use, "was": "fail",
        "approved": "ana, bo",
    }  # fmt: skip
    content = made.to_json()
    assert content["waivers"] == [
        {"id": "WV-0001", "digest": one.digest, "used": [use]},
        {"id": "WV-0002", "digest": two.digest, "used": []},
    ]
    assert "waivable" not in content["outcomes"][0]
    assert verdict(third).to_json()["outcomes"][0]["waivable"] is True
    assert {"waivers", "waiver"}.isdisjoint(
        {*verdict(third, given=()).to_json(), *verdict(third).to_json()["outcomes"][0]}
    )
    # what is not measured is excused as it stands, and nothing else that ends in the same word
    there = excuses.asked({"at": "y"}, kind="presence@1")
    assert said(there, given=(excuses.given(magnitude="9"),))[0] == "WAIVER_REQUIRED"
    assert said(there, given=(named,))[0] == "WAIVED"
    assert said(excuses.asked({"at": "x"}, kind="presence@1"))[0] == "PASS"
    # points in a row are a distance, too
    data = claims_dominance.two(*4 * [claims_dominance.HIGH])
    rows = {"measure": report(data)}
    for covers, word in (("0.5", "WAIVER_REQUIRED"), ("1", "WAIVED")):
        held = waiver.Waivers(given=[excuses.given(magnitude=covers)], spec="lab", plan=excuses.PLAN)
        asked = {**claims_dominance.asked(), "waivable": excuses.TERMS}
        assert judge.judge(rows, [asked], as_of=excuses.NOW, waivers=held).verdict == word
    # a kind says whether a magnitude can be compared with what it finds
    room = module("policy.kinds")
    measures = {name: room.load(name).measures for name in room.names()}
    distant = {"bound", "relative", "regression", "trend", "dominance"}
    assert measures == {name: True if name in distant else None if name == "assert" else False for name in measures}
    # of a skipped rule there is nothing to excuse
    assert said(excuses.asked(mode="skip", reason="not here", waivable=None))[2] == [("skipped", False, False)]


def the_verdict_names_all_it_looked_at() -> None:
    judge = module("judge")
    given = {"measure": report({"x": number(0.9)}), "other": report({"x": number(0.9)}, step="other")}
    obligations = [obligation(bound("x", ">=", "0.5")), obligation(bound("y", ">=", "0.5"), rule="lab/gone")]
    made = {f"{step}.report": digest.of_one_file("report.json", facts_text(one)) for step, one in given.items()}
    given["apply"] = report({}, step="apply", subject={"plan": "sha256:" + HEX["model"], **made})
    verdict = judge.judge(given, obligations, as_of="2026-01-31T00:00:00Z", lock="sha256:" + HEX["model"])
    assert verdict.counts == {
        "pass": 1,
        "fail": 0,
        "waived": 0,
        "inconclusive": 0,
        "not_evaluated": 1,
        "skipped": 0,
        "error": 0,
    }
    assert verdict.unjudged == ["apply", "other"]
    assert verdict.reports["measure"] == digest.of_bytes(facts_text(given["measure"]))
    assert verdict.obligations == digest.of_value(obligations, "kc.obligations.v1")
    assert verdict.outcomes[0].obligation == digest.of_value(obligations[0], "kc.obligation.v1")
    assert sorted(verdict.schemas) == ["report"]
    # without being named by the report on the run, a report is none of this plan's
    del given["apply"]["subject"]["measure.report"]
    assert [
        judge.judge(given, obligations[:1], lock=lock).outcomes[0].outcome for lock in (None, "sha256:" + HEX["model"])
    ] == ["pass", "error"]
    text = verdict.dump()
    content = json.loads(text)
    assert text == json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert (content["verdict"], content["exit_code"], content["as_of"]) == ("INCONCLUSIVE", 1, "2026-01-31T00:00:00Z")
    assert content["lock"] == "sha256:" + HEX["model"]
    titled = judge.judge(given, [obligation(bound("x", ">=", "0.5"), title="größer")]).dump()
    assert "größer" in titled
    assert judge.judge(given, obligations).dump() == judge.judge(given, obligations).dump()


def facts_text(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def a_long_complaint_is_cut() -> None:
    """A schema's message quotes what it refuses: only its first 200 characters are passed on."""
    problem = module("policy.evidence").read(report({"x": "y"}, fingerprints={"model": "9" * 500})).problem
    assert problem.endswith(": '" + "9" * 199)


def jsonschema_is_asked_for_what_only_it_can_tell() -> None:
    """Of what is compiled, for words about what is wrong; and for all of what is not compiled."""
    evidence, right = module("policy.evidence"), report({"x": number(1)})
    schema, kept, asked = evidence._schema("report"), evidence._worded, []
    evidence._worded = lambda name: asked.append(name) or kept(name)
    try:
        assert evidence._complaint(right, "report", schema) == ""
        assert asked == []
        unknown = type(schema)(None, schema.digest, schema.content)
        assert evidence._complaint(right, "report", unknown) == ""
        assert asked == ["report"]
        assert "'kind' is a required property" in evidence._complaint({"a": 1}, "report", unknown)
    finally:
        evidence._worded = kept


def what_was_read_is_not_read_again() -> None:
    read = module("policy.evidence").read
    found = read(report({"x": number(1)}))
    assert found.problem == ""
    assert read(found) is found


def a_time_is_a_utc_time() -> None:
    judge = module("judge")
    assert judge.judge({}, [], as_of="2026-01-31T00:00:00Z").as_of == "2026-01-31T00:00:00Z"
    for text in ("2026-01-31", "2026-01-31T00:00:00", "2026-01-31T00:00:00+01:00", "now", "", "2026-01-31T00:00:00Z\n"):
        refuses(lambda text=text: judge.judge({}, [], as_of=text), ValueError)


def a_rule_blocks_from_the_first_second_of_its_day_on() -> None:
    judge = module("judge").judge
    bad, good = ({"measure": report({"x": number(one)})} for one in (0.1, 0.9))
    dated = obligation(bound("x", ">=", "0.5"), effective_on="2026-12-01")
    for as_of, blocks in (
        ("2026-11-30T23:59:59Z", False),
        ("2026-12-01T00:00:00Z", True),
        ("2027-01-01T00:00:00Z", True),
        (None, True),
    ):
        verdict = judge(bad, [dated], as_of=as_of)
        (outcome,) = verdict.outcomes
        assert (outcome.outcome, outcome.mode, outcome.blocks) == ("fail", "block", blocks)
        assert (verdict.verdict, verdict.exit_code) == (("FAIL", 1) if blocks else ("PASS", 0))
        assert outcome.advisory == ("" if blocks else "until 2026-12-01")
        assert outcome.reason.endswith(" (advisory: blocks from 2026-12-01 on)") is not blocks
        written = verdict.to_json()["outcomes"][0]
        assert (written["effective_on"], "advisory" in written, "phase" in written) == ("2026-12-01", not blocks, False)
    passed = judge(good, [dated], as_of="2026-11-30T23:59:59Z").outcomes[0]
    assert (passed.advisory, passed.reason) == ("", "0.9 meets >= 0.5")
    # nothing, and what cannot be read, are no less missing before the day
    assert judge({}, [dated], as_of="2026-01-01T00:00:00Z").exit_code == 3
    wrong = judge(bad, [{**dated, "effective_on": "soon"}], as_of="2026-01-01T00:00:00Z")
    assert (wrong.outcomes[0].outcome, wrong.outcomes[0].blocks) == ("error", True)
    undated = judge(bad, [obligation(bound("x", ">=", "0.5"))], as_of="2026-01-01T00:00:00Z")
    assert undated.exit_code == 1
    assert not {"advisory", "effective_on", "phase"} & undated.to_json()["outcomes"][0].keys()


def few_reports_show_what_was_asked_for() -> None:
    as_asked = module("policy.kinds.as_asked")
    known, params = sorted(as_asked.UNLIKE), as_asked.KIND.params()
    assert [fault for kind in known for fault in as_asked.KIND.faults(params, kind)] == []
    (fault,) = as_asked.KIND.faults(params, "sample")
    assert (fault.key, fault.rule, fault.at) == ("", "compare", 0)
    assert fault.message == "a report `sample` is not compared with what was asked for"
    assert fault.advice == f"these are: {', '.join(known)}"


def what_a_plan_says_of_itself_is_judged_and_is_no_evidence_of_anything_made() -> None:
    """It needs no run that names it; and nothing was evaluated where it alone was."""
    judge, pin = module("judge"), "sha256:" + HEX["model"]
    given = {"plan": report({"x": number(0.9)}, step="plan", fingerprints={}, subject={})}
    early = obligation(bound("x", ">=", "0.5"), phase="plan", from_="step:plan")
    late = obligation(bound("x", ">=", "0.5"), rule="lab/late")
    found = judge.judge(given, [early], lock=pin)
    assert (found.verdict, found.exit_code, found.outcomes[0].outcome) == ("NOTHING_EVALUATED", 3, "pass")
    # beside evidence it counts like any other rule: what does not pass blocks
    both = {**given, "measure": report({"x": number(0.9)})}
    assert judge.judge(both, [early, late]).verdict == "PASS"
    high = {**early, "params": bound("x", ">=", "0.95")}
    assert judge.judge(both, [high, late]).exit_code == 1
    assert judge.judge(both, [late], lock=pin).outcomes[0].outcome == "error"
    (one,) = judge.gate_files([], [early], own=given, only_given=True).outcomes
    assert one.outcome == "pass"
    # of a step that began before a rule asked about it nothing can be had but by beginning it again
    begun = obligation(bound("x", ">=", "0.5"), phase="pre-step", from_="step:start.measure", report="start")
    (lost,), (missing,) = judge.judge({}, [begun]).outcomes, judge.judge({}, [late]).outcomes
    assert (lost.outcome, missing.outcome) == ("not_evaluated", "not_evaluated")
    assert "apply SPEC --force measure" in lost.reason
    assert "--force" not in missing.reason
    began = {"start.measure": report({"x": number(0.9)}, step="start.measure", kind="start.x")}
    assert "--force" not in judge.judge(began, [begun]).outcomes[0].reason


def a_rule_of_the_release_blocks_the_release_alone() -> None:
    judge = module("judge").judge
    bad = {"measure": report({"x": number(0.1)})}
    released = obligation(bound("x", ">=", "0.5"), phase="release")
    kept, given = judge(bad, [released]), judge(bad, [released], release=True)
    assert (kept.exit_code, kept.outcomes[0].outcome, kept.outcomes[0].advisory) == (0, "fail", "until release")
    assert kept.outcomes[0].reason.endswith(" (advisory: blocks where it is delivered)")
    assert (given.exit_code, given.outcomes[0].advisory) == (1, "")
    assert given.to_json()["outcomes"][0]["phase"] == "release"
    both = {**released, "effective_on": "2026-12-01"}
    assert judge(bad, [both], release=True, as_of="2026-11-30T00:00:00Z").outcomes[0].advisory == "until 2026-12-01"
    assert judge(bad, [both], as_of="2026-12-01T00:00:00Z").outcomes[0].advisory == "until release"
    assert judge(bad, [both], release=True, as_of="2026-12-01T00:00:00Z").exit_code == 1
    assert judge(bad, [{**released, "phase": "later"}]).outcomes[0].outcome == "error"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measure.json"
        file.write_bytes(facts_text(bad["measure"]))
        gate = module("judge").gate_files
        assert [gate([file], [released], release=one).exit_code for one in (False, True)] == [0, 1]
        assert gate([file], [released]).exit_code == 0


def files_are_matched_by_the_step_they_name() -> None:
    """Each file is evidence for the step it names; two for one step are evidence for none; what is left out blocks."""
    judge = module("judge")
    first, second = obligation(bound("x", ">=", "0.5")), obligation(bound("x", ">=", "0.5"), from_="step:other")
    with tempfile.TemporaryDirectory() as folder:

        def file(name: str, content: bytes) -> Path:
            path = Path(folder) / name
            path.write_bytes(content)
            return path

        good = file("any.json", facts_text(report({"x": number(0.9)})))
        copy = file("copy.json", good.read_bytes())
        empty = file("measure.json", b"")

        def words(paths: list[Path], **more: Any) -> list[str]:
            return [outcome.outcome for outcome in judge.gate_files(paths, [first, second], **more).outcomes]

        assert words([good]) == ["pass", "not_evaluated"]
        assert words([good], only_given=True) == ["pass"]
        assert words([good, copy]) == ["error", "not_evaluated"]
        assert words([good, copy, copy]) == ["error", "not_evaluated"]
        assert "two files" in judge.gate_files([good, copy], [first]).outcomes[0].reason
        assert words([empty]) == ["error", "not_evaluated"]
        assert words([empty], only_given=True) == ["error"]
        # a damaged or foreign file beside a good one could be anyone's report: it may not narrow what is asked
        stray, foreign = file("stray.json", b"{}"), file("foreign.json", facts_text(report({}, step="elsewhere")))
        for strange in (stray, foreign):
            assert words([good, strange], only_given=True) == ["pass", "not_evaluated"]
            assert words([strange], only_given=True) == ["not_evaluated", "not_evaluated"]
        assert words([]) == ["not_evaluated", "not_evaluated"]
        assert judge.gate_files([empty], [first], only_given=True).exit_code == 3
        assert judge.gate_files([], [first], only_given=True).exit_code == 3
        refuses(lambda: words([Path(folder) / "none.json"]), OSError)


CHECKS: list[Callable[[], None]] = [
    few_reports_show_what_was_asked_for,
    data_that_contradict_themselves_are_no_datum,
    data_are_read_exactly,
    paths_that_are_no_paths_are_refused,
    walks_say_what_is_missing,
    numbers_are_written_exactly_or_marked,
    everything_read_from_files_is_closed,
    kinds_say_when_they_need_an_expectation,
    kinds_say_what_they_read,
    checks_do_not_lean_on_the_schema,
    a_report_that_contradicts_itself_is_no_evidence,
    waivers_excuse_what_they_name,
    the_verdict_names_all_it_looked_at,
    a_long_complaint_is_cut,
    jsonschema_is_asked_for_what_only_it_can_tell,
    what_was_read_is_not_read_again,
    a_time_is_a_utc_time,
    a_rule_blocks_from_the_first_second_of_its_day_on,
    a_rule_of_the_release_blocks_the_release_alone,
    what_a_plan_says_of_itself_is_judged_and_is_no_evidence_of_anything_made,
    files_are_matched_by_the_step_they_name,
    *claims_believed.CHECKS,
    *checks_kinds.CHECKS,
    *checks_idle.CHECKS,
]
