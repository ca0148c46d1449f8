"""A call that can be written is read again as the same call, whatever numbers and texts it holds."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.contract.calls import Call, Fault, parse, render

_NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(_NUMBERS)
@example(1e16)
@example(1e20)
@example(9007199254740992.0)
@example(-1e17)
@example(1.2345678901234567e19)
@example(1e21)
@example(5e-324)
@example(1.7976931348623157e308)
@example(-0.0)
@example(2**53 - 1)
def test_every_number_survives(number: float):
    call = Call("f", {"x": number})
    assert parse(render(call)) == call


@given(st.dictionaries(_TEXTS, _VALUES, max_size=5))
def test_every_call_survives(args: dict):
    call = Call("f", args)
    assert parse(render(call)) == call
    assert render(parse(render(call))) == render(call)  # type: ignore[arg-type]


@given(st.integers(2**53, 10**25))
def test_an_integer_that_no_double_holds_is_never_rounded(number: int):
    read = parse(f'tool.call{{"name":"f","args":{{"x":{number}}}}}')
    if isinstance(read, Fault):
        assert read.kind == "malformed_json"
    else:
        assert read.args["x"] == number


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2**53])
def test_what_json_cannot_hold_is_not_written(number: float):
    with pytest.raises(ValueError, match=r"\S"):
        render(Call("f", {"x": number}))
