"""The identifiers that stand in a report × those the plan expects → exactly these, or at least these.

With `each`, every element there is asked for itself (every variant has every declared shape); without, all the
identifiers of the report make one set. An identifier that stands twice is refused: two measurements of one shape are
not a measurement of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from kcompiler.policy import path
from kcompiler.policy.datum import BadDatum, read
from kcompiler.policy.kind import Closed, Judged, Kind, PathText, Read, broken, lacking, worst


class Params(Closed):
    """`identifiers` is a path to names, below each place of `each` where that is given, else below the data."""

    each: PathText | None = None
    identifiers: PathText
    how: Literal["equals", "contains"] = "equals"


def _identifier(value: object) -> str | None:
    """A name or a whole number (bare, or as a datum) → its text; None for anything else."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    try:
        number = read(value).value
    except BadDatum:
        return None
    return str(number) if number is not None and number.denominator == 1 else None


def _expected(expect: object) -> list[str] | Judged:
    if expect is None:
        return lacking("the plan says nothing about what to expect")
    names = [_identifier(item) for item in expect] if isinstance(expect, list) else []
    if not names or None in names or len(set(names)) < len(names):
        return broken(f"what the plan expects is not a list of different names: {expect!r}")
    return [name for name in names if name is not None]


def _group(params: Params, at: path.Match, expected: list[str]) -> Judged:
    if at.missing:
        return lacking(at.missing, at.pointer)
    names: list[str] = []
    for match in path.walk(path.parse(params.identifiers), at.value, at.pointer):
        if match.missing:
            return lacking(match.missing, match.pointer)
        name = _identifier(match.value)
        if name is None:
            return broken("not a name", match.pointer)
        names.append(name)
    absent = [name for name in expected if name not in names]
    extra = [name for name in names if name not in expected] if params.how == "equals" else []
    twice = sorted({name for name in names if names.count(name) > 1})
    wrong = {"absent": absent, "extra": extra, "twice": twice}
    parts = [f"{word}: {', '.join(found)}" for word, found in wrong.items() if found]
    return Judged(
        word="fail" if parts else "pass",
        reason="; ".join(parts) or f"{len(names)} of {len(expected)} expected are there",
        pointer=at.pointer,
        observed=", ".join(names),
        threshold=f"{params.how} {', '.join(expected)}",
    )


def judge(params: Params, report: Mapping[str, Any], expect: object, _other: object) -> Judged:
    expected = _expected(expect)
    if isinstance(expected, Judged):
        return expected
    whole = [path.Match("/data", report["data"])]
    groups = whole if params.each is None else path.walk(path.parse(params.each), report["data"], "/data")
    return worst(_group(params, group, expected) for group in groups)


KIND = Kind(
    name="covers",
    version=1,
    params=Params,
    judge=judge,
    reads=lambda params: [
        *([] if params.each is None else [Read("each", params.each, ())]),
        Read("identifiers", ".".join(filter(None, (params.each, params.identifiers))), ("name", "number", "datum")),
    ],
    expects=lambda _: True,
    accepts=lambda expect: isinstance(_expected(expect), list),
)
