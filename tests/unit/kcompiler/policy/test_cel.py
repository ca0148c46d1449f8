"""The language of `assert`: what cel-spec's own cases say, and what is stricter."""

from __future__ import annotations

import os
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from kcompiler.policy import cel
from kcompiler.policy.cel.evaluate import MOST_BITS, MOST_STEPS, At, Run, _bounded
from kcompiler.policy.cel.types import BOOL, Thing
from kcompiler.policy.shape import Place
from tests.unit.kcompiler.policy.conformance import Case, read, value_of

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[4]
#: of github.com/google/cel-spec, Apache-2.0
FILES = ROOT / "tests" / "data" / "cel_conformance"
STRICTER = HERE / "cel_stricter.txt"


def outcome(case: Case) -> str:
    """ "" where ours is what the specification says; else in one word why ours is stricter, or what is wrong with it."""
    try:
        typed = cel.compiled(case.text, {})
    except cel.Refused as refused:
        return "" if case.expects is None else refused.rule
    try:
        value: Any = cel.evaluated(typed, {})
    except cel.Lacking as why:
        return "" if case.expects is None else f"error: {why.reason}"
    if case.expects is None:
        return f"WRONG: {value!r}"
    wanted = value_of(case.expects)
    if value == wanted and type(value) is type(wanted):
        return ""
    exact = isinstance(value, Fraction) and isinstance(wanted, float | Fraction)
    return "exact" if exact and not _near(value, wanted) else f"WRONG: {value!r}"


def _near(value: Fraction, wanted: float | Fraction) -> bool:
    """Whether the difference could be anything but the range of doubles."""
    return Fraction(1, 2**1074) <= abs(value) < 2**1024


def test_cases_of_the_specification_pass_or_are_listed_as_stricter() -> None:
    found = {}
    for file in sorted(FILES.glob("*.textproto")):
        for case in read(file):
            assert case.name not in found
            found[case.name] = outcome(case)
    assert len(found) == 767
    assert not [name for name, why in found.items() if why.startswith("WRONG")]
    listed = "".join(f"{name}: {why}\n" for name, why in sorted(found.items()) if why)
    if "KCOMPILER_REWRITE" in os.environ:
        STRICTER.write_text(listed, encoding="utf-8")
    assert listed == STRICTER.read_text(encoding="utf-8")
    assert Counter(bool(why) for why in found.values())[False] >= 300


SCHEMA = {
    "type": "object",
    "required": ["a", "b", "c", "s", "t", "l", "m", "d", "e", "f", "g", "p", "q"],
    "properties": {
        "a": {"type": "integer"},
        "b": {"type": "number"},
        "c": {"type": "number"},
        "s": {"type": "string"},
        "t": {"type": "boolean"},
        "l": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
        "m": {"type": "array", "items": {"type": "string"}},
        "o": {"type": "integer"},
        "w": {"enum": ["red", "green"]},
        "d": {"$ref": "report.schema.json#/$defs/rate", "x-unit": "ratio"},
        "e": {"$ref": "report.schema.json#/$defs/number", "x-unit": "s"},
        "f": {"$ref": "report.schema.json#/$defs/number"},
        "g": {"$ref": "report.schema.json#/$defs/flag", "x-unit": "1"},
        "p": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}},
        "q": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
    },
}
REPORT = Thing((Place(SCHEMA, ""),))

