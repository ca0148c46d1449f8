"""Names that differ only by numbers or by the cell of a sweep → one row with a count: nine read like one."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

_NUMBER = re.compile(r"\d+")
#: what tells the cells of a sweep apart: `@recipe=int8,seed=2`
_LABEL = re.compile(r"(?<==)[^,]+")
T = TypeVar("T")


def pattern(name: str) -> str:
    """A name with every number and every value of a sweep as `*`: `evaluate-64@recipe=int8` → `evaluate-*@recipe=*`."""
    step, mark, cell = name.partition("@")
    return _NUMBER.sub("*", step) + mark + _LABEL.sub("*", cell)


def fold(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Items with equal keys together, each group where its first item stood."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def label(names: Sequence[str]) -> str:
    """What a group of names is called: itself, or what they share and how many they are; each form of those that share
    nothing of the kind."""
    forms = [_of_one_form(group) for group in fold(names, pattern)]
    return ", ".join(forms)


def _of_one_form(names: Sequence[str]) -> str:
    """The same of names of one form."""
    return names[0] if len(names) == 1 else f"{pattern(names[0])} ×{len(names)}"
