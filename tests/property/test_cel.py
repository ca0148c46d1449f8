"""Random expressions of the language of `assert` over random reports mean what another implementation of CEL says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompiler.policy import cel
from kcompiler.policy.cel import certain
from kcompiler.policy.cel.types import BOOL
from tests.unit.kcompiler.policy.test_cel import REPORT

INTS = st.sampled_from(["report.a", "3", "-2", "0", "report.l[0]", "size(report.s)", "size(report.m)", "7"])
DOUBLES = st.sampled_from(["report.b", "report.c", "0.5", "-1.25", "2.0", "double(report.a)"])
TEXTS = st.sampled_from(["report.s", "'ab'", '"b"', "''"])
BOOLS = st.sampled_from(
    [
        "report.t",
        "true",
        "report.s.contains('a')",
        "'ab'.startsWith(report.s)",
        "report.a in report.l",
        "report.l.all(x, x > report.a)",
        "report.m.exists(x, x == report.s)",
        "(size(report.m) > 0 && report.m.all(x, x != 'b'))",
        "(has(report.o) && report.o > 1)",
        "report.l.exists_one(x, x % 2 == 1)",
        "size(report.l.filter(x, x > 1)) == 1",
        "report.l.map(x, x * 2)[0] > 2",
    ]
)


def numbers(leaf: st.SearchStrategy[str], ops: str) -> st.SearchStrategy[str]:
    return st.recursive(
        leaf,
        lambda below: st.one_of(
            st.builds("({} {} {})".format, below, st.sampled_from(list(ops)), below),
            st.builds("-({})".format, below),
        ),
        max_leaves=4,
    )


COMPARISONS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
TRUTHS = st.recursive(
    st.one_of(
        BOOLS,
        st.builds("{} {} {}".format, numbers(INTS, "+-*%"), COMPARISONS, numbers(INTS, "+-*")),
        st.builds("{} {} {}".format, numbers(DOUBLES, "+-*"), COMPARISONS, numbers(DOUBLES, "+-*")),
        st.builds("{} {} {}".format, TEXTS, COMPARISONS, TEXTS),
    ).map(lambda text: f"({text})"),
    lambda below: st.one_of(
        st.builds("({} && {})".format, below, below),
        st.builds("({} || {})".format, below, below),
        st.builds("({} ? {} : {})".format, below, below, below),
        st.builds("!{}".format, below),
    ),
    max_leaves=6,
)
DATA = st.fixed_dictionaries(
    {
        "a": st.integers(-3, 4),
        "b": st.sampled_from([0.0, 0.5, 1.5, -2.25]),
        "c": st.sampled_from([1.0, -0.75, 4.0]),
        "s": st.sampled_from(["", "a", "ab", "b"]),
        "t": st.booleans(),
        "l": st.lists(st.integers(-1, 4), min_size=1, max_size=3),
        "m": st.lists(st.sampled_from(["a", "b"]), max_size=2),
    },
    optional={"o": st.integers(0, 2)},
)


def told(call: Callable[[], object]) -> object:
    """What a call gives, or the error it ends in."""
    try:
        return call()
    except (cel.Refused, cel.Lacking, RuntimeError, ValueError, ArithmeticError) as error:
        return error


@settings(max_examples=400, deadline=None)
@given(TRUTHS, DATA)
def test_what_is_accepted_means_what_another_implementation_says(text: str, data: dict[str, Any]) -> None:
    other = pytest.importorskip("cel")
    typed = told(lambda: cel.compiled(text, {"report": REPORT}))
    if isinstance(typed, cel.Refused):
        assert typed.rule == "nothing", typed.message  # an `exists` under a `!`
        return
    assert isinstance(typed, cel.Typed)
    assert typed.type == BOOL
    ours = told(lambda: cel.evaluated(typed, {"report": data}))
    if isinstance(ours, bool):  # what is refused as always true could not have been false
        assert ours in certain.truths(typed)
    theirs = told(lambda: other.evaluate(text, {"report": data}))
    if isinstance(ours, cel.Unsound):  # an error is never swallowed here; there a `||` or a `&&` may
        assert ours.reason == "a division by zero"
        assert "%" in text
        assert isinstance(theirs, Exception) or "||" in text or "&&" in text
    else:
        assert ours is theirs
