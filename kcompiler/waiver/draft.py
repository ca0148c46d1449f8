"""A violation that was judged → the text of a waiver for it, with blanks for what only people know."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from typing import Any

from kcompiler.policy.obligation import Waivable
from kcompiler.waiver.file import MENDED, REASONS, TOLD, Waiver

#: what a person has to fill in, in the order of the file
BLANKS = ("reason", "description", "mitigation", "author", "owner")
#: digits kept of a miss that has no end
_DIGITS = 6


def next_id(taken: Iterable[str]) -> str:
    """The first number that is free behind all that were given."""
    numbers = [int(found[1]) for name in taken if (found := re.match(r"WV-([0-9]+)", name))]
    return f"WV-{max(numbers, default=0) + 1:04d}"


def text(name: str, outcome: Mapping[str, Any], spec: str, report: str, terms: Waivable, today: str, days: int) -> str:
    """The file: `outcome` is that of the verdict on the plan called `spec`, `report` the digest of its report."""
    ends = (datetime.date.fromisoformat(today) + datetime.timedelta(days=min(days, terms.max_days))).isoformat()
    miss = magnitude(outcome["distance"])
    subject = [f"  spec: {json.dumps(spec)}", f"  steps: [{json.dumps(outcome['step'])}]"]
    if not miss:
        subject.insert(1, f"  report: {report}" if report else "")
    lines = [
        f"# {outcome['reason'].splitlines()[0]}" if outcome["reason"] else "",
        f"id: {name}",
        f"title: {json.dumps(outcome['title'], ensure_ascii=False)}",
        f"rules: [{outcome['rule']}]",
        "subject:",
        *subject,
        f'magnitude: "{miss}"  # it may miss by so much, in the unit of the rule' if miss else "",
        f'reason: ""  # one of {", ".join(REASONS)}',
        f'description: ""  # at least {TOLD} characters: what is not met, who meets it, why it cannot be mended now',
        f'mitigation: ""  # at least {MENDED} characters: what keeps the damage small until it is mended',
        'author: ""  # who wrote this',
        'owner: ""  # who answers for it',
        f"created: {today}",
        f"expires: {ends}  # at most {terms.max_days} days later; on this day it is over",
        f"# then {terms.min} of {', '.join(sorted(terms.approvers))}, none of them author or owner, sign it as it is:",
        f"# kcompiler waiver approve waivers/{name}.yaml --key FILE",
    ]
    return "".join(f"{line}\n" for line in lines if line)


def magnitude(distance: str) -> str:
    """How far the bound is missed, rounded up where it has no end; "" where nobody knows."""
    if not distance:
        return ""
    miss = -Fraction(distance.lstrip("~"))
    exact = Decimal(miss.numerator) / Decimal(miss.denominator)
    if not distance.startswith("~"):
        return format(exact.normalize(), "f")
    step = Decimal(1).scaleb(exact.adjusted() - _DIGITS + 1)
    return format((exact.quantize(step, rounding=ROUND_CEILING)).normalize(), "f")


def revoked(data: str, by: str, today: str, reason: str) -> str:
    """The text of a waiver with its end written behind it."""
    said = json.dumps({"by": by, "on": today, "reason": reason}, ensure_ascii=False)
    return f"{data.rstrip()}\nrevoked: {said}\n"


def revocation(waiver: Waiver) -> dict[str, str]:
    """What a waiver's file says of its end; {} where it has none."""
    return (
        {} if waiver.revoked is None else {name: str(getattr(waiver.revoked, name)) for name in ("by", "on", "reason")}
    )
