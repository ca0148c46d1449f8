"""Held-out requests × models → tool-span F1, JSON validity, tool selection, privacy, a named cause for each failure.

What counts is decided by the rows, never by the model: a row that wants calls is *eligible*, and silence on it costs
recall; a row that wants none is a *control*, and a call on it costs precision, in whatever form it is written. A row
says what it wants in `wanted` (several calls, in any order or in the given one, accepted values, arguments that may be
left out), else by its own response. F1 is micro: true positives, false positives and false negatives are pooled over
all rows before one division. Two models are compared row by row by whether the whole row is right.

An output with personal data that its row does not declare is not `privacy_ok`, whatever else is right in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from pydantic import Field

from runtime.contract import Params, Refusal, Runner, Suite, agreement, callforms, items, spool, zoo
from runtime.contract.agreement import Rules
from runtime.contract.calls import Call
from runtime.contract.report import measured, unavailable
from runtime.contract.statistics.paired import COMPARED, RUNNERS, lacking, wins
from runtime.contract.statistics.rates import rate
from runtime.contract.strict_json import Json
from runtime.contract.units import unit
from runtime.data.called import SAYINGS, Item, Validators, gold_of, item_of, judge, reason
from runtime.tools import registry


class ToolUseParams(Params):
    max_new_tokens: int = Field(
        default=96,
        ge=1,
        description="Longest output that is generated.",
        examples=[96],
        json_schema_extra=unit("token"),
    )
    limit: int = Field(
        default=300,
        ge=0,
        description="Rows for the runners in torch, a fair sample; 0 takes all.",
        examples=[300],
        json_schema_extra=unit("row"),
    )
    coreml_limit: int = Field(
        default=64, ge=1, description="Rows for the interpreted package.", examples=[64], json_schema_extra=unit("row")
    )
    examples: int = Field(
        default=5,
        ge=0,
        le=50,
        description="Failed rows the report quotes per runner.",
        examples=[5],
        json_schema_extra=unit("example"),
    )
    forms: list[callforms.Form] = Field(
        default_factory=lambda: [callforms.NATIVE],
        min_length=1,
        description="Forms in which a call counts as one: native is tool.call{…}, the others are those of chat "
        "templates and of benchmarks. A call in another form is one that nobody can carry out.",
        examples=[["native"], ["tagged"]],
    )
    rules: Rules = Field(
        default_factory=Rules,
        description="When two values of an argument are the same.",
        examples=[{"strings": "nfc"}],
    )


@dataclass(slots=True)
class Tally:
    """Pooled counts of one runner, or of one tool or kind of row of it."""

    eligible: int = 0
    controls: int = 0
    abstained: int = 0
    parsed: int = 0
    valid: int = 0
    selected: int = 0
    exact: int = 0
    true: int = 0
    false: int = 0
    missed: int = 0
    private: int = 0
    faults: Counter[str] = field(default_factory=Counter)


COUNTS = tuple(name for name in Tally.__slots__ if name != "faults")


def items_of(
    rows: Sequence[Mapping[str, Any]],
    tools: Sequence[Any],
    rules: Rules = agreement.EXACT,
    forms: Sequence[callforms.Form] = (callforms.NATIVE,),
) -> Sequence[Item]:
    """Rows as items, each made when it is asked for: then it raises Refusal as `item_of`. Raises Refusal where a row
    has no tools and nothing declares any."""
    valid, schemas = _declared(json.dumps(list(tools))) if tools or not _own(rows) else ({}, {})
    return spool.Each(len(rows), lambda at: item_of(rows[at], valid, schemas, rules, forms))


@lru_cache(maxsize=4)
def _declared(tools: str) -> tuple[Validators, Mapping[str, Any]]:
    """Validators and schemas of a registry that is given as JSON text: it is the same for every lot. Raises Refusal."""
    known = registry.checked(cast(Json, json.loads(tools)), "tools.json")
    return registry.validators(known), {tool["name"]: tool["parameters"] for tool in known}


def _own(rows: Sequence[Mapping[str, Any]]) -> bool:
    return bool(rows) and all(row.get("tools") for row in rows)


def add(total: Tally, item: Item, parts: Mapping[str, Any]) -> None:
    """An item's parts into a tally."""
    eligible = bool(item.wanted)
    total.eligible += eligible
    total.controls += not eligible
    total.abstained += not eligible and parts["right"]
    total.parsed += eligible and parts["parsed"]
    total.valid += eligible and parts["valid"]
    total.selected += eligible and parts["selected"]
    total.exact += eligible and parts["right"]
    total.true += parts["tp"]
    total.false += parts["fp"]
    total.missed += parts["fn"]
    total.private += not parts["personal"]
    if eligible and parts["faults"]:
        total.faults[parts["faults"][0]] += 1


