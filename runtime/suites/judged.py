"""Held-out rows × two models and a judge → whose answers the judge finds better.

Both models answer the same rows. A judge, which is a model of its own, is given each pair in both orders, in the form
of `runtime.contract.verdicts`: answers stand between fences that no answer can close. An answer wins where the judge
prefers it in either seat; two that it calls equal in both orders are a tie; a verdict that turns with the seats, or
that is none, is a flip and counts for nobody.

What understands nothing (`zoo`) is put before the same judge on the same rows, beside the rows' own answers: silence,
the rows' most frequent answer, their longest one, the question repeated and a refusal; and so is the model that is
judged. Whose answer wins or ties *holds* a row, whatever the other model is worth: a model that says one thing to every
row is no worse than another that does so, and holds no more rows than a constant. Something is measured where the rows'
own answers (`copy_gold`, the positive control, each beside itself) hold more than the best of these. A guess by
frequency is not asked: it holds what constant answers hold on average, and each policy costs two questions a row.

What a judge says is worth what the judge is worth: the report on it stands beside this one (`evaluation.judge`), and no
rule about this report is decided unless every blocking rule about that one has passed in the same verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from runtime.contract import Params, Runner, Suite, TokenScore, items, spool, zoo
from runtime.contract.conversation import Conversation
from runtime.contract.questioned import JUDGE
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics.paired import not_numbers, wins, wins_of
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit
from runtime.contract.verdicts import FIRST, SECOND, TIE, VERDICTS, Pair, other, pair, said

#: what becomes of a pair, for the model that is judged
ENDS = ("won", "lost", "tied", "flipped")
#: the ends of an answer that is not worse
HELD = ("won", "tied")
ORDERS = ("asked", "swapped")
#: who is put before the judge beside the rows' own answers, in the order of their scores in a line: the model that is
#: judged, and what understands nothing
MINE, POLICIES = "first", (zoo.GOLD, "constant", "echo", "longest", "mute", "refuse_all")


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


def policies(
    rows: Sequence[Mapping[str, Any]], _tools: Sequence[Any], params: JudgedParams
) -> Mapping[str, Sequence[Any]]:
    """What each of `POLICIES` answers to each row."""
    asked = items.first(rows, params.limit)
    golds = spool.Each(len(asked), lambda at: str(asked[at]["response"]))
    said_ = zoo.of_texts(golds, spool.Each(len(asked), lambda at: zoo.last_words(prompt_of(asked[at]))))

    def put(texts: Sequence[str]) -> Sequence[dict[str, Any]]:
        return spool.Each(len(asked), lambda at: {"text": texts[at]})

    return {name: put(said_[name]) for name in POLICIES}


def between(row: Mapping[str, Any], first: str, second: str) -> Pair:
    """What the judge is asked of two answers to a row."""
    prompt = prompt_of(row)
    return pair(prompt.text if isinstance(prompt, Conversation) else prompt, first, second)


def compare(
    runners: Mapping[str, Runner],
    rows: Sequence[Mapping[str, Any]],
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    trivial: Mapping[str, Sequence[Any]],
    params: JudgedParams,
) -> dict[str, list[items.Line]]:
    """The same lines; of the first model also the judge's scores of each verdict, in both orders, and such scores of it
    and of what understands nothing, each beside the row's own answer."""
    answers = {name: [one["output"]["text"] for one in mine] for name, mine in lines.items()}
    judge, firsts, seconds = runners[JUDGE], answers[params.first], answers[params.second]
    besides = {MINE: firsts, **{name: [one["text"] for one in outputs] for name, outputs in trivial.items()}}
    pairs = [
        between(row, *texts)
        for at, row in enumerate(rows)
        for texts in [
            (firsts[at], seconds[at]),
            *((mine[at], besides[zoo.GOLD][at]) for mine in besides.values()),
        ]
    ]
    asked = [(one.prompt, verdict) for two in pairs for one in (two, two.swapped) for verdict in VERDICTS]
    scores = iter([items.of_score(one) for one in judge.score(asked)])

    def of_a_pair() -> dict[str, list[Any]]:
        return {order: [next(scores) for _ in VERDICTS] for order in ORDERS}

    made = [
        judged(params.first, row, {"text": text, **of_a_pair(), "zoo": {name: of_a_pair() for name in besides}})
        for row, text in zip(rows, firsts, strict=True)
    ]
    return {params.first: made, params.second: [dict(one) for one in lines[params.second]]}


