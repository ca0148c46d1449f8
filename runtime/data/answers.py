"""Answers of a teacher ↔ an artifact: one line per training row that has a usable answer, in the order of the rows.

Usable means: not empty, not cut off, and with log-probabilities of the choices where those were asked for. A row
without one is left out and counted; more of them than the spec allows is refused, because training would be on
another set of rows than was declared.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from runtime.contract import BrokenEvidence, Context, Refusal, rows
from runtime.contract import report as facts
from runtime.contract.record import EMPTY, MISSING, NO_CHOICES, TRUNCATED, Answer, choices_of
from runtime.contract.rows import Row
from runtime.contract.splits import TRAIN, VALIDATION
from runtime.contract.strict_json import Json, dumps, loads
from runtime.machine import durable

FILE = "answers.jsonl"
#: what helps against answers that are not usable
_WAYS = {
    MISSING: "apply again, which asks only for what is missing (of a record: add the answers)",
    EMPTY: "look at the prompts that got nothing and apply again",
    TRUNCATED: "raise teacher.max_tokens",
    NO_CHOICES: "take a server that gives top_logprobs, or raise teacher.top_logprobs",
}
_DECLARE = "declare a higher teacher.allow_missing"
#: the same of a teacher whose weights are here: its answer ends where a row has to
_WAYS_HERE = {
    EMPTY: "remove the prompts to which it says nothing",
    TRUNCATED: "raise the length of rows (training.stages[].max_length, shapes.prefill)",
}
_DECLARE_HERE = "write `data.too_long: drop` and a higher data.too_long_at_most"


def training_rows(dataset: Path) -> list[Row]:
    """The rows that a teacher is asked about: those that are learnt from or validated by, and no others."""
    found = rows.load(dataset / f"{TRAIN}.jsonl")
    validation = dataset / f"{VALIDATION}.jsonl"
    return [*found, *rows.load(validation)] if validation.is_file() else found


def lacking(
    faults: Mapping[str, int], asked: int, allow_missing: float, *, so_far: int | None = None, here: bool = False
) -> Refusal:
    """More rows lack a usable answer than allowed; `so_far` rows were asked when that was known, None for all. `here`:
    the teacher's weights are."""
    said = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(faults.items()))
    of = f"of {asked} training rows" if so_far is None else f"of the first {so_far} training rows (of {asked})"
    known, declare = (_WAYS_HERE, _DECLARE_HERE) if here else (_WAYS, _DECLARE)
    ways = [way for name, way in known.items() if faults.get(name)]
    return Refusal(
        f"{sum(faults.values())} {of} have no usable answer ({said}); {allow_missing:.1%} are allowed",
        action=f"{', '.join(ways)}; or {declare}",
        code="KR0116",
    )


def write(
    ctx: Context,
    asked: Sequence[Row],
    given: Mapping[str, Answer],
    *,
    signals: Sequence[str],
    allow_missing: float,
    model: str,
    more: Mapping[str, Any],
    here: bool = False,
) -> None:
    """Ports `answers` and `report` of a step. `given` maps the id of a row to its answer, rows without one are absent.

    Raises Refusal when more rows lack a usable answer than allowed, or all of them do.
    """
    faults: Counter[str] = Counter()
    lines: list[str] = []
    for row in asked:
        answer = given.get(row["id"])
        fault = MISSING if answer is None else answer.fault(signals)
        if fault or answer is None:
            faults[fault] += 1
            continue
        line: dict[str, Json] = {"id": row["id"], "text": answer.text, "choices": dict(answer.choices)}
        lines.append(dumps(line) + "\n")
    lost = len(asked) - len(lines)
    if not lines or lost > allow_missing * len(asked):
        raise lacking(faults, len(asked), allow_missing, here=here)
    folder = ctx.out("answers")
    durable.write(folder / FILE, "".join(lines))
    manifest = {"schema_version": "1.0", "model": model, "signals": sorted(signals), "rows": len(lines)}
    durable.write(folder / "manifest.json", json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    data = {
        "model": model,
        "signals": sorted(signals),
        "rows": facts.measured(len(asked), "row"),
        "answered": facts.rate(len(lines), len(asked)),
        "missing_share": facts.rate(lost, len(asked)),
        "faults": {
            name: facts.measured(faults[name], "row", n=len(asked)) for name in (EMPTY, TRUNCATED, MISSING, NO_CHOICES)
        },
        **more,
    }
    ctx.report("report", data, fingerprints=facts.fingerprints({}, ctx.digests))
    ctx.say(f"{len(lines)} of {len(asked)} rows answered by {model}")


def load(folder: Path) -> dict[str, Answer]:
    """Row id → answer. Raises BrokenEvidence for an artifact that is not one."""
    found: dict[str, Answer] = {}
    try:
        for here, line in rows.lines(folder / FILE):
            value = cast(dict[str, Any], loads(line))
            choices = choices_of(value["choices"], here) if value["choices"] else {}
            found[str(value["id"])] = Answer(str(value["text"]), choices)
    except (OSError, ValueError, KeyError, TypeError, Refusal) as error:
        raise BrokenEvidence(f"the answers cannot be read: {error}", subject=FILE) from error
    return found
