"""A report's environment, texts and tags → somebody measured this, nobody made it up.

Refuses what the null backend marks as forged, a report without a backend, placeholder texts, an empty report and,
at the places of `measured`, every datum that is not a measurement (caws-and-origin.md, D4 and D15: residency invented
from timing, fingerprints that are null, placeholder and skip counted as pass).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import Field

from kcompiler.policy import path
from kcompiler.policy.datum import BadDatum, read
from kcompiler.policy.kind import Closed, Judged, Kind, PathText, Read, broken, lacking, worst

#: Whole texts that stand where something real should (trimmed, any case), and how such texts begin.
_PLACEHOLDER = re.compile(
    r"\s*(tba|xxx+|n/?a|dummy|mock(ed)?|fake|stub|change-?me|not[ _]?implemented|\?+|\.\.\.)\s*\Z"
    r"|\s*(todo|tbd|fixme|placeholder|lorem ipsum)\b",
    re.IGNORECASE,
)


class Params(Closed):
    """`measured` lists paths at which only measurements are accepted; `quoted` the names of fields whose texts are
    quoted from a model or from data, and may say anything."""

    measured: list[PathText] = Field(default_factory=list)
    quoted: list[str] = Field(default_factory=list)


def _placeholders_in(node: Mapping[str, Any] | list[Any], quoted: list[str]) -> Iterator[tuple[str, str]]:
    """Where below the node a placeholder stands, and its text. Only then is a pointer written: reports are long."""
    named: Iterable[tuple[str | int, Any]] = enumerate(node) if isinstance(node, list) else node.items()
    for name, item in named:
        if name in quoted:
            continue
        if isinstance(item, str):
            if _PLACEHOLDER.match(item):
                yield f"/{path.escape(str(name))}", item
        elif isinstance(item, (Mapping, list)):
            for below, text in _placeholders_in(item, quoted):
                yield f"/{path.escape(str(name))}{below}", text


def _environment(environment: Mapping[str, Any]) -> Judged:
    forged, backend = environment.get("forged"), environment.get("backend")
    if forged is not False:
        return Judged(
            word="fail",
            reason="the report is forged" if forged is True else "the report does not say that it is not forged",
            pointer="/environment/forged",
            observed=str(forged).lower(),
            threshold="false",
        )
    if not isinstance(backend, str) or backend in ("", "null", "none"):
        return Judged(
            word="fail", reason="no real backend made it", pointer="/environment/backend", observed=str(backend)
        )
    return Judged(word="pass", reason=f"made by backend {backend}", pointer="/environment", observed=backend)


def _placeholders(report: Mapping[str, Any], quoted: list[str]) -> Iterator[Judged]:
    for section in ("subject", "environment", "data"):
        for pointer, text in _placeholders_in(report[section], quoted):
            yield Judged(
                word="fail",
                reason="a placeholder stands here",
                pointer=f"/{section}{pointer}",
                observed=text.strip(),
            )


def _tag(match: path.Match) -> Judged:
    if match.missing:
        return lacking(match.missing, match.pointer)
    try:
        tag = read(match.value).tag
    except BadDatum as reason:
        return broken(str(reason), match.pointer)
    if tag != "measured":
        return lacking(f"{tag}, not measured", match.pointer)
    return Judged(word="pass", reason=tag, pointer=match.pointer, observed=tag)


def judge(params: Params, report: Mapping[str, Any], _expect: object, _other: object) -> Judged:
    found = [_environment(report["environment"]), *_placeholders(report, params.quoted)]
    if not report["data"]:
        found.append(lacking("the report has no data", "/data"))
    for text in params.measured:
        found += [_tag(match) for match in path.walk(path.parse(text), report["data"], "/data")]
    return worst(found)


KIND = Kind(
    name="genuine",
    version=1,
    params=Params,
    judge=judge,
    reads=lambda params: [Read("measured", text, ("number", "flag", "datum")) for text in params.measured],
    sees_forged=True,
)
