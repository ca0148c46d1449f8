"""Answers of a teacher ↔ an artifact: one line per training row that has a usable answer, in the order of the rows.

Usable means: not empty, not cut off, and with log-probabilities of the choices where those were asked for. A row
without one is left out and counted; more of them than the spec allows is refused, because training would be on
another set of rows than was declared.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from runtime.contract import BrokenEvidence, Context, Refusal
from runtime.contract import report as facts
from runtime.contract.strict_json import Json, dumps, loads
from runtime.data import rows
from runtime.data.rows import Row

FILE = "answers.jsonl"
#: why an answer is not usable
EMPTY, TRUNCATED, MISSING, NO_CHOICES = "empty", "truncated", "missing", "without_choices"


@dataclass(frozen=True)
class Answer:
    """What a teacher said to one prompt. `choices` maps a permitted answer to its natural log-probability."""

    text: str
    choices: Mapping[str, float] = field(default_factory=dict)
    truncated: bool = False

    def fault(self, signals: Sequence[str]) -> str:
        """Why it cannot be used for these signals, or ""."""
        if "text" in signals and not self.text.strip():
            return EMPTY
        if self.truncated:
            return TRUNCATED
        return NO_CHOICES if "choices" in signals and len(self.choices) < 2 else ""


def choices_of(value: Json, place: str) -> dict[str, float]:
    """Log-probabilities by choice. Raises Refusal for anything else than at least two finite numbers of at most 0."""
    if not isinstance(value, dict) or len(value) < 2:
        raise Refusal("`choices` must map at least two answers to log-probabilities", place=place, action="correct it")
    found: dict[str, float] = {}
    for name, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number) or number > 0:
            raise Refusal(
                f"the log-probability of choice `{name}` is {number!r}",
                place=place,
                action="finite and at most 0, in nats",
            )
        found[name] = float(number)
    return found


def training_rows(dataset: Path) -> list[Row]:
    """The rows that a teacher is asked about: those of the training split and no others."""
    return rows.load(dataset / "train.jsonl")


def write(
    ctx: Context,
    asked: Sequence[Row],
    given: Mapping[str, Answer],
    *,
    signals: Sequence[str],
    allow_missing: float,
    model: str,
    more: Mapping[str, Any],
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
        said = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(faults.items()))
        raise Refusal(
            f"{lost} of {len(asked)} training rows have no usable answer ({said}); {allow_missing:.1%} are allowed",
            action="ask again, raise max_tokens, or declare a higher teacher.allow_missing",
            code="KR0116",
        )
    folder = ctx.out("answers")
    (folder / FILE).write_text("".join(lines), encoding="utf-8", newline="\n")
    manifest = {"schema_version": "1.0", "model": model, "signals": sorted(signals), "rows": len(lines)}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
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
