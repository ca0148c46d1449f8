"""Statistics: how many rows decide a gate, against the exact binomial; both sides of every border."""

from __future__ import annotations

import importlib
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.contract import splits
from runtime.contract.statistics.power import clean_floor, clean_items
from tests.unit.kcompiler.checks.claims import Claim, disagrees, several


def pack(extra: str = "", op: str = ">=", threshold: str = "0.98", metric: str = "validity.student",
         unit: str = "ratio", mode: str = "block", kind: str = "bound", on: str = "eval.answers") -> dict[str, str]:  # fmt: skip
    """A pack `lab` of one rule, as files beside the spec."""
    params = f'metric: {metric}\n  op: "{op}"\n  threshold: "{threshold}"\n  unit: {unit}\n'
    if kind == "all_true":
        params = f"at: {metric}\n  min_matches: 1\n"
    rule = (
        f"id: valid\ntitle: A rule of the laboratory\non: {on}\nmode: {mode}\nkind: {kind}\nparams:\n  {params}{extra}"
    )
    return {
        "policies/lab/pack.yaml": "name: lab\nversion: 1\ntitle: A laboratory\n",
        "policies/lab/valid/rule.yaml": rule + 'remedy: "train longer"\n',
    }


def beside(name: str, least: int, mode: str = "block") -> dict[str, str]:
    """One more rule of the pack, which wants so many rows."""
    rule = pack(f"  need: {{min_n: {least}}}\n", threshold="0.5", mode=mode)["policies/lab/valid/rule.yaml"]
    return {f"policies/lab/{name}/rule.yaml": rule.replace("id: valid", f"id: {name}")}


def rows(count: int, held_out: float = 0.2, **suite: Any) -> Any:
    def change(data: dict[str, Any]) -> None:
        data["data"]["sources"][0]["params"] = {"rows": count}
        data["data"]["held_out"] = held_out
        data["policies"] = ["lab"]
        data["evaluation"]["suites"][0].update(suite)

    return change


def jsonl(*sources: dict[str, Any], held_out: float = 0.2) -> Any:
    def change(data: dict[str, Any]) -> None:
        first = {"kind": "jsonl", "path": "rows.jsonl", "license": "MIT"}
        data["data"]["sources"] = [{**first, "name": f"s{i}", **one} for i, one in enumerate(sources)]
        data["data"]["held_out"] = held_out
        data["policies"] = ["lab"]

    return change


def lines(count: int, end: str = "\n", name: str = "rows.jsonl", first: int = 0) -> dict[str, str]:
    made = (f'{{"prompt": "a {n}", "response": "b"}}' for n in range(first, first + count))
    return {name: "\n".join(made) + end}


#: of 200 prompts, those that the data step's rule holds out
HELD = sum(splits.is_held_out(f"a {n}", 0.5) for n in range(200))
LOW, TEST = "  on: low\n", {"split": "test"}


def controls(calling: int, silent: int, least: int) -> dict[str, str]:
    """A file of rows that call and rows that do not, and a pack that asks for so many of the latter."""
    call = '{"prompt": "a %d", "response": "tool.call{\\"name\\":\\"t\\",\\"args\\":{}}"}'
    made = [call % n for n in range(calling)]
    made += [f'{{"prompt": "b {n}", "response": "no"}}' for n in range(silent)]
    needed = pack(
        f"  need: {{min_n: {least}}}\n",
        threshold="0.5",
        metric="runners.student.control_abstention",
        on="eval.tool_use",
    )
    return {**needed, "rows.jsonl": "\n".join(made)}


def tools_of(data: dict[str, Any]) -> None:
    jsonl({"split": "test"})(data)
    data["evaluation"]["suites"] = [{"use": "tool_use"}]


