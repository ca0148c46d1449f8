"""Lines of a model's answers → the claims in each, held against what the item's own tools gave.

A line has `output` and, in `evidence`, tool → what it gave. An answer need not have anchors: a number in it is borne
out when some number that a tool gave agrees with it, in its unit or as it is. One with an anchor
(`[evidence: weather#temperature]`) is compared with the value there, and with nothing else. A word beside a number
counts: `12 million` is 12000000, `minus 12` is -12, and `not 12` is nothing that a tool gave. Days and times of day are
compared with the days and times that stand in what a tool gave, and a day's parts bear out nothing but a day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kcompiler.claims import extract
from kcompiler.claims.agree import APART, HOLDS, agrees, nears, wrong
from kcompiler.claims.check import Checked
from kcompiler.claims.evidence import Unresolved, decimal_of, in_json, number_of
from kcompiler.claims.extract import Claim
from kcompiler.claims.policy import Policy
from kcompiler.claims.stated import NONE
from kcompiler.diagnostic import Diagnostic
from runtime.contract import strict_json

_DATE = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)(?!\d)")
_CLOCK = re.compile(r"(?<![\d:.])([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d)?(?![\d:]\d|\d)(?!\s*(?:odds|ratio)\b)")
_MONTH = re.compile(
    r"\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?|year|day|date)\b|\b(?:in|since|until|by)\s+(?=\d{4}\b)",
    re.IGNORECASE,
)
#: a word beside a number → what it makes of it
_TIMES: dict[str, Decimal | int] = {
    "hundred": 100,
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "dozen": 12,
    "lakh": 100_000,
}
_TIMES |= {
    "crore": 10_000_000,
    "trillion": 10**12,
    "twice": 2,
    "double": 2,
    "thrice": 3,
    "triple": 3,
    "half": Decimal("0.5"),
}
_TIMES |= {"minus": -1, "negative": -1, "plus": 1}
#: how far around a number a month makes it a part of a day
_NEAR = 16
#: minimum and a country
_OTHER = ("min", "us")
_HELP = "let the answer say only what a tool gave, or record what the tool gave in `evidence`"


class BadLine(ValueError):
    """A line that is no answer; the message says why."""


@dataclass(frozen=True)
class _Given:
    """What an item's tools gave: numbers with their unit, and the days and times of day in their texts."""

    numbers: tuple[tuple[Decimal, str], ...]
    days: frozenset[tuple[int, int, int]]
    times: frozenset[tuple[int, int]]


def check_answers(file: str, text: str, *, policy: Policy) -> Checked:
    """Every line of a JSON Lines text; one that cannot be read is a finding, and the others are judged."""
    found: list[Diagnostic] = []
    anchored = wrongly = answers = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        answers += 1
        try:
            output, evidence = _read(line)
        except BadLine as reason:
            wrongly += 1
            found.append(
                Diagnostic(
                    code="KC5611", summary=f"this line is no answer that can be judged: {reason}",
                    file=file, line=number, column=1, end_line=number, end_column=2, label="nothing in it was compared",
                    help='write one JSON object a line: {"output": "TEXT", "evidence": {"TOOL": RESULT}}',
                )
            )  # fmt: skip
            continue
        for bad, start, code, why in _judged(output, evidence, policy):
            if not why:
                anchored += 1
                continue
            wrongly += 1
            found.append(
                Diagnostic(
                    code=code, summary=f"`{bad}` {why}", file=file, line=number, column=1, end_line=number,
                    end_column=2, label=f"character {start + 1} of its `output`", help=_HELP,
                )
            )  # fmt: skip
    return Checked(tuple(found), anchored, wrong=wrongly, answers=answers)


