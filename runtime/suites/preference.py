"""Held-out preference pairs × models → how often a model finds the chosen answer likelier than the rejected one.

The field calls it ranking accuracy (Chen et al. 2024), or reward accuracy where the reward is the model's own
log-probability. Which one is compared is declared (`score`): the `sum` over an answer's tokens, as DPO takes it
(Rafailov et al. 2023), or the mean `per_token`, as SimPO takes it (Meng et al. 2024); the report shows both. Two
answers that are equally likely, but for what float32 rounds, are a tie, and in a tie nothing is preferred.

Every model is asked about the same pairs, so that two of them are compared pair by pair: `teacher_gain` the student
over its teacher, `kd_gain` over the student without a teacher, `package_gain` the package over the checkpoint it was
made of; `mcnemar` holds the exact two-sided p of each, and Holm's of all.

What needs no understanding is measured on the same pairs (`zoo`), among it always the longer answer and always the
shorter one, in characters. A sum prefers short answers and people often prefer long ones, so that a model counts for as
much as it is above the best of these.

What is preferred follows from the scores, so that the report is made again from the artifact `items`.
"""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

from pydantic import Field

from runtime.contract import Params, Refusal, Runner, Suite, TokenScore, items, spool, zoo
from runtime.contract.conversation import Prompt, Reply
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import REJECTED, prompt_of, rejected_of, reply_of
from runtime.contract.statistics import means
from runtime.contract.statistics.paired import COMPARED, RUNNERS, Numbers, lacking, mcnemars, not_numbers, wins
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit

Score = Literal["sum", "per_token"]
UNITS: Mapping[Score, str] = {"sum": "nat/item", "per_token": "nat/token"}
#: two log-probabilities this near, of what they are, are one: float32 rounds each of a model's sums by about as much
ROUNDING = 1e-5


class PreferenceParams(Params):
    score: Score = Field(
        description="What is compared of two answers: the `sum` of their tokens' log-probabilities, or its mean "
        "`per_token`. The end token counts.",
        examples=["per_token"],
    )
    limit: int = Field(
        default=200,
        ge=0,
        description="Pairs for the runners in torch, a fair sample; 0 takes all.",
        examples=[200],
        json_schema_extra=unit("row"),
    )
    coreml_limit: int = Field(
        default=64, ge=1, description="Pairs for the interpreted package.", examples=[64], json_schema_extra=unit("row")
    )
    examples: int = Field(
        default=10,
        ge=0,
        le=50,
        description="Pairs the report names: those that the student or the package ranks wrongly, worst first.",
        examples=[10],
        json_schema_extra=unit("row"),
    )
    quote: int = Field(
        default=0,
        ge=0,
        le=2000,
        description="Characters of each text of these pairs that the report quotes; 0 gives digests only, because a "
        "report is shown to more people than the data are.",
        examples=[200],
        json_schema_extra=unit("character"),
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """A question, the answer that was chosen, and the one that was not."""

    row: str
    asked: Prompt
    chosen: Reply
    rejected: Reply


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model finds of one pair: natural-log probabilities of both answers' tokens, and how many these are."""

    chosen: TokenScore
    rejected: TokenScore

    def margin(self, score: Score) -> float:
        """How much likelier the chosen answer is, in nats, or in nats per token; 0.0 in a tie."""
        one, other = (_value(side, score) for side in (self.chosen, self.rejected))
        near = abs(one - other) <= ROUNDING * max(abs(one), abs(other))
        return 0.0 if near else one - other


def _value(side: TokenScore, score: Score) -> float:
    return side.log_probability if score == "sum" else side.log_probability / max(1, side.tokens)


class Verdicts(Sequence[Verdict]):
    """What a model finds of pair after pair."""

    def __init__(self) -> None:
        self._chosen, self._rejected, self._numbers = items.Scores(), items.Scores(), Numbers()

    def append(self, one: Verdict) -> None:
        """Of the next pair."""
        self._chosen.append(one.chosen)
        self._rejected.append(one.rejected)
        self._numbers.add((one.chosen, one.rejected))

    @property
    def why(self) -> str:
        """Why they are no evidence, or ""."""
        return self._numbers.why

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, at: int) -> Verdict: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Verdict]: ...
    def __getitem__(self, at: int | slice) -> Verdict | Sequence[Verdict]:
        if isinstance(at, slice):
            return spool.picked(self, range(len(self))[at])
        return Verdict(self._chosen[at], self._rejected[at])


