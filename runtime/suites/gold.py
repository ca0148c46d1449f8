"""Held-out rows × models → how often the greedy output is the row's own answer, and whether that is more than a trick.

How an output is compared is declared (`match`, see runtime.data.matching); rows of several data sets are judged by one
suite each, told apart by `rows: {source: …}` and an `id`. Every model answers the same rows, so that two of them are
compared row by row: `teacher_gain` the student over its teacher, `kd_gain` over the student without a teacher,
`package_gain` the package over the checkpoint it was made of; `mcnemar` holds the exact two-sided p of each, and what
is left of it after Holm.

An output with personal data that is neither in its row's answer nor a declared choice is not `privacy_ok`, whether it
is right or not. `by_class` says of each class of rows how many are right: a share over all hides one that never is.

What needs no understanding is measured by the same comparison on the same rows (`zoo`): among others the prompt
repeated, the most frequent answer to everything, all answers at once, and, where numbers are compared, a number of the
prompt. A model counts for as much as it is above the best of these.

What an output is worth follows from it and the rows, so that the report is made again from the artifact `items`.
"""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import Field, model_validator

from runtime.contract import Params, Refusal, Runner, Suite, items, spool, zoo
from runtime.contract.conversation import Prompt, messages_of
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics.paired import COMPARED, RUNNERS, lacking, mcnemars, wins
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit
from runtime.data import numbers, personal
from runtime.data.matching import RIGHT, Choice, Contains, Match, Matcher, Pattern
from runtime.data.numbers import Found
from runtime.data.rivals import NOTHING, Known
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


#: more classes than this are not listed, the rarest are one: the report is read by people
MOST_CLASSES = 128
#: what stands in the table of classes for rows without one, and for the classes that are not listed
UNNAMED, OTHERS = "(no class)", "(others)"


@dataclass(frozen=True, slots=True)
class Item:
    """A row as a question with its own answer."""

    row: str
    prompt: str
    gold: str
    #: the same as it is asked: a text, or a conversation
    asked: Prompt
    #: the row's class
    subject: str

    @property
    def last(self) -> str:
        """What was said last: who repeats it has said nothing."""
        content = messages_of(self.asked)[-1]["content"]
        return content if isinstance(content, str) else self.prompt


def items_of(rows: Sequence[Mapping[str, Any]]) -> Sequence[Item]:
    """Rows as items, each made when it is asked for."""

    def item(at: int) -> Item:
        row = rows[at]
        return Item(str(row["id"]), str(row["prompt"]), str(row["response"]), prompt_of(row), str(row["class"]))

    return spool.Each(len(rows), item)


