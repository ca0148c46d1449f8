"""A claim beside what its anchor leads to → what is wrong with it, or nothing. Decimal arithmetic, no float."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from kcompiler.claims.evidence import Found, Unresolved, decimal_of, number_of
from kcompiler.claims.extract import OPPOSITE, Claim, numerals
from kcompiler.claims.policy import Policy, Relation
from kcompiler.policy.datum import RATE

HOLDS: Mapping[Relation, Callable[[Decimal, Decimal], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}


def wrong(claim: Claim, found: Found, policy: Policy) -> str:
    """Why a number, share, interval or comparison does not say what the evidence says. Raises Unresolved for evidence
    that holds no such thing, and for what a rule asks: a looser bound would be true of it as well."""
    if found.asked and claim.compare:
        raise Unresolved("this is what a rule asks, so that it is quoted and not met: write `evidence: = FILE#key`")
    if found.lines:
        return _in_record(claim, found, policy)
    _readable(claim, found)
    if claim.kind == "share":
        return _share(claim, found, policy)
    if claim.kind == "interval":
        return _interval(claim, found, policy)
    return _number(claim, found.number, found.unit, policy)


#: words that say a difference, which is what stands where two were compared over the same items
APART = re.compile(
    r"(?:.* by|(?:percentage )?(?:less|more|fewer|better|worse|higher|lower|faster|slower|smaller|larger).*)\Z"
)


def _readable(claim: Claim, found: Found) -> None:
    """Raises Unresolved for a number that a word beside it makes another one."""
    difference = "paired" in str(found.datum.get("interval", ""))
    if claim.changed and not (difference and APART.match(claim.changed)):
        raise Unresolved(f"`{claim.changed}` makes it another number: write the number that stands there, without it")


def quoted(claim: Claim, found: Found, policy: Policy) -> str:
    """Why a number, or a share as its quotient, is not exactly what stands in the evidence. A comparison is to say what
    the rule asks, or the opposite: `at most 0.1` passes, or what is `more than 0.1` does not. Raises Unresolved."""
    if found.lines or claim.kind == "interval":
        raise Unresolved("`=` compares one number with one value: FILE#dotted.key")
    if claim.unclear:
        raise Unresolved("a denial stands close before the comparison: say `at most` or `at least`")
    if not APART.match(claim.changed):
        _readable(claim, found)
    written = [decimal_of(number) for number in claim.numbers]
    if claim.kind == "share":
        stated, exact = written[0], found.number * written[1]
    else:
        size, of_data = _sizes(claim.unit, found.unit, policy)
        stated, exact = written[0] * size, found.number * of_data
    asked = f"{found.op + ' ' if found.op else ''}{found.number:f}{' ' + found.unit if found.unit else ''}"
    meant = {found.op, OPPOSITE.get(found.op)}
    return "" if stated == exact and not (claim.compare and found.op and claim.compare not in meant) else asked


def agrees(written: str, size: Decimal, value: Decimal) -> bool:
    """Whether a written numeral, times the size of its unit, is the value rounded to the digits written.

    `1e2` is written to the unit and not to the hundred, and nothing but zero is `0`: else coarse numerals say anything.
    """
    number = decimal_of(written)
    exponent = min(int(number.as_tuple().exponent), 0)
    if not number and not exponent:
        return not value
    return abs(number * size - value) <= Decimal(1).scaleb(exponent) * size / 2


def nears(written: str, size: Decimal, value: Decimal, policy: Policy) -> bool:
    """Whether a numeral behind `~` is the value rounded to its last digit that is no zero, and not off by more than
    what is written as `about` may be: `~90` is 91.4, and `~99` is not 91."""
    number = decimal_of(written)
    exponent = int(number.as_tuple().exponent)
    if exponent >= 0 and number * size != 1:  # nor is it all, where it is not
        exponent = int(number.normalize().as_tuple().exponent)
    off = abs(number * size - value)
    return (
        bool(number)
        and off <= Decimal(1).scaleb(exponent) * size / 2
        and off <= Decimal(str(policy.about)) * abs(value)
    )


def _sizes(written: str, of_data: str, policy: Policy) -> tuple[Decimal, Decimal]:
    """Sizes of the written and of the report's unit. Raises Unresolved for units of different dimensions, and where
    one side has a unit that the other leaves out; only a ratio, and a count of things that are named, need none."""
    mine = policy.unit(written) if written else None
    theirs = policy.data_unit(of_data) if of_data else None
    if mine and (theirs is None or theirs[0] != mine[0]):
        raise Unresolved(f"it is in {of_data or 'no unit'}, and `{written}` is no such unit")
    if not mine and theirs and theirs[0] != "ratio":
        raise Unresolved(f"it is in {of_data}, and no such unit is written behind the number")
    return (mine[1] if mine else Decimal(1)), (theirs[1] if theirs else Decimal(1))


def _number(claim: Claim, value: Decimal, unit: str, policy: Policy) -> str:
    size, of_data = _sizes(claim.unit, unit, policy)
    exact, stated = value * of_data, decimal_of(claim.numbers[0]) * size
    said = f"{value:f}{' ' + unit if unit else ''}"
    if claim.unclear:
        raise Unresolved("a denial stands close before the comparison: say `at most` or `at least`")
    if claim.compare:
        return "" if HOLDS[claim.compare](exact, stated) else f"{said}: not {claim.compare} what is written"
    if claim.about:
        near = abs(exact - stated) <= Decimal(str(policy.about)) * abs(exact)
        return "" if near else f"{said}, which is not about that"
    if claim.near and nears(claim.numbers[0], size, exact, policy):
        return ""
    if claim.exact:
        return "" if exact == stated else f"{said}, which is not exactly that"
    if unit == RATE and stated in (0, 1):
        # all and none are said of all and none: 996 of 1000 is not 100 %
        return "" if exact == stated else said
    return "" if agrees(claim.numbers[0], size, exact) else said


def _share(claim: Claim, found: Found, policy: Policy) -> str:
    if claim.unclear:
        raise Unresolved("a denial stands close before the comparison: say `at most` or `at least`")
    if "k" not in found.datum or "n" not in found.datum:
        raise Unresolved("what stands there has no counts `k` and `n`")
    k, n = number_of(found.datum["k"]), number_of(found.datum["n"])
    mine = (decimal_of(claim.numbers[0]), decimal_of(claim.numbers[1]))
    if claim.compare:
        # of as many: `below 19 of 20` says nothing about 900 of 1000
        return "" if n == mine[1] and HOLDS[claim.compare](k, mine[0]) else f"{k} of {n}"
    return "" if mine == (k, n) else f"{k} of {n}"


def _interval(claim: Claim, found: Found, policy: Policy) -> str:
    if "low" not in found.datum or "high" not in found.datum:
        raise Unresolved("what stands there has no interval")
    ends = [number_of(found.datum[name]) for name in ("low", "high")]
    # the unit stands behind the value that an interval belongs to, seldom behind its ends
    size, of_data = _sizes(claim.unit, found.unit, policy) if claim.unit else (Decimal(1), Decimal(1))
    right = all(agrees(text, size, end * of_data) for text, end in zip(claim.numbers, ends, strict=True))
    if claim.word and "confidence" in found.datum:
        right = right and decimal_of(claim.word) == number_of(found.datum["confidence"]) * 100
    return "" if right else f"[{ends[0]:f}, {ends[1]:f}] at {found.datum.get('confidence', 'no')} confidence"


def numbers_of(found: Found, policy: Policy) -> list[Decimal]:
    """Of how many items evidence is: the `n` of a datum, or any number of a recorded line; nothing where that is not
    said."""
    if found.lines:
        return [decimal_of(number) for one in numerals(found.lines[0], policy) for number in one.numbers]
    return [number_of(found.datum["n"])] if "n" in found.datum else []


def _in_record(claim: Claim, found: Found, policy: Policy) -> str:
    """A claim beside those of a recorded line: the same counts, ends and level, or the same number in such a unit."""
    if len(found.lines) != 1:
        raise Unresolved("a record needs the words of one line: FILE#words")
    there = [one for one in numerals(found.lines[0], policy) if one.numbers]
    if claim.compare and claim.kind != "share":
        if len(there) != 1 or len(there[0].numbers) != 1:
            raise Unresolved("the line has more than one number")
        recorded = decimal_of(there[0].numbers[0]) * _size(claim, there[0], policy)
        return _number(replace(claim, unit=""), recorded, "", policy)
    if claim.compare:
        raise Unresolved("a share of a record is said as it stands there")
    return "" if any(_same(claim, one, policy) for one in there) else f"`{found.lines[0].strip()[:120]}`"


def _same(claim: Claim, recorded: Claim, policy: Policy) -> bool:
    pair = ("share", "interval")
    if (claim.kind in pair or recorded.kind in pair) and claim.kind != recorded.kind:
        return False
    if (claim.word and claim.word != recorded.word) or (claim.changed and claim.changed != recorded.changed):
        return False
    try:
        size = _size(claim, recorded, policy)
    except Unresolved:
        return False
    mine, theirs = ([decimal_of(number) for number in one.numbers] for one in (claim, recorded))
    return mine == [number * size for number in theirs]


def _size(claim: Claim, recorded: Claim, policy: Policy) -> Decimal:
    """Size of a recorded unit in the one that is claimed. Raises Unresolved where they are of different kinds."""
    one, other = policy.unit(claim.unit), policy.unit(recorded.unit)
    if (one or ("",))[0] != (other or ("",))[0]:
        raise Unresolved(f"it is in {recorded.unit or 'no unit'}, and not in {claim.unit or 'none'}")
    return other[1] / one[1] if one and other else Decimal(1)
