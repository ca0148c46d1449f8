"""A run's record → the data of its `training` report and its `training.json`. Every number carries its unit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.contract import report as facts
from runtime.contract.optimizer import Schedule
from runtime.machine import durable
from runtime.models import device
from runtime.models.tokenizer import Tokenizer
from runtime.steps.train import TrainParams
from runtime.train import supervision
from runtime.train.batches import Corpus
from runtime.train.loop import Trainer
from runtime.train.matching import Matching
from runtime.train.objective import Bound
from runtime.train.place import Place
from runtime.train.record import Point, Record
from runtime.train.schedule import learning_rate, weight_at

Datum = dict[str, Any]
NO_TOKEN = "no supervised token of this term in the batch"


def _effective(bound: Bound, record: Record) -> dict[str, float]:
    """A term's weight in the first step and in the last that was made, which patience may have made an early one."""
    steps = {"first": 0, "last": record.steps - 1}
    return {name: weight_at(step, bound.term.weight, bound.term.schedule) for name, step in steps.items()}


def _settings(bound: Bound) -> dict[str, Any]:
    return {
        name: facts.measured(value, "bool" if isinstance(value, bool) else "1")
        if isinstance(value, (int, float))
        else str(value)
        for name, value in bound.params.model_dump(mode="json").items()
    }


def _point(point: Point, k: int, unit: str) -> dict[str, Datum]:
    value, norm, share = point.values[k], point.norms[k], point.shares[k]
    if value is None or norm is None:
        return {
            "step": facts.measured(point.step, "step"),
            "value": facts.unavailable(NO_TOKEN, unit),
            "gradient_norm": facts.unavailable(NO_TOKEN, unit),
        }
    return {
        "step": facts.measured(point.step, "step"),
        "value": facts.measured(value, unit, n=point.tokens[k]),
        "weight": facts.measured(point.weights[k], "1"),
        "gradient_norm": facts.measured(norm, unit, n=point.tokens[k]),
        "gradient_share": facts.unavailable("every weighted gradient is zero", "1")
        if share is None
        else facts.measured(share, "1"),
        "parameters_reached": facts.measured(point.reached[k], "tensor"),
    }


def _example(corpus: Corpus, mask: str, tokenizer: Tokenizer) -> dict[str, str]:
    """What a term supervises, as text a person can check: the first row of the split that has such tokens."""
    for row in range(len(corpus)):
        ids = corpus.target_ids(mask, row)
        if ids:
            return {
                "row": corpus.names[row],
                "text": tokenizer.decode(ids),
                "first": tokenizer.decode(ids[:1]),
                "last": tokenizer.decode(ids[-1:]),
            }
    return {}


def _settled(bound: Bound) -> dict[str, Any]:
    """What the spec left to what is measured: what it asked for, what it came to be, and by which number."""
    if bound.measured is None or bound.loss.settled is None:
        return {}
    name, (mass, count) = bound.loss.settled.parameter, bound.measured
    asked = bound.loss.params.model_validate(bound.term.params)
    told = {"asked": str(getattr(asked, name)), "chosen": str(getattr(bound.params, name))}
    return {"settled": {"parameter": name, **told, "mass": facts.measured(mass, "1", n=count)}}


def _term(bound: Bound, k: int, record: Record, corpus: Corpus, tokenizer: Tokenizer) -> dict[str, Any]:
    final, steps = record.final(k)
    unit = bound.unit
    seen = [point for point in record.points if point.values[k] is not None]
    return _settled(bound) | {
        "mask": bound.loss.mask,
        "semantics": dict(bound.semantics),
        "settings": _settings(bound),
        "effective_weight": {name: facts.measured(weight, "1") for name, weight in _effective(bound, record).items()},
        "supervised_tokens": facts.measured(record.supervised[k], "token"),
        "supervised_example": _example(corpus, bound.loss.mask, tokenizer),
        "learnt_rows": facts.rate(supervision.rows(corpus, bound.loss.mask), len(corpus)),
        "supervision": supervision.told(corpus, bound.loss.mask, tokenizer, bound.facts),
        # patience may end a training before the first token that a rare term has
        "first": _point(seen[0], k, unit)["value"] if seen else facts.unavailable(NO_TOKEN, unit),
        "final": facts.unavailable(NO_TOKEN, unit) if final is None else facts.measured(final, unit, n=steps),
        "least_gradient_norm": facts.measured(min(point.norms[k] or 0.0 for point in seen), unit, n=len(seen))
        if seen
        else facts.unavailable(NO_TOKEN, unit),
        "curve": [_point(point, k, unit) for point in record.points],
    }


