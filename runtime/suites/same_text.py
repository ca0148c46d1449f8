"""Prompts × models → in how many of them a model writes, greedily, the very text that the teacher writes.

What a package is for is text. Where nothing was trained, the teacher is the original, and a package that says the same
is the original as far as its user can tell; where it says something else, the report shows both, and why they parted:
the two tokens, how far the original held them apart, and how far the other model moved them. A package gives its logits
in float16, and where the original's two are closer than one step of float16 at their size, no package can be asked to
tell them apart: that is a tie. Everything else is a fault, small or large.

What is right is what the original writes, and no row says it: the policies of `zoo` are made of its lines. An original
that falls silent, or says one thing whatever it is asked, is written by anybody, and then no package is above them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import Field

from runtime.contract import Params, Runner, Suite, items, spool, zoo
from runtime.contract.report import measured, unavailable
from runtime.contract.rows import prompt_of
from runtime.contract.statistics.rates import rate
from runtime.contract.units import unit

#: so many different texts are shown, each so far
SHOWN, LONGEST = 10, 400
JUDGED = ("student", "coreml")


class SameTextParams(Params):
    limit: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Prompts, from the first on.",
        examples=[20],
        json_schema_extra=unit("row"),
    )
    max_new_tokens: int = Field(
        default=32, ge=1, le=4096, description="Longest text.", examples=[32], json_schema_extra=unit("token")
    )


def _common(one: str, other: str) -> float:
    """Share of the first text that the second one begins with."""
    if not one:
        return float(not other)
    apart = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(apart, min(len(one), len(other))) / len(one)


def step_at(size: float) -> float:
    """Distance of two neighbouring float16 numbers of that size (11 bits of significand, smallest normal 2^-14)."""
    return math.ldexp(1.0, (max(math.frexp(size)[1] - 1, -14) if size else -14) - 10)


def _apart(one: Sequence[int], other: Sequence[int]) -> int | None:
    """The first place where two answers chose different tokens; None where one is the other's beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)


def select(rows: Sequence[Mapping[str, Any]], runner: str, params: SameTextParams) -> Sequence[Mapping[str, Any]]:
    """The rows that a runner is asked; nobody else is."""
    return rows[: params.limit] if runner in ("teacher", *JUDGED) else ()


def ask(
    name: str,
    runner: Runner,
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: SameTextParams,
    _seed: int,
) -> list[items.Line]:
    """A line for each row: the text and the tokens that were chosen."""
    written = runner.write([prompt_of(row) for row in rows], params.max_new_tokens)
    return [
        items.line(row, name, {"text": one.text, "ids": list(one.ids)}, {})
        for row, one in zip(rows, written, strict=True)
    ]


def compare(
    runners: Mapping[str, Runner],
    rows: Sequence[Mapping[str, Any]],
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    _trivial: Mapping[str, Sequence[Any]],
    _params: SameTextParams,
) -> dict[str, list[items.Line]]:
    """The same lines; where a text differs, its output also holds the two tokens and what both models give to each."""
    original = runners["teacher"]
    found = {"teacher": [dict(one) for one in lines["teacher"]]}
    for name in (name for name in JUDGED if name in lines):
        found[name] = []
        for row, first, second in zip(rows, lines["teacher"], lines[name], strict=True):
            wanted, output, prompt = first["output"], dict(second["output"]), prompt_of(row)
            at = _apart(wanted["ids"], output["ids"])
            if wanted["text"] != output["text"] and at is not None:
                pair = (wanted["ids"][at], output["ids"][at])
                before = original.weigh(prompt, wanted["ids"][:at], pair)
                after = runners[name].weigh(prompt, wanted["ids"][:at], pair)
                output["tokens"] = [original.spell(token) for token in pair]
                output["weights"] = {"original": _finite(before), "other": _finite(after)}
            found[name].append(judged(name, row, output, wanted))
    return found


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def judged(runner: str, row: Mapping[str, Any], output: Any, wanted: Any) -> items.Line:
    """The line of one text beside the original's output. Raises ValueError for an output that is none of the form."""
    for one in (output, wanted):
        if not isinstance(one, Mapping) or not {"text", "ids"} <= set(one) <= {"text", "ids", "tokens", "weights"}:
            raise ValueError("its output is not {text, ids}")
        if not isinstance(one["ids"], list) or any(type(token) is not int for token in one["ids"]):
            raise ValueError("its tokens are none")
    same = items.text_of(output["text"]) == items.text_of(wanted["text"])
    parts: dict[str, Any] = {"same": same, "common": _common(wanted["text"], output["text"])}
    at = None if same else _apart(wanted["ids"], output["ids"])
    if ("weights" in output, "tokens" in output) != (at is not None,) * 2:
        raise ValueError("it says what was weighed where nothing parts, or nothing where texts do")
    if at is not None:
        parts |= {"at": at, **_weighed(output)}
    return items.line(row, runner, output, parts, "" if same else "tie" if parts.get("tie") is True else "another_text")


