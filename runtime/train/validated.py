"""What validation found → its part of the `training` report. Every number carries its unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.contract import report as facts
from runtime.train.loop import Trainer
from runtime.train.record import Record
from runtime.train.selecting import LAST, STEPS, Look, milestones

Datum = dict[str, Any]
NO_TOKEN = "no row of the validation split has a token of this term"


def _look(look: Look, trainer: Trainer) -> dict[str, Any]:
    validator = trainer.validator
    assert validator is not None
    return {
        "step": facts.measured(look.step, "step"),
        "value": facts.measured(look.metric, "nat/token", n=validator.deciding()),
        "terms": {
            bound.name: facts.unavailable(NO_TOKEN, "nat/token")
            if value is None
            else facts.measured(value, "nat/token", n=validator.tokens[bound.loss.mask])
            for bound, value in zip(trainer.terms, look.values, strict=True)
        },
    }


def data(record: Record, trainer: Trainer, states: Sequence[tuple[int, str]], without_answer: int) -> dict[str, Any]:
    """Datum `validation`. `states` are (steps, digest of the checkpoint) of those that are given."""
    validator, selection = trainer.validator, record.selection
    assert validator is not None
    assert selection is not None
    policy, allowed = validator.policy, trainer.params.steps
    curve = [_look(look, trainer) for look in selection.looks]
    best = curve[selection.steps.index(selection.best)]
    reasons = {
        "best": [selection.best],
        "milestone": milestones(selection.steps, allowed),
        "last": selection.steps[-LAST:],
    }
    return {
        "metric": policy.metric,
        "every": facts.measured(policy.every, "step"),
        "patience": facts.unavailable("not declared: every step is made", "count")
        if policy.patience is None
        else facts.measured(policy.patience, "count"),
        "least_gain": facts.measured(policy.least_gain, "nat/token"),
        "seed": facts.measured(trainer.seed, "1"),
        "rows": facts.measured(len(validator.corpus), "row"),
        "rows_without_answer": facts.measured(without_answer, "row", n=without_answer + len(validator.corpus)),
        "tokens": facts.measured(validator.deciding(), "token"),
        # the one before the first step measures the start, not the training
        "made": facts.measured(len(selection.looks) - 1, "count"),
        "tokens_read": facts.measured(selection.tokens, "token"),
        "start": curve[0]["value"],
        "best": {"step": best["step"], "value": best["value"]},
        "stopped": selection.stopped or STEPS,
        "curve": curve,
        "states": [
            {
                "step": facts.measured(step, "step"),
                "digest": found,
                "kept_as": [name for name, steps in reasons.items() if step in steps],
            }
            for step, found in states
        ],
    }
