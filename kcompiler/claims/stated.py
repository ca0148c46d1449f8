"""The words beside a number × the datum behind it → what they say of how it was had, and whether that is so.

`We measured 12.5 USD` is not borne out by an estimate, and an estimate says that it is one. `A significant gain of
0.02` needs a test that says so, or the interval of a difference that holds no zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from kcompiler.claims.clause import denied, sentence, significances
from kcompiler.claims.evidence import Found
from kcompiler.claims.policy import Policy
from kcompiler.policy.datum import fraction

_P = re.compile(r"\bp(?:[- ]?values?)?(?:\s+(?:is|of|at))?\s*[*_`]*\Z", re.IGNORECASE)
_P_NAMES = {"p", "p_value", "pvalue", "adjusted", "p_adjusted"}


@lru_cache(maxsize=8)
def _words(words: tuple[str, ...]) -> re.Pattern[str]:
    inner = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.compile(rf"\b(?:{inner})(?!\w)", re.IGNORECASE) if words else re.compile(r"(?!)")


def untold(text: str, start: int, end: int, context: Sequence[str], found: Found, policy: Policy) -> str:
    """Why the words around an estimate do not say that it is one, or nothing. The nearest word of its sentence that
    says how a number was had counts; of a cell also what stands first in its row and above it."""
    if found.datum.get("tag") != "estimated":
        return ""
    first, last = sentence(text, start, end)
    near: list[tuple[int, bool, str]] = []
    for words, estimate in ((policy.estimates, True), (policy.measurings, False)):
        for word in _words(tuple(words)).finditer(text, first, last):
            if not denied(text, first, word.start()):
                near.append((max(start - word.end(), word.start() - end), estimate, word[0]))
    if not near:
        for one in context:
            near += [(0, False, word[0]) for word in _words(tuple(policy.measurings)).finditer(one)]
            near += [(1, True, word[0]) for word in _words(tuple(policy.estimates)).finditer(one)]
    if not near:
        return "it is an estimate, and nothing beside it says so"
    _, estimate, said = min(near)
    return "" if estimate else f"it is an estimate, and `{said}` stands beside it"


def of_a_test(text: str, start: int, found: Found, target: str) -> bool:
    """Whether what is said of a `p` is borne out by the p of a test; true where no `p` is named."""
    if not _P.search(text, max(0, start - 30), start):
        return True
    named = set(re.split(r"[./#:]", target.lower())) & _P_NAMES
    return "test" in found.datum or bool(named) or bool(found.lines)


def insignificant(sides: Sequence[Found]) -> bool | None:
    """Whether the evidence of a number, or of the two sides of a relation, says that it is not significant; None where
    it says nothing of it: a rate's own interval is no test of a difference."""
    if len(sides) == 2:
        one, other = (_interval(side.datum) for side in sides)
        return None if one is None or other is None else not (one[0] > other[1] or other[0] > one[1])
    (found,) = sides
    if found.lines:
        said = {word for line in found.lines for _, _, word in significances(line)}
        return None if said not in ({"yes"}, {"no"}) else said == {"no"}
    datum = found.datum
    if "test" in datum and "alpha" in datum and isinstance(datum.get("significant"), bool):
        return not datum["significant"]
    ends = _interval(datum)
    kind, unit = str(datum.get("interval", "")), str(datum.get("unit", ""))
    if ends is None:
        return None
    if unit == "item/item" or "paired" in kind or {"wins", "losses"} <= datum.keys():
        return ends[0] <= 0 <= ends[1]
    return ends[0] <= 1 <= ends[1] if unit == "1" else None


def _interval(datum: Mapping[str, Any]) -> tuple[Fraction, Fraction] | None:
    low, high = fraction(datum.get("low")), fraction(datum.get("high"))
    return None if low is None or high is None else (low, high)
