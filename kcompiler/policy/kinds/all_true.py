"""A flag at each matched place → all of them measured and true, and at least as many as demanded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from kcompiler.policy import path
from kcompiler.policy.datum import BadDatum, read
from kcompiler.policy.kind import Closed, Judged, Kind, PathTexts, Read, broken, enough, lacking, reachable, worst


class Params(Closed):
    """`at` is a path into the report's data that leads to flags, or several."""

    at: PathTexts
    min_matches: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _can_be_met(self) -> Params:
        reachable(self.at, self.min_matches)
        return self


def _flag(match: path.Match) -> Judged:
    if match.missing:
        return lacking(match.missing, match.pointer)
    try:
        datum = read(match.value)
    except BadDatum as reason:
        return broken(str(reason), match.pointer)
    if datum.tag == "unavailable":
        return lacking(f"unavailable: {datum.reason}", match.pointer)
    if datum.flag is None:
        return broken("not a flag", match.pointer)
    if datum.tag != "measured":
        return lacking(f"{datum.tag}, not measured", match.pointer)
    word = "true" if datum.flag else "false"
    return Judged(
        word="pass" if datum.flag else "fail",
        reason=f"is {word}",
        pointer=match.pointer,
        observed=word,
        threshold="true",
    )


def judge(params: Params, report: Mapping[str, Any], _expect: object, _other: object) -> Judged:
    matches = [match for text in params.at for match in path.walk(path.parse(text), report["data"], "/data")]
    return enough(worst(_flag(match) for match in matches), params.min_matches)


KIND = Kind(
    name="all_true",
    version=1,
    params=Params,
    judge=judge,
    reads=lambda params: [Read("at", text, ("flag", "datum")) for text in params.at],
)