def f1(tally: Tally) -> dict[str, Any]:
    """Micro-F1 = 2 TP / (2 TP + FP + FN) with its counts; without an eligible row there is none."""
    whole = 2 * tally.true + tally.false + tally.missed
    if not tally.eligible:
        return unavailable("no eligible row", "ratio")
    counts = {"tp": tally.true, "fp": tally.false, "fn": tally.missed}
    return measured(2 * tally.true / whole, "ratio", n=tally.eligible, **counts)


def facts(tally: Tally) -> dict[str, Any]:
    """A tally as data of the report."""
    rows = tally.eligible + tally.controls
    return {
        "span_f1": f1(tally),
        "precision": rate(tally.true, tally.true + tally.false),
        "recall": rate(tally.true, tally.true + tally.missed),
        "json_parses": rate(tally.parsed, tally.eligible),
        "json_validity": rate(tally.valid, tally.eligible),
        "tool_selection": rate(tally.selected, tally.eligible),
        "exact_call": rate(tally.exact, tally.eligible),
        "control_abstention": rate(tally.abstained, tally.controls),
        "control_calls": rate(tally.controls - tally.abstained, tally.controls),
        "right": rate(tally.exact + tally.abstained, rows),
        "privacy_ok": rate(tally.private, rows),
        "faults": {kind: rate(count, tally.eligible) for kind, count in sorted(tally.faults.items())},
    }


def absent(why: str) -> dict[str, Any]:
    """The same data of a runner that is not here."""
    rates = {name: unavailable(why, "ratio") for name in facts(Tally()) if name != "faults"}
    return {**rates, "faults": {}, "by_tool": {}, "by_kind": {}, "failed_examples": []}


class Answered:
    """All facts of one runner, item by item: pooled, by the wanted tools, by kind of row, and a few failed rows."""

    def __init__(self, examples: int) -> None:
        self._total, self._examples = Tally(), examples
        self._per_tool, self._per_kind = dict[str, Tally](), dict[str, Tally]()
        self._failed: list[dict[str, str]] = []
        #: of each item in a byte: whether its calls are right
        self.right = bytearray()

    def add(self, item: Item, output: str, parts: Mapping[str, Any]) -> None:
        """The next item, what was said, and what it is worth."""
        add(self._total, item, parts)
        add(self._per_kind.setdefault(item.kind, Tally()), item, parts)
        for name in {one.call.name for one in item.wanted}:
            add(self._per_tool.setdefault(name, Tally()), item, parts)
        why = reason(parts)
        if why and len(self._failed) < self._examples:
            self._failed.append({"id": item.id, "output": output[:500], "kind": why, "detail": parts["detail"]})
        self.right.append(parts["right"])

    def data(self) -> dict[str, Any]:
        """What the report says of it."""
        by_tool = {
            name: {
                "span_f1": f1(tally),
                "json_validity": rate(tally.valid, tally.eligible),
                "tool_selection": rate(tally.selected, tally.eligible),
                "exact_call": rate(tally.exact, tally.eligible),
            }
            for name, tally in sorted(self._per_tool.items())
        }
        by_kind = {
            kind: rate(tally.exact + tally.abstained, tally.eligible + tally.controls)
            for kind, tally in sorted(self._per_kind.items())
        }
        return {**facts(self._total), "by_tool": by_tool, "by_kind": by_kind, "failed_examples": self._failed}


#: calls that a policy which always calls chooses from
_CALLED = 20


def policies(
    rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], params: ToolUseParams
) -> dict[str, Sequence[str]]:
    """What policies that understand nothing would say, in the form that is asked for."""
    return _policies(items_of(items.first(rows, params.limit), tools, params.rules, params.forms), params.forms[0])


def _call(item: Item, called: Sequence[tuple[str, frozenset[str]]], form: callforms.Form) -> str:
    """The most frequent of these calls that a row's tools allow, else its first tool without arguments."""
    fitting = (text for text, names in called if names <= item.valid.keys())
    return next(fitting, None) or callforms.write([Call(next(iter(item.valid)), {})], form)


