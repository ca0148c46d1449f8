"""Tasks of several steps × models → whether each is done: a model calls, fixtures answer, until the model halts.

What counts is declared by the row (`wanted`): the calls that are needed, tools that are forbidden, what of a small
world must have changed, facts that the final answer must state, how many answers it may take. Code mode, several calls
in one answer, is answered call by call in their order. An item is right when all of it holds and the model halted. A
tool that is wanted may be called as often as it is wanted, or as the row's own path calls it: every call beyond that is
a guess, and who tries every value has done no task. Other tools may be called to find out.

An answer that was cut at `max_new_tokens`, or by the end of the context, is no end, whatever it says: who never stops
has not halted. It ends the item, and calls in it are not carried out. So does a conversation that outgrows its model.

Where fewer calls are answered than `least_hit_rate`, nothing is said of how well a model did.

A row of which any answer, a call or a text, holds personal data that its own path and its `wanted` do not is not
`privacy_ok`, whether it is done or not.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from runtime.contract import Params, Refusal, Runner, Said, Suite, callforms, items, scenario, spool, zoo
from runtime.contract.calls import Call
from runtime.contract.conversation import Conversation
from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.paired import COMPARED, RUNNERS, lacking, wins
from runtime.contract.statistics.rates import rate
from runtime.contract.statistics.ratios import kept
from runtime.contract.toolbox import fixtures_of
from runtime.contract.units import unit
from runtime.data import done, personal
from runtime.tools.broker.played import (
    ANSWER,
    CONVERSATION,
    CUT,
    Played,
    begun,
    end,
    output_of,
    own_path,
    path_calls,
    step,
    turns_of,
)

#: a chain is long from so many wanted calls on
LONG = 3
#: calls of a policy that makes every call of any row's path, at most
_EVERY = 32
#: how the calls of a row's own path stand: one an answer, several in one answer, or a long chain of either
PARTS = ("single", "several", "long")


class ScenariosParams(Params):
    max_new_tokens: int = Field(
        default=128,
        ge=1,
        description="Longest answer that is generated, each of several; one that is cut ends its item, not right.",
        examples=[128],
        json_schema_extra=unit("token"),
    )
    turns: int = Field(
        default=8,
        ge=1,
        le=scenario.MOST_TURNS,
        description="Answers a model may give where a row does not say.",
        examples=[8],
        json_schema_extra=unit("answer"),
    )
    least_hit_rate: float = Field(
        default=0.95,
        ge=0.95,
        le=1.0,
        description="Share of calls that the fixtures must answer, or nothing is said of a model.",
        examples=[0.98],
        json_schema_extra=unit("1"),
    )
    limit: int = Field(
        default=200,
        ge=0,
        description="Rows for the runners in torch, a fair sample; 0 takes all.",
        examples=[200],
        json_schema_extra=unit("row"),
    )
    coreml_limit: int = Field(
        default=64, ge=1, description="Rows for the interpreted package.", examples=[64], json_schema_extra=unit("row")
    )


def _leaked(text: str, row: Mapping[str, Any]) -> list[str]:
    """Kinds of personal data in a text that neither the row's own path says nor its `wanted` declares."""
    if not personal.found(text):
        return []
    return personal.leaked(text, "\n".join([*own_path(row), json.dumps(row["wanted"], ensure_ascii=False)]))


def _line(name: str, one: Played, output: Mapping[str, Any], tools: Sequence[Any]) -> items.Line:
    parts: dict[str, Any] = {"answers": len(one.said), "served": one.served, "missed": int(one.ended == "miss")}
    parts["personal"] = sorted({kind for text in one.said for kind in _leaked(text, one.row)})
    parts |= {"lacks": one.lacks} if one.lacks else {}
    line = items.line(one.row, name, dict(output), parts, done.reason(one))
    return {**line, "prompt": items.prompt_digest(scenario.asked(one.row, tools))}


