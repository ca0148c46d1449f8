"""Held-out multiple-choice rows × models → how often the likeliest permitted answer is the right one, beyond chance.

With four choices a quarter is right for nothing: a ratio of plain accuracies calls chance 65 % of a teacher that is at
38 %. Accuracies are therefore corrected, (a - c) / (1 - c) with c = 1 / choices (Abbott 1925), before they are divided.
`accuracy` counts every row once (micro), `macro` every class once, as CMMLU's own overall does over its subjects; a row
that names no class is of the class of its answer. `clustered` is the former with the error that rows of one class make
by being alike.

`accuracy` chooses by the whole probability of a choice, its end token included, which favours short choices;
`by_length` chooses by its mean over the choice's tokens. For choices of one token both are the same. A tie at the top
is no answer: it counts as wrong and is counted in `ties`. Scores that are not finite are no answers at all.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from runtime.contract import Params, Refusal, Runner, Suite, TokenScore, items, spool, zoo
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics import chance, clusters
from runtime.contract.statistics.paired import COMPARED, RUNNERS, Numbers, lacking, not_numbers, wins
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit

#: a class beyond this many is not listed: the report is read by people
MOST_CLASSES = 128


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
        description="Permitted answers, each once. Of unequal length: compare `accuracy` with `by_length`.",
        examples=[["A", "B", "C", "D"]],
    )
    limit: int = Field(
        default=0,
        ge=0,
        description="Rows for the runners in torch, a fair sample; 0 takes all.",
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
        if not all(choice.strip() for choice in self.choices):
            raise ValueError("an empty choice")
        return self


class Answers:
    """Of one runner, row by row in a byte: whether it chose rightly, and whether nothing was likeliest."""

    def __init__(self) -> None:
        self.right, self.right_by_length, self.tied = bytearray(), bytearray(), bytearray()
        self.numbers = Numbers()

    def add(self, line: items.Line) -> None:
        """The next line; one whose scores are no numbers chose nothing."""
        self.numbers.add(map(items.score_of, line["output"]))
        for name, kept in (("right", self.right), ("right_by_length", self.right_by_length), ("tied", self.tied)):
            kept.append(line["parts"].get(name, False))


def _whole(score: TokenScore) -> float:
    return score.log_probability


def _by_length(score: TokenScore) -> float:
    return score.log_probability / score.tokens


def _likeliest(scores: Sequence[TokenScore], of: Callable[[TokenScore], float]) -> int:
    """Index of the one that is likelier than every other, or -1."""
    values = [of(score) for score in scores]
    top = max(values)
    return values.index(top) if values.count(top) == 1 else -1


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: ChoiceParams) -> Sequence[Mapping[str, Any]]:
    """The rows that a runner is asked."""
    asked = items.first(rows, params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def judged(runner: str, row: Mapping[str, Any], output: Any, params: ChoiceParams) -> items.Line:
    """The line of one row: its scores, choice by choice, and what they choose. Raises ValueError for no such scores."""
    if not isinstance(output, list) or len(output) != len(params.choices):
        raise ValueError(f"its output is not one score for each of {len(params.choices)} choices")
    scores = [items.score_of(one) for one in output]
    if not_numbers(scores):
        return items.line(row, runner, output, {}, "not_finite")
    gold = params.choices.index(str(row["response"]))
    whole, mean = _likeliest(scores, _whole), _likeliest(scores, _by_length)
    parts = {"right": whole == gold, "right_by_length": mean == gold, "tied": whole < 0}
    return items.line(row, runner, output, parts, "" if whole == gold else "tie" if whole < 0 else "another_choice")


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: ChoiceParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each row."""
    size = len(params.choices)
    scores = runner.score([(prompt_of(row), choice) for row in rows for choice in params.choices])
    outputs = [[items.of_score(one) for one in scores[at : at + size]] for at in range(0, len(scores), size)]
    return [judged(name, row, output, params) for row, output in zip(rows, outputs, strict=True)]


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: ChoiceParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.choice`. Raises ValueError for a line that is not what its output gives, Refusal for a
    row whose response is none of the choices."""
    for row in rows:
        if row["response"] not in params.choices:
            raise Refusal(
                f"row `{row['id']}` is answered by {str(row['response'])[:40]!r}, which is no choice",
                action=f"responses are one of {', '.join(params.choices)}",
            )
    asked = items.first(rows, params.limit)
    #: the classes of the rows, by number
    known: dict[str, int] = {}
    subjects = array("I", (known.setdefault(_subject(row), len(known)) for row in asked))

    def again(name: str, at: int, output: Any) -> items.Line:
        return judged(name, asked[at], output, params)

    trivial = zoo.Right(policies(asked, _tools, params), len(asked), again)
    held = dict[str, Answers]()
    for at, mine in items.walk(lines, asked, lambda name: len(select(rows, name, params)), again):
        for name, line in mine.items():
            held.setdefault(name, Answers()).add(line)
        trivial.add(at)
    broken = {name: answers.numbers.why for name, answers in held.items() if answers.numbers.why}
    found = {name: answers for name, answers in held.items() if name not in broken}
    counts = {name: (sum(answers.right), len(answers.right)) for name, answers in found.items()}
    pinned = params.teacher is not None and "teacher" not in held
    if params.teacher is not None and pinned:
        counts["teacher"] = (params.teacher.correct, params.teacher.n)
    why = {name: items.lacks(name, asked) for name in RUNNERS if name not in held} | broken

    size = len(params.choices)

    def shares(of: Callable[[Answers], bytearray]) -> dict[str, Any]:
        return {
            name: rate(sum(of(found[name])), len(of(found[name]))) if name in found else unavailable(why[name], "ratio")
            for name in RUNNERS
        }

    return {
        "items": measured(len(asked), "item"),
        "choices": list(params.choices),
        "chance": measured(1 / len(params.choices), "1"),
        "accuracy": {
            name: rate(*counts[name]) if name in counts else unavailable(why[name], "ratio") for name in RUNNERS
        },
        "by_length": shares(lambda answers: answers.right_by_length),
        "ties": shares(lambda answers: answers.tied),
        "macro": {
            name: chance.macro(found[name].right, subjects[: len(found[name].right)])
            if name in found
            else unavailable(why[name], "1")
            for name in RUNNERS
        },
        "clustered": {
            name: clusters.mean(found[name].right, subjects[: len(found[name].right)], "1")
            if name in found
            else unavailable(why[name], "1")
            for name in RUNNERS
        },
        "corrected": {
            name: chance.corrected(*counts[name], size) if name in counts else unavailable(why[name], "1")
            for name in RUNNERS
        },
        "of_teacher": _of_teacher(counts, found, params),
        "teacher_pinned": pinned,
        **{name: _compared(name, found, broken, asked) for name in COMPARED},
        "by_class": _by_class(known, subjects, found),
        "zoo": trivial.data(
            {name: answers.right for name, answers in found.items()},
            lambda name: why.get(name) or items.lacks(name, asked),
            RUNNERS,
        ),
    }


def _subject(row: Mapping[str, Any]) -> str:
    """A row's class; one that names none is of the class of its answer."""
    return str(row["class"]) or str(row["response"])


def _compared(
    name: str, found: Mapping[str, Answers], broken: Mapping[str, str], asked: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    lack = lacking(name, found, broken) if asked else "no items"
    if lack:
        return unavailable(lack, "item/item")
    first, second = COMPARED[name]
    return wins(found[first].right, found[second].right)


def _by_class(known: Mapping[str, int], subjects: Sequence[int], found: Mapping[str, Answers]) -> dict[str, Any]:
    """Class → runner → accuracy; of the first classes only where there are very many."""
    right = {name: [0] * len(known) for name in found}
    asked = {name: [0] * len(known) for name in found}
    for name, answers in found.items():
        for subject, hit in zip(subjects, answers.right, strict=False):
            right[name][subject] += hit
            asked[name][subject] += 1
    return {
        subject: {name: rate(right[name][known[subject]], asked[name][known[subject]]) for name in found}
        for subject in sorted(known)[:MOST_CLASSES]
    }


def _of_teacher(
    counts: Mapping[str, tuple[int, int]], found: Mapping[str, Answers], params: ChoiceParams
) -> dict[str, Any]:
    """Corrected student over corrected teacher; of a teacher at chance there is no share."""
    if "teacher" not in counts or "student" not in found or not counts["student"][1] or not counts["teacher"][1]:
        return unavailable("needs the teacher's accuracy on this split", "1")
    mine, choices = found["student"].right, len(params.choices)
    if "teacher" in found:
        return chance.share_of(mine, found["teacher"].right, choices)
    return chance.share_of_counts(mine, *counts["teacher"], choices)


def policies(
    rows: Sequence[Mapping[str, Any]], _tools: Sequence[Any], params: ChoiceParams
) -> dict[str, Sequence[list[dict[str, Any]]]]:
    """What policies that understand nothing would score: one choice far above the others."""
    asked, choices = items.first(rows, params.limit), params.choices
    right = array("I", (choices.index(str(row["response"])) for row in asked))
    golds = spool.picked(choices, right)
    if not golds:
        return {}

    def takes(taken: Sequence[str]) -> Sequence[list[dict[str, Any]]]:
        def scores(at: int) -> list[dict[str, Any]]:
            one = taken[at]
            return [{"log_probability": 0.0 if one == each else -9.0, "tokens": 1} for each in choices]

        return spool.Each(len(taken), scores)

    def always(one: str) -> Sequence[list[dict[str, Any]]]:
        return takes(spool.same(one, len(golds)))

    return {
        zoo.GOLD: takes(golds),
        # nothing above the others
        "mute": always(""),
        "constant": always(zoo.commonest(golds)[0]),
        "longest": always(max(choices, key=len)),
        "prior": takes(zoo.by_prior(golds)),
        "random": takes(spool.Each(len(asked), lambda at: choices[int(_digest(asked[at])[:8], 16) % len(choices)])),
    }


def _digest(row: Mapping[str, Any]) -> str:
    """Chance that is the same for a row wherever it stands."""
    return hashlib.sha256(str(row["id"]).encode()).hexdigest()


SUITE = Suite(
    name="choice",
    version=5,
    params=ChoiceParams,
    asks=frozenset({"score"}),
    runners=("student",),
    figures=("accuracy.*",),
    select=select,
    ask=ask,
    data_of=data_of,
    permits=lambda params: params.choices,
    replies=lambda params: params.choices,
    zoo=policies,
)
