"""The words beside a number × the datum behind it → what they say of how it was had, and whether that is so.

`We measured 12.5 USD` is not borne out by an estimate, and an estimate says that it is one. `A significant gain of
0.02` needs a test that says so, or the interval of a difference that holds no zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from kcompiler.claims.clause import denied, sentence, significances
from kcompiler.claims.evidence import Found, decimal_of
from kcompiler.claims.extract import Block, Claim
from kcompiler.claims.policy import Policy
from kcompiler.policy.datum import fraction

#: a claim, the place of its evidence, and what stands there; of a relation both sides
Borne = tuple[Claim, str, tuple[Found, ...]]
#: claims that need no anchor of their own, and are judged by those of the numbers beside them
BESIDE = ("significance", "whole")
_TEST = (
    "name as evidence, in the same sentence, the test (`significant` with its `test` and `alpha`) or the interval of "
    "the difference, or leave the word out"
)
_ALL = (
    "name as evidence a verdict PASS, a datum with as many `k` as `n`, or in the same sentence that 0 failed; or say "
    "only how many pass"
)
#: a status that says that there is none of something
NONE = re.compile(r"(?:no|zero|not a single)\s+(?:known\s+)?(?P<a>[a-z]+)|(?P<b>[a-z]+):\s+none", re.IGNORECASE)
_FAILED = re.compile(r"\bFAIL|\b[1-9]\d*\s+(?:fail|error)|\bfail(?:ed|ures?)?\W+[1-9]", re.IGNORECASE)
_PASSED = re.compile(r"\bPASS|\bpassed\b|\b0\s+fail", re.IGNORECASE)
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


def unshown(block: Block, borne: Sequence[Borne]) -> Iterator[tuple[Claim, str, str]]:
    """What is called significant, and what is said of all of so many, that the evidence in its sentence does not show:
    each with why, and what helps. `borne` are the other claims of the block, each with its evidence."""
    for one in block.claims:
        if one.kind not in BESIDE:
            continue
        first, last = sentence(block.text, one.start, one.end)
        beside = [side for side in borne if first <= side[0].start < last]
        if one.kind == "significance":
            said = [_insignificant(sides) for _, _, sides in beside]
            yes = one.word != "no"
            if (beside or one.word == "yes") and yes not in [not no for no in said if no is not None]:
                untested = all(no is None for no in said)
                yield one, "no test stands behind it" if untested else "its evidence says the opposite", _TEST
            continue
        all_ = any(_of_all(*side) for side in beside if one.start <= side[0].start < one.end)
        if not all_ and not any(_of_failures(target) and sides[0].value == 0 for _, target, sides in beside):
            yield one, "nothing there says that none failed", _ALL


def _insignificant(sides: Sequence[Found]) -> bool | None:
    """Whether the evidence of a number, or of the two sides of a relation, says that it is not significant; None where
    it says nothing of it: a rate's own interval is no test of a difference."""
    if len(sides) == 2:
        one, other = (_interval(side.datum) for side in sides)
        return None if one is None or other is None else not (one[0] > other[1] or other[0] > one[1])
    (found,) = sides
    if found.lines:
        said = {word == "no" for line in found.lines for _, _, word in significances(line)}
        return said.pop() if len(said) == 1 else None
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


def _of_all(claim: Claim, _target: str, sides: Sequence[Found]) -> bool:
    """Whether the evidence of a count says that it is of all: a verdict that passed, `k` = `n`, a line without one
    that failed."""
    found = sides[0]
    if claim.kind == "share":
        return decimal_of(claim.numbers[0]) == decimal_of(claim.numbers[1])
    if found.lines:
        return not _FAILED.search(found.lines[0]) and _PASSED.search(found.lines[0]) is not None
    return found.kind == "verdict" or ("k" in found.datum and found.datum["k"] == found.datum.get("n"))


def is_none(claim: Claim, target: str, found: Found) -> bool:
    """Whether `no errors` is said of a count that is 0, and whose key says that it is one of them."""
    what = NONE.fullmatch(claim.said)
    if what is None or isinstance(found.value, bool) or found.value != 0:
        return False
    thing = (what["a"] or what["b"]).lower()[:4]
    return any(part.startswith(thing) for part in re.split(r"[./#:_-]", target.partition("#")[2].lower()))


def _of_failures(target: str) -> bool:
    return any(part.startswith(("fail", "error", "wrong")) for part in re.split(r"[./#:_-]", target.partition("#")[2]))


def _interval(datum: Mapping[str, Any]) -> tuple[Fraction, Fraction] | None:
    low, high = fraction(datum.get("low")), fraction(datum.get("high"))
    return None if low is None or high is None else (low, high)
