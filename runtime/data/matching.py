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

import decimal
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field, field_validator

from runtime.contract import Params, bounded
from runtime.contract.strict_json import MAX_DEPTH
from runtime.contract.units import unit
from runtime.data.altered import excepted, renamed
from runtime.data.denied import denied, supposed, supposing
from runtime.data.stated import Numeric, stated

Match = Literal["exact", "normalised", "numeric", "regex", "choice", "json", "contains"]
MATCHES: Sequence[Match] = get_args(Match)
#: longest text of a JSON number that is compared
_DIGITS = 64
_WIDE = decimal.Context(prec=_DIGITS, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
_ARTICLES = frozenset({"an", "the"})
#: an article stands before a word; else the letter is a name, as it is in capitals behind a word
_A, _NAMED_A = re.compile(r"(?<![\w-])a(?=\s+\w)"), re.compile(r"(?<=\w )A(?!\w)")
_LETTER_A = re.compile(r"(?<!\w)[Aa](?!\w)")
_POWER = re.compile(r"(?<=[^\W_])[\u207a\u207b]?[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+|(?<=[)\]])[\u00b2\u00b3]")
_LOWERED = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-", "\u207a")
_LENGTH = re.compile(r"(?<![^\W\d_])(?:[cdkm]?m|ft|in|yd|mi)\Z", re.IGNORECASE)
_PART = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_DASHES = "-\u2010-\u2015\u2212"
#: an operator: between numbers, with a space on both sides or on none; between a number and a letter, with spaces
_OPERATOR = re.compile(
    rf"(?<=[0-9])( ?)([{_DASHES}*])\1(?=[0-9])|(?<=\b[0-9b-z]) ([{_DASHES}*]) (?=[0-9b-z]\b)", re.IGNORECASE
)
_KEPT = frozenset("%#&@/")


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


class Known(NamedTuple):
    """Answers of all rows, normalised, and the most words that one of them has; and whether the question supposes
    something, so that an answer may, too."""

    answers: frozenset[str]
    words: int
    supposing: bool = False

    @classmethod
    def of(cls, answers: Iterable[str]) -> Known:
        found = frozenset(filter(None, map(normalised, answers)))
        return cls(found, max((len(one.split()) for one in found), default=0))

    def and_rivals_of(self, prompt: str, gold: str) -> Known:
        """These, and what of the prompt might as well be the answer (`rivals`). A list of all that stands where an
        answer could holds every answer."""
        found = rivals(prompt, gold)
        if not found:
            return self
        return Known(self.answers | found, max(self.words, *(len(one.split()) for one in found)))

    def inside(self, text: str) -> set[str]:
        """Those that stand in a normalised text as whole words."""
        words = text.split()
        ends = ((i, j) for i in range(len(words)) for j in range(i + 1, min(i + self.words, len(words)) + 1))
        return {part for i, j in ends if (part := " ".join(words[i:j])) in self.answers}


NOTHING = Known(frozenset(), 0)
_TOKEN = re.compile(r"\w+(?:[-.'\u2019:/]\w+)*|[.!?,;:\n]")
#: shortest code in capital letters
_CODE = 4


@lru_cache(maxsize=32)
def rivals(prompt: str, gold: str) -> frozenset[str]:
    """What of a prompt might as well be its answer, normalised, but for the answer itself: words with a digit where it
    holds one, codes in capitals as long as it, and what stands between the same neighbours and is written alike
    (`The number of X is KVXYW.` beside `The number of Y is ZVJPQ.`)."""
    wanted = normalised(gold)
    found = set[str]()
    if any(map(str.isdigit, wanted)):
        found |= {word for word in normalised(prompt).split() if any(map(str.isdigit, word))}
    tokens, mine = _TOKEN.findall(prompt), _TOKEN.findall(gold)
    low, shapes = [one.casefold() for one in tokens], [_shape(one) for one in tokens]
    shape, count = [_shape(one) for one in mine], len(mine)
    if not count or "" in shape:
        return frozenset(found - {wanted})
    if count == 1 and shape[0] == "A" and len(gold.strip()) >= _CODE:
        found |= {
            normalised(one)
            for one, kind in zip(tokens, shapes, strict=True)
            if kind == "A" and len(one) == len(mine[0])
        }
    places = [at for at in range(len(tokens) - count + 1) if shapes[at : at + count] == shape]

    def beside(at: int) -> tuple[str, str]:
        before = low[at - 1] if at and shapes[at - 1] else ""
        return before, low[at + count] if at + count < len(tokens) and shapes[at + count] else ""

    folded_ = [one.casefold() for one in mine]
    frames = {beside(at) for at in places if low[at : at + count] == folded_}
    found |= {normalised(" ".join(tokens[at : at + count])) for at in places if frames and beside(at) in frames}
    return frozenset(found - {wanted, ""})


def _shape(token: str) -> str:
    """How a word is written: with a digit, in capitals, with one at its start, or small; "" for what ends a clause."""
    if not any(map(str.isalnum, token)):
        return ""
    if any(map(str.isdigit, token)):
        return "9"
    if token.isupper():
        return "A" if len(token) > 1 else "Aa"
    return "Aa" if token[:1].isupper() else "a"


def normalised(text: str, *, letters: bool = False) -> str:
    """What `normalised` compares: see the head of this file. May be empty. `letters`: every `a` stays."""
    text = _PART.sub(" ", _POWER.sub(_lowered, text))
    folded_ = unicodedata.normalize("NFKC", text).casefold().replace("\u2044", "/")
    folded_ = _OPERATOR.sub(lambda one: "\u2217" if "*" in one[0] else "\u2212", folded_)
    folded_ = folded_ if letters else _A.sub("", folded_)
    kept = "".join(_kept(folded_, at) for at in range(len(folded_)))
    return " ".join(word for word in kept.split() if word not in _ARTICLES)


def _lowered(raised: re.Match[str]) -> str:
    """A raised number as it is written where nothing can be raised."""
    digits = raised[0].translate(_LOWERED)
    return digits if _LENGTH.search(raised.string[max(0, raised.start() - 3) : raised.start()]) else f"^{digits}"


def _names_kept(one: str, other: str) -> bool:
    """Whether every `A` that is a name in a text stands in the other."""
    return len(_NAMED_A.findall(one)) <= len(_LETTER_A.findall(other))


def _kept(text: str, at: int) -> str:
    char = text[at]
    if not unicodedata.category(char).startswith("P") or char in _KEPT:
        return "-" if char == "\u2212" else char
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if after.isdigit() and ((char in ".,:" and before.isdigit()) or (char == "-" and not before.isalnum())):
        return char
    return "" if char in "'\u2019" else " "


def folded(text: str) -> str:
    """NFKC, small letters, runs of spaces as one: what a choice is compared by."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


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
    return _equal(same_words and _names_kept(gold, output) and _names_kept(output, gold), normalised(output))


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


class _Twice(ValueError):
    """A key that stands twice has two values."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice("duplicate key")
    return found


def _decimal(text: str) -> Decimal:
    try:
        if len(text) > _DIGITS:
            raise ValueError(f"a number of {len(text)} characters")
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"number out of range: {text}") from None


