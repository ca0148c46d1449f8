"""Values → JSON for programs: one object per line, keys sorted, so that two runs can be compared byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from kcompiler.diagnostic import Diagnostic


def diagnostics(found: Iterable[Diagnostic]) -> str:
    """One line per diagnostic, in the order given. Lines and columns count from 1, offsets from 0, all in characters;
    ends are exclusive; `line` 0 is the file as a whole."""
    return "".join(_line(asdict(item)) for item in found)


def _line(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"