WRONG = [
    ("report.a", "", "int"),
    ("report.a >= 1.5", "", "bool"),
    ("report.aa >= 1", "path", "`aa` is not in `report`"),
    ("repot.a >= 1", "name", "nothing is called `repot`"),
    ("report.o > 1", "absent", "`report.o` is not in every such report"),
    ("has(report.o) || report.o > 1", "absent", "`report.o`"),
    ("!has(report.o) && report.o > 1", "absent", "`report.o`"),
    ("(has(report.o) ? 1 : report.o) > 0", "absent", "`report.o`"),
    ("report.a > 1 && (has(report.o) || report.t) && report.o > 1", "absent", "`report.o`"),
    ("report.m.all(x, x == 'a')", "nothing", "may be empty"),
    ("!report.m.exists(x, x == 'a')", "nothing", "may be empty"),
    ("report.m.exists(x, x == 'a') == false", "nothing", "may be empty"),
    ("size(report.m.filter(x, x == 'a')) == 0", "nothing", "may be empty"),
    ("size(report.m) >= 0 && report.m.all(x, x == 'a')", "nothing", "may be empty"),
    ("size(report.m) != 1 && report.m.all(x, x == 'a')", "nothing", "may be empty"),
    ("size(report.m) < 3 && report.m.all(x, x == 'a')", "nothing", "may be empty"),
    ("size(report.l) > 0 && report.m.all(x, x == 'a')", "nothing", "may be empty"),
    ("size(report.m) > 0 || report.m.all(x, x == 'a')", "nothing", "may be empty"),
    ("report.a && report.t", "types", "`&&` takes bool"),
    ("report.a + 0.5 > 1.0", "mixed", "two int or two double"),
    ("report.a / 2 > 1", "division", "loses its rest"),
    ("report.s == 1", "types", "string and int are never equal"),
    ("report.w == 'blue'", "absent", "report.w"),
    ("has(report.w) && report.w == 'blue'", "word", 'is never "blue"'),
    ("report.l[report.a] > 1", "index", "written down"),
    ("report.t > false", "types", "never ordered"),
    ("report.a = 1", "syntax", "`=`"),
    ("report.a >= 1 && ", "syntax", "ends where a value is due"),
    ("report.a >= 1u", "unsigned", "unsigned"),
    ("report.a >= 9223372036854775808", "range", "64 bits"),
    ("report.b >= 1e9999", "range", "digits"),
    ("(" * 70 + "true" + ")" * 70, "size", "nested deeper"),
    ("!" * 70 + "true", "size", "nested deeper"),
    ("true" + " && true" * 2000, "size", "characters"),
    ("report.s.matches('a')", "function", "no function `matches`"),
    ("sizee(report.s) > 1", "function", "no function `sizee`"),
    ("has(report)", "syntax", "path that ends in a field"),
    ("report.l.all(report, report > 1)", "name", "already the name"),
    ("'abc", "syntax", "does not end"),
    ("'\\q'", "syntax", "no escape"),
    ("[]", "empty", "no type"),
    ("report.f.value > 1.0", "unit", "in which unit `report.f.value` is"),
    ("1.0 < report.f.value", "unit", "in which unit `report.f.value` is"),
    ("report.f.unit != 's' && report.f.value > 1.0", "unit", "in which unit"),
    ("report.f.tag == 'measured' && report.f.value > 1.0", "unit", "in which unit"),
    ("report.e.unit == 's' && report.f.value > 1.0", "unit", "in which unit"),
    ("report.f.unit == 'h' && report.f.value > report.e.value", "unit", "two units"),
    ("report.d.value > report.e.value", "unit", "two units"),
    ("report.d.value + report.e.value > 1.0", "unit", "two units"),
    ("report.d.value - report.e.value > 1.0", "unit", "two units"),
    ("report.d.value + 1.0 > report.e.value", "unit", "two units"),
    ("min(report.d.value, report.e.value) > 1.0", "unit", "two units"),
    ("double(report.d.value) > report.e.value", "unit", "two units"),
    ("report.e.unit == 'h'", "word", "`report.e.unit` is never"),
    ("'h' == report.e.unit", "word", "`report.e.unit` is never"),
    ("report.e.k > 1", "absent", "report.e.k"),
    ("report.d.low > 0.5", "absent", "report.d.low"),
    ("report.d.low > report.d.k", "absent", "report.d.low"),
    ("report.d.vale > 0.5", "path", "a datum has no `vale`"),
    ("report.g.value > 0.5", "types", "bool and double are never ordered"),
    ("-report.t", "types", "`-` takes int or double"),
    ("!report.a", "types", "`!` takes bool"),
    ("abs(report.a, 1) > 1", "types", "takes one number"),
    ("abs() > 1", "types", "takes one number"),
    ("min(1) > 1", "types", "two numbers or more"),
    ("max(report.s, report.s) == ''", "types", "numbers of one type"),
    ("max(1, 2.0) > 1.0", "types", "numbers of one type"),
    ("size(report.a) > 1", "types", "int has no size"),
    ("size(report.d) > 1", "types", "a datum has no size"),
    ("size(report.s, report.s) > 1", "function", "does not take (string, string)"),
    ("double(1, 2) > 1.0", "function", "does not take (int, int)"),
    ("double(report.s) > 1.0", "function", "does not take (string)"),
    ("rate_low(1) > 0.5", "types", "takes (int, int)"),
    ("rate_low(1.0, 2.0) > 0.5", "types", "takes (int, int)"),
    ("'a'.contains(1)", "function", "no function `contains` of string"),
    ("report.l.exists(x, report.m.all(y, y != '') == false)", "nothing", "may be empty"),
    ("report.l.exists_one(x, !report.m.exists(y, y != ''))", "nothing", "may be empty"),
    ("report.l.all(x, report.m.exists(y, y != ''))", "", "bool"),
    ("report.l.filter(x, report.m.exists(y, y != ''))[0] > 0", "nothing", "may be empty"),
    ("report.t ? report.p : report.q", "types", "one way gives an object"),
    ("report.t ? report.p : report.p", "", ""),
    ("47.5 % 5.5 > 1.0", "types", "`%` takes whole numbers"),
    ("b'a' == b'a'", "bytes", "bytes"),
]