CLAIMS = [
    Claim("a caller without controls", tools_of, ("KC4803",), ("0 rows, at least 30",), files=controls(99, 0, 30),
          severity="error"),
    Claim("a control too few", tools_of, ("KC4803",), ("29 rows, at least 30",), files=controls(99, 29, 30)),
    Claim("controls enough", tools_of, files=controls(99, 30, 30)),
    Claim("no gate on a rate", lambda _: None),
    Claim("149 clean rows decide 0.98", rows(745), files=pack()),
    Claim("148 do not", rows(740), ("KC4802",), ("149 clean rows", "about 148 rows", "proves only > 0.9799", ">= 0.98"),
          files=pack(), severity="warning"),
    Claim("sixty do not, by far", rows(300), ("KC4802",), ("0.9512", "point", "prove less"), files=pack()),
    Claim("a bound is refused", rows(300), ("KC4801",), ("cannot pass", "bound"), files=pack(LOW), severity="error"),
    Claim("unless chance may help", rows(740), ("KC4802",), ("only if more rows",), files=pack(LOW),
          severity="warning"),
    Claim("a bound that only warns", rows(300), ("KC4802",), files=pack(LOW, mode="warn"), severity="warning"),
    Claim("a bound that holds", rows(745), files=pack(LOW)),
    Claim("equality speaks of these rows", rows(300), files=pack(op="==", threshold="1")),
    Claim("greater than", rows(300), ("KC4802",), files=pack(op=">")),
    Claim("no row count proves certainty", rows(300), ("KC4802",), ("no number of rows",), files=pack(threshold="1")),
    Claim("at most two percent of leaks", rows(300), ("KC4802",), ("proves only < 0.0488", "149 clean rows"),
          files=pack(op="<=", threshold="0.02")),
    Claim("fewer than five percent of leaks", rows(300), files=pack(op="<", threshold="0.05")),
    Claim("an upper bound", rows(300), ("KC4801",), files=pack("  on: high\n", op="<=", threshold="0.02")),
    Claim("a low floor", rows(300), files=pack(threshold="0.9")),
    Claim("another unit", rows(300), files=pack(unit="nat/token")),
    Claim("another kind of check", rows(300), files=pack(kind="all_true")),
    Claim("another report", rows(300), files=pack(on="probes")),
    Claim("the limit of the suite", rows(745, limit=148), ("KC4802",), ("148 rows;",), files=pack()),
    Claim("a limit that is not reached", rows(745, limit=150), files=pack()),
    Claim("the package has a limit of its own", rows(745), ("KC4802",), ("64 rows;",),
          files=pack(metric="validity.coreml")),
    Claim("and may be given more", rows(745, coreml_limit=149), files=pack(metric="validity.coreml")),
    Claim("min_n on the border", rows(400, limit=80), files=pack("  need: {min_n: 80}\n", threshold="0.5")),
    Claim("min_n beyond it", rows(400, limit=80), ("KC4803",), ("80 rows, at least 81",),
          files=pack("  need: {min_n: 81}\n", threshold="0.5"), severity="error"),
    Claim("one cause is told once, by the rule that wants most", rows(400, limit=80), ("KC4803",),
          ("rule `lab/more`", "at least 300", "so do lab/less, lab/valid"),
          files={**pack("  need: {min_n: 90}\n", threshold="0.5"), **beside("more", 300), **beside("less", 81)}),
    Claim("one more rule than one", rows(400, limit=80), ("KC4803",), ("so does lab/valid",),
          files={**pack("  need: {min_n: 90}\n", threshold="0.5"), **beside("more", 300)}),
    Claim("what refuses is told, not what warns", rows(400, limit=80), ("KC4803",), ("rule `lab/valid`", "lab/more"),
          files={**pack("  need: {min_n: 90}\n", threshold="0.5"), **beside("more", 300, "warn")}, severity="error"),
    Claim("another place is another cause", rows(745), ("KC4803", "KC4803"), ("64 rows", "about 149 rows"),
          files={**pack("  need: {min_n: 65}\n", threshold="0.5", metric="validity.coreml"), **beside("more", 300)}),
    Claim("min_n that warns", rows(400, limit=80), ("KC4803",),
          files=pack("  need: {min_n: 81}\n", threshold="0.5", mode="warn"), severity="warning"),
    Claim("min_n of another unit", rows(400, limit=80), ("KC4803",),
          files=pack("  need: {min_n: 81}\n", threshold="0.5", unit="nat/token")),
    Claim("as many behind a margin", rows(400, limit=80), ("KC4803",), ("80 rows, at least 81",),
          files=pack("  to: validity.ce_only\n  need: {min_n: 81}\n", threshold="-0.05", kind="relative"), severity="error"),
    Claim("a margin on the border", rows(400, limit=80),
          files=pack("  to: validity.ce_only\n  need: {min_n: 80}\n", threshold="-0.05", kind="relative")),
    Claim("a margin of the package", rows(745), ("KC4803",), ("64 rows, at least 65",),
          files=pack("  to: validity.coreml\n  need: {min_n: 65}\n", threshold="-0.05", kind="relative")),
    Claim("as many as the package is asked", rows(745),
          files=pack("  to: validity.coreml\n  need: {min_n: 64}\n", threshold="-0.05", kind="relative")),
    Claim("min_n that is expected", rows(400), files=pack("  need: {min_n: 80}\n", threshold="0.5")),
    Claim("chance may help", rows(400), ("KC4803",), ("will probably be",),
          files=pack("  need: {min_n: 81}\n", threshold="0.5"), severity="warning"),
    Claim("by four deviations", rows(400), ("KC4803",), ("will probably be",),
          files=pack("  need: {min_n: 112}\n", threshold="0.5"), severity="warning"),
    Claim("and no more", rows(400), ("KC4803",), ("about 80 rows", "than there will be"),
          files=pack("  need: {min_n: 113}\n", threshold="0.5"), severity="error"),
    Claim("a file with a row per line", jsonl({"split": "test"}), files={**pack(), **lines(149)}),
    Claim("one line less", jsonl({"split": "test"}), ("KC4802",), ("148 rows",), files={**pack(), **lines(148)}),
    Claim("a last line without an end", jsonl({"split": "test"}), files={**pack(), **lines(149, "")}),
    Claim("an empty file", jsonl({"split": "test"}), ("KC4803",), ("0 rows", "at least 20"), severity="error",
          files={**pack(), "rows.jsonl": ""}),
    Claim("the limit of a source", jsonl({"split": "test", "limit": 148}), ("KC4802",), files={**pack(), **lines(200)}),
    Claim("two sources add up", jsonl({"split": "test", "limit": 75}, {"split": "test", "path": "more.jsonl"}),
          files={**pack(), **lines(80), **lines(74, name="more.jsonl", first=80)}),
    Claim("a row that stands twice counts once", jsonl({"split": "test"}, {"split": "test", "path": "more.jsonl"}),
          ("KC4802",), ("148 rows",), files={**pack(), **lines(148), **lines(80, name="more.jsonl")}),
    Claim("also in one file", jsonl({"split": "test"}), ("KC4802",), ("148 rows",),
          files={**pack(), "rows.jsonl": lines(148)["rows.jsonl"] * 3}),
    Claim("the very rows that are held out", jsonl({"split": "auto"}, held_out=0.5), ("KC4802",), (f"{HELD} rows;",),
          files={**pack(), **lines(200)}),
    Claim("lines of a file whose rows cannot be read", jsonl({"split": "test"}),
          files={**pack(), "rows.jsonl": "no row\n" * 149}),
    Claim("one line less of it", jsonl({"split": "test"}), ("KC4802",), ("148 rows",),
          files={**pack(), "rows.jsonl": "no row\n" * 148}),
    Claim("its last line without an end", jsonl({"split": "test"}), files={**pack(), "rows.jsonl": "no row\n" * 148 + "x"}),
    Claim("its limit", jsonl({"split": "test", "limit": 148}), ("KC4802",), ("148 rows",),
          files={**pack(), "rows.jsonl": "no row\n" * 149}),
    Claim("training rows are no evidence", jsonl({"split": "test"}, {"split": "train"}), ("KC4802",), ("100 rows",),
          files={**pack(), **lines(100)}),
    Claim("held out and named", jsonl({"split": "test"}, {"split": "auto", "path": "more.jsonl"}, held_out=0.5),
          files={**pack(), **lines(100), **lines(150, name="more.jsonl", first=200)}),
    Claim("rows of one source", several(jsonl({"split": "test"}, {"split": "test", "path": "more.jsonl"}),
          lambda d: d["evaluation"]["suites"][0].update(rows={"source": "s1"})), ("KC4802",), ("74 rows;",),
          files={**pack(), **lines(149), **lines(74, name="more.jsonl", first=200)}),
    Claim("enough of one source", several(jsonl({"split": "test"}, {"split": "test", "path": "more.jsonl"}),
          lambda d: d["evaluation"]["suites"][0].update(rows={"source": "s0"})),
          files={**pack(), **lines(149), **lines(74, name="more.jsonl", first=200)}),
    Claim("a file that is not there", jsonl({"split": "test"}), files=pack()),
    Claim("the other split", several(rows(149, 0.0), lambda d: d["evaluation"]["suites"][0].update(split="train")),
          files=pack()),
    Claim("and its share", several(rows(149, 0.1), lambda d: d["evaluation"]["suites"][0].update(split="train")),
          ("KC4802",), ("about 134",), files=pack()),
    Claim("nothing is held out", rows(300, 0.0), ("KC4803",), ("0 rows",), severity="error", files=pack()),
    Claim("an unknown pack is another matter", rows(300)),
]  # fmt: skip


