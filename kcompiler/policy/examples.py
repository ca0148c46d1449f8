"""A kind of report → whole reports of that kind from the cases of shipped rules, each once."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from kcompiler import assets
from kcompiler.policy import cases, path, shape
from runtime.contract import strict_json


@lru_cache(maxsize=4)
def of(kind: str) -> tuple[Mapping[str, Any], ...]:
    """Reports of the schema and of shipped cases, the passing ones first; a few of the others are no evidence, which
    the judge says."""
    return tuple(_found(kind))


def called(report: Mapping[str, Any], kind: str, texts: Iterable[str]) -> Mapping[str, Any]:
    """The report with names that its schema leaves open as these paths have them: what a plan of the author's calls its
    steps stands in no shipped example. The same report where it has them already."""
    made: dict[str, Any] = copy.deepcopy(dict(report))
    for text in texts:
        node: Any = made["data"]
        start = shape.of_report(kind)
        places = [] if start is None else [start]
        for step in path.parse(text).steps:
            fixed = {name for one in shape.parts(places) for name in one.node.get("properties", ())}
            found = shape.follow(path.Path("", (step,)), places)
            if not isinstance(step, path.Field) or not isinstance(node, dict) or isinstance(found, shape.Lost):
                break
            other = sorted(set(node) - fixed)
            if step.name not in node and step.name not in fixed and other:
                node[step.name] = node.pop(other[0])
            node, places = node.get(step.name), found
    return made if made != report else report


def _found(kind: str) -> Iterator[Mapping[str, Any]]:
    seen: set[str] = set()
    # a report that no shipped rule is about stands in its schema
    yield from shape.examples(kind)
    folder = assets.folder("policies")
    first = sorted(folder.rglob("pass*.json"))
    for file in [*first, *sorted(one for one in folder.rglob("*.json") if one not in set(first))]:
        report = _report(file, kind)
        text = json.dumps(report, sort_keys=True)
        if report is not None and text not in seen:
            seen.add(text)
            yield report


def _report(file: Any, kind: str) -> Mapping[str, Any] | None:
    """The report of a case, if it is one of this kind. The text is looked at first: most are long, and of another."""
    text, whole = file.read_bytes(), file.with_name("pass.json")
    named = f'"kind": "{kind}"'.encode()
    if not any(part in text or (whole.is_file() and part in whole.read_bytes()) for part in (named, b'"like": ')):
        return None
    try:
        report = cases.read(file).report if file.name != "baseline.json" else strict_json.loads(text)
    except (OSError, ValueError):
        return None
    return report if isinstance(report, Mapping) and report.get("kind") == kind else None
