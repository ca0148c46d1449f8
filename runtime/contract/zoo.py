"""Policies that understand nothing × the rows of a suite → what each gets, and how far a model is above the best one.

A suite names its policies by `zoo`: what each would put out for each row. They are judged by the function that judges
every runner's outputs, so that a cheat which works once is seen by all of them. `copy_gold` is the positive control: a
suite by which the rows' own answers are wrong measures nothing, and then no model is above anything. Standard library.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from random import Random
from statistics import fmean
from typing import Any, TypeVar

from runtime.contract import spool
from runtime.contract.conversation import Prompt, messages_of
from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.paired import difference, wins
from runtime.contract.statistics.rates import rate

#: policy → its output for each of the rows, as it stands in a line of the items
Outputs = Mapping[str, Sequence[Any]]
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


def by_prior(answers: Sequence[_Answer]) -> Sequence[_Answer]:
    """For each row the answer of a row drawn at random: guessing that knows how often each is right."""
    rng = Random(0)
    return spool.picked(answers, array("I", (int(rng.random() * len(answers)) for _ in answers)))


def of_texts(golds: Sequence[str], asked: Sequence[str]) -> dict[str, Sequence[str]]:
    """What policies over texts say of rows with these answers, asked in these words."""
    count = len(golds)
    most = max(map(len, golds), default=0)
    longest = spool.commonest(golds, among=bytearray(len(gold) == most for gold in golds))
    constant, long = (golds[places[0]] if places else "" for places in (spool.commonest(golds), longest))
    return {
        GOLD: golds,
        "mute": spool.same("", count),
        "constant": spool.same(constant, count),
        "longest": spool.same(long, count),
        "prior": by_prior(golds),
        "echo": asked,
        "refuse_all": spool.same(REFUSAL, count),
    }


#: (policy, number of a row, output) → the line of an output, as of any runner
Judge = Callable[[str, int, Any], Mapping[str, Any]]


def _unsound(gold: Sequence[int]) -> str:
    """Why a suite measures nothing, or ""."""
    return "" if all(gold) else f"the rows' own answers are right {sum(gold)} times of {len(gold)}: nothing is measured"


class Right:
    """Policies on a suite's rows, one row after the other; kept is whether each was right, in a byte."""

    def __init__(self, policies: Outputs, rows: int, judge: Judge) -> None:
        if any(len(outputs) != rows for outputs in policies.values()):
            raise ValueError("a policy has not one output for each row")
        self._policies, self._judge, self._rows = policies, judge, rows
        self._right = {name: bytearray() for name in policies}

    def add(self, at: int) -> None:
        """The row of this number, which is the next."""
        for name, outputs in self._policies.items():
            self._right[name].append(not self._judge(name, at, outputs[at])["reason"])

    def data(
        self, models: Mapping[str, Sequence[int]], absent: Callable[[str], str], names: Sequence[str]
    ) -> dict[str, Any]:
        """`zoo` of a report. `models` says of each runner which of these rows it has right, from the first on;
        `absent(name)` why one of `names` is not there."""
        right = dict(self._right)
        gold = right.pop(GOLD, bytearray())
        best = max(right, key=lambda name: sum(right[name]), default="")
        why = _unsound(gold) if self._rows else "no items"
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


class Weighed:
    """The same where an answer is better or worse and not only right or wrong: `worth(number of a row, line)` says how
    good one is, in `unit`."""

    def __init__(
        self, policies: Outputs, rows: int, judge: Judge, worth: Callable[[int, Mapping[str, Any]], float], unit: str
    ) -> None:
        self._policies, self._judge, self._worth, self._unit, self._rows = policies, judge, worth, unit, rows
        self._gold = bytearray()
        self._values = {name: array("d") for name in policies if name != GOLD}

    def add(self, at: int) -> None:
        """The row of this number, which is the next."""
        for name, outputs in self._policies.items():
            line = self._judge(name, at, outputs[at])
            if name == GOLD:
                # a line is right where it has no reason
                self._gold.append(not line["reason"])
            else:
                self._values[name].append(self._worth(at, line))

    def data(
        self, models: Mapping[str, Sequence[float]], absent: Callable[[str], str], names: Sequence[str]
    ) -> dict[str, Any]:
        """As `Right.data`; `models` says how good each of a runner's lines is."""
        best = max(self._values, key=lambda name: fmean(self._values[name]), default="")
        why = _unsound(self._gold) if self._rows else "no items"
        return {
            "gold": rate(sum(self._gold), len(self._gold)),
            "worth": {name: measured(fmean(mine), self._unit, n=len(mine)) for name, mine in self._values.items()},
            "best": best,
            "above": {
                name: unavailable(why or absent(name), self._unit)
                if why or name not in models
                else difference(models[name], self._values[best], self._unit)
                for name in names
            },
        }