def _shortest(number: Decimal) -> str:
    """One spelling of a number, so that equal answers are counted as one."""
    return str(_WIDE.normalize(number))


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_decimal, parse_int=_decimal, parse_constant=_constant, strict=True
)


def _value(text: str) -> Any:
    """A JSON value with its numbers as decimals. Raises ValueError."""
    try:
        value = _DECODER.decode(text.strip())
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    _shallow(value, 0)
    return value


def _shallow(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _shallow(item, depth + 1)


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are one: true is not 1, 1.0 is 1, and the order of keys says nothing."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def _json(_: Matcher, output: str, gold: str, _known: Known) -> Judged:
    try:
        mine = _value(output)
    except ValueError:
        return Judged(False, "not_json")
    return _equal(same(mine, _value(gold)), json.dumps(mine, sort_keys=True, default=_shortest))


def _unfit_json(_: Matcher, gold: str) -> str:
    try:
        _value(gold)
    except ValueError as error:
        return f"it is not JSON: {error}"
    return ""


def _holds(text: str, answer: str) -> bool:
    """Whether an answer stands in a text as whole words, both normalised."""
    return bool(answer) and f" {answer} " in f" {text} "


def _letter(char: str) -> str:
    """Where a character of a normalised answer stands in an output as it is written: operators in any dress."""
    return rf" ?[{_DASHES}*] ?" if char in "-\u2217" else re.escape(char)


def _where(output: str, wanted: str) -> list[tuple[int, int]]:
    """Where the words of a normalised answer stand in an output as it is written."""
    words = r"(?:[\W_]|\b(?:a|an|the)\b)+".join(r"['\u2019]?".join(map(_letter, word)) for word in wanted.split())
    return [match.span() for match in re.finditer(rf"(?<!\w){words}(?!\w)", output, re.IGNORECASE)]


def _contains(matcher: Matcher, output: str, gold: str, known: Known) -> Judged:
    limits = matcher.contains
    if len(output) > limits.longest:
        return Judged(False, "too_long")
    text, wanted = normalised(output), normalised(gold)
    spelled = normalised(output, letters=True)
    if not (_holds(text, wanted) or _holds(spelled, wanted)) or not _names_kept(gold, output):
        return Judged(False, OTHER, text)
    # what is a part of the right answer is said with it
    inside = known.inside(text) | (known.inside(spelled) if spelled != text else set())
    others = {one for one in inside if not _holds(wanted, one)}
    if len(others) > limits.others:
        return Judged(False, "several_answers", text)
    places = _where(output, wanted)
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