def _policies(asked: Sequence[Item], form: callforms.Form) -> dict[str, Sequence[str]]:
    wants = bytearray()

    def answers() -> Iterator[str]:
        for item in asked:
            wants.append(bool(item.wanted))
            yield gold_of(item, form)

    golds = spool.texts(answers())
    if not golds:
        return {}
    # the calls that are wanted most often, with the tools that they need
    called = [
        (golds[at], frozenset(one.call.name for one in asked[at].wanted))
        for at in spool.commonest(golds, _CALLED, wants)
    ]
    silent = spool.commonest(golds, among=bytes(not one for one in wants))
    return {
        **zoo.of_texts(golds, spool.Each(len(asked), lambda at: zoo.last_words(asked[at].prompt))),
        "always_call": spool.Each(len(asked), lambda at: _call(asked[at], called, form)),
        "never_call": spool.same(golds[silent[0]] if silent else zoo.REFUSAL, len(asked)),
    }


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: ToolUseParams) -> Sequence[Mapping[str, Any]]:
    """The rows that a runner is asked."""
    asked = items.first(rows, params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def judged(runner: str, row: Mapping[str, Any], output: Any, item: Item, params: ToolUseParams) -> items.Line:
    """The line of one row. Raises ValueError for an output that is no text."""
    parts = judge(items.text_of(output), item, params.forms, params.rules)
    return items.line(row, runner, output, parts, reason(parts))


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    tools: Sequence[Any],
    params: ToolUseParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each row."""
    asked = list(items_of(rows, tools, params.rules, params.forms))
    outputs = runner.generate([item.prompt for item in asked], params.max_new_tokens)
    whole = zip(rows, outputs, asked, strict=True)
    return [judged(name, row, output, item, params) for row, output, item in whole]


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    tools: Sequence[Any],
    params: ToolUseParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.tool_use`. Raises ValueError for a line that is not what its output gives, Refusal
    where no tool is declared, or for a gold call that does not fit."""
    whole = items.first(rows, params.limit)
    asked = items_of(whole, tools, params.rules, params.forms)

    @lru_cache(maxsize=SAYINGS)
    def parts(at: int, output: str) -> dict[str, Any]:
        return judge(output, asked[at], params.forms, params.rules)

    def again(name: str, at: int, output: Any) -> items.Line:
        found = parts(at, items.text_of(output))
        return items.line(whole[at], name, output, found, reason(found))

    def worth(_: str, at: int, output: str) -> Mapping[str, str]:
        return {"reason": reason(parts(at, output))}

    trivial = zoo.Right(_policies(asked, params.forms[0]), len(asked), worth)
    found, eligible = dict[str, Answered](), 0
    for at, mine in items.walk(lines, whole, lambda name: len(select(rows, name, params)), again):
        eligible += bool(asked[at].wanted)
        for name, line in mine.items():
            found.setdefault(name, Answered(params.examples)).add(asked[at], line["output"], line["parts"])
        trivial.add(at)
    data: dict[str, Any] = {
        "rows": measured(len(asked), "row"),
        "eligible": measured(eligible, "row"),
        "controls": measured(len(asked) - eligible, "row"),
        "runners": {
            name: found[name].data() if name in found else absent(items.lacks(name, asked)) for name in RUNNERS
        },
    }
    right = {name: found[name].right for name in RUNNERS if name in found}
    for name, (better, worse) in COMPARED.items():
        lack = lacking(name, right, {}) if asked else "no items"
        data[name] = unavailable(lack, "item/item") if lack else wins(right[better], right[worse])
    data["zoo"] = trivial.data(right, lambda name: items.lacks(name, asked), RUNNERS)
    return data


def misfit(row: Mapping[str, Any], tools: Sequence[Any], params: ToolUseParams) -> str:
    """Why what a row wants is not what it answers itself, or "". Rows that want nothing are judged by their calls."""
    if "wanted" not in row or not (tools or row.get("tools")):
        return ""
    try:
        items_of([row], tools, params.rules, params.forms)[0]
    except Refusal as wrong:
        return wrong.message
    return ""


SUITE = Suite(
    name="tool_use",
    version=6,
    params=ToolUseParams,
    runners=("student",),
    figures=("runners.*.exact_call",),
    select=select,
    ask=ask,
    data_of=data_of,
    misfit=misfit,
    zoo=policies,
)