def arithmetic() -> None:
    """The exact bound by hand, and the least n by search."""
    statistics = importlib.import_module("kcompiler.checks.statistics")
    assert 0.98**149 <= 0.05 < 0.98**148
    assert clean_items(Fraction("0.98")) == 149
    assert clean_items(Fraction("0.9")) == 29
    assert clean_items(Fraction("0.5")) == 5
    assert clean_items(Fraction("0.05")) == 1
    assert clean_items(Fraction(0)) == 1
    assert clean_floor(0) == 0
    assert round(clean_floor(60), 4) == 0.9513
    assert clean_items(Fraction(clean_floor(7))) == 7
    exactly = Fraction(clean_floor(60))
    gate = statistics.Gate("rule", None, exactly, "", "suite", statistics.Rows(60, 60), True)
    assert gate.decides
    assert not gate.certainly_not
    rows = statistics.Rows(10, 12)
    assert rows.at_most(0) == rows
    assert rows.at_most(11) == statistics.Rows(10, 11)
    assert rows.exact is False
    assert statistics.Rows(3, 3).exact is True
    paired = {"metric": "a", "to": "b", "paired": "c", "op": ">=", "threshold": "-0.05", "unit": "ratio"}
    found = [
        ({"kind": "relative@1", "rule": "a/m", "params": paired}, 0, rows),
        ({"kind": "relative@1", "rule": "a/unknown", "params": paired}, 0, None),
        ({"kind": "relative@1", "rule": "a/nats", "params": {**paired, "unit": "nat/item"}}, 0, rows),
        ({"kind": "relative@1", "rule": "a/points", "params": {**paired, "paired": None}}, 0, rows),
        (
            {
                "kind": "bound@1",
                "rule": "a/bound",
                "params": {"metric": "a", "op": ">=", "threshold": "1", "unit": "1"},
            },
            0,
            rows,
        ),
    ]
    kept = statistics._obligations, statistics._behind
    try:
        statistics._obligations, statistics._behind = lambda *_: iter(found), lambda _s, _w, suite, _p: suite
        assert [one.rule for one in statistics.margins(None, None)] == ["a/m"]
    finally:
        statistics._obligations, statistics._behind = kept
    for threshold, n, said in (
        (
            "-0.05",
            1100,
            "m: 1,100 rows tell a difference from 0.027 on where 10% of them differ; equals stay within 0.05 where at most 35% do",
        ),
        (
            "-0.1",
            64,
            "m: 64 rows tell a difference of no size where 10% of them differ; equals stay within 0.1 where at most 8% do",
        ),
        ("0", 150, "m: 150 rows tell a difference from 0.072 on where 10% of them differ"),
        ("0.1", 0, "m: no rows"),
    ):
        assert statistics.Margin("a/m", Fraction(threshold), statistics.Rows(n, n)).said == said


