"""Policies that understand nothing × the rows of a suite → what each gets, and how far a model is above the best one.

A suite names its policies by `zoo`: what each would put out for each row. They are judged by the function that judges
every runner's outputs, so that a cheat which works once is seen by all of them. `copy_gold` is the positive control: a
suite by which the rows' own answers are wrong measures nothing, and then no model is above anything. Standard library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from random import Random
from statistics import fmean
from typing import Any, TypeVar

from runtime.contract.conversation import Prompt, messages_of
from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.paired import difference, wins
from runtime.contract.statistics.rates import rate

#: policy → its output for each of the rows, as it stands in a line of the items
Outputs = Mapping[str, Sequence[Any]]
Row = Mapping[str, Any]
#: the policy that has every row's own answer
GOLD = "copy_gold"
REFUSAL = "I'm sorry, but I can't help with that."
_Answer = TypeVar("_Answer", bound=Hashable)


def last_words(prompt: Prompt) -> str:
    """What was said last: who repeats it has said nothing."""
    content = messages_of(prompt)[-1]["content"]
    return content if isinstance(content, str) else ""


def commonest(answers: Iterable[_Answer]) -> list[_Answer]:
    """Distinct answers, the most frequent first; of equally frequent ones the first."""
    return [answer for answer, _ in Counter(answers).most_common()]


def by_prior(answers: Sequence[_Answer]) -> list[_Answer]:
    """For each row the answer of a row drawn at random: guessing that knows how often each is right."""
    rng = Random(0)
    return [answers[int(rng.random() * len(answers))] for _ in answers]


def of_texts(golds: Sequence[str], asked: Sequence[str]) -> dict[str, list[str]]:
    """What policies over texts say of rows with these answers, asked in these words."""
    every = commonest(golds)
    return {
        GOLD: list(golds),
        "mute": ["" for _ in golds],
        "constant": [every[0] for _ in golds],
        "longest": [max(every, key=len) for _ in golds],
        "prior": by_prior(golds),
        "echo": list(asked),
        "refuse_all": [REFUSAL for _ in golds],
    }


Judge = Callable[[str, Row, Any], Mapping[str, Any]]


def _lines(policies: Outputs, rows: Sequence[Row], judge: Judge) -> dict[str, list[Mapping[str, Any]]]:
    return {
        name: [judge(name, row, output) for row, output in zip(rows, outputs, strict=True)]
        for name, outputs in policies.items()
    }


def _right(lines: Sequence[Mapping[str, Any]]) -> list[bool]:
    """A line is right where it has no reason."""
    return [not line["reason"] for line in lines]


def _unsound(gold: Sequence[bool]) -> str:
    """Why a suite measures nothing, or ""."""
    return "" if all(gold) else f"the rows' own answers are right {sum(gold)} times of {len(gold)}: nothing is measured"


def judged(
    policies: Outputs,
    rows: Sequence[Row],
    judge: Judge,
    models: Mapping[str, Sequence[bool]],
    absent: Callable[[str], str],
    names: Sequence[str],
) -> dict[str, Any]:
    """`zoo` of a report. `judge(policy, row, output)` makes the line of an output, as of any runner. `models` says of
    each runner which of these rows it has right, from the first on; `absent(name)` why one of `names` is not there."""
    # a line is dropped as soon as it is known whether it is right: there are as many as items times policies
    right = {
        name: [not judge(name, row, output)["reason"] for row, output in zip(rows, outputs, strict=True)]
        for name, outputs in policies.items()
    }
    gold = right.pop(GOLD, [])
    best = max(right, key=lambda name: sum(right[name]), default="")
    why = _unsound(gold) if rows else "no items"
    return {
        "gold": rate(sum(gold), len(gold)),
        "right": {name: rate(sum(hits), len(hits)) for name, hits in right.items()},
        "best": best,
        "above": {
            name: unavailable(why or absent(name), "item/item")
            if why or name not in models
            else wins(models[name], right[best])
            for name in names
        },
    }


def weighed(
    policies: Outputs,
    rows: Sequence[Row],
    judge: Judge,
    worth: Callable[[Sequence[Mapping[str, Any]]], Sequence[float]],
    models: Mapping[str, Sequence[float]],
    absent: Callable[[str], str],
    names: Sequence[str],
    unit: str,
    seed: int,
) -> dict[str, Any]:
    """The same where an answer is better or worse and not only right or wrong: `worth` says of a policy's lines how
    good each is, `models` of each runner's, in `unit`."""
    lines = _lines(policies, rows, judge)
    gold = _right(lines.pop(GOLD, []))
    values = {name: worth(mine) for name, mine in lines.items()}
    best = max(values, key=lambda name: fmean(values[name]), default="")
    why = _unsound(gold) if rows else "no items"
    return {
        "gold": rate(sum(gold), len(gold)),
        "worth": {name: measured(fmean(mine), unit, n=len(mine)) for name, mine in values.items()},
        "best": best,
        "above": {
            name: unavailable(why or absent(name), unit)
            if why or name not in models
            else difference(models[name], values[best], unit, seed)
            for name in names
        },
    }