def judged(name: str, row: Mapping[str, Any], output: Any, tools: Sequence[Any], params: ScenariosParams) -> items.Line:
    """The line of one row, by playing again what the model said. Raises ValueError for what nobody can have said."""
    if not isinstance(output, Mapping) or set(output) != {"said", "cut"} or output["cut"] not in ("", *CUT):
        raise ValueError("its output is not {said, cut}")
    one = begun(row, tools)
    if not isinstance(output["said"], list) or not all(isinstance(text, str) for text in output["said"]):
        raise ValueError("what it said is no list of texts")
    cut = output["cut"]
    for place, text in enumerate(output["said"], start=1):
        if one.ended:
            raise ValueError("it says something after its end")
        if cut == ANSWER and place == len(output["said"]):
            end(one, ANSWER, text)
        else:
            step(one, text, params.turns)
    if bool(one.ended) is (cut == CONVERSATION):
        raise ValueError("it has no end, or two")
    if cut == CONVERSATION:
        end(one, CONVERSATION)
    return _line(name, one, output, tools)


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: ScenariosParams) -> Sequence[Mapping[str, Any]]:
    """The rows that a runner is asked."""
    asked = items.first(rows, params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    tools: Sequence[Any],
    params: ScenariosParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each row: all are played side by side, one answer at a time."""
    played = [begun(row, tools) for row in rows]
    while going := [one for one in played if not one.ended]:
        prompts = [Conversation.of(one.messages, one.beside) for one in going]
        for one, answer in zip(going, _answers(runner, going, prompts, params), strict=True):
            if answer is None:
                end(one, CONVERSATION)
            elif answer.cut:
                end(one, ANSWER, answer.text)
            else:
                step(one, answer.text, params.turns)
    return [_line(name, one, output_of(one), tools) for one in played]


def _answers(
    runner: Runner, going: Sequence[Played], prompts: Sequence[Conversation], params: ScenariosParams
) -> list[Said | None]:
    """An answer each; None for a conversation that has grown beyond what the model reads."""
    try:
        return list(runner.say(prompts, params.max_new_tokens))
    except Refusal:
        if not all(one.said for one in going):
            # a row that does not fit from the beginning is a mistake of the data
            raise
    found: list[Said | None] = []
    for prompt in prompts:
        try:
            found += runner.say([prompt], params.max_new_tokens)
        except Refusal:
            found.append(None)
    return found


def _gold(rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], params: ScenariosParams) -> None:
    """Every row is right by its own path. Raises Refusal for one that is not."""
    for row in rows:
        why = scenario.unfit(row)
        if not why:
            path = own_path(row)
            line = judged(zoo.GOLD, row, _said(row, path, tools, params), tools, params)
            reason = line["reason"] or ("" if line["output"]["said"] == path else "it ends early")
            why = f"its own path is not right: {reason}" if reason else ""
        if why:
            raise Refusal(
                f"row `{row['id']}` is no scenario that can be judged: {why}",
                action="correct its `wanted` or its messages, or record what its path calls: kcompiler fixtures record",
                code="KR0237",
            )


def policies(
    rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], params: ScenariosParams
) -> dict[str, Sequence[dict[str, Any]]]:
    """What policies that understand nothing would say, as far as they are let; and the rows' own paths."""
    finals = spool.texts(own_path(row)[-1] for row in rows)

    def last(at: int) -> str:
        return str(rows[at]["messages"][scenario.begins(rows[at]) - 1]["content"])

    def only(texts: Sequence[str]) -> Callable[[int], list[str]]:
        return lambda at: [texts[at]]

    said = {name: only(texts) for name, texts in zoo.of_texts(finals, spool.Each(len(rows), last)).items()}
    said["no_call"] = only(finals)
    said[zoo.GOLD] = lambda at: own_path(rows[at])
    every = callforms.write(_every(rows))
    said["every_call"] = lambda at: [every, finals[at]]
    if tools:
        first = callforms.write([Call(str(tools[0]["name"]), {})])
        said["always_first_tool"] = lambda at: [first] * turns_of(rows[at], params.turns)

    def outputs(texts: Callable[[int], list[str]]) -> Sequence[dict[str, Any]]:
        return spool.Each(len(rows), lambda at: _said(rows[at], texts(at), tools, params))

    return {name: outputs(texts) for name, texts in said.items()}


def _every(rows: Sequence[Mapping[str, Any]]) -> list[Call]:
    """The first distinct calls of the rows' paths."""
    made: dict[str, Call] = {}
    for row in rows:
        made |= {callforms.write([call]): call for call in path_calls(row)}
        if len(made) >= _EVERY:
            break
    return [*made.values()][:_EVERY]


def _said(
    row: Mapping[str, Any], texts: Sequence[str], tools: Sequence[Any], params: ScenariosParams
) -> dict[str, Any]:
    """The output of who says these texts, until the scenario ends; then, if it has not, nothing more."""
    one = begun(row, tools)
    for text in [*texts, ""]:
        if not one.ended:
            step(one, text, params.turns)
    return output_of(one)


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    tools: Sequence[Any],
    params: ScenariosParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.scenarios`. Raises ValueError for a line that is not what its output gives, Refusal
    without fixtures, and for a row that its own path does not get right."""
    asked = items.first(rows, params.limit)
    held = fixtures_of(tools) if asked else None
    _gold(asked, tools, params)

    def again(name: str, at: int, output: Any) -> items.Line:
        return judged(name, asked[at], output, tools, params)

    trivial = zoo.Right(policies(asked, tools, params), len(asked), again)
    found = dict[str, _Answered]()
    for at, mine in items.walk(lines, asked, lambda name: len(select(rows, name, params)), again):
        for name, line in mine.items():
            found.setdefault(name, _Answered()).add(line, _part(asked[at]))
        trivial.add(at)
    hits = {name: (one.served, one.served + one.missed) for name, one in found.items()}
    low = {
        name: f"{served} of {calls_} calls were answered, less than {params.least_hit_rate:g}"
        for name, (served, calls_) in hits.items()
        if served < params.least_hit_rate * calls_
    }
    right = {name: one.right for name, one in found.items() if name not in low}
    halted = {name: one.halted for name, one in found.items() if name not in low}

    def absent(name: str, unit_: str) -> dict[str, Any]:
        return unavailable(low.get(name) or items.lacks(name, asked), unit_)

    def each(make: Callable[[_Answered], dict[str, Any]]) -> dict[str, Any]:
        return {name: make(found[name]) if name in right else absent(name, "ratio") for name in RUNNERS}

    return {
        "items": measured(len(asked), "item"),
        "by_part": {part: each(functools.partial(_Answered.of_part, part=part)) for part in PARTS},
        "right": each(lambda one: rate(sum(one.right), len(one.right))),
        "halted": each(lambda one: rate(sum(one.halted), len(one.halted))),
        "privacy_ok": {
            name: rate(found[name].private, len(found[name].right))
            if name in found
            else unavailable(items.lacks(name, asked), "ratio")
            for name in RUNNERS
        },
        "fixture_hit_rate": {
            name: rate(*hits[name]) if name in hits else unavailable(items.lacks(name, asked), "ratio")
            for name in RUNNERS
        },
        "fixture_miss_count": {
            name: measured(found[name].missed, "item", n=len(found[name].right))
            if name in found
            else unavailable(items.lacks(name, asked), "item")
            for name in RUNNERS
        },
        "fixtures_unreviewed": measured(held.unreviewed, "line") if held else unavailable("no items", "line"),
        "of_teacher": {name: _share(name, right, low) for name in ("student", "coreml")},
        **{name: _compared(name, right, low, bool(asked)) for name in COMPARED},
        "halted_gains": {name: _compared(name, halted, low, bool(asked)) for name in ("teacher_gain", "package_gain")},
        "reasons": {
            name: {reason or "right": rate(count, len(one.right)) for reason, count in sorted(one.reasons.items())}
            for name, one in found.items()
        },
        "zoo": trivial.data(right, lambda name: low.get(name) or items.lacks(name, asked), RUNNERS),
    }


class _Answered:
    """What one runner's lines come to, one after the other."""

    def __init__(self) -> None:
        self.right, self.halted, self.reasons = bytearray(), bytearray(), Counter[str]()
        self.served = self.missed = self.private = 0
        self._parts = {part: [0, 0] for part in PARTS}

    def add(self, line: items.Line, part: str) -> None:
        """The next line, of a row that is such a part."""
        hit = not line["reason"]
        self.right.append(hit)
        self.reasons[line["reason"]] += 1
        self.served += line["parts"]["served"]
        self.missed += line["parts"]["missed"]
        self.private += not line["parts"]["personal"]
        self.halted.append(_halted(line))
        self._parts[part][0] += hit
        self._parts[part][1] += 1

    def of_part(self, part: str) -> dict[str, Any]:
        """How many of such rows it has right."""
        return rate(*self._parts[part])


def _halted(line: Mapping[str, Any]) -> bool:
    """Whether the model itself came to an end, rightly or not."""
    return line["reason"] in (
        "",
        "forbidden_call",
        "call_missing",
        "other_state",
        "surplus_call",
        "fact_missing",
        "fact_besides",
    )


def _part(row: Mapping[str, Any]) -> str:
    path = scenario.path(row)
    made = [len(message.get("tool_calls", ())) for message in path]
    return "long" if sum(made) >= LONG else "several" if max(made, default=0) > 1 else "single"


def _share(name: str, right: Mapping[str, Sequence[int]], low: Mapping[str, str]) -> dict[str, Any]:
    """How many a model gets right for each that its teacher does, on the rows both were asked. Nobody is right here by
    chance: `zoo` says what understanding nothing gets."""
    for one in ("teacher", name):
        if one not in right:
            return unavailable(low.get(one) or f"no runner `{one}`", "1")
    sides = list(zip(right[name], right["teacher"], strict=False))
    split = [sum(side == one for side in sides) for one in ((1, 1), (1, 0), (0, 1))]
    return kept(len(sides), *split)


def _compared(name: str, right: Mapping[str, Sequence[int]], low: Mapping[str, str], some: bool) -> dict[str, Any]:
    lack = (lacking(name, right, low)) if some else "no items"
    first, second = COMPARED[name]
    return unavailable(lack, "item/item") if lack else wins(right[first], right[second])


SUITE = Suite(
    name="scenarios",
    version=6,
    params=ScenariosParams,
    asks=frozenset({"say"}),
    runners=("student",),
    figures=("right.*",),
    select=select,
    ask=ask,
    data_of=data_of,
    zoo=policies,
    answered=True,
)
