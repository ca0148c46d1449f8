"""Versions × ranges of them, and which known defects a conversion meets: those of coremltools that our code avoids."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from kcompiler import tables

_COMPARATOR = re.compile(r"(==|>=|<=|<|>)(.+)")
_VERSION = re.compile(r"(?P<release>[0-9]+(\.[0-9]+)*)(?P<early>\.?(dev|a|b|rc)[0-9]+)?")
_ORDER: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "==": lambda a, b: a == b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}


def _key(version: str, width: int = 6) -> tuple[int, ...]:
    """A version in order; what comes before a release (`9.1.dev1`) sorts below it. Unknown spellings sort lowest."""
    match = _VERSION.match(version)
    if match is None:
        return (-1,) * (width + 1)
    parts = [int(part) for part in match["release"].split(".")][:width]
    return (*parts, *[0] * (width - len(parts)), -1 if match["early"] else 0)


def within(version: str, span: str) -> bool:
    """Whether a version lies in a range such as `>=9.0,<9.1`."""
    found = [_COMPARATOR.fullmatch(part) for part in span.split(",")]
    return all(one is not None and _ORDER[one[1]](_key(version), _key(one[2])) for one in found)


def avoided(pins: Mapping[str, str]) -> list[str]:
    """Ids of the errata of coremltools, under these versions, that code of this project avoids: what a conversion is
    asked to record."""
    return sorted(
        one.id
        for one in tables.errata().errata
        if one.status == "avoided"
        and "coremltools" in one.toolchain
        and all(name in pins and within(pins[name], span) for name, span in one.toolchain.items())
    )
