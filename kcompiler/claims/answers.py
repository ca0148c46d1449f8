"""Lines of a model's answers → the claims in each, held against what the item's own tools gave.

A line has `output` and, in `evidence`, tool → what it gave. An answer need not have anchors: a number in it is borne
out when some number that a tool gave agrees with it, in its unit or as it is. One with an anchor
(`[evidence: weather#temperature]`) is compared with the value there, and with nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from kcompiler.claims import extract
from kcompiler.claims.agree import agrees, wrong
from kcompiler.claims.check import Checked
from kcompiler.claims.evidence import Unresolved, decimal_of, in_json, number_of
from kcompiler.claims.policy import Policy
from kcompiler.diagnostic import Diagnostic
from runtime.contract import strict_json

_DATE = re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d)?")
#: minimum and a country
_OTHER = ("min", "us")
_HELP = "let the answer say only what a tool gave, or record what the tool gave in `evidence`"


class BadLine(ValueError):
    """A line that is no answer; the message has its number."""


def check_answers(file: str, text: str, *, policy: Policy) -> Checked:
    """Every line of a JSON Lines text. Raises BadLine for one that cannot be read."""
    found: list[Diagnostic] = []
    anchored = wrongly = answers = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        output, evidence = _read(line, number)
        answers += 1
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


def _read(line: str, number: int) -> tuple[str, Mapping[str, Any]]:
    try:
        row = strict_json.loads(line)
    except ValueError as reason:
        raise BadLine(f"line {number}: {reason}") from None
    if not isinstance(row, dict) or not isinstance(row.get("output"), str):
        raise BadLine(f"line {number}: no text stands under `output`")
    evidence = row.get("evidence", {})
    if not isinstance(evidence, dict):
        raise BadLine(f"line {number}: `evidence` is no map of tools")
    return str(row["output"]), evidence


def _judged(output: str, evidence: Mapping[str, Any], policy: Policy) -> Iterator[tuple[str, int, str, str]]:
    """Claim, its place, the code and what is wrong with it ("" for nothing)."""
    document = extract.document(output, policy, spoken=True)
    given = list(_numbers(evidence, policy))
    for block in document.blocks:
        rest = [claim for claim in block.claims if claim.kind not in ("relation", "status")]
        for claim in block.claims:
            if claim.kind in ("relation", "status"):
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
            lost = [one for one in claim.numbers if not _given(one, claim.unit, given, policy)]
            why = f"is no number that a tool gave ({', '.join(f'{decimal_of(one):f}' for one in lost)})" if lost else ""
            yield claim.said, claim.source[0], "KC5610", why
    for start, _, word in document.banned:
        yield word, start, "KC5605", "is a superlative that no evidence bears out"


def _given(numeral: str, unit: str, given: Sequence[tuple[Decimal, str]], policy: Policy) -> bool:
    """Whether a tool gave a number: one whose unit is known in that unit, another as it is or in the written one."""
    dimension, size = policy.unit(unit) or ("", Decimal(1))
    for value, theirs in given:
        known = policy.unit(theirs)
        if known and unit:
            if known[0] == dimension and agrees(numeral, size, value * known[1]):
                return True
        elif agrees(numeral, Decimal(1), value) or (not known and agrees(numeral, size, value)):
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
        for claim in extract.numerals(value, policy):
            for one in claim.numbers:
                with suppress(Unresolved):
                    yield decimal_of(one), claim.unit
        for part in _DATE.finditer(value):
            yield from ((Decimal(digits), "") for digits in re.findall(r"\d+", part[0]))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield number_of(value), unit


def _unit_of(key: str, policy: Policy) -> str:
    """The unit that a key names: `minutes`, `time_ms`. One letter, or a word that is also another, names none."""
    words = re.split(r"[_\W]+", key)
    return next((word for word in words if len(word) > 1 and word in policy.units and word not in _OTHER), "")