def pairs_of(rows: Sequence[Mapping[str, Any]], limit: int) -> Sequence[Pair]:
    """The pairs that are judged, each made when it is asked for. Raises Refusal for a row that is none."""
    taken = rows[:limit] if limit else rows
    none = next((row for row in taken if REJECTED not in row), None)
    if none is not None:
        raise Refusal(
            f"row `{none['id']}` of source `{none['source']}` is no preference pair",
            action="name with `rows: {source: …}` of the suite the source that has `chosen` and `rejected`",
        )

    def pair(at: int) -> Pair:
        row = taken[at]
        return Pair(str(row["id"]), prompt_of(row), reply_of(row), rejected_of(row))

    return spool.Each(len(taken), pair)


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: PreferenceParams) -> Sequence[Mapping[str, Any]]:
    """The pairs that a runner is asked."""
    asked = items.first(rows, params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def judged(runner: str, row: Mapping[str, Any], output: Any, score: Score) -> items.Line:
    """The line of one pair: the scores of both answers, and which is preferred. Raises ValueError for no scores."""
    one = _verdict(output)
    if not_numbers([one.chosen, one.rejected]):
        return items.line(row, runner, output, {"preferred": False}, "no_number")
    margin = one.margin(score)
    reason = "" if margin > 0 else "tie" if margin == 0 else "rejected_preferred"
    return items.line(row, runner, output, {"preferred": margin > 0, "margin": margin}, reason)


def _verdict(output: Any) -> Verdict:
    if not isinstance(output, Mapping) or set(output) != {"chosen", "rejected"}:
        raise ValueError("its output is not {chosen, rejected}")
    return Verdict(items.score_of(output["chosen"]), items.score_of(output["rejected"]))


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: PreferenceParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each pair."""
    pairs = list(pairs_of(rows, 0))
    scores = runner.score([(one.asked, side) for one in pairs for side in (one.chosen, one.rejected)])
    both = zip(map(items.of_score, scores[::2]), map(items.of_score, scores[1::2]), strict=True)
    return [
        judged(name, row, {"chosen": chosen, "rejected": rejected}, params.score)
        for row, (chosen, rejected) in zip(rows, both, strict=True)
    ]


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: PreferenceParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.preference`, from the scores in `items.jsonl` and the rows they are about.

    Raises ValueError for a line that says otherwise than its scores, or that is about another row; Refusal for a row
    that is no pair.
    """
    pairs, asked = pairs_of(rows, params.limit), items.first(rows, params.limit)

    def again(name: str, at: int, output: Any) -> items.Line:
        return judged(name, asked[at], output, params.score)

    trivial = zoo.Right(policies(rows, (), params), len(pairs), again)
    found = dict[str, Verdicts]()
    for at, mine in items.walk(lines, asked, lambda name: len(select(rows, name, params)), again):
        for name, line in mine.items():
            found.setdefault(name, Verdicts()).append(_verdict(line["output"]))
        trivial.add(at)
    why = {name: items.lacks(name, pairs) for name in RUNNERS if name not in found}
    why |= {name: verdicts.why for name, verdicts in found.items() if verdicts.why}
    sound = {name: verdicts for name, verdicts in found.items() if name not in why}
    right = {name: _preferred(verdicts, params.score) for name, verdicts in sound.items()}

    def each(make: Callable[[str], dict[str, Any]], unit_: str) -> dict[str, Any]:
        return {name: unavailable(why[name], unit_) if name in why else make(name) for name in RUNNERS}

    return {
        "items": measured(len(pairs), "item"),
        "score": params.score,
        "preferred": each(lambda name: rate(sum(right[name]), len(right[name])), "ratio"),
        "ties": each(
            lambda name: rate(sum(not one.margin(params.score) for one in sound[name]), len(sound[name])), "ratio"
        ),
        "scores": {score: _scored(sound, why, score) for score in UNITS},
        **{name: _compared(name, right, why) for name in COMPARED},
        "mcnemar": mcnemars({name: _lack(name, right, why) or _sides(name, right) for name in COMPARED}),
        "worst": _worst(pairs, sound, params),
        "zoo": trivial.data(right, lambda name: why[name], RUNNERS),
    }


def _preferred(mine: Sequence[Verdict], score: Score) -> bytearray:
    return bytearray(one.margin(score) > 0 for one in mine)


def policies(
    rows: Sequence[Mapping[str, Any]], _tools: Sequence[Any], params: PreferenceParams
) -> dict[str, Sequence[dict[str, Any]]]:
    """What policies that understand nothing would prefer: of two equally long answers, none."""
    pairs = pairs_of(rows, params.limit)
    if not pairs:
        return {}

    def takes(chosen: Callable[[Pair], int]) -> Sequence[dict[str, Any]]:
        def scores(at: int) -> dict[str, Any]:
            one = chosen(pairs[at])
            return {side: _sure(one * sign) for side, sign in (("chosen", 1), ("rejected", -1))}

        return spool.Each(len(pairs), scores)

    def longer(one: Pair) -> int:
        return len(str(one.chosen)) - len(str(one.rejected))

    return {
        zoo.GOLD: takes(lambda _: 1),
        "mute": takes(lambda _: 0),
        "longer": takes(longer),
        "shorter": takes(lambda one: -longer(one)),
        "random": takes(lambda one: 1 if int(hashlib.sha256(one.row.encode()).hexdigest()[0], 16) % 2 else -1),
    }


def _sure(sign: int) -> dict[str, Any]:
    """The score of an answer that is preferred, refused, or neither."""
    return {"log_probability": float((sign > 0) - (sign < 0)) - 2.0, "tokens": 1}


def _scored(sound: Mapping[str, Sequence[Verdict]], why: Mapping[str, str], score: Score) -> dict[str, Any]:
    """Runner → what it would prefer by this score, and by how much: the mean over pairs, with Student's interval."""

    def margin(mine: Sequence[Verdict]) -> dict[str, Any]:
        return means.student(array("d", (one.margin(score) for one in mine)), UNITS[score])

    return {
        name: {"preferred": unavailable(why[name], "ratio"), "margin": unavailable(why[name], UNITS[score])}
        if name in why
        else {
            "preferred": rate(sum(_preferred(sound[name], score)), len(sound[name])),
            "margin": margin(sound[name]),
        }
        for name in RUNNERS
    }


def _lack(name: str, right: Mapping[str, Sequence[int]], why: Mapping[str, str]) -> str:
    return lacking(name, right, {who: reason for who, reason in why.items() if not reason.startswith("no ")})


def _sides(name: str, right: Mapping[str, Sequence[int]]) -> tuple[Sequence[int], Sequence[int]]:
    first, second = COMPARED[name]
    return right[first], right[second]


def _compared(name: str, right: Mapping[str, Sequence[int]], why: Mapping[str, str]) -> dict[str, Any]:
    lack = _lack(name, right, why)
    return unavailable(lack, "item/item") if lack else wins(*_sides(name, right))


def _worst(
    pairs: Sequence[Pair], sound: Mapping[str, Sequence[Verdict]], params: PreferenceParams
) -> list[dict[str, Any]]:
    """Pairs that the student or the package ranks wrongly: first those its teacher, its baseline or its checkpoint
    ranks rightly, by how many of these do; then those it is surest about."""

    def margins(index: int) -> dict[str, float]:
        return {name: mine[index].margin(params.score) for name, mine in sound.items() if index < len(mine)}

    def judged(index: int) -> list[float]:
        return [margin for name, margin in margins(index).items() if name in ("student", "coreml")]

    def lost(index: int) -> tuple[int, float, int]:
        one = margins(index)
        losses = sum(one.get(worse, 0.0) > 0 and one.get(mine, 1.0) <= 0 for mine, worse in COMPARED.values())
        return -losses, min(judged(index)), index

    wrong = (index for index in range(len(pairs)) if any(margin <= 0 for margin in judged(index)))
    return [
        {
            "row": pairs[index].row,
            "prompt": shown(str(pairs[index].asked), params.quote),
            "chosen": shown(str(pairs[index].chosen), params.quote),
            "rejected": shown(str(pairs[index].rejected), params.quote),
            "margins": {name: measured(margin, UNITS[params.score]) for name, margin in margins(index).items()},
        }
        for index in heapq.nsmallest(params.examples, wrong, key=lost)
    ]


def shown(text: str, quote: int) -> str:
    """A text as a report shows it: its first `quote` characters, or its digest where nothing may be quoted."""
    if not quote:
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return text if len(text) <= quote else f"{text[:quote]}…"


SUITE = Suite(
    name="preference",
    version=3,
    params=PreferenceParams,
    asks=frozenset({"score"}),
    runners=("student",),
    figures=("preferred.*",),
    select=select,
    ask=ask,
    data_of=data_of,
    zoo=policies,
    cost=lambda line: -float(line["parts"].get("margin", 0.0)),
    pairs=True,
)