def _read(line: str) -> tuple[str, Mapping[str, Any]]:
    try:
        row = strict_json.loads(line)
    except ValueError as reason:
        raise BadLine(str(reason)) from None
    if not isinstance(row, dict) or not isinstance(row.get("output"), str):
        raise BadLine("no text stands under `output`")
    evidence = row.get("evidence", {})
    if not isinstance(evidence, dict):
        raise BadLine("`evidence` is no map of tools")
    return str(row["output"]), evidence


def _judged(output: str, evidence: Mapping[str, Any], policy: Policy) -> Iterator[tuple[str, int, str, str]]:
    """Claim, its place, the code and what is wrong with it ("" for nothing)."""
    document = extract.document(output, policy, spoken=True)
    given = _Given(tuple(_numbers(evidence, policy)), *_days_and_times(evidence))
    for block in document.blocks:
        rest = [claim for claim in block.claims if claim.kind not in ("relation", "status")]
        for claim in block.claims:
            if claim.kind == "status" and NONE.fullmatch(claim.said):
                # `no errors`: a tool gave 0, or a list of nothing
                why = "" if _nothing(evidence) else "is nothing that a tool gave: no 0 and no empty list is there"
                yield claim.said, claim.source[0], "KC5610", why
            elif claim.kind in ("relation", "status"):
                code = "KC5604" if claim.kind == "relation" else "KC5606"
                yield (
                    claim.said,
                    claim.source[0],
                    code,
                    f"is a {claim.kind}, which no result of a tool is compared with",
                )
        for anchor in block.anchors:
            mine = [claim for claim in rest if claim.end <= anchor.start]
            if not mine:
                yield anchor.text, anchor.source[0], "KC5601", "bears out nothing: no number stands before it"
                continue
            rest.remove(mine[-1])
            said = mine[-1].said
            try:
                tool, _, path = anchor.text.partition("#")
                if tool not in evidence:
                    raise Unresolved(f"no tool `{tool}` was asked")
                why = wrong(mine[-1], in_json(evidence[tool], path), policy)
                yield said, mine[-1].source[0], "KC5603", f"is not what `{anchor.text}` says: {why}" if why else ""
            except Unresolved as reason:
                yield said, mine[-1].source[0], "KC5602", f"`{anchor.text}` leads nowhere: {reason}"
        for claim in rest:
            why = _unborne(claim, block.text, given, policy)
            yield claim.said, claim.source[0], "KC5610", why
    yield from _calendar(output, given)
    for start, _, word in document.banned:
        yield word, start, "KC5605", "is a superlative that no evidence bears out"


def _nothing(value: Any) -> bool:
    """Whether a 0 or an empty list stands in what tools gave."""
    if isinstance(value, Mapping | list):
        inner = value.values() if isinstance(value, Mapping) else value
        return value == [] or any(_nothing(item) for item in inner)
    return not isinstance(value, bool | str) and value == 0


def _unborne(claim: Claim, text: str, given: _Given, policy: Policy) -> str:
    """Why no tool gave what an answer says, or nothing."""
    of_day = _MONTH.search(text[max(0, claim.start - _NEAR) : claim.end + _NEAR]) is not None
    known = [*given.numbers, *((Decimal(part), "") for day in given.days for part in day if of_day)]
    times = Decimal(1)
    # `rose by 12` may be what a tool says of a change
    if claim.changed and not APART.match(claim.changed):
        factor = _factor(claim.changed)
        if factor is None:
            return f"is no number that a tool gave: `{claim.changed}` stands beside it"
        times = Decimal(factor)
    try:
        said = [decimal_of(one) for one in claim.numbers]
        if claim.kind == "share" and said[0] > said[1]:
            return "is more than the whole"
        if claim.compare:
            lost = [one for one in said if not _holds(claim, one * times, known, policy)]
        else:
            lost = [
                value for value, numeral in zip(said, claim.numbers, strict=True)
                if not _given(f"{value * times:f}" if times != 1 else numeral, claim.unit, known, policy, claim.near)
            ]  # fmt: skip
    except Unresolved as reason:
        return f"is no number that could be compared: {reason}"
    return f"is no number that a tool gave ({', '.join(f'{one * times:f}' for one in lost)})" if lost else ""