def _scores(output: Mapping[str, Any]) -> dict[str, list[TokenScore]]:
    if not all(isinstance(output[order], list) and len(output[order]) == len(VERDICTS) for order in ORDERS):
        raise ValueError("its output is not one score of each verdict in both orders")
    return {order: [items.score_of(one) for one in output[order]] for order in ORDERS}


def _end(scores: Mapping[str, Sequence[TokenScore]]) -> tuple[str, float]:
    """What becomes of an answer by these scores, and how sure the judge is of its first verdict."""
    (one, sure), (two, _) = (said(scores[order], VERDICTS) for order in ORDERS)
    return {FIRST: "won", SECOND: "lost", TIE: "tied"}[one] if one and two == other(one) else "flipped", sure


def judged(runner: str, row: Mapping[str, Any], output: Any) -> items.Line:
    """The line of an answer that was judged. Raises ValueError for an output that is none of the form."""
    if not isinstance(output, Mapping) or list(output) != ["text", *ORDERS, "zoo"]:
        raise ValueError("its output is not {text, asked, swapped, zoo}")
    items.text_of(output["text"])
    besides = output["zoo"]
    if not isinstance(besides, Mapping) or tuple(besides) != (MINE, *POLICIES):
        raise ValueError(f"beside it are not {', '.join((MINE, *POLICIES))}")
    if not all(isinstance(one, Mapping) and tuple(one) == ORDERS for one in besides.values()):
        raise ValueError("its output is not one score of each verdict in both orders")
    scores = {"": _scores(output), **{name: _scores(one) for name, one in besides.items()}}
    if not_numbers([one for mine in scores.values() for order in mine.values() for one in order]):
        return items.line(row, runner, output, {}, "not_finite")
    end, sure = _end(scores.pop(""))
    ends = {name: _end(mine)[0] for name, mine in scores.items()}
    return items.line(row, runner, output, {"end": end, "sure": sure, "zoo": ends}, "" if end == "won" else end)


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
    held = {name: bytearray() for name in (MINE, *POLICIES)}

    def again(name: str, at: int, output: Any) -> items.Line:
        return (judged if name == params.first else _answer)(name, asked[at], output)

    for _, mine in items.walk(lines, asked, lambda name: len(select(rows, name, params)), again):
        found |= mine.keys()
        if params.first in mine:
            parts = mine[params.first]["parts"]
            numbers &= bool(parts)
            ends[parts.get("end", "")] += 1
            for name, kept in held.items():
                kept.append(parts.get("zoo", {}).get(name) in HELD)
    absent = next((name for name in (params.first, params.second) if name not in found), "")
    why = items.lacks(absent, asked) if absent else "" if numbers else "a score is not finite"
    count = ends.total()
    return {
        "items": measured(len(asked), "item"),
        "first": params.first,
        "second": params.second,
        **{end: unavailable(why, "ratio") if why else rate(ends[end], count) for end in ENDS},
        "net": unavailable(why, "item/item") if why else wins_of(count, ends["won"], ends["lost"]),
        "zoo": _beside(held, why),
    }


def _beside(held: Mapping[str, Sequence[int]], why: str) -> dict[str, Any]:
    """`zoo` of the report, of which rows the model and each policy holds."""
    right = {name: mine for name, mine in held.items() if name not in (MINE, zoo.GOLD)}
    best = max(right, key=lambda name: sum(right[name]))
    rates = {name: unavailable(why, "ratio") if why else rate(sum(mine), len(mine)) for name, mine in held.items()}
    above = {name: unavailable(why, "item/item") if why else wins(held[name], right[best]) for name in (MINE, zoo.GOLD)}
    if above[zoo.GOLD]["tag"] == "measured" and above[zoo.GOLD]["low"] <= 0:
        reason = f"before this judge the rows' own answers hold no more than policy `{best}`: nothing is measured"
        above[MINE] = unavailable(reason, "item/item")
    return {
        "gold": rates[zoo.GOLD],
        "held": rates[MINE],
        "right": {} if why else {name: rates[name] for name in right},
        "best": "" if why else best,
        "above": above,
    }


SUITE = Suite(
    name="judged",
    version=2,
    params=JudgedParams,
    runners=(),
    figures=("won", "lost"),
    select=select,
    ask=ask,
    data_of=data_of,
    compare=compare,
    zoo=policies,
    judge=lambda params: (params.first, params.second),
)
