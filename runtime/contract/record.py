"""A file of recorded answers → prompt and answer: the one reader of it, for compiler and replay step."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from runtime.contract import Refusal, rows
from runtime.contract.strict_json import Json, members

#: what a line may hold
FIELDS = frozenset({"prompt", "text", "choices", "finish_reason"})
_THOUGHT = ("<think>", "</think>")
#: why an answer is not usable
EMPTY, TRUNCATED, MISSING, NO_CHOICES = "empty", "truncated", "missing", "without_choices"


@dataclass(frozen=True)
class Answer:
    """What a teacher said to one prompt. `choices` maps a permitted answer to its natural log-probability.

    `thoughtful`: thoughts stood before the text and were taken away.
    """

    text: str
    choices: Mapping[str, float] = field(default_factory=dict)
    truncated: bool = False
    thoughtful: bool = False

    def fault(self, signals: Sequence[str]) -> str:
        """Why it cannot be used for these signals, or ""."""
        if "text" in signals and not self.text.strip():
            return EMPTY
        if self.truncated:
            return TRUNCATED
        return NO_CHOICES if "choices" in signals and len(self.choices) < 2 else ""


def without_thoughts(content: str) -> str:
    """A text without what a model thought before it (`<think>…</think>`): students learn answers. A thought that never
    ends leaves nothing."""
    opening, closing = _THOUGHT
    head, found, rest = content.partition(closing)
    begins = content.lstrip().startswith(opening)
    if found and (begins or opening not in head):
        # some servers put the opening mark into the prompt, so that only the closing one is answered
        return rest.lstrip()
    return "" if begins else content


def choices_of(value: Json, place: str) -> dict[str, float]:
    """Log-probabilities by choice. Raises Refusal for anything else than at least two finite numbers of at most 0."""
    if not isinstance(value, dict) or len(value) < 2:
        raise Refusal("`choices` must map at least two answers to log-probabilities", place=place, action="correct it")
    found: dict[str, float] = {}
    for name, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number) or number > 0:
            raise Refusal(
                f"the log-probability of choice `{name}` is {number!r}",
                place=place,
                action="finite and at most 0, in nats",
            )
        found[name] = float(number)
    return found


def read(path: Path) -> dict[str, Answer]:
    """Prompt → answer. Raises Refusal with file and line for another form, and for two answers to one prompt."""
    with path.open("rb") as file:
        return dict(_read(file, path.name))


def parsed(data: bytes, place: str) -> dict[str, Answer]:
    """What `read` gives, of a file's bytes. Raises what it raises."""
    return dict(_read(io.BytesIO(data), place))


def _read(file: BinaryIO, place: str) -> Iterator[tuple[str, Answer]]:
    found: dict[str, tuple[Answer, str]] = {}
    for here, line in rows.lines_of(file, place=place):
        try:
            value, rest = members(line, FIELDS.__contains__)
        except ValueError as error:
            raise Refusal(f"not an answer: {error}", place=here, action="correct the line, or remove it") from None
        if rest:
            unknown = min(rest).encode("utf-8", "backslashreplace").decode()
            raise Refusal(f"unknown field `{unknown}`", place=here, action=f"fields are {', '.join(sorted(FIELDS))}")
        for name in ("prompt", "text"):
            if not isinstance(value.get(name), str):
                what = "must be a string" if name in value else "is missing"
                raise Refusal(f"field `{name}` {what}", place=here, action="a line holds `prompt` and `text`")
        prompt, text = str(value["prompt"]), str(value["text"])
        choices = choices_of(value["choices"], here) if value.get("choices") is not None else {}
        said = without_thoughts(text)
        answer = Answer(said, choices, truncated=value.get("finish_reason") == "length", thoughtful=said != text)
        first, where = found.setdefault(prompt, (answer, here))
        if first != answer:
            raise Refusal(
                f"a second, different answer to the prompt of {where}", place=here, action="keep one of the two"
            )
        yield prompt, answer
    if not found:
        raise Refusal("the file holds no answer", place=place, action="record the teacher's answers first")