class Judge:
    """The declared comparison over the rows that are judged. Raises Refusal for one whose own answer cannot be compared
    as declared.

    Of every distinct answer its place is kept. `contains` also keeps the answers themselves: whether an output names
    the answer of another row is asked of each output."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], params: GoldParams) -> None:
        self.rows, self.params, self._matcher = items.first(rows, params.limit), params, params.matcher()
        self.items = items_of(self.rows)
        self._golds = spool.texts(item.gold for item in self.items)
        read = spool.texts(self._read(at) for at in range(len(self.items)))
        #: distinct answers by what is read out of them, most frequent first
        self.answers = spool.picked(self._golds, spool.commonest(read, len(read)))
        self._known = Known.of(self.answers) if params.match == "contains" else NOTHING
        #: what every row may be answered with, where that is closed
        self._choices = "\n".join(params.choice.choices) if params.choice else ""

    def subject(self, at: int) -> str:
        """The class of a row. One that names none is of the class of its answer where answers are closed: others may be
        quoted by nobody."""
        item = self.items[at]
        return item.subject or (item.gold if self._choices else UNNAMED)

    def _read(self, at: int) -> str:
        item = self.items[at]
        if why := self._matcher.unfit(item.gold):
            raise Refusal(
                f"row `{item.row}` cannot be judged by `{self.params.match}`: {why}: {item.gold[-60:]!r}",
                action="correct the row, or declare another `match` for the suite",
            )
        return self._matcher.judge(item.gold, "", item.gold).read

    def judged(self, name: str, at: int, output: Any) -> items.Line:
        """The line of one output to the row of this number. Raises ValueError where it is no text."""
        return self.line(at, items.line(self.rows[at], name, items.text_of(output), {}))

    def line(self, at: int, one: items.Line) -> items.Line:
        """A line about the row of this number, with the verdict on its output."""
        item = self.items[at]
        found = self._matcher.judge(str(one["output"]), item.last, item.gold, self._known)
        return {
            **one,
            "parts": {
                "right": found.right,
                "read": found.read,
                "personal": personal.leaked(str(one["output"]), f"{item.gold}\n{self._choices}"),
            },
            "reason": "" if found.right else found.reason,
        }

    def policies(self) -> dict[str, Sequence[str]]:
        """What policies that understand nothing would say of each item."""
        count = len(self.items)
        if not count:
            return {}
        said = zoo.of_texts(self._golds, spool.Each(count, lambda at: self.items[at].last))
        # of answers that are read alike the one is as frequent as all of them
        said |= {"constant": spool.same(self.answers[0], count), "everything": spool.same(self._list(), count)}
        return said | (self._numbers() if self.params.match == "numeric" else {})

    def _list(self) -> str:
        """As many of the answers as an output may name, the most frequent first: all of them, where none is too many.
        Then this one text is as long as they are."""
        if self.params.match != "contains":
            return ", ".join(self.answers)
        said, limits = "", self.params.contains
        for answer in self.answers[: limits.others + 1]:
            longer = f"{said}, {answer}" if said else answer
            said = longer if len(longer) <= limits.longest else said
        return said

    def numbers(self, pick: Callable[[Sequence[Found]], Found | None]) -> Sequence[str]:
        """What says one number of each prompt; who knows the marker writes it."""
        after = self.params.numeric.after

        def said(at: int) -> str:
            found = self.prompted[at]
            one = pick(found) if found else None
            return f"{after} {one.text}" if one else ""

        return spool.Each(len(self.items), said)

    @cached_property
    def prompted(self) -> Sequence[Sequence[Found]]:
        """The numbers of each prompt."""
        decimal = self.params.numeric.decimal
        return spool.Each(len(self.items), lambda at: numbers.all_of(self.items[at].prompt, decimal))

    def _numbers(self) -> dict[str, Sequence[str]]:
        """The first, the last and the largest number of each prompt."""
        return {
            "first_number": self.numbers(lambda found: found[0]),
            "last_number": self.numbers(lambda found: found[-1]),
            "largest_number": self.numbers(lambda found: max(found, key=lambda number: number.value)),
        }


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
) -> Sequence[items.Line]:
    """The same lines with the verdict on each. Every runner's are in the order of its rows."""
    judge = Judge(rows, params)
    places, ahead = array("I"), dict[str, int]()
    for one in lines:
        at = ahead.get(one["runner"], 0)
        while at < len(judge.rows) and str(judge.rows[at]["id"]) != one["row"]:
            at += 1
        if at == len(judge.rows):
            raise ValueError(f"runner `{one['runner']}` has a line for row `{one['row']}`, which is not its next")
        places.append(at)
        ahead[one["runner"]] = at + 1
    return spool.Each(len(lines), lambda at: judge.line(places[at], {**lines[at]}))


class Answered:
    """What one runner's outputs come to, one after the other."""

    def __init__(self) -> None:
        self.right, self.reasons, self.private = bytearray(), Counter[str](), 0
        self._said = array("Q")

    def add(self, line: items.Line) -> None:
        """The next line."""
        self.right.append(line["parts"]["right"])
        self.reasons[line["reason"] or RIGHT] += 1
        self.private += not line["parts"]["personal"]
        self._said.append(spool.key(line["output"]))

    @property
    def top_share(self) -> dict[str, Any]:
        """How often the most frequent output is said."""
        return rate(spool.most(self._said), len(self._said))


