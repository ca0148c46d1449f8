"""Names that differ only by numbers → one row with a count, so that a sweep of nine reads like one step."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

_NUMBER = re.compile(r"\d+")
T = TypeVar("T")


def pattern(name: str) -> str:
    """A name with every number in it as `*`: `evaluate-64-seed7` → `evaluate-*-seed*`."""
    return _NUMBER.sub("*", name)


def fold(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Items with equal keys together, each group where its first item stood."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def label(names: Sequence[str]) -> str:
    """What a group of names is called: itself, or what they share and how many they are."""
    return names[0] if len(names) == 1 else f"{pattern(names[0])} ×{len(names)}"
