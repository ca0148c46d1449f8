"""Answers after tools' results × models → what part of the results stands in the answers, in three strictnesses.

Rows declare the facts that an answer must carry over (`wanted.facts`); rows without are not asked. Counts of all
answers are pooled before one division, so that a row of many facts weighs as many. `lax` and `semantic` are of every
row; `strict` is unavailable as soon as the tokens of one answer are not known, or a span cuts one: then nothing is
proven about spans. How facts are found in a text is the matter of runtime/data/integration.py.

An answer that repeats the tool's result, or lists what is no fact, counts for nothing. Among the policies of `zoo`
that understand nothing are the marker that other harnesses look for, and the results as they came, without their
braces, as bare words, value by value, and read out field by field. Where every value of every result is a fact, who
reads out is right, and then nobody is above it: such rows do not tell who chooses from who copies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pydantic import Field

from runtime.contract import Params, Refusal, Runner, Suite, items, wanted, zoo
from runtime.contract.asked import CannotAnswer
from runtime.contract.conversation import Prompt
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics import ratios
from runtime.contract.statistics.paired import COMPARED, RUNNERS, lacking, wins
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit
from runtime.data import integration, personal, repeated
from runtime.data.integration import Score

MEASURES = ("lax", "semantic", "strict")
#: what other harnesses take for the beginning of a span
MARKER = "Integration:"
#: what makes a result JSON
_BARE = str.maketrans(dict.fromkeys('{}[]",:', " "))


class IntegrationParams(Params):
    max_new_tokens: int = Field(
        default=128,
        ge=1,
        description="Longest output that is generated.",
        examples=[128],
        json_schema_extra=unit("token"),
    )
    limit: int = Field(
        default=300,
        ge=0,
        description="Rows for the runners in torch, the first ones with facts; 0 takes all.",
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
        description="Rows the report quotes per runner that are not wholly right.",
        examples=[5],
        json_schema_extra=unit("example"),
    )


@dataclass(frozen=True, slots=True)
class Item:
    """A row as a question: what was asked, what the tools said, and the facts of it."""

    id: str
    prompt: Prompt
    response: str
    right: str
    asked: str
    results: tuple[str, ...]
    facts: tuple[wanted.Fact, ...]
    locale: str
    #: values of the results that are no facts, and how they are found
    beside: tuple[tuple[str, re.Pattern[str]], ...]


def _item(row: Mapping[str, Any]) -> Item:
    messages = row.get("messages", ())[:-1]
    asked = "\n".join(one["content"] for one in messages if one["role"] == "user")
    results = tuple(one["content"] for one in messages if one["role"] == "tool")
    facts, locale = tuple(wanted.facts_of(row)), wanted.locale_of(row)
    why = integration.misfit(facts, locale, asked, results)
    right = f"{row['response']}\n{json.dumps(row['wanted'], ensure_ascii=False)}"
    response = str(row["response"])
    beside = tuple(integration.strangers(facts, results, asked, [response]))
    item = Item(str(row["id"]), prompt_of(row), response, right, asked, results, facts, locale, beside)
    if not why and not whole(_scored(item, item.response, None)):
        why = "its own response does not say its facts, or says something besides"
    if why:
        raise Refusal(
            f"row `{row['id']}`: {why}", action="correct `wanted.facts` of the row, or its response", code="KR0242"
        )
    return item


def items_of(rows: Sequence[Mapping[str, Any]]) -> list[Item]:
    """Rows as items. Raises Refusal (KR0242) for a fact that is none, or that the row itself does not carry over."""
    return [_item(row) for row in rows]


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: IntegrationParams) -> Sequence[Mapping[str, Any]]:
    """The rows with facts that a runner is asked."""
    asked = items.first([row for row in rows if wanted.facts_of(row)], params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def _scored(item: Item, text: str, tokens: Sequence[str] | None) -> Score:
    edges = None if tokens is None else integration.edges_of(text, tokens)
    return integration.score(text, item.facts, item.locale, item.asked, item.results, edges, item.beside)


def whole(score: Score) -> bool:
    """Whether every fact is said, by value, and nothing besides."""
    return not (score.fault or score.semantic.missed or score.semantic.false)


def judged(runner: str, row: Mapping[str, Any], output: Any, item: Item) -> items.Line:
    """The line of one row. Raises ValueError for an output that is not `{text, tokens}`."""
    if not isinstance(output, Mapping) or set(output) != {"text", "tokens"}:
        raise ValueError("an output is not {text, tokens}")
    text, tokens = items.text_of(output["text"]), output["tokens"]
    if tokens is not None and not (isinstance(tokens, list) and all(isinstance(one, str) for one in tokens)):
        raise ValueError("tokens are no list of texts")
    score = _scored(item, text, tokens)
    parts: dict[str, Any] = {
        name: None if counts is None else [counts.true, counts.false, counts.missed]
        for name, counts in zip(MEASURES, (score.lax, score.semantic, score.strict), strict=True)
    }
    leaked = personal.leaked(text, item.right)
    parts |= {"spans": [list(span) for span in score.spans], "unproven": score.why, "personal": leaked}
    reason = score.fault or ("" if whole(score) else "missed" if score.semantic.missed else "besides")
    return items.line(row, runner, dict(output), parts, reason or ("personal_data" if leaked else ""))


def _tokens(runner: Runner, text: str, ids: Sequence[int]) -> list[str] | None:
    """The tokens of a text as they stand in it; the one that ended it is no part of it."""
    spelled = [runner.spell(one) for one in ids]
    for found in (spelled, spelled[:-1]):
        if "".join(found) == text:
            return found
    return None


def _outputs(runner: Runner, prompts: Sequence[Prompt], most: int) -> list[dict[str, Any]]:
    try:
        written = runner.write(prompts, most)
        return [{"text": one.text, "tokens": _tokens(runner, one.text, one.ids)} for one in written]
    except CannotAnswer:
        # what answers elsewhere gives no tokens
        return [{"text": text, "tokens": None} for text in runner.generate(prompts, most)]


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    tools: Sequence[Any],
    params: IntegrationParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each row."""
    asked = items_of(rows)
    outputs = _outputs(runner, [item.prompt for item in asked], params.max_new_tokens)
    return [judged(name, row, output, item) for row, output, item in zip(rows, outputs, asked, strict=True)]


