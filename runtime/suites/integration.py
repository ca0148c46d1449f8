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
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from runtime.contract import Params, Refusal, Runner, Suite, items, spool, wanted, zoo
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


def items_of(rows: Sequence[Mapping[str, Any]]) -> Sequence[Item]:
    """Rows as items, each made when it is asked for. Then it raises Refusal (KR0242) for a fact that is none, or that
    the row itself does not carry over."""
    return spool.Each(len(rows), lambda at: _item(rows[at]))


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: IntegrationParams) -> Sequence[Mapping[str, Any]]:
    """The rows with facts that a runner is asked."""
    there = array("I", (at for at, row in enumerate(rows) if wanted.facts_of(row)))
    asked = items.first(spool.picked(rows, there), params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def _scored(item: Item, text: str, tokens: Sequence[str] | None) -> Score:
    edges = None if tokens is None else integration.edges_of(text, tokens)
    return integration.score(text, item.facts, item.locale, item.asked, item.results, edges, item.beside, item.response)


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
    asked = list(items_of(rows))
    outputs = _outputs(runner, [item.prompt for item in asked], params.max_new_tokens)
    return [judged(name, row, output, item) for row, output, item in zip(rows, outputs, asked, strict=True)]


class _Pooled:
    """Counts of all answers: of true, false and missed facts, and sums of the squares of both sides of their F1."""

    def __init__(self) -> None:
        self._all, self._squares, self._count = [0, 0, 0], [0, 0, 0], 0

    def add(self, counts: Sequence[int]) -> None:
        """Those of the next answer."""
        true, false, missed = counts
        self._all = [before + one for before, one in zip(self._all, counts, strict=True)]
        above, below = 2 * true, 2 * true + false + missed
        more = above * above, below * below, above * below
        self._squares = [before + one for before, one in zip(self._squares, more, strict=True)]
        self._count += 1

    def f1(self) -> dict[str, Any]:
        """Micro-F1 of the pooled counts, with them; `n` is the answers. It is the quotient of two sums over answers,
        and its interval is that of such a quotient (Fieller): answers are sampled, not facts."""
        true, false, missed = self._all
        return ratios.f1_of(self._count, true, false, missed, self._squares)

    def said(self) -> dict[str, Any]:
        """How many of the facts are said."""
        return rate(self._all[0], self._all[0] + self._all[2])


class _Answered:
    """What one runner's answers come to, one after the other."""

    def __init__(self, examples: int) -> None:
        self._examples, self._failed = examples, list[dict[str, str]]()
        self._pooled = {name: _Pooled() for name in MEASURES}
        self._unproven, self._why, self._private = 0, "", 0
        #: of each answer in a byte: whether every fact is said and nothing besides
        self.right = bytearray()

    def add(self, line: items.Line) -> None:
        """The next line."""
        parts = line["parts"]
        for name, pooled in self._pooled.items():
            if parts[name] is not None:
                pooled.add(parts[name])
        if parts["strict"] is None:
            self._why = self._why or parts["unproven"]
            self._unproven += 1
        self._private += not parts["personal"]
        if line["reason"] and len(self._failed) < self._examples:
            output = line["output"]["text"][:500]
            self._failed.append({"id": str(line["row"]), "output": output, "kind": line["reason"]})
        self.right.append(line["reason"] in ("", "personal_data"))

    def data(self) -> dict[str, Any]:
        """What the report says of it."""
        count, pooled = len(self.right), self._pooled
        return {
            **{name: pooled[name].f1() for name in ("lax", "semantic")},
            "strict": unavailable(f"of {self._unproven} answers of {count} {self._why}", "ratio")
            if self._unproven
            else pooled["strict"].f1(),
            "facts_said": pooled["lax"].said(),
            "facts_meant": pooled["semantic"].said(),
            "whole": rate(sum(self.right), count),
            "privacy_ok": rate(self._private, count),
            "failed_examples": self._failed,
        }


def _absent(why: str) -> dict[str, Any]:
    rates = {
        name: unavailable(why, "ratio") for name in (*MEASURES, "facts_said", "facts_meant", "whole", "privacy_ok")
    }
    return {**rates, "failed_examples": []}


def _repeating(asked: Sequence[Item]) -> dict[str, Callable[[int], str]]:
    """What says the results, as they came or in another dress, whatever was asked."""
    held = spool.Each(
        len(asked), lambda at: [field for result in asked[at].results for field in repeated.fields(result)]
    )

    def all_(at: int) -> str:
        return "\n".join(asked[at].results)

    return {
        "echo_result": all_,
        "echo_stripped": lambda at: all_(at)[1:-1],
        "echo_words": lambda at: " ".join(all_(at).translate(_BARE).split()),
        "all_values": lambda at: ", ".join(value for _, value in held[at]),
        "read_out": lambda at: " ".join(f"The {key.replace('_', ' ')} is {value}." for key, value in held[at]),
        "first_value": lambda at: held[at][0][1] if held[at] else "",
        "last_value": lambda at: held[at][-1][1] if held[at] else "",
    }


def policies(
    rows: Sequence[Mapping[str, Any]], tools: Sequence[Any], params: IntegrationParams
) -> dict[str, Sequence[dict[str, Any]]]:
    """What policies that understand nothing would answer."""
    return _policies(items_of(select(rows, "student", params)))


def _policies(asked: Sequence[Item]) -> dict[str, Sequence[dict[str, Any]]]:
    golds = spool.texts(item.response for item in asked)
    if not golds:
        return {}
    said = {
        **zoo.of_texts(golds, spool.Each(len(asked), lambda at: asked[at].asked)),
        "marker": spool.same(MARKER, len(asked)),
        **{name: spool.Each(len(asked), text) for name, text in _repeating(asked).items()},
    }
    return {name: _said(texts) for name, texts in said.items()}


def _said(texts: Sequence[str]) -> Sequence[dict[str, Any]]:
    return spool.Each(len(texts), lambda at: {"text": texts[at], "tokens": None})


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: IntegrationParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.integration`. Raises ValueError for a line that is not what its output gives, Refusal
    for facts that are none."""
    whole_ = select(rows, "student", params)
    asked = items_of(whole_)

    def again(name: str, at: int, output: Any) -> items.Line:
        return judged(name, whole_[at], output, asked[at])

    trivial = zoo.Right(_policies(asked), len(asked), again)
    found, facts = dict[str, _Answered](), 0
    for at, mine in items.walk(lines, whole_, lambda name: len(select(rows, name, params)), again):
        facts += len(asked[at].facts)
        for name, line in mine.items():
            found.setdefault(name, _Answered(params.examples)).add(line)
        trivial.add(at)
    data: dict[str, Any] = {
        "rows": measured(len(asked), "row"),
        "facts": measured(facts, "fact"),
        "runners": {
            name: found[name].data() if name in found else _absent(items.lacks(name, asked)) for name in RUNNERS
        },
    }
    right = {name: found[name].right for name in RUNNERS if name in found}
    for name, (better, worse) in COMPARED.items():
        lack = lacking(name, right, {}) if asked else "no items"
        data[name] = unavailable(lack, "item/item") if lack else wins(right[better], right[worse])
    data["zoo"] = trivial.data(right, lambda name: items.lacks(name, asked), RUNNERS)
    return data


def misfit(row: Mapping[str, Any], tools: Sequence[Any], params: IntegrationParams) -> str:
    """Why a fact of a row is none that an answer could carry over, or ""."""
    try:
        list(items_of([row] if wanted.facts_of(row) else []))
    except Refusal as wrong:
        return wrong.message
    return ""


SUITE = Suite(
    name="integration",
    version=5,
    params=IntegrationParams,
    runners=("student",),
    figures=("runners.*.whole",),
    select=select,
    ask=ask,
    data_of=data_of,
    misfit=misfit,
    zoo=policies,
)