def _factor(word: str) -> Decimal | int | None:
    """What a word beside a number makes of it; None for one that makes it no other number that could be named."""
    return _TIMES.get(word, _TIMES.get(word.removesuffix("s")))


def _holds(claim: Claim, stated: Decimal, given: Sequence[tuple[Decimal, str]], policy: Policy) -> bool:
    """Whether a bound that an answer says is true of a number close to it that a tool gave."""
    assert claim.compare is not None
    dimension, size = policy.unit(claim.unit) or ("", Decimal(1))
    for value, unit in given:
        known = policy.unit(unit)
        if known and claim.unit and known[0] != dimension:
            continue
        one, other = (value * known[1], stated * size) if known and claim.unit else (value, stated)
        if HOLDS[claim.compare](one, other) and abs(one - other) <= Decimal(str(policy.about)) * abs(one):
            return True
    return False


def _calendar(text: str, given: _Given) -> Iterator[tuple[str, int, str, str]]:
    """Days and times of day in an answer that stand in nothing that a tool gave."""
    for found in _DATE.finditer(text):
        year, month, day = (int(part) for part in found.groups())
        why = "" if (year, month, day) in given.days else "is no day that a tool gave"
        yield found[0], found.start(), "KC5610", why
    for found in _CLOCK.finditer(text):
        known = (int(found[1]), int(found[2])) in given.times
        # `9:30 pm` is 21:30
        known |= (int(found[1]) + 12, int(found[2])) in given.times and bool(
            re.match(r"\s*p\.?m", text[found.end() :], re.I)
        )
        yield found[0], found.start(), "KC5610", "" if known else "is no time that a tool gave"


def _days_and_times(value: Any) -> tuple[frozenset[tuple[int, int, int]], frozenset[tuple[int, int]]]:
    """Every day and time of day in the texts of a result."""
    days, times, waiting = set[tuple[int, int, int]](), set[tuple[int, int]](), [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            waiting += [*item.values(), *item]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str):
            days |= {(int(one[1]), int(one[2]), int(one[3])) for one in _DATE.finditer(item)}
            times |= {(int(one[1]), int(one[2])) for one in _CLOCK.finditer(item.replace("T", " "))}
    return frozenset(days), frozenset(times)


def _given(numeral: str, unit: str, given: Sequence[tuple[Decimal, str]], policy: Policy, near: bool) -> bool:
    """Whether a tool gave a number: one whose unit is known in that unit, another as it is or in the written one."""

    def says(size: Decimal, value: Decimal) -> bool:
        return agrees(numeral, size, value) or (near and nears(numeral, size, value, policy))

    dimension, size = policy.unit(unit) or ("", Decimal(1))
    for value, theirs in given:
        known = policy.unit(theirs)
        if known and unit:
            if known[0] == dimension and says(size, value * known[1]):
                return True
        elif says(Decimal(1), value) or (not known and says(size, value)):
            return True
    return False


def _numbers(value: Any, policy: Policy, unit: str = "") -> Iterator[tuple[Decimal, str]]:
    """Every number that a tool gave, in texts too, with the unit that stands behind it or in the name of its key."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, policy, _unit_of(str(key), policy) or unit)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, policy, unit)
    elif isinstance(value, str):
        for claim in extract.numerals(value, policy, glued=True):
            times = Decimal(_factor(claim.changed) or 1)
            for one in claim.numbers:
                with suppress(Unresolved):
                    yield decimal_of(one) * times, claim.unit
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield number_of(value), unit


def _unit_of(key: str, policy: Policy) -> str:
    """The unit that a key names: `minutes`, `time_ms`. One letter, or a word that is also another, names none."""
    words = re.split(r"[_\W]+", key)
    return next((word for word in words if len(word) > 1 and word in policy.units and word not in _OTHER), "")