def f1(counts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Micro-F1 of the pooled counts, with them; `n` is the answers. It is the quotient of two sums over answers, and
    its interval is that of such a quotient (Fieller): answers are sampled, not facts."""
    true, false, missed = (sum(one[at] for one in counts) for at in range(3))
    if not counts or not 2 * true + false + missed:
        return unavailable("no facts", "ratio")
    value = 2 * true / (2 * true + false + missed)
    found: dict[str, Any] = {"n": len(counts), "tp": true, "fp": false, "fn": missed}
    if ends := _interval([2.0 * one[0] for one in counts], [2.0 * one[0] + one[1] + one[2] for one in counts]):
        low, high = max(0.0, min(ends[0], value)), min(1.0, max(ends[1], value))
        found |= {"low": low, "high": high, "confidence": 0.95, "interval": "Fieller, over answers"}
    return measured(value, "ratio", **found)


def _interval(above: Sequence[float], below: Sequence[float]) -> tuple[float, float] | None:
    if len(above) < 2:
        return None
    return ratios.fieller(fmean(above), fmean(below), *ratios.moments(above, below))


def _said(counts: Sequence[Sequence[int]]) -> dict[str, Any]:
    return rate(sum(one[0] for one in counts), sum(one[0] + one[2] for one in counts))


def _facts(lines: Sequence[Mapping[str, Any]], examples: int) -> dict[str, Any]:
    parts = [line["parts"] for line in lines]
    unproven = [one["unproven"] for one in parts if one["strict"] is None]
    failed = [
        {"id": str(line["row"]), "output": line["output"]["text"][:500], "kind": line["reason"]}
        for line in lines
        if line["reason"]
    ]
    found: dict[str, Any] = {name: f1([one[name] for one in parts]) for name in ("lax", "semantic")}
    found["strict"] = (
        unavailable(f"of {len(unproven)} answers of {len(parts)} {unproven[0]}", "ratio")
        if unproven
        else f1([one["strict"] for one in parts])
    )
    return {
        **found,
        "facts_said": _said([one["lax"] for one in parts]),
        "facts_meant": _said([one["semantic"] for one in parts]),
        "whole": rate(sum(line["reason"] in ("", "personal_data") for line in lines), len(lines)),
        "privacy_ok": rate(sum(not one["personal"] for one in parts), len(parts)),
        "failed_examples": failed[:examples],
    }


def _absent(why: str) -> dict[str, Any]:
    rates = {
        name: unavailable(why, "ratio") for name in (*MEASURES, "facts_said", "facts_meant", "whole", "privacy_ok")
    }
    return {**rates, "failed_examples": []}


def _repeating(asked: Sequence[Item]) -> dict[str, list[str]]:
    """What says the results, as they came or in another dress, whatever was asked."""
    whole = ["\n".join(item.results) for item in asked]
    held = [[field for result in item.results for field in repeated.fields(result)] for item in asked]
    return {
        "echo_result": whole,
        "echo_stripped": [result[1:-1] for result in whole],
        "echo_words": [" ".join(result.translate(_BARE).split()) for result in whole],
        "all_values": [", ".join(value for _, value in fields) for fields in held],
        "read_out": [" ".join(f"The {key.replace('_', ' ')} is {value}." for key, value in fields) for fields in held],
        "first_value": [fields[0][1] if fields else "" for fields in held],
        "last_value": [fields[-1][1] if fields else "" for fields in held],
    }


def policies(
    rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], params: IntegrationParams
) -> dict[str, list[dict[str, Any]]]:
    """What policies that understand nothing would answer."""
    return _policies(items_of(select(rows, "student", params)))


def _policies(asked: Sequence[Item]) -> dict[str, list[dict[str, Any]]]:
    if not asked:
        return {}
    said = {
        **zoo.of_texts([item.response for item in asked], [item.asked for item in asked]),
        "marker": [MARKER for _ in asked],
        **_repeating(asked),
    }
    return {name: [{"text": text, "tokens": None} for text in texts] for name, texts in said.items()}


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: IntegrationParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.integration`. Raises ValueError for a line that is not what its output gives, Refusal
    for facts that are none."""
    asked = items_of(select(rows, "student", params))
    by_id = {item.id: item for item in asked}
    found = items.checked(
        lines,
        lambda name: select(rows, name, params),
        lambda name, row, output: judged(name, row, output, by_id[str(row["id"])]),
    )
    data: dict[str, Any] = {
        "rows": measured(len(asked), "row"),
        "facts": measured(sum(len(item.facts) for item in asked), "fact"),
        "runners": {},
    }
    right: dict[str, list[bool]] = {}
    for name in RUNNERS:
        if name not in found:
            data["runners"][name] = _absent(items.lacks(name, asked))
            continue
        data["runners"][name] = _facts(found[name], params.examples)
        right[name] = [line["reason"] in ("", "personal_data") for line in found[name]]
    for name, (better, worse) in COMPARED.items():
        lack = lacking(name, right, {}) if asked else "no items"
        data[name] = unavailable(lack, "item/item") if lack else wins(right[better], right[worse])
    data["zoo"] = zoo.judged(
        _policies(asked),
        select(rows, "student", params),
        lambda name, row, output: judged(name, row, output, by_id[str(row["id"])]),
        {name: [not line["reason"] for line in mine] for name, mine in found.items()},
        lambda name: items.lacks(name, asked),
        RUNNERS,
    )
    return data


def misfit(row: Mapping[str, Any], tools: Sequence[Any], params: IntegrationParams) -> str:
    """Why a fact of a row is none that an answer could carry over, or ""."""
    try:
        items_of([row] if wanted.facts_of(row) else [])
    except Refusal as wrong:
        return wrong.message
    return ""


SUITE = Suite(
    name="integration",
    version=2,
    params=IntegrationParams,
    runners=("student",),
    figures=("runners.*.whole",),
    select=select,
    ask=ask,
    data_of=data_of,
    misfit=misfit,
    zoo=policies,
)
