"""Places in a report → each has a measured datum, with its counts where it is a rate.

What every other kind takes for missing evidence is here the question itself: in a report that is there, a datum that is
not, that is unavailable, or that was estimated where a measurement is wanted, fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from kcompiler.policy import path
from kcompiler.policy.comparison import Need, few, rates_floored
from kcompiler.policy.datum import BadDatum, Datum, read
from kcompiler.policy.kind import Closed, Judged, Kind, PathTexts, Read, broken, enough, reachable, text_of, worst


class Params(Closed):
    """`at` is a path into the report's data that leads to data, or several."""

    at: PathTexts
    #: of each datum; a number of items is asked of those that count any, and one that counts none then fails
    need: Need = Need()
    #: of each rate, the least number of items behind it; fewer are inconclusive
    rates_min_n: int | None = Field(default=None, ge=1)
    min_matches: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _can_be_met(self) -> Params:
        reachable(self.at, self.min_matches)
        return self


def _absent(params: Params, datum: Datum) -> str:
    """Why this is not what was asked for, or ""."""
    if datum.tag == "unavailable":
        return f"unavailable: {datum.reason}"
    if datum.tag == "estimated" and params.need.tag == "measured":
        return "estimated, not measured"
    if params.need.min_n is not None and datum.n is None:
        return "no count stands behind it"
    return ""


def _at(params: Params, match: path.Match) -> Judged:
    if match.missing:
        return Judged(word="fail", reason=match.missing, pointer=match.pointer, threshold="there")
    try:
        datum = read(match.value)
    except BadDatum as error:
        return broken(str(error), match.pointer)
    if absent := _absent(params, datum):
        return Judged(word="fail", reason=absent, pointer=match.pointer, observed=datum.tag, threshold="there")
    if lack := few(params.need, params.rates_min_n, datum):
        return Judged(word="inconclusive", reason=lack, pointer=match.pointer)
    shown = str(datum.flag).lower() if datum.value is None else text_of(datum.value)
    return Judged(word="pass", reason=f"is {datum.tag}", pointer=match.pointer, observed=shown, threshold="there")


def judge(params: Params, report: Mapping[str, Any], _expect: object, _other: object) -> Judged:
    matches = [match for text in params.at for match in path.walk(path.parse(text), report["data"], "/data")]
    return enough(worst(_at(params, match) for match in matches), params.min_matches)


KIND = Kind(
    name="presence",
    version=1,
    params=Params,
    judge=judge,
    reads=lambda params: [Read("at", text, ("datum", "number", "flag")) for text in params.at],
    floored=rates_floored,
)