def _by_class(judge: Judge, right: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Class → runner → how many of its rows are right."""
    known: dict[str, int] = {}
    subjects = array("I", (known.setdefault(judge.subject(at), len(known)) for at in range(len(judge.items))))
    if len(known) > MOST_CLASSES:
        often = Counter(subjects)
        listed = sorted(known, key=lambda subject: (-often[known[subject]], subject))[: MOST_CLASSES - 1]
    else:
        listed = [*known]
    name_of = {known[subject]: subject for subject in listed}
    counts: dict[str, dict[str, list[int]]] = {}
    for name, mine in right.items():
        for subject, hit in zip(subjects, mine, strict=False):
            pair = counts.setdefault(name_of.get(subject, OTHERS), {}).setdefault(name, [0, 0])
            pair[0] += hit
            pair[1] += 1
    return {subject: {name: rate(*pair) for name, pair in of.items()} for subject, of in sorted(counts.items())}


def reasons_of(found: Mapping[str, Answered]) -> dict[str, Any]:
    """Runner → why its outputs are right or wrong, and how many of them."""
    return {
        name: {reason: rate(count, len(mine.right)) for reason, count in sorted(mine.reasons.items())}
        for name, mine in found.items()
    }


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
    judge = Judge(rows, params)
    trivial = zoo.Right(judge.policies(), len(judge.rows), judge.judged)
    found = dict[str, Answered]()
    for at, mine in items.walk(lines, judge.rows, lambda name: len(select(rows, name, params)), judge.judged):
        for name, line in mine.items():
            found.setdefault(name, Answered()).add(line)
        trivial.add(at)
    known = {name: found[name] for name in RUNNERS if name in found}
    right = {name: mine_.right for name, mine_ in known.items()}

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
        "reasons": reasons_of(known),
        "by_class": _by_class(judge, right),
        "top_share": {name: known[name].top_share if name in known else absent(name, "ratio") for name in RUNNERS},
        "privacy_ok": {
            name: rate(known[name].private, len(right[name])) if name in known else absent(name, "ratio")
            for name in RUNNERS
        },
        "worst": _worst(judge, items.by_runner(lines), right),
        "zoo": trivial.data(right, lambda name: items.lacks(name, judge.items), RUNNERS),
    }


def _compared(name: str, right: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    lack = lacking(name, right, {})
    return unavailable(lack, "item/item") if lack else wins(*_sides(name, right))


def _sides(name: str, right: Mapping[str, Sequence[int]]) -> tuple[Sequence[int], Sequence[int]]:
    first, second = COMPARED[name]
    return right[first], right[second]


def _worst(
    judge: Judge, lines: Mapping[str, Sequence[items.Line]], right: Mapping[str, Sequence[int]]
) -> list[dict[str, Any]]:
    """Rows that the student or the package has wrong: first those its teacher, its baseline or its checkpoint has
    right, by how many of these do; then in the order of the rows."""

    def lost(index: int) -> tuple[int, int]:
        one = {name: bool(mine[index]) for name, mine in right.items() if index < len(mine)}
        losses = sum(one.get(worse, False) and not one.get(mine, True) for mine, worse in COMPARED.values())
        return -losses, index

    def failed(index: int) -> bool:
        return any(not right[name][index] for name in ("student", "coreml") if index < len(right.get(name, ())))

    chosen = heapq.nsmallest(judge.params.examples, filter(failed, range(len(judge.items))), key=lost)
    quote = judge.params.quote

    def of(index: int) -> dict[str, Any]:
        item, said = judge.items[index], {name: lines[name][index] for name in right if index < len(right[name])}
        return {
            "row": item.row,
            "prompt": shown(item.prompt, quote),
            "answer": shown(item.gold, quote),
            "outputs": {name: shown(line["output"], quote) for name, line in said.items()},
            "reasons": {name: line["reason"] or RIGHT for name, line in said.items()},
        }

    return [of(index) for index in chosen]


def shown(text: str, quote: int) -> str:
    """A text as a report shows it: its first `quote` characters, or its digest where nothing may be quoted."""
    if not quote:
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return text if len(text) <= quote else f"{text[:quote]}…"


def policies(rows: Sequence[Mapping[str, Any]], _tools: Sequence[Any], params: GoldParams) -> dict[str, Sequence[str]]:
    """What policies that understand nothing would say."""
    return Judge(rows, params).policies()


SUITE = Suite(
    name="gold",
    version=5,
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
