"""Cobertura's XML, as coverage.py, gcovr and others write it → lines and branches that the tests reached.

Counted again from the lines: what the head of the file says is compared with that, and decides nothing.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element

from runtime.contract import report as facts
from runtime.contract.ready.form import Unreadable, count, xml

_TAKEN = re.compile(r"\s*[0-9.]+%\s*\((\d+)/(\d+)\)\s*")


def read(data: bytes) -> dict[str, Any]:
    """Rates of lines and branches. Raises Unreadable: no Cobertura, or one whose head contradicts its lines."""
    root = xml(data)
    if root.tag != "coverage":
        raise Unreadable(f"is no Cobertura file: it begins with <{root.tag}>, not with <coverage>")
    lines = [line for one in root.iter("class") for group in one.findall("lines") for line in group.findall("line")]
    reached, branches = sum(_hits(line) > 0 for line in lines), [_branches(line) for line in lines]
    taken, there = sum(one for one, _ in branches), sum(one for _, one in branches)
    for name, counted in (
        ("lines-valid", len(lines)),
        ("lines-covered", reached),
        ("branches-valid", there),
        ("branches-covered", taken),
    ):
        said = count(root, name)
        if said is not None and said != counted:
            raise Unreadable(f"contradicts itself: it says {name}={said}, and its lines make {counted}")
    return {
        "lines": facts.rate(reached, len(lines)),
        "branches": facts.rate(taken, there) if there else facts.unavailable("no branch was measured", "ratio"),
        "revisions": [],
    }


def _hits(line: Element) -> int:
    hits = count(line, "hits")
    if hits is None:
        raise Unreadable(f"has a line {line.get('number', '')} that does not say how often it was reached")
    return hits


def _branches(line: Element) -> tuple[int, int]:
    """(taken, there) of a line."""
    if line.get("branch", "false").lower() != "true":
        return 0, 0
    found = _TAKEN.fullmatch(line.get("condition-coverage", ""))
    if found is None:
        raise Unreadable(
            f"has a branch at line {line.get('number', '')} that does not say which of its ways were taken"
        )
    taken, there = int(found[1]), int(found[2])
    if taken > there:
        raise Unreadable(f"has a branch at line {line.get('number', '')} of which {taken} of {there} ways were taken")
    return taken, there