def _weighed(output: Mapping[str, Any]) -> dict[str, Any]:
    """How close a call it was, of the logits that both models give; null where one of them is no number."""
    weights, tokens = output["weights"], output["tokens"]
    both: list[Any] = [weights.get("original"), weights.get("other")] if isinstance(weights, Mapping) else []
    if [len(one) if isinstance(one, list) else 0 for one in (*both, tokens)] != [2, 2, 2]:
        raise ValueError("it holds no two weights of each model")
    if any(type(value) not in (float, int, type(None)) for one in both for value in one):
        raise ValueError("its weights are no numbers")
    if any(value is None for one in both for value in one):
        return {"margin": None, "moved": None, "step": None, "tie": None}
    before, after = both
    margin, step = before[0] - before[1], step_at(max(map(abs, before)))
    return {"margin": margin, "moved": margin - (after[0] - after[1]), "step": step, "tie": margin < step}


def _parting(line: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Where two answers part, and how close a call it was; logits, all of them."""
    output, parts = line["output"], line["parts"]
    if "at" not in parts:
        why = "the one answer is the other's beginning: a context has ended"
        return {
            "at": measured(min(len(wanted["ids"]), len(output["ids"])), "token"),
            "tokens": [],
            **{name: unavailable(why, "logit") for name in ("margin", "moved", "step")},
            "tie": unavailable(why, "bool"),
        }

    def datum(name: str, unit_: str) -> dict[str, Any]:
        return unavailable("not finite", unit_) if parts[name] is None else measured(parts[name], unit_)

    return {
        "at": measured(parts["at"], "token"),
        "tokens": list(output["tokens"]),
        **{name: datum(name, "logit") for name in ("margin", "moved", "step")},
        "tie": datum("tie", "bool"),
    }


def data_of(
    lines: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    _tools: Sequence[Any],
    params: SameTextParams,
    _seed: int,
) -> dict[str, Any]:
    """The data of report `eval.same_text`. What a runner that is not there would show is `unavailable`. Raises
    ValueError for a line that is not what its output gives beside the original's."""
    asked = rows[: params.limit]
    originals = items.by_runner(lines).get("teacher", ())

    def wanted(at: int) -> Any:
        if at >= len(originals) or originals[at]["row"] != str(asked[at]["id"]):
            raise ValueError("the original has none to compare it with")
        return originals[at]["output"]

    def again(name: str, at: int, output: Any) -> items.Line:
        if name == "teacher":
            judged(name, asked[at], output, output)
            return items.line(asked[at], name, output, {})
        return judged(name, asked[at], output, wanted(at))

    found = dict[str, _Answered]()
    for at, mine in items.walk(lines, asked, lambda name: len(select(rows, name, params)), again):
        for name in (name for name in JUDGED if name in mine):
            found.setdefault(name, _Answered(name)).add(mine[name], wanted(at))
    data: dict[str, Any] = {
        "items": measured(len(asked), "item"), "same": {}, "common": {}, "ties": {}, "different": []
    }  # fmt: skip
    for name in JUDGED:
        if name not in found:
            for part, of in (("same", "ratio"), ("common", "1"), ("ties", "ratio")):
                data[part][name] = unavailable(items.lacks(name, asked), of)
            continue
        one = found[name]
        count, apart = len(one.same), len(one.same) - sum(one.same)
        data["same"][name] = rate(count - apart, count)
        data["common"][name] = measured(fmean(one.common), "1", n=count)
        data["ties"][name] = rate(one.ties, apart) if apart else unavailable("no text differs", "ratio")
        data["different"] += one.different
    whole = len(asked) if originals else 0
    trivial = zoo.Right(_policies(asked, originals) if originals else {}, whole, again)
    for at in range(whole):
        trivial.add(at)
    data["zoo"] = trivial.data(
        {name: one.same for name, one in found.items()}, lambda name: items.lacks(name, asked), JUDGED
    )
    return data


class _Answered:
    """What one runner's texts come to beside the original's, one after the other."""

    def __init__(self, name: str) -> None:
        self._name, self.same, self.common, self.ties = name, bytearray(), array("d"), 0
        #: the first that differ
        self.different: list[dict[str, Any]] = []

    def add(self, line: items.Line, wanted: Mapping[str, Any]) -> None:
        """The next line, and what the original gave."""
        same = bool(line["parts"]["same"])
        self.same.append(same)
        self.common.append(line["parts"]["common"])
        if same:
            return
        self.ties += line["parts"].get("tie") is True
        if len(self.different) < SHOWN:
            self.different.append(
                {
                    "runner": self._name,
                    "row": line["row"],
                    "original": wanted["text"][:LONGEST],
                    "text": line["output"]["text"][:LONGEST],
                    "parting": _parting(line, wanted),
                }
            )


def _policies(asked: Sequence[Mapping[str, Any]], originals: Sequence[items.Line]) -> dict[str, Sequence[Any]]:
    """What policies that understand nothing would write; the positive control is the original itself."""
    golds = spool.texts(str(one["output"]["text"]) for one in originals)
    texts = zoo.of_texts(golds, spool.Each(len(asked), lambda at: zoo.last_words(prompt_of(asked[at]))))
    found: dict[str, Sequence[Any]] = {name: _written(said) for name, said in texts.items()}
    return {**found, zoo.GOLD: spool.Each(len(originals), lambda at: originals[at]["output"])}


def _written(texts: Sequence[str]) -> Sequence[dict[str, Any]]:
    return spool.Each(len(texts), lambda at: {"text": texts[at], "ids": []})


SUITE = Suite(
    name="same_text",
    version=3,
    params=SameTextParams,
    asks=frozenset({"write", "weigh", "spell"}),
    runners=("teacher", "student"),
    figures=("same.*",),
    select=select,
    ask=ask,
    data_of=data_of,
    compare=compare,
)
