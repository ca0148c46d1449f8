"""Held-out requests × models → tool-span F1, JSON validity, tool selection, and a named cause for each failed call.

What counts is decided by the rows, never by the model: a row whose gold response is a call is *eligible*, and silence
on it costs recall; a row whose gold response is none is a *control*, and a call on it costs precision, in whatever form
it is written. F1 is micro: true positives, false positives and false negatives are pooled over all rows before one
division. Two models are compared row by row by whether the whole row is right: the exact call, or none on a control.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from jsonschema.protocols import Validator
from pydantic import Field

from runtime.contract import Params, Refusal, Runner, Suite, calls, items
from runtime.contract.conversation import Prompt
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics.paired import COMPARED, RUNNERS, lacking, wins
from runtime.contract.statistics.rates import rate
from runtime.contract.strict_json import Json
from runtime.contract.units import unit
from runtime.tools import registry

Validators = Mapping[str, Validator]


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


@dataclass(frozen=True, slots=True)
class Item:
    """A row as a question: `gold` is None for a control."""

    id: str
    prompt: Prompt
    response: str
    gold: calls.Call | None


@dataclass(slots=True)
class Tally:
    """Pooled counts of one runner, or of one tool of it."""

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
    faults: Counter[str] = field(default_factory=Counter)


COUNTS = tuple(name for name in Tally.__slots__ if name != "faults")


def items_of(rows: Sequence[Mapping[str, Any]], valid: Validators) -> list[Item]:
    """Rows as items. Raises Refusal for a gold call that is malformed or does not fit the registry."""
    found = []
    for row in rows:
        gold = calls.parse(str(row["response"]), valid)
        if isinstance(gold, calls.Fault) and gold.kind == "no_call":
            found.append(Item(str(row["id"]), prompt_of(row), str(row["response"]), None))
            continue
        fault = gold if isinstance(gold, calls.Fault) else calls.invalid(gold, valid)
        if fault is not None:
            raise Refusal(
                f"row `{row['id']}`: its own response is no valid call: {fault.kind} {fault.detail}",
                action="correct the row or the tool registry",
            )
        found.append(Item(str(row["id"]), prompt_of(row), str(row["response"]), cast(calls.Call, gold)))
    return found


def judge(output: str, item: Item, valid: Validators) -> tuple[Tally, calls.Fault | None]:
    """The counts of one output, and why it is wrong."""
    tally = Tally(eligible=item.gold is not None, controls=item.gold is None)
    call = calls.parse(output, valid)
    made = [call] if isinstance(call, calls.Call) else []
    wanted = [item.gold] if item.gold else []
    tally.true, tally.false, tally.missed = calls.matches(made, wanted)
    if item.gold is None:
        silent = isinstance(call, calls.Fault) and call.kind == "no_call"
        tally.abstained = silent
        # a broken call on a control is still a call: it must not be cheaper than a sound one
        tally.false += not silent and not made
        return tally, None if silent else calls.Fault("wrong_tool", "a call where none is wanted")
    if isinstance(call, calls.Fault):
        tally.faults[call.kind] += 1
        return tally, call
    fault = calls.invalid(call, valid)
    tally.parsed, tally.valid, tally.selected = 1, fault is None, call.name == item.gold.name
    fault = fault or calls.difference(call, item.gold)
    tally.exact = fault is None
    if fault:
        tally.faults[fault.kind] += 1
    return tally, fault


def _add(total: Tally, one: Tally) -> None:
    for name in COUNTS:
        setattr(total, name, getattr(total, name) + int(getattr(one, name)))
    total.faults.update(one.faults)


def f1(tally: Tally) -> dict[str, Any]:
    """Micro-F1 = 2 TP / (2 TP + FP + FN) with its counts; without an eligible row there is none."""
    whole = 2 * tally.true + tally.false + tally.missed
    if not tally.eligible:
        return unavailable("no eligible row", "ratio")
    counts = {"tp": tally.true, "fp": tally.false, "fn": tally.missed}
    return measured(2 * tally.true / whole, "ratio", n=tally.eligible, **counts)


def facts(tally: Tally) -> dict[str, Any]:
    """A tally as data of the report."""
    return {
        "span_f1": f1(tally),
        "precision": rate(tally.true, tally.true + tally.false),
        "recall": rate(tally.true, tally.true + tally.missed),
        "json_parses": rate(tally.parsed, tally.eligible),
        "json_validity": rate(tally.valid, tally.eligible),
        "tool_selection": rate(tally.selected, tally.eligible),
        "exact_call": rate(tally.exact, tally.eligible),
        "control_abstention": rate(tally.abstained, tally.controls),
        "right": rate(tally.exact + tally.abstained, tally.eligible + tally.controls),
        "faults": {kind: rate(count, tally.eligible) for kind, count in sorted(tally.faults.items())},
    }


def absent(why: str) -> dict[str, Any]:
    """The same data of a runner that is not here."""
    rates = {name: unavailable(why, "ratio") for name in facts(Tally()) if name != "faults"}
    return {**rates, "faults": {}, "by_tool": {}, "failed_examples": []}


def evaluate(outputs: Sequence[str], items: Sequence[Item], valid: Validators, examples: int) -> dict[str, Any]:
    """All facts of one runner: pooled, by the gold tool, and a few failed rows in full."""
    total, per_tool = Tally(), {name: Tally() for name in sorted(valid)}
    failed: list[dict[str, str]] = []
    for output, item in zip(outputs, items, strict=True):
        one, fault = judge(output, item, valid)
        _add(total, one)
        if item.gold is not None:
            _add(per_tool[item.gold.name], one)
        if fault is not None and len(failed) < examples:
            failed.append({"id": item.id, "output": output[:500], "kind": fault.kind, "detail": fault.detail[:200]})
    by_tool = {
        name: {key: facts(tally)[key] for key in ("span_f1", "json_validity", "tool_selection", "exact_call")}
        for name, tally in per_tool.items()
        if tally.eligible
    }
    return {**facts(total), "by_tool": by_tool, "failed_examples": failed}


def baselines(items: Sequence[Item], tools: Sequence[registry.Tool]) -> dict[str, list[str]]:
    """What trivial policies would say. A set of gates that one of them passes, or that copy_gold fails, is no gate."""
    first = calls.render(calls.Call(tools[0]["name"], {}))
    return {
        "mute": ["" for _ in items],
        "always_first_tool": [first for _ in items],
        "copy_gold": [item.response for item in items],
    }


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: ToolUseParams) -> Sequence[Mapping[str, Any]]:
    """The rows that a runner is asked."""
    asked = items.first(rows, params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def judged(runner: str, row: Mapping[str, Any], output: Any, valid: Validators) -> items.Line:
    """The line of one row: its counts that are not zero, and the fault. Raises ValueError for an output that is none,
    Refusal for a gold call that does not fit."""
    (item,) = items_of([row], valid)
    tally, fault = judge(items.text_of(output), item, valid)
    parts = {name: int(getattr(tally, name)) for name in COUNTS if getattr(tally, name)}
    return items.line(row, runner, output, parts, fault.kind if fault else "")


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    tools: Sequence[Any],
    params: ToolUseParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each row."""
    valid = registry.validators(registry.checked(cast(Json, list(tools)), "tools.json"))
    outputs = runner.generate([prompt_of(row) for row in rows], params.max_new_tokens)
    return [judged(name, row, output, valid) for row, output in zip(rows, outputs, strict=True)]


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    tools: Sequence[Any],
    params: ToolUseParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.tool_use`. Raises ValueError for a line that is not what its output gives, Refusal
    without a registry, or for a gold call that does not fit."""
    known = registry.checked(cast(Json, list(tools)), "tools.json")
    valid = registry.validators(known)
    asked = items_of(items.first(rows, params.limit), valid)
    found = items.checked(
        lines,
        lambda name: select(rows, name, params),
        lambda name, row, output: judged(name, row, output, valid),
    )
    data: dict[str, Any] = {
        "rows": measured(len(asked), "row"),
        "eligible": measured(sum(item.gold is not None for item in asked), "row"),
        "controls": measured(sum(item.gold is None for item in asked), "row"),
        "runners": {},
        "baselines": {},
    }
    right: dict[str, list[bool]] = {}
    for name in RUNNERS:
        if name not in found:
            data["runners"][name] = absent(items.lacks(name, asked))
            continue
        mine = asked[: len(found[name])]
        data["runners"][name] = evaluate([line["output"] for line in found[name]], mine, valid, params.examples)
        right[name] = [not line["reason"] for line in found[name]]
    for name, (better, worse) in COMPARED.items():
        lack = lacking(name, right, {}) if asked else "no items"
        data[name] = unavailable(lack, "item/item") if lack else wins(right[better], right[worse])
    for name, outputs in baselines(asked, known).items():
        data["baselines"][name] = facts(_tally(outputs, asked, valid))
    return data


def _tally(outputs: Sequence[str], items: Sequence[Item], valid: Validators) -> Tally:
    total = Tally()
    for output, item in zip(outputs, items, strict=True):
        _add(total, judge(output, item, valid)[0])
    return total


SUITE = Suite(
    name="tool_use",
    version=2,
    params=ToolUseParams,
    runners=("student",),
    figures=("runners.*.exact_call",),
    select=select,
    ask=ask,
    data_of=data_of,
)