def data(
    record: Record,
    terms: Sequence[Bound],
    corpus: Corpus,
    tokenizer: Tokenizer,
    params: TrainParams,
    model: Mapping[str, int],
) -> dict[str, Any]:
    """The `data` of a report of kind `training`. `model` counts `parameters` (tied ones once) and `tensors`."""
    longest = max(len(ids) for ids in corpus.ids)
    return {
        "terms": {bound.name: _term(bound, k, record, corpus, tokenizer) for k, bound in enumerate(terms)},
        "parameters": facts.measured(model["parameters"], "parameter"),
        "parameter_tensors": facts.measured(model["tensors"], "tensor"),
        "steps": facts.measured(record.steps, "step"),
        "steps_allowed": facts.measured(params.steps, "step"),
        "rows": facts.measured(len(corpus), "row"),
        "rows_drawn": facts.measured(record.steps * params.batch_size, "row"),
        "tokens_seen": facts.measured(record.tokens, "token"),
        "padding": facts.rate(record.positions - record.tokens, record.positions),
        "longest_row": facts.measured(longest, "token", n=len(corpus)),
        "steps_clipped": facts.rate(record.clipped, record.steps),
        "total": [
            {
                "step": facts.measured(point.step, "step"),
                "value": facts.measured(point.total, "nat/token"),
                "learning_rate": facts.measured(point.learning_rate, "1"),
            }
            for point in record.points
        ],
    }


def layers(matching: Matching) -> dict[str, Any]:
    """Each term over layers → its pairs, and how many numbers the matrix has that was trained for a pair and is no part
    of the student; 0 where the widths are equal."""
    return {
        name: [
            {
                "student": facts.measured(pair.student, "layer"),
                "teacher": facts.measured(pair.teacher, "layer"),
                "projection": facts.measured(math.prod(matching.projects[name].get(pair, (0,))), "parameter"),
            }
            for pair in pairs
        ]
        for name, pairs in matching.pairs.items()
    }


def place(where: Place, record: Record, steps: int) -> dict[str, Any]:
    """Where was trained, in which floats, and what a repetition is promised to give."""
    found: dict[str, Any] = {
        "device": device.described(where.device),
        "precision": where.precision,
        "promise": where.promise,
    }
    if where.teacher is not None:
        found["teacher_device"] = device.described(where.teacher)
    if where.precision == "fp16-mixed":
        found["steps_skipped"] = facts.rate(record.skipped, steps)
    return found


def _schedule(schedule: Schedule | None) -> dict[str, float] | None:
    if schedule is None:
        return None
    return {"to": schedule.to, "from_step": schedule.from_step, "until_step": schedule.until_step}


def origin(record: Record, trainer: Trainer, digests: Mapping[str, str], *, made_by: str) -> dict[str, Any]:
    """training.json: what made this checkpoint, as the run used it, without clock, path or machine."""
    params = trainer.params
    rates = [learning_rate(step, params.steps, params.optimizer, params.qat) for step in range(record.steps)]
    matrices, vectors = trainer.optimizer.param_groups
    return {
        "schema_version": "1.0",
        "made_by": made_by,
        "losses": [
            {
                "term": bound.name,
                "version": bound.loss.version,
                "weight": bound.term.weight,
                "schedule": _schedule(bound.term.schedule),
                "effective_weight": _effective(bound, record),
                "params": bound.params.model_dump(mode="json"),
                "semantics": dict(bound.semantics),
                "supervised_tokens": record.supervised[k],
            }
            for k, bound in enumerate(trainer.terms)
        ],
        "steps": record.steps,
        "steps_allowed": params.steps,
        # how many of the steps made these weights
        "state": record.steps if record.selection is None else record.selection.best,
        "batch_size": params.batch_size,
        "max_length": params.max_length,
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"first": rates[0], "peak": max(rates), "last": rates[-1]},
            "betas": list(matrices["betas"]),
            "epsilon": matrices["eps"],
            "weight_decay": {"matrices": matrices["weight_decay"], "vectors": vectors["weight_decay"]},
            "clip_norm": params.optimizer.clip_norm,
        },
        "init": params.init,
        "seed": trainer.seed,
        "data_order": "row at place p of pass e: rank by SHA-256 of seed/e/row",
        "dataset": digests["dataset"],
        "tokenizer": digests["tokenizer"],
        "teacher": digests.get("teacher"),
        "signals": digests.get("signals"),
        "answers": digests.get("answers"),
        "responses": params.responses,
        "started_from": digests.get("from"),
        "tokens_seen": record.tokens,
    }


def write(folder: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    durable.write(folder / "training.json", text)
