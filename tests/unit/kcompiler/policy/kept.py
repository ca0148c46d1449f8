"""Reports that are made once: many tests begin with the same good one and damage their own copy of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

Report = dict[str, Any]
_PLAIN = (int, float, str, bool, type(None))


def kept(make: Callable[..., Report]) -> Callable[..., Report]:
    """A maker of reports that answers the same question once, and everybody with a copy; whoever asks with more than
    numbers and words is answered anew."""
    made: dict[Any, Report] = {}

    @wraps(make)
    def ask(*args: Any, **named: Any) -> Report:
        given = (*args, *named.values())
        if not all(isinstance(one, _PLAIN) for one in given):
            return make(*args, **named)
        # 1 and True are the same key, and not the same question
        key = (
            *((type(one), one) for one in args),
            *sorted((name, type(one).__name__, one) for name, one in named.items()),
        )
        if key not in made:
            made[key] = make(*args, **named)
        return copy.deepcopy(made[key])

    return ask


class Late(Mapping[str, Report]):
    """Reports by the step that leaves them, each made when somebody first reads it: collecting tests makes none."""

    def __init__(self, makers: Mapping[str, Callable[[], Report]]) -> None:
        self._makers, self._made = dict(makers), dict[str, Report]()

    def __getitem__(self, step: str) -> Report:
        if step not in self._made:
            self._made[step] = self._makers[step]()
        return self._made[step]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
