"""Held-out rows × two models and a judge → whose answers the judge finds better.

Both models answer the same rows. A judge, which is a model of its own, is given each pair in both orders, in the form
of `runtime.contract.verdicts`: answers stand between fences that no answer can close. An answer wins where the judge
prefers it in either seat; two that it calls equal in both orders are a tie; a verdict that turns with the seats, or
that is none, is a flip and counts for nobody.

What a judge says is worth what the judge is worth: the report on it stands beside this one (`evaluation.judge`), and no
rule about this report is decided unless every blocking rule about that one has passed in the same verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from runtime.contract import Params, Runner, Suite, items
from runtime.contract.conversation import Conversation
from runtime.contract.questioned import JUDGE
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics.paired import not_numbers, wins_of
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit
from runtime.contract.verdicts import FIRST, SECOND, TIE, VERDICTS, Pair, other, pair, said

#: what becomes of a pair, for the model that is judged
ENDS = ("won", "lost", "tied", "flipped")
ORDERS = ("asked", "swapped")


class JudgedParams(Params):
    first: Literal["student", "coreml"] = Field(
        default="student",
        description="Whose answers are judged: the checkpoint's or the package's.",
        examples=["coreml"],
    )
    second: Literal["teacher", "ce_only"] = Field(
        default="teacher", description="Whose answers they are compared with.", examples=["ce_only"]
    )
    max_new_tokens: int = Field(
        default=96, ge=1, description="Longest answer.", examples=[96], json_schema_extra=unit("token")
    )
    limit: int = Field(
        default=200, ge=0, description="Rows, a fair sample; 0 takes all.", examples=[200],
        json_schema_extra=unit("row"),
    )  # fmt: skip


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: JudgedParams) -> Sequence[Mapping[str, Any]]:
    """The rows that a runner is asked; nobody else is."""
    return items.first(rows, params.limit) if runner in (params.first, params.second) else ()


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: JudgedParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each row: the answer."""
    said_ = runner.generate([prompt_of(row) for row in rows], params.max_new_tokens)
    return [items.line(row, name, {"text": text}, {}) for row, text in zip(rows, said_, strict=True)]


def between(row: Mapping[str, Any], first: str, second: str) -> Pair:
    """What the judge is asked of two answers to a row."""
    prompt = prompt_of(row)
    return pair(prompt.text if isinstance(prompt, Conversation) else prompt, first, second)


def compare(
    runners: Mapping[str, Runner],
    rows: Sequence[Mapping[str, Any]],
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    params: JudgedParams,
) -> dict[str, list[items.Line]]:
    """The same lines; of the first model also the judge's scores of each verdict, in both orders."""
    answers = {name: [one["output"]["text"] for one in mine] for name, mine in lines.items()}
    pairs = [
        between(row, first, second)
        for row, first, second in zip(rows, answers[params.first], answers[params.second], strict=True)
    ]
    asked = [(one.prompt, verdict) for two in pairs for one in (two, two.swapped) for verdict in VERDICTS]
    judge = runners[JUDGE]
    scores = iter([items.of_score(one) for one in judge.score(asked)])
    made = [
        judged(params.first, row, {"text": text, **{order: [next(scores) for _ in VERDICTS] for order in ORDERS}})
        for row, text in zip(rows, answers[params.first], strict=True)
    ]
    return {params.first: made, params.second: [dict(one) for one in lines[params.second]]}


def judged(runner: str, row: Mapping[str, Any], output: Any) -> items.Line:
    """The line of an answer that was judged. Raises ValueError for an output that is none of the form."""
    if not isinstance(output, Mapping) or list(output) != ["text", *ORDERS]:
        raise ValueError("its output is not {text, asked, swapped}")
    items.text_of(output["text"])
    if not all(isinstance(output[order], list) and len(output[order]) == len(VERDICTS) for order in ORDERS):
        raise ValueError("its output is not one score of each verdict in both orders")
    scores = {order: [items.score_of(one) for one in output[order]] for order in ORDERS}
    if not_numbers([one for mine in scores.values() for one in mine]):
        return items.line(row, runner, output, {}, "not_finite")
    (one, sure), (two, _) = (said(scores[order], VERDICTS) for order in ORDERS)
    end = {FIRST: "won", SECOND: "lost", TIE: "tied"}[one] if one and two == other(one) else "flipped"
    return items.line(row, runner, output, {"end": end, "sure": sure}, "" if end == "won" else end)


def _answer(runner: str, row: Mapping[str, Any], output: Any) -> items.Line:
    if not isinstance(output, Mapping) or list(output) != ["text"]:
        raise ValueError("its output is not {text}")
    items.text_of(output["text"])
    return items.line(row, runner, output, {})


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: JudgedParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.judged`. Raises ValueError for a line that is not what its output gives."""
    asked = items.first(rows, params.limit)
    found, numbers, ends = set[str](), True, Counter[str]()

    def again(name: str, at: int, output: Any) -> items.Line:
        return (judged if name == params.first else _answer)(name, asked[at], output)

    for _, mine in items.walk(lines, asked, lambda name: len(select(rows, name, params)), again):
        found |= mine.keys()
        if params.first in mine:
            parts = mine[params.first]["parts"]
            numbers &= bool(parts)
            ends[parts.get("end", "")] += 1
    absent = next((name for name in (params.first, params.second) if name not in found), "")
    why = items.lacks(absent, asked) if absent else "" if numbers else "a score is not finite"
    count = ends.total()
    return {
        "items": measured(len(asked), "item"),
        "first": params.first,
        "second": params.second,
        **{end: unavailable(why, "ratio") if why else rate(ends[end], count) for end in ENDS},
        "net": unavailable(why, "item/item") if why else wins_of(count, ends["won"], ends["lost"]),
    }


SUITE = Suite(
    name="judged",
    version=1,
    params=JudgedParams,
    runners=(),
    figures=("won", "lost"),
    select=select,
    ask=ask,
    data_of=data_of,
    compare=compare,
    judge=lambda params: (params.first, params.second),
)
