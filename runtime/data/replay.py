"""A file of recorded answers × training rows → the answers of those rows, found by their prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.contract import Context, Refusal
from runtime.contract import report as facts
from runtime.data import answers, rows
from runtime.data.answers import Answer
from runtime.steps.replay import ReplayParams

FIELDS = frozenset({"prompt", "text", "choices", "finish_reason"})


def read(path: Path) -> dict[str, Answer]:
    """Prompt → answer. Raises Refusal with file and line for another form, and for two answers to one prompt."""
    found: dict[str, Answer] = {}
    for here, value in rows.objects(path):
        unknown = sorted(set(value) - FIELDS)
        if unknown:
            raise Refusal(f"unknown field `{unknown[0]}`", place=here, action=f"fields are {', '.join(sorted(FIELDS))}")
        prompt, text = value.get("prompt"), value.get("text")
        if not isinstance(prompt, str) or not isinstance(text, str):
            raise Refusal("`prompt` and `text` must be strings", place=here, action="correct the line")
        choices = answers.choices_of(value["choices"], here) if value.get("choices") is not None else {}
        answer = Answer(text, choices, truncated=value.get("finish_reason") == "length")
        if found.setdefault(prompt, answer) != answer:
            raise Refusal("a second, different answer to one prompt", place=here, action="keep one of the two")
    return found


def replay(takes: Mapping[str, Path], params: ReplayParams, ctx: Context) -> None:
    """Operation `replay`. Raises Refusal for a bad record, and when more rows lack an answer than allowed."""
    record = read(takes["record"])
    asked = answers.training_rows(takes["dataset"])
    given = {row["id"]: record[row["prompt"]] for row in asked if row["prompt"] in record}
    used = {row["prompt"] for row in asked}
    more = {
        "recorded": facts.measured(len(record), "answer"),
        "recorded_unused": facts.measured(len(set(record) - used), "answer"),
    }
    answers.write(
        ctx,
        asked,
        given,
        signals=params.signals,
        allow_missing=params.allow_missing,
        model=params.model,
        more=more,
    )
