"""Held-out questions × models → whether only permitted answers are given, and how far the proportions are apart.

Validity is the share of questions whose greedy output is, letter by letter, one of the permitted answers. Proportions
are exact, not sampled: every runner scores every permitted answer to every question, and the probabilities are divided
by their sum. Divergence is KL(teacher ‖ student) over the permitted answers, in nats per question.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import Field

from runtime.contract import Params, Runner, Suite
from runtime.contract.report import measured, rate, unavailable
from runtime.contract.units import unit
from runtime.data.classic import ANSWERS

Distribution = list[float]


class AnswersParams(Params):
    answers: dict[str, list[str]] = Field(
        default_factory=lambda: {name: list(group) for name, group in ANSWERS.items()},
        description="Permitted answers by category; the twenty classic ones when absent.",
        examples=[{"yes": ["Yes", "Certainly"]}],
    )
    max_new_tokens: int = Field(
        default=24,
        ge=1,
        description="Longest output that is generated.",
        examples=[24],
        json_schema_extra=unit("token"),
    )
    limit: int = Field(
        default=0,
        ge=0,
        description="Questions for the runners in torch; 0 takes all.",
        examples=[0],
        json_schema_extra=unit("row"),
    )
    coreml_limit: int = Field(
        default=128,
        ge=1,
        description="Questions for the interpreted package.",
        examples=[128],
        json_schema_extra=unit("row"),
    )


def _questions(rows: Sequence[Mapping[str, Any]], limit: int) -> list[tuple[str, str]]:
    """Distinct (prompt, class) in the order of the rows."""
    found: dict[str, str] = {}
    for row in rows:
        found.setdefault(str(row["prompt"]), str(row["class"]))
    return list(found.items())[:limit] if limit else list(found.items())


def _distributions(
    runner: Runner, prompts: Sequence[str], answers: Sequence[str]
) -> tuple[list[Distribution], list[float]]:
    """For each prompt: probabilities of the answers divided by their sum, and that sum (the mass on them)."""
    scores = runner.score([(prompt, answer) for prompt in prompts for answer in answers])
    shares, masses = [], []
    for start in range(0, len(scores), len(answers)):
        logs = [score.log_probability for score in scores[start : start + len(answers)]]
        top = max(logs)
        weights = [math.exp(log - top) for log in logs]
        total = sum(weights)
        shares.append([weight / total for weight in weights])
        masses.append(math.exp(top + math.log(total)))
    return shares, masses


def divergence(teacher: Distribution, student: Distribution) -> float:
    """KL(teacher ‖ student) in nats; infinite where the student gives no mass to what the teacher may say."""
    total = 0.0
    for p, q in zip(teacher, student, strict=True):
        if p > 0.0:
            total += p * (math.log(p) - math.log(q)) if q > 0.0 else math.inf
    return max(total, 0.0)


def _validity(runner: Runner, prompts: Sequence[str], params: AnswersParams) -> tuple[dict[str, Any], list[str]]:
    permitted = {answer for group in params.answers.values() for answer in group}
    outputs = runner.generate(prompts, params.max_new_tokens)
    wrong = [output for output in outputs if output not in permitted]
    return rate(len(outputs) - len(wrong), len(outputs)), wrong[:5]


def _mean(values: Sequence[float], unit: str) -> dict[str, Any]:
    return measured(fmean(values), unit, n=len(values)) if values else unavailable("no items", unit)


def _shares(subjects: Sequence[str], found: Mapping[str, list[Distribution]], params: AnswersParams) -> dict[str, Any]:
    """Class → category → mean probability of each runner."""
    edges, start = {}, 0
    for category, group in params.answers.items():
        edges[category] = (start, start + len(group))
        start += len(group)
    table: dict[str, Any] = {}
    for subject in sorted(set(subjects)):
        mine = [index for index, name in enumerate(subjects) if name == subject]
        table[subject] = {
            category: {
                name: _mean([sum(shares[i][low:high]) for i in mine], "probability") for name, shares in found.items()
            }
            for category, (low, high) in edges.items()
        }
    return table


def _divergences(subjects: Sequence[str], teacher: list[Distribution], other: list[Distribution]) -> dict[str, Any]:
    each = [divergence(p, q) for p, q in zip(teacher, other, strict=True)]
    by_class = {
        subject: [value for value, name in zip(each, subjects, strict=True) if name == subject]
        for subject in sorted(set(subjects))
    }
    return {
        "all": _mean(each, "nat/question"),
        "by_class": {name: _mean(values, "nat/question") for name, values in by_class.items()},
    }


def run(
    runners: Mapping[str, Runner],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: AnswersParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.answers`. What a runner that is not there would show is `unavailable`."""
    questions = _questions(rows, params.limit)
    prompts, subjects = [prompt for prompt, _ in questions], [subject for _, subject in questions]
    answers = [answer for group in params.answers.values() for answer in group]
    data: dict[str, Any] = {
        "questions": measured(len(prompts), "question"),
        "answers": measured(len(answers), "answer"),
        "validity": {},
        "invalid_examples": {},
        "answer_mass": {},
        "kl": {},
    }
    found: dict[str, list[Distribution]] = {}
    for name in ("teacher", "student", "ce_only", "coreml"):
        if name not in runners:
            data["validity"][name] = unavailable(f"no runner `{name}`", "ratio")
            continue
        asked = prompts[: params.coreml_limit] if name == "coreml" else prompts
        data["validity"][name], data["invalid_examples"][name] = _validity(runners[name], asked, params)
        if name != "coreml":
            found[name], masses = _distributions(runners[name], prompts, answers)
            data["answer_mass"][name] = _mean(masses, "probability")
    for name in ("student", "ce_only"):
        if name in found:
            data["kl"][name] = _divergences(subjects, found["teacher"], found[name])
        else:
            data["kl"][name] = {"all": unavailable(f"no runner `{name}`", "nat/question"), "by_class": {}}
    data["categories"] = _shares(subjects, found, params)
    return data


SUITE = Suite(name="answers", version=1, params=AnswersParams, runners=("teacher", "student"), run=run)
