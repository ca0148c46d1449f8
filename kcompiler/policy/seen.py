"""A report that remembers what was made of it: of a thousand rules about the same places each asks for it once.

What depends on the report and on few words of a rule, and not on its threshold, is kept beside the report for as long
as somebody holds it. A copy remembers nothing, for whoever copies a report means to change it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

Made = TypeVar("Made")


class Seen(dict[str, Any]):
    """The content of a report that nobody changes any more."""

    __slots__ = ("memory",)

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        #: (what makes it, of which words) → what it made
        self.memory: dict[Any, Any] = {}

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def kept(make: Callable[..., Made], report: Mapping[str, Any], *args: Hashable) -> Made:
    """`make(report, *args)`, remembered where the report can."""
    if not isinstance(report, Seen):
        return make(report, *args)
    if (make, args) not in report.memory:
        report.memory[make, args] = make(report, *args)
    made: Made = report.memory[make, args]
    return made