ARITHMETIC = (arithmetic,)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_statistics_say(claim, tmp_path):
    assert disagrees("statistics", claim, tmp_path) == ""


def test_sixty_rows_cannot_establish_98_percent_and_149_can():
    arithmetic()


def upper_tail(n: int, rate: float) -> float:
    """P(n successes of n) at a rate, by the definition of the binomial distribution."""
    return math.exp(math.lgamma(n + 1) - math.lgamma(n + 1) - math.lgamma(1) + n * math.log(rate))


@given(st.integers(1, 5000))
def test_the_bound_is_where_a_perfect_score_has_probability_five_percent(n):
    assert math.isclose(upper_tail(n, clean_floor(n)), 0.05, rel_tol=1e-9)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_more_rows_establish_more(n, more):
    assert clean_floor(n) < clean_floor(n + more)


@given(st.fractions(Fraction(1, 100), Fraction(9999, 10000)))
def test_the_least_number_of_rows_is_the_least(rate):
    n = clean_items(rate)
    assert clean_floor(n) >= rate
    assert n == 1 or clean_floor(n - 1) < rate


@given(st.integers(1, 2000))
def test_the_exact_bound_is_below_no_stricter_one(n):
    """Wilson's lower end of a two-sided 95 % interval of a perfect score, n / (n + z²), asks for more rows, from 8 on."""
    assert n / (n + 1.959964**2) < clean_floor(n) or n < 8
