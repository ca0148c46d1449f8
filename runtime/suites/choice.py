"""Held-out multiple-choice rows × models → how often the likeliest permitted answer is the right one, beyond chance.

With four choices a quarter is right for nothing: a ratio of plain accuracies calls chance 65 % of a teacher that is at
38 %. Accuracies are therefore corrected, (a - c) / (1 - c) with c = 1 / choices (Abbott 1925), before they are divided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from runtime.contract import Params, Refusal, Runner, Suite
from runtime.contract.report import measured, rate, unavailable
from runtime.contract.units import unit


class Pinned(Params):
    """An accuracy that was measured elsewhere, on this very split."""

    correct: int = Field(ge=0, description="Rows answered rightly.", examples=[9500], json_schema_extra=unit("row"))
    n: int = Field(ge=1, description="Rows asked.", examples=[11582], json_schema_extra=unit("row"))

    @model_validator(mode="after")
    def _a_part(self) -> Pinned:
        if self.correct > self.n:
            raise ValueError("more are right than were asked")
        return self


class ChoiceParams(Params):
    choices: list[str] = Field(
        default=["A", "B", "C", "D"],
        min_length=2,
        max_length=64,
        description="Permitted answers, each once.",
        examples=[["A", "B", "C", "D"]],
    )
    limit: int = Field(
        default=0,
        ge=0,
        description="Rows for the runners in torch, in their order; 0 takes all.",
        examples=[0],
        json_schema_extra=unit("row"),
    )
    coreml_limit: int = Field(
        default=64, ge=1, description="Rows for the interpreted package.", examples=[64], json_schema_extra=unit("row")
    )
    teacher: Pinned | None = Field(default=None, description="The teacher's accuracy where it cannot be asked here.")

    @model_validator(mode="after")
    def _distinct(self) -> ChoiceParams:
        if len(set(self.choices)) != len(self.choices):
            raise ValueError("the same choice twice")
        return self


def corrected(correct: int, n: int, choices: int) -> float:
    """(a - 1/c) / (1 - 1/c): 0 is chance, 1 is all right, below 0 is worse than chance."""
    chance = 1 / choices
    return (correct / n - chance) / (1 - chance)


def _right(runner: Runner, rows: Sequence[Mapping[str, Any]], choices: Sequence[str]) -> int:
    scores = runner.score([(str(row["prompt"]), choice) for row in rows for choice in choices])
    right = 0
    for i, row in enumerate(rows):
        mine = scores[i * len(choices) : (i + 1) * len(choices)]
        best = max(range(len(choices)), key=lambda c: (mine[c].log_probability, -c))
        right += choices[best] == row["response"]
    return right


def run(
    runners: Mapping[str, Runner],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: ChoiceParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.choice`. Raises Refusal for a row whose response is none of the choices."""
    for row in rows:
        if row["response"] not in params.choices:
            raise Refusal(
                f"row `{row['id']}` is answered by {str(row['response'])[:40]!r}, which is no choice",
                action=f"responses are one of {', '.join(params.choices)}",
            )
    asked = list(rows)[: params.limit] if params.limit else list(rows)
    counts: dict[str, tuple[int, int]] = {}
    for name, runner in runners.items():
        mine = asked[: params.coreml_limit] if name == "coreml" else asked
        counts[name] = (_right(runner, mine, params.choices), len(mine))
    if params.teacher is not None and "teacher" not in counts:
        counts["teacher"] = (params.teacher.correct, params.teacher.n)
    none = unavailable("no such runner", "ratio")
    names = ("teacher", "student", "ce_only", "coreml")
    return {
        "items": measured(len(asked), "item"),
        "choices": list(params.choices),
        "chance": rate(1, len(params.choices)),
        "accuracy": {name: rate(*counts[name]) if name in counts else none for name in names},
        "corrected": {name: _corrected(counts, name, params) for name in names},
        "of_teacher": _of_teacher(counts, params),
        "teacher_pinned": params.teacher is not None and "teacher" not in runners,
    }


def _corrected(counts: Mapping[str, tuple[int, int]], name: str, params: ChoiceParams) -> dict[str, Any]:
    if name not in counts or not counts[name][1]:
        return unavailable("no items", "1")
    return measured(corrected(*counts[name], len(params.choices)), "1", n=counts[name][1])


def _of_teacher(counts: Mapping[str, tuple[int, int]], params: ChoiceParams) -> dict[str, Any]:
    """Corrected student over corrected teacher; of a teacher at chance there is no share."""
    if "teacher" not in counts or "student" not in counts or not counts["student"][1] or not counts["teacher"][1]:
        return unavailable("needs the teacher's accuracy on this split", "1")
    teacher = corrected(*counts["teacher"], len(params.choices))
    if teacher <= 0:
        return unavailable("the teacher is not better than chance", "1")
    return measured(corrected(*counts["student"], len(params.choices)) / teacher, "1", n=counts["student"][1])


SUITE = Suite(name="choice", version=1, params=ChoiceParams, runners=("student",), run=run)
