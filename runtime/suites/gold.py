"""Held-out rows × models → how often the greedy output is the row's own answer, and whether that is more than a trick.

How an output is compared is declared (`match`, see runtime.data.matching); rows of several data sets are judged by one
suite each, told apart by `rows: {source: …}` and an `id`. Every model answers the same rows, so that two of them are
compared row by row: `teacher_gain` the student over its teacher, `kd_gain` over the student without a teacher,
`package_gain` the package over the checkpoint it was made of; `mcnemar` holds the exact two-sided p of each, and what
is left of it after Holm.

What needs no understanding is measured by the same comparison on the same rows (`zoo`): among others the prompt
repeated, the most frequent answer to everything, all answers at once, and, where numbers are compared, a number of the
prompt. A model counts for as much as it is above the best of these.

What an output is worth follows from it and the rows, so that the report is made again from the artifact `items`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from runtime.contract import Params, Refusal, Runner, Suite, items, zoo
from runtime.contract.conversation import Prompt, messages_of
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics.paired import COMPARED, RUNNERS, lacking, mcnemars, wins
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit
from runtime.data import numbers
from runtime.data.matching import NOTHING, Choice, Contains, Judged, Known, Match, Matcher, Pattern
from runtime.data.stated import Numeric


class GoldParams(Params):
    match: Match = Field(
        description="How an output is compared with the row's response: `exact` (the same characters), `normalised` "
        "(but for case, spaces, punctuation and articles), `numeric` (the final number), `regex` (what a pattern "
        "holds), `choice` (the one choice named), `json` (the same value) or `contains` (stands in it as words).",
        examples=["numeric"],
    )
    numeric: Numeric = Field(default=Numeric(), description="For `match: numeric`: where the number stands.")
    regex: Pattern | None = Field(default=None, description="For `match: regex`: what an answer looks like.")
    choice: Choice | None = Field(default=None, description="For `match: choice`: what may be chosen.")
    contains: Contains = Field(default=Contains(), description="For `match: contains`: how long an answer may be.")
    max_new_tokens: int = Field(
        default=96,
        ge=1,
        description="Longest output that is generated.",
        examples=[96],
        json_schema_extra=unit("token"),
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
    examples: int = Field(
        default=10,
        ge=0,
        le=50,
        description="Rows the report names: those that the student or the package lost, worst first.",
        examples=[10],
        json_schema_extra=unit("row"),
    )
    quote: int = Field(
        default=0,
        ge=0,
        le=2000,
        description="Characters of each text of these rows that the report quotes; 0 gives digests only, because a "
        "report is shown to more people than the data are.",
        examples=[200],
        json_schema_extra=unit("character"),
    )

    @model_validator(mode="after")
    def _declared(self) -> GoldParams:
        for name in ("regex", "choice"):
            if self.match == name and getattr(self, name) is None:
                asked = "pattern: …" if name == "regex" else "choices: […]"
                raise ValueError(f"`match: {name}` needs `{name}: {{{asked}}}`")
        for name in ("numeric", "regex", "choice", "contains"):
            if self.match != name and name in self.model_fields_set and getattr(self, name) != _DEFAULTS[name]:
                raise ValueError(f"`{name}` says nothing where outputs are compared by `{self.match}`; remove it")
        return self

    def matcher(self) -> Matcher:
        """The comparison that was declared."""
        return Matcher(self.match, self.numeric, self.regex, self.choice, self.contains)


_DEFAULTS: Mapping[str, object] = {"numeric": Numeric(), "regex": None, "choice": None, "contains": Contains()}


@dataclass(frozen=True, slots=True)
class Item:
    """A row as a question with its own answer."""

    row: str
    prompt: str
    gold: str
    #: the same as it is asked: a text, or a conversation
    asked: Prompt

    @property
    def last(self) -> str:
        """What was said last: who repeats it has said nothing."""
        content = messages_of(self.asked)[-1]["content"]
        return content if isinstance(content, str) else self.prompt


def items_of(rows: Sequence[Mapping[str, Any]], params: GoldParams) -> list[Item]:
    """The rows that are judged. Raises Refusal for one whose own answer cannot be compared as declared."""
    matcher = params.matcher()
    taken = rows[: params.limit] if params.limit else rows
    found = [Item(str(row["id"]), str(row["prompt"]), str(row["response"]), prompt_of(row)) for row in taken]
    for item in found:
        if why := matcher.unfit(item.gold):
            raise Refusal(
                f"row `{item.row}` cannot be judged by `{params.match}`: {why}: {item.gold[-60:]!r}",
                action="correct the row, or declare another `match` for the suite",
            )
    return found


class Judge:
    """The declared comparison over these items."""

    def __init__(self, asked: Sequence[Item], params: GoldParams, rows: Sequence[Mapping[str, Any]]) -> None:
        self.items, self.params, self._matcher = asked, params, params.matcher()
        self._by_row = {item.row: item for item in asked}
        self.of = {str(row["id"]): row for row in rows}
        #: distinct answers by what is read out of them, most frequent first
        read = Counter(self._matcher.judge(item.gold, "", item.gold).read for item in asked)
        firsts: dict[str, str] = {}
        for item in asked:
            firsts.setdefault(self._matcher.judge(item.gold, "", item.gold).read, item.gold)
        self.answers = [firsts[one] for one, _ in read.most_common()]
        self._known = Known.of(self.answers) if params.match == "contains" else NOTHING

    def each(self, outputs: Sequence[str]) -> list[Judged]:
        """One verdict per output; outputs may be fewer than items, from the first on."""
        return [
            self._matcher.judge(output, item.last, item.gold, self._known)
            for output, item in zip(outputs, self.items, strict=False)
        ]

    def judged(self, name: str, row: Mapping[str, Any], output: Any) -> items.Line:
        """The line of one output. Raises ValueError where it is no text."""
        return self.line(str(row["id"]), items.line(row, name, items.text_of(output), {}))

    def line(self, row: str, one: items.Line) -> items.Line:
        """A line about one of the rows, with the verdict on its output."""
        item = self._by_row[row]
        found = self._matcher.judge(str(one["output"]), item.last, item.gold, self._known)
        return {
            **one,
            "parts": {"right": found.right, "read": found.read},
            "reason": "" if found.right else found.reason,
        }

    def policies(self) -> dict[str, list[str]]:
        """What policies that understand nothing would say of each item."""
        if not self.items:
            return {}
        count = len(self.items)
        said = zoo.of_texts([item.gold for item in self.items], [item.last for item in self.items])
        # of answers that are read alike the one is as frequent as all of them
        said |= {"constant": [self.answers[0]] * count, "everything": [self._list()] * count}
        return said | (self._numbers() if self.params.match == "numeric" else {})

    def _list(self) -> str:
        """As many of the answers as an output may name, the most frequent first."""
        if self.params.match != "contains":
            return ", ".join(self.answers)
        said, limits = "", self.params.contains
        for answer in self.answers[: limits.others + 1]:
            longer = f"{said}, {answer}" if said else answer
            said = longer if len(longer) <= limits.longest else said
        return said

    def _numbers(self) -> dict[str, list[str]]:
        """The first, the last and the largest number of each prompt; who knows the marker writes it."""
        numeric = self.params.numeric
        found = [numbers.all_of(item.prompt, numeric.decimal) for item in self.items]
        picks = {
            "first_number": [one[0] if one else None for one in found],
            "last_number": [one[-1] if one else None for one in found],
            "largest_number": [max(one, key=lambda number: number.value) if one else None for one in found],
        }
        return {name: [f"{numeric.after} {one.text}" if one else "" for one in pick] for name, pick in picks.items()}


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: GoldParams) -> Sequence[Mapping[str, Any]]:
    """The rows that a runner is asked."""
    asked = items.first(rows, params.limit)
    return asked[: params.coreml_limit] if runner == "coreml" else asked


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: GoldParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each row: what was said. What it is worth may depend on the answers of all rows (`complete`)."""
    outputs = runner.generate([prompt_of(row) for row in rows], params.max_new_tokens)
    return [items.line(row, name, output, {}) for row, output in zip(rows, outputs, strict=True)]