@pytest.mark.parametrize(("text", "rule", "said"), WRONG)
def test_what_a_gate_must_not_rest_on_is_refused(text: str, rule: str, said: str) -> None:
    if not rule:
        assert str(getattr(cel.compiled(text, {"report": REPORT}).type, "name", "")) == said
        return
    with pytest.raises(cel.Refused) as caught:
        cel.compiled(text, {"report": REPORT})
    assert caught.value.rule == rule
    assert said in caught.value.message
    assert 0 <= caught.value.at <= len(text)


FINE = [
    "has(report.o) && report.o > 1",
    "!has(report.o) || report.o > 1",
    "(has(report.o) ? report.o : 5) > 1",
    "!(!has(report.o) || report.t) && report.o > 1",
    "size(report.m) >= 1 && report.m.all(x, x == 'a')",
    "size(report.m) > 0 && !report.m.exists(x, x == 'a')",
    "0 < size(report.m) && report.m.all(x, x == 'a')",
    "report.m.size() != 0 && report.m.all(x, x == 'a')",
    "!(size(report.m) == 0) && report.m.all(x, x == 'a')",
    "report.m.exists(x, x == 'b') && report.m.all(x, x != 'c')",
    "report.l.all(x, x > 0)",
    "'o' in report && report['o'] > 1",
    'report["a"] > 1',
    "report.f.unit == 's' && report.f.value > report.e.value",
    "'s' == report.f.unit && report.f.value > 1.0",
    "!(report.f.unit != 's') && report.f.value > report.e.value",
    "report.d.value * report.e.value > 0.5",
    "report.d.value / report.e.value > 0.5",
    "report.d.value + report.d.value > 0.5",
    "report.e.value - report.e.value > 0.5",
    "report.e.unit == 's'",
    "has(report.d.low) && report.d.low <= report.d.value",
    "report.d.k > 1 && report.d.n > 1",
    "abs(report.a) > 1 && abs(-0.5) > 0.1",
    "min(report.a, 2, 3) > 1",
    "min(report.e.value, 1.0) > 0.5",
    "report.l.all(x, report.m.exists(y, y == ''))",
    "!!report.m.exists(x, x == 'a')",
]


@pytest.mark.parametrize("text", FINE)
def test_what_is_asked_first_may_be_read(text: str) -> None:
    assert cel.compiled(text, {"report": REPORT}).type == BOOL


def test_numbers_are_exact_and_bounded() -> None:
    assert cel.evaluated(cel.compiled("0.1 + 0.2 == 0.3", {}), {}) is True
    typed = cel.compiled(f"{' * '.join(['report.b'] * 200)} > 1.0", {"report": REPORT})
    with pytest.raises(cel.Unsound, match="bits"):
        cel.evaluated(typed, {"report": {"b": 1.000000000000001}})
    for end in ("9223372036854775807 + 0 > 0", "-9223372036854775808 + 0 < 0"):
        assert cel.evaluated(cel.compiled(end, {}), {}) is True
    with pytest.raises(cel.Unsound, match="64 bits"):
        cel.evaluated(cel.compiled("-9223372036854775808 - 1 < 0", {}), {})
    with pytest.raises(cel.Unsound, match="64 bits"):
        cel.evaluated(cel.compiled("9223372036854775807 + 1 > 0", {}), {})


