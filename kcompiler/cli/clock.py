"""The clock of the verbs: what time it is where a rule of a plan asks for the day, and no time where none does.

A verdict that nothing dated speaks in is the same at any time, byte for byte; only a rule with `effective_on`, and a
waiver, make it depend on when it was given.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import Any


def now() -> str:
    """This second, as 2026-01-31T00:00:00Z."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def as_of(obligations: Iterable[Mapping[str, Any]], waivers: Collection[object] = ()) -> str | None:
    """The time to judge these at; None where no rule among them has a day from which on it blocks, and no waiver is at
    hand."""
    return now() if waivers or any(one.get("effective_on") for one in obligations) else None