def complete(
    lines: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], _tools: Sequence[Any], params: GoldParams
) -> list[items.Line]:
    """The same lines with the verdict on each."""
    judge = Judge(items_of(rows, params), params, rows)
    return [judge.line(str(one["row"]), {**one}) for one in lines]


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: GoldParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.gold`, from the outputs in `items.jsonl` and the rows they answer, judged again.

    Raises ValueError for a line that says otherwise than its output, or that is about another row; Refusal for a row
    whose own answer cannot be compared as declared.
    """
    judge = Judge(items_of(rows, params), params, rows)
    found = items.checked(lines, lambda name: select(rows, name, params), judge.judged)
    return _data(judge, {name: [str(line["output"]) for line in mine] for name, mine in found.items()})


def _data(judge: Judge, outputs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    verdicts = {name: judge.each(outputs[name]) for name in RUNNERS if name in outputs}
    right = {name: [one.right for one in mine] for name, mine in verdicts.items()}

    def absent(name: str, unit_: str) -> dict[str, Any]:
        return unavailable(items.lacks(name, judge.items), unit_)

    return {
        "items": measured(len(judge.items), "item"),
        "answers": measured(len(judge.answers), "answer"),
        "match": judge.params.match,
        "right": {
            name: rate(sum(right[name]), len(right[name])) if name in right else absent(name, "ratio")
            for name in RUNNERS
        },
        **{name: _compared(name, right) for name in COMPARED},
        "mcnemar": mcnemars({name: lacking(name, right, {}) or _sides(name, right) for name in COMPARED}),
        "reasons": {
            name: {
                reason: rate(count, len(mine)) for reason, count in sorted(Counter(one.reason for one in mine).items())
            }
            for name, mine in verdicts.items()
        },
        "top_share": {
            name: rate(max(Counter(outputs[name]).values()), len(outputs[name]))
            if outputs.get(name)
            else absent(name, "ratio")
            for name in RUNNERS
        },
        "worst": _worst(judge, outputs, verdicts),
        "zoo": zoo.judged(
            judge.policies(),
            [judge.of[item.row] for item in judge.items],
            judge.judged,
            right,
            lambda name: items.lacks(name, judge.items),
            RUNNERS,
        ),
    }


def _compared(name: str, right: Mapping[str, Sequence[bool]]) -> dict[str, Any]:
    lack = lacking(name, right, {})
    return unavailable(lack, "item/item") if lack else wins(*_sides(name, right))


def _sides(name: str, right: Mapping[str, Sequence[bool]]) -> tuple[Sequence[bool], Sequence[bool]]:
    first, second = COMPARED[name]
    return right[first], right[second]


def _worst(
    judge: Judge, outputs: Mapping[str, Sequence[str]], verdicts: Mapping[str, Sequence[Judged]]
) -> list[dict[str, Any]]:
    """Rows that the student or the package has wrong: first those its teacher, its baseline or its checkpoint has
    right, by how many of these do; then in the order of the rows."""

    def lost(index: int) -> tuple[int, int]:
        one = {name: mine[index].right for name, mine in verdicts.items() if index < len(mine)}
        losses = sum(one.get(worse, False) and not one.get(mine, True) for mine, worse in COMPARED.values())
        return -losses, index

    def failed(index: int) -> bool:
        return any(
            not mine[index].right
            for name, mine in verdicts.items()
            if name in ("student", "coreml") and index < len(mine)
        )

    chosen = sorted((index for index in range(len(judge.items)) if failed(index)), key=lost)
    return [
        {
            "row": judge.items[index].row,
            "prompt": shown(judge.items[index].prompt, judge.params.quote),
            "answer": shown(judge.items[index].gold, judge.params.quote),
            "outputs": {
                name: shown(said[index], judge.params.quote) for name, said in outputs.items() if index < len(said)
            },
            "reasons": {name: mine[index].reason for name, mine in verdicts.items() if index < len(mine)},
        }
        for index in chosen[: judge.params.examples]
    ]


def shown(text: str, quote: int) -> str:
    """A text as a report shows it: its first `quote` characters, or its digest where nothing may be quoted."""
    if not quote:
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return text if len(text) <= quote else f"{text[:quote]}…"


def policies(rows: Sequence[Mapping[str, Any]], _tools: Sequence[Any], params: GoldParams) -> dict[str, list[str]]:
    """What policies that understand nothing would say."""
    return Judge(items_of(rows, params), params, rows).policies()


SUITE = Suite(
    name="gold",
    version=2,
    params=GoldParams,
    runners=("student",),
    figures=("right.*",),
    select=select,
    ask=ask,
    data_of=data_of,
    complete=complete,
    zoo=policies,
    unfit=lambda params, response: params.matcher().unfit(response),
)
