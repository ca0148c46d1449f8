"""A row's own answer × a model's output → right, or the reason why not.

Seven ways to compare, of which a suite declares one for its rows:

- `exact`: the same characters.
- `normalised`: the same after `normalised`: Unicode NFKC, small letters, punctuation and the articles a, an and the
  left out, runs of spaces as one. A point or comma between digits, a sign before a digit, a hyphen or star between two
  operands (`3 - 5`) and `%`, `#`, `&`, `@` and `/` stay: they tell answers apart. So do a raised number (`10²` is
  `10^2`, though `m²` is `m2`) and an `A` that is a name and no article (`Vitamin A`).
- `numeric`: the same number, as an exact fraction: the one that directly follows the declared marker, or the last one
  (see runtime.data.stated). A unit is read where units are declared.
- `regex`: the same text in the group of a pattern, at its last match, which ends no word in its middle.
- `choice`: the output names exactly one of the declared choices, and it is the row's.
- `json`: the same JSON value: numbers by their decimals, objects whatever the order of their keys.
- `contains`: the row's answer stands in the output as whole words, both normalised. The output is short, and names few
  of the other rows' answers, and of what in its own prompt might as well be the answer: a list of everything is none.

Where an output may be a sentence (`numeric`, `regex`, `choice`, `contains`), it says what it does not deny, leave open,
except or suppose (runtime.data.denied, runtime.data.altered).

Nothing is repaired: an output that cannot be read is wrong, with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from pydantic import Field, field_validator

from runtime.contract import Params, bounded
from runtime.contract.units import unit
from runtime.data.altered import excepted, renamed
from runtime.data.denied import denied, supposed, supposing
from runtime.data.json_values import same, shortest, value
from runtime.data.normal_form import folded, holds, names_kept, normalised, where
from runtime.data.rivals import NOTHING, Known
from runtime.data.stated import Numeric, stated

Match = Literal["exact", "normalised", "numeric", "regex", "choice", "json", "contains"]
MATCHES: Sequence[Match] = get_args(Match)


class Pattern(Params):
    """What an answer looks like."""

    pattern: str = Field(
        min_length=1,
        max_length=400,
        description="Regular expression (ECMA-262) with at most one group, which holds the answer; the last match "
        f"counts. It must be quick on every text of {bounded.LONGEST} characters.",
        examples=["answer: {0,3}([A-Z]{2}[0-9]{4})"],
    )

    @field_validator("pattern")
    @classmethod
    def _quick(cls, pattern: str) -> str:
        bounded.compiled(pattern)
        return pattern


class Choice(Params):
    """What may be chosen."""

    choices: list[str] = Field(
        min_length=2,
        max_length=64,
        description="What an answer may be, each once. One of a single character counts at the start or the end of an "
        "output, in brackets, or beside another one.",
        examples=[["A", "B", "C", "D"]],
    )

    @field_validator("choices")
    @classmethod
    def _distinct(cls, choices: list[str]) -> list[str]:
        if len({folded(choice) for choice in choices}) != len(choices):
            raise ValueError("two choices are the same but for case and spaces")
        if not all(choice.strip() for choice in choices):
            raise ValueError("an empty choice")
        return choices


class Contains(Params):
    """What keeps an output that names everything from being right."""

    longest: int = Field(
        default=200,
        ge=1,
        le=4000,
        description="Longest output that is an answer.",
        examples=[200],
        json_schema_extra=unit("character"),
    )
    others: int = Field(
        default=1,
        ge=0,
        description="Most answers of other rows, and other values of its prompt that might as well be the answer, that "
        "the output may hold besides.",
        examples=[0],
        json_schema_extra=unit("answer"),
    )


class Judged(NamedTuple):
    """Whether an output is right; why not ("right" where it is), and what was read out of it."""

    right: bool
    reason: str
    read: str = ""


RIGHT, OTHER, EMPTY, ECHO, DENIED = "right", "other_answer", "empty", "echo", "denied"
#: reason → what it means, for people
REASONS = {
    RIGHT: "the row's own answer",
    OTHER: "another answer",
    EMPTY: "no output",
    ECHO: "the prompt, repeated",
    "no_number": "no number in the output",
    "no_marker": "the declared marker is not in the output, or no number follows it",
    "unreadable_number": "digits that no notation explains, or an operator, a bound or a word of magnitude beside them",
    "other_unit": "a number in a unit that was not declared",
    "no_match": "the pattern is not in the output",
    "no_choice": "none of the choices is named",
    "several_choices": "more than one choice is named",
    "not_json": "not one JSON value",
    "too_long": "longer than an answer may be",
    "several_answers": "names besides the answers of other rows, other values of its prompt that might as well be the "
    "answer, or a second number",
    DENIED: "names the answer and denies it, or leaves it open",
}


@dataclass(frozen=True)
class Matcher:
    """One way to compare, with what was declared for it. Frozen: what it says depends on its arguments alone."""

    match: Match
    numeric: Numeric = field(default_factory=Numeric)
    regex: Pattern | None = None
    choice: Choice | None = None
    contains: Contains = field(default_factory=Contains)

    def unfit(self, gold: str) -> str:
        """Why a row that is answered by `gold` cannot be judged, or ""."""
        return _UNFIT[self.match](self, gold)

    def judge(self, output: str, prompt: str, gold: str, known: Known = NOTHING) -> Judged:
        """`known` are the answers of all rows; only `contains` asks. A wrong output that repeats the prompt is told
        apart."""
        if not output.strip():
            return Judged(False, EMPTY)
        if self.match == "contains":
            known = known.and_rivals_of(prompt, gold)
        found = _JUDGES[self.match](self, output, gold, known._replace(supposing=supposing(prompt)))
        if not found.right and folded(output) == folded(prompt):
            return Judged(False, ECHO, found.read)
        return found


def _equal(same: bool, read: str) -> Judged:
    return Judged(same, RIGHT if same else OTHER, read)


def _exact(_: Matcher, output: str, gold: str, _known: Known) -> Judged:
    return _equal(output == gold, output)


def _normalised(_: Matcher, output: str, gold: str, _known: Known) -> Judged:
    same_words = normalised(output) == normalised(gold)
    return _equal(same_words and names_kept(gold, output) and names_kept(output, gold), normalised(output))


def _numeric(matcher: Matcher, output: str, gold: str, _known: Known) -> Judged:
    numeric = matcher.numeric
    mine, wanted = stated(numeric, output, strict=numeric.strict), stated(numeric, gold, strict=bool(numeric.after))
    if isinstance(mine, str):
        return Judged(False, mine)
    if isinstance(wanted, str):
        raise ValueError(f"the row's own answer has no number: {wanted}")
    allowed = max(Fraction(repr(numeric.tolerance)), Fraction(repr(numeric.relative)) * abs(wanted))
    return _equal(abs(mine - wanted) <= allowed, str(mine))


def _unfit_number(matcher: Matcher, gold: str) -> str:
    found = stated(matcher.numeric, gold, strict=bool(matcher.numeric.after))
    return REASONS[found].replace("output", "answer") if isinstance(found, str) else ""


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return bounded.compiled(pattern)


def _captured(matcher: Matcher, text: str) -> re.Match[str] | None:
    """The last match of the pattern, or None."""
    if matcher.regex is None or len(text) > bounded.LONGEST:
        return None
    found = None
    for one in _compiled(matcher.regex.pattern).finditer(text):
        found = one
    return found


def _cut(match: re.Match[str]) -> tuple[bool, bool]:
    """Whether a word goes on before a match, and behind it."""
    text, (start, end) = match.string, match.span()
    before, behind = text[max(0, start - 1) : start + 1], text[max(0, end - 1) : end + 1]
    inside = end > start
    return (
        inside and start > 0 and all(map(str.isalnum, before)),
        inside and end < len(text) and all(map(str.isalnum, behind)),
    )


def _unsaid(text: str, start: int, end: int, known: Known) -> bool:
    """Whether what stands here is not said: denied, left open, excepted, or supposed where nobody asked for that."""
    if denied(text, start, end) or excepted(text, start):
        return True
    return not known.supposing and supposed(text, start, end)


def _regex(matcher: Matcher, output: str, gold: str, known: Known) -> Judged:
    if len(output) > bounded.LONGEST:
        return Judged(False, "too_long")
    mine, wanted = _captured(matcher, output), _captured(matcher, gold)
    if mine is None:
        return Judged(False, "no_match")
    read = str(mine[mine.re.groups] or "")
    if wanted is None or mine[mine.re.groups] != wanted[wanted.re.groups]:
        return Judged(False, OTHER, read)
    # what the row's own answer does, an output may do
    if any(a and not b for a, b in zip(_cut(mine), _cut(wanted), strict=True)):
        return Judged(False, OTHER, read)
    unsaid = _unsaid(output, *mine.span(), known) and not _unsaid(gold, *wanted.span(), known)
    return Judged(False, DENIED, read) if unsaid else Judged(True, RIGHT, read)


def _unfit_pattern(matcher: Matcher, gold: str) -> str:
    if len(gold) > bounded.LONGEST:
        return f"longer than {bounded.LONGEST} characters"
    return "the pattern is not in it" if _captured(matcher, gold) is None else ""


def _named(choices: Sequence[str], output: str) -> list[str]:
    """The choices that an output names, each once."""
    text, found = folded(output), set[str]()
    # the longest first: who says "black cat" does not say "cat"
    for choice in sorted((folded(one) for one in choices if len(folded(one)) > 1), key=len, reverse=True):
        text, count = re.subn(rf"(?<!\w){re.escape(choice)}(?!\w)", "\0", text)
        found |= {choice} if count else set()
    letters = [choice for choice in map(folded, choices) if len(choice) == 1]
    found |= {letter for letter in letters if _stands(letter, text)} | _in_one_breath(letters, _EMPHASIS.sub("", text))
    return [choice for choice in choices if folded(choice) in found]


#: what only emphasises a word
_EMPHASIS = re.compile(r"(?<!\w)[*_`]{1,3}(?=\w)|(?<=[\w.):])[*_`]{1,3}(?!\w)")


def _stands(letter: str, text: str) -> bool:
    # a letter is also a word: it counts where an answer stands. "a robe" names no choice, "a)" does
    letter = re.escape(letter)
    alone = rf"[(\[]{letter}[)\]]|[*_`]{letter}[.):]?[*_`]|^{letter}(?:$|[.):,;\]])|(?<!\w){letter}[.!]?$"
    return re.search(alone, text) is not None


def _in_one_breath(letters: Sequence[str], text: str) -> set[str]:
    """Single characters that are named one after the other, as in "a or b" and "a b c d". What is followed by a word
    is not: "b, a cat" names b alone."""
    if not letters:
        return set()
    one = f"(?:{'|'.join(map(re.escape, letters))})"
    joined = r"(?:[ ,/;|&+]|(?<=\W)(?:or|and)(?=\W))+"
    found = re.finditer(rf"(?<!\w){one}(?:{joined}{one})+(?=[^\w ]|\Z| (?:or|and)\b)", text)
    return {letter for chain in found for letter in re.findall(rf"(?<!\w){one}(?!\w)", chain[0])}


def _choice(matcher: Matcher, output: str, gold: str, known: Known) -> Judged:
    choices = [] if matcher.choice is None else matcher.choice.choices
    named = _named(choices, output)
    if len(named) != 1:
        return Judged(False, "several_choices" if named else "no_choice", ", ".join(named))
    if folded(named[0]) != folded(gold):
        return Judged(False, OTHER, named[0])
    text = folded(output)
    places = [match.span() for match in re.finditer(rf"(?<!\w){re.escape(folded(gold))}(?!\w)", text)]
    unsaid = bool(places) and all(_unsaid(text, *at, known) for at in places)
    return Judged(False, DENIED, named[0]) if unsaid else Judged(True, RIGHT, named[0])


def _unfit_choice(matcher: Matcher, gold: str) -> str:
    choices = [] if matcher.choice is None else matcher.choice.choices
    return "" if folded(gold) in {folded(choice) for choice in choices} else "it is none of the choices"


def _json(_: Matcher, output: str, gold: str, _known: Known) -> Judged:
    try:
        mine = value(output)
    except ValueError:
        return Judged(False, "not_json")
    return _equal(same(mine, value(gold)), json.dumps(mine, sort_keys=True, default=shortest))


def _unfit_json(_: Matcher, gold: str) -> str:
    try:
        value(gold)
    except ValueError as error:
        return f"it is not JSON: {error}"
    return ""


def _contains(matcher: Matcher, output: str, gold: str, known: Known) -> Judged:
    limits = matcher.contains
    if len(output) > limits.longest:
        return Judged(False, "too_long")
    text, wanted = normalised(output), normalised(gold)
    spelled = normalised(output, letters=True)
    if not (holds(text, wanted) or holds(spelled, wanted)) or not names_kept(gold, output):
        return Judged(False, OTHER, text)
    # what is a part of the right answer is said with it
    inside = known.inside(text) | (known.inside(spelled) if spelled != text else set())
    others = {one for one in inside if not holds(wanted, one)}
    if len(others) > limits.others:
        return Judged(False, "several_answers", text)
    places = where(output, wanted)
    unsaid = bool(places) and all(_unsaid(output, *at, known) or renamed(output, *at) for at in places)
    return Judged(False, DENIED, text) if unsaid else Judged(True, RIGHT, text)


def _unfit_words(matcher: Matcher, gold: str) -> str:
    if not normalised(gold):
        return "nothing of it is left without case, punctuation and articles"
    if matcher.match == "contains" and len(gold) > matcher.contains.longest:
        return f"it is longer than the {matcher.contains.longest} characters an output may have"
    return ""


_JUDGES: dict[Match, Callable[[Matcher, str, str, Known], Judged]] = {
    "exact": _exact,
    "normalised": _normalised,
    "numeric": _numeric,
    "regex": _regex,
    "choice": _choice,
    "json": _json,
    "contains": _contains,
}
_UNFIT: dict[Match, Callable[[Matcher, str], str]] = {
    "exact": lambda _, gold: "" if gold.strip() else "it is empty",
    "normalised": _unfit_words,
    "numeric": _unfit_number,
    "regex": _unfit_pattern,
    "choice": _unfit_choice,
    "json": _unfit_json,
    "contains": _unfit_words,
}
