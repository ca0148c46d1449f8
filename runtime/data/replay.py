"""A file of recorded answers × training rows → the answers of those rows, found by their prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runtime.contract import Context, record
from runtime.contract import report as facts
from runtime.data import answers
from runtime.steps.replay import ReplayParams


def replay(takes: Mapping[str, Path], params: ReplayParams, ctx: Context) -> None:
    """Operation `replay`. Raises Refusal for a bad record, and when more rows lack an answer than allowed."""
    recorded = record.read(takes["record"])
    asked = answers.training_rows(takes["dataset"])
    given = {row["id"]: recorded[row["prompt"]] for row in asked if row["prompt"] in recorded}
    used = {row["prompt"] for row in asked}
    more = {
        "recorded": facts.measured(len(recorded), "answer"),
        "thoughts_removed": facts.measured(sum(one.thoughtful for one in given.values()), "answer"),
        "recorded_unused": facts.measured(len(set(recorded) - used), "answer"),
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