def test_an_evaluation_ends() -> None:
    typed = cel.compiled("report.l.all(x, report.l.all(y, report.l.all(z, z < 60)))", {"report": REPORT})
    with pytest.raises(cel.Unsound, match="steps"):
        cel.evaluated(typed, {"report": {"l": list(range(60))}})


def test_the_largest_evaluation_is_still_one() -> None:
    few = cel.compiled("report.a > 0", {"report": REPORT})
    run = Run(few, {"report": At({"a": 1}, "")})
    run.steps = MOST_STEPS - 4
    assert run.truth(few.tree)
    run.steps = MOST_STEPS - 3
    with pytest.raises(cel.Unsound, match="steps"):
        run.truth(few.tree)


def test_the_largest_number_is_still_one() -> None:
    typed = cel.compiled("report.b * report.c > 0.0", {"report": REPORT})
    largest = Fraction(2) ** (MOST_BITS - 1)
    run = Run(typed, {"report": At({"b": 1, "c": 1}, "")})
    assert _bounded(largest) == largest
    with pytest.raises(cel.Unsound, match="bits"):
        _bounded(largest * 2)
    assert run.truth(typed.tree)


DATUM = {"value": 0.5, "unit": "ratio", "tag": "measured", "k": 1, "n": 2}


def test_a_datum_says_of_itself_what_it_says() -> None:
    data: dict[str, dict[str, Any]] = {"d": DATUM, "f": {"value": 2.0, "unit": "s", "tag": "measured", "by": "clock"}}
    f1 = {"value": 0.5, "unit": "ratio", "tag": "measured", "n": 2, "tp": 1, "fp": 1, "fn": 1}
    for text, said in {
        "report.d.k + report.d.n": 3,
        "has(report.d.low)": False,
        "report.f.unit": "s",
        "has(report.f.by) ? report.f.by : 'nobody'": "clock",
        "has(report.d.by) ? report.d.by : 'nobody'": "nobody",
        "report.d.tag": "measured",
        "rate_low(0, 4)": 0,
        "rate_high(4, 4)": 1,
    }.items():
        assert cel.evaluated(cel.compiled(text, {"report": REPORT}), {"report": data}) == said, text
    text = "has(report.d.tp) && report.d.tp == 1 && has(report.d.fn) && report.d.fn == 1"
    assert cel.evaluated(cel.compiled(text, {"report": REPORT}), {"report": {"d": f1}}) is True
    with pytest.raises(cel.Unsound, match="one value has one count behind it"):
        cel.evaluated(cel.compiled(text, {"report": REPORT}), {"report": {"d": {**f1, "k": 1}}})
    for text in ("rate_low(5, 4) > 0.0", "rate_low(-1, 4) > 0.0", "rate_low(0, 0) >= 0.0"):
        with pytest.raises(cel.Unsound, match="no rate"):
            cel.evaluated(cel.compiled(text, {}), {})


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("report.a > 0", {"a": True}),
        ("report.a > 0", {"a": 1.5}),
        ("report.b > 0.0", {"b": "1"}),
        ("report.s == ''", {"s": 1}),
        ("report.t", {"t": 1}),
        ("report.t", {"t": "true"}),
        ("report.l.all(x, x > 0)", {"l": ["1"]}),
        ("report.l.all(x, x > 0)", {"l": {"a": 1}}),
    ],
)
def test_what_its_schema_would_refuse_has_no_value(text: str, data: dict[str, Any]) -> None:
    """Nobody evaluates over a report that its schema has not accepted; who does gets no value either."""
    with pytest.raises(cel.Unsound):
        cel.evaluated(cel.compiled(text, {"report": REPORT}), {"report": data})


def test_a_rest_has_the_sign_of_the_first_number() -> None:
    for text in ("7 % 3 == 1", "-7 % 3 == -1", "7 % -3 == 1", "-7 % -3 == -1", "0 % 3 == 0"):
        assert cel.evaluated(cel.compiled(text, {}), {}) is True
