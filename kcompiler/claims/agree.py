"""A claim beside what its anchor leads to → what is wrong with it, or nothing. Decimal arithmetic, no float."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal

from kcompiler.claims.evidence import NUMERAL, Found, Unresolved, decimal_of, number_of
from kcompiler.claims.extract import Claim
from kcompiler.claims.policy import Policy, Relation

HOLDS: Mapping[Relation, Callable[[Decimal, Decimal], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}


def wrong(claim: Claim, found: Found, policy: Policy) -> str:
    """Why a number, share, interval or comparison does not say what the evidence says. Raises Unresolved for evidence
    that holds no such thing."""
    if found.lines:
        return _in_record(claim, found, policy)
    if claim.kind == "share":
        return _share(claim, found)
    if claim.kind == "interval":
        return _interval(claim, found, policy)
    return _number(claim, found.number, found.unit, policy)


def agrees(written: str, size: Decimal, value: Decimal) -> bool:
    """Whether a written numeral, times the size of its unit, is the value rounded to the digits written."""
    exponent = decimal_of(written).as_tuple().exponent
    step = Decimal(1).scaleb(int(exponent)) * size
    return abs(decimal_of(written) * size - value) <= step / 2


def _sizes(written: str, of_data: str, policy: Policy) -> tuple[Decimal, Decimal]:
    """Sizes of the written and of the report's unit. Raises Unresolved for units of different dimensions."""
    mine = policy.unit(written) if written else None
    theirs = policy.data_unit(of_data) if of_data else None
    if mine and of_data:
        if theirs is None or theirs[0] != mine[0]:
            raise Unresolved(f"it is in {of_data}, and `{written}` is no such unit")
        return mine[1], theirs[1]
    return (mine[1] if mine else Decimal(1)), Decimal(1)


def _number(claim: Claim, value: Decimal, unit: str, policy: Policy) -> str:
    size, of_data = _sizes(claim.unit, unit, policy)
    exact, stated = value * of_data, decimal_of(claim.numbers[0]) * size
    said = f"{value:f}{' ' + unit if unit else ''}"
    if claim.compare:
        return "" if HOLDS[claim.compare](exact, stated) else f"{said}: not {claim.compare} what is written"
    if claim.about:
        near = abs(exact - stated) <= Decimal(str(policy.about)) * abs(exact)
        return "" if near else f"{said}, which is not about that"
    return "" if agrees(claim.numbers[0], size, exact) else said


def _share(claim: Claim, found: Found) -> str:
    if "k" not in found.datum or "n" not in found.datum:
        raise Unresolved("what stands there has no counts `k` and `n`")
    k, n = number_of(found.datum["k"]), number_of(found.datum["n"])
    return "" if (decimal_of(claim.numbers[0]), decimal_of(claim.numbers[1])) == (k, n) else f"{k} of {n}"


def _interval(claim: Claim, found: Found, policy: Policy) -> str:
    if "low" not in found.datum or "high" not in found.datum:
        raise Unresolved("what stands there has no interval")
    ends = [number_of(found.datum[name]) for name in ("low", "high")]
    size, of_data = _sizes(claim.unit, found.unit, policy)
    right = all(agrees(text, size, end * of_data) for text, end in zip(claim.numbers, ends, strict=True))
    if claim.word and "confidence" in found.datum:
        right = right and decimal_of(claim.word) == number_of(found.datum["confidence"]) * 100
    return "" if right else f"[{ends[0]:f}, {ends[1]:f}] at {found.datum.get('confidence', 'no')} confidence"


def _in_record(claim: Claim, found: Found, policy: Policy) -> str:
    """Of a recorded line the written numerals themselves are looked for; a comparison needs one number alone."""
    if len(found.lines) != 1:
        raise Unresolved("a record needs the words of one line: FILE#words")
    there: list[str] = NUMERAL.findall(found.lines[0])
    if claim.compare and len(there) != 1:
        raise Unresolved("the line has more than one number")
    if claim.compare:
        return _number(claim, decimal_of(there[0]), "", policy)
    known = {decimal_of(one) for one in there}
    return "" if all(decimal_of(one) in known for one in claim.numbers) else f"`{found.lines[0].strip()[:120]}`"
