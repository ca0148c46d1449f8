"""What a file of `kcompiler/policy/kinds/` exports: a named, typed, pure check of one report."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from kcompiler.policy import path
from kcompiler.policy.datum import fraction

#: How a check can end. Only `pass` lets a blocking rule through.
Word = Literal["error", "fail", "not_evaluated", "inconclusive", "pass"]

#: The first word of two decides: broken evidence before a failed bound before missing or too little evidence.
ORDER: tuple[str, ...] = get_args(Word)


class Closed(BaseModel):
    """Base of everything read from a policy file: unknown keys refused, no coercion, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a check found, at the place that decided it.

    `pointer` is a JSON pointer into the report. `observed`, `threshold` and `distance` are exact decimal or fraction
    texts; `distance` is positive inside the bound and negative outside. `matches` counts the places looked at.
    """

    word: Word
    reason: str
    pointer: str = ""
    observed: str = ""
    threshold: str = ""
    distance: str = ""
    matches: int = 0
    #: `distance` as a number; of equally bad places the one with the least margin decides
    margin: Fraction = Fraction(0)
    #: how the other places ended, each as `tag` says it: what decides must not hide them from who would excuse it
    beside: frozenset[str] = frozenset()

    @property
    def tag(self) -> str:
        """The word; of a failure whose distance is not known, one that is no word."""
        return "unmeasured" if self.word == "fail" and not self.distance else self.word

    @property
    def tags(self) -> frozenset[str]:
        """How every place ended."""
        return self.beside | {self.tag}


#: kind of report → fact of a plan → the names in it that the plan fixes
Fixed = Mapping[str, Mapping[str, Sequence[str]]]
#: where no plan is asked
UNFIXED: Fixed = MappingProxyType({})


@dataclass(frozen=True)
class Read:
    """One path of a rule, standing at `key` of the params: it leads to such leaves in the rule's report, or in `of`.

    `unit` is what the rule says of the numbers there; "" where it says nothing.
    """

    key: str
    text: str
    leaves: tuple[str, ...]
    of: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Fault:
    """What is wrong with the text at `key` of the params, at character `at` of it. `rule` is one word for why; `sure`:
    such a rule is refused, else it is told."""

    key: str
    rule: str
    message: str
    at: int
    advice: str = ""
    sure: bool = True


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of check.

    `judge(params, report, expect, other)` reads a report that already satisfies its schema and says what it finds. It
    is pure, and it never raises for what stands in a report: that is `error`, `fail` or `not_evaluated`. `other` is the
    second report of a rule that compares two.
    """

    name: str
    version: int
    params: type[Closed]
    judge: Callable[[Any, Mapping[str, Any], Any, Mapping[str, Any] | None], Judged]
    #: whether a rule with these params must say what to `expect`; where not, it may not
    expects: Callable[[Any], bool] = lambda _: False
    #: whether what the plan found in the spec is of use to this check
    accepts: Callable[[object], bool] = lambda _: True
    #: what a rule with these params reads of a report's data
    reads: Callable[[Any], list[Read]] = lambda _: []
    #: what is wrong with these params in a rule about reports of a kind, beyond the paths that `reads` tells; in those
    #: of a plan, where one is given
    faults: Callable[[Any, str, Fixed], Iterable[Fault]] = lambda *_: ()
    #: why no report of any of these kinds can fail a rule with these params; None where one can, or nobody knows
    idle: Callable[[Any, Sequence[str]], Fault | None] = lambda _, __: None
    #: kind of the other report that a rule with these params compares with; "" for most
    other: Callable[[Any], str] = lambda _: ""
    #: what a check with several parts found in each, for people: text, value, and the parts below
    parts: Callable[[Any, Mapping[str, Any], Mapping[str, Any] | None], list[dict[str, Any]]] | None = None
    #: what a rule in this folder compares with that lies beside it, for the lock. Raises ValueError where that is not
    #: what the params say; None for most kinds, which compare with nothing of the kind
    pinned: Callable[[Any, Path, str], Any] | None = None
    #: these params for a pack in which a rate needs so many items, where they do not say it themselves
    floored: Callable[[Any, int], Any] = lambda params, _: params
    #: whether what fails is some distance from its bound; None where that hangs on the rule
    measures: bool | None = False
    #: this check decides about forged reports itself; no other check ever sees one
    sees_forged: bool = False


def lacking(reason: str, pointer: str = "") -> Judged:
    """The evidence is not there: `not_evaluated`."""
    return Judged(word="not_evaluated", reason=reason, pointer=pointer)


def broken(reason: str, pointer: str = "") -> Judged:
    """The evidence is there and makes no sense: `error`."""
    return Judged(word="error", reason=reason, pointer=pointer)


def worst(found: Iterable[Judged]) -> Judged:
    """The one that decides: the worst word, then the least margin, then the first. `matches` counts all of them."""
    every = list(found)
    decisive = min(every, key=lambda one: (ORDER.index(one.word), one.margin))
    same = sum(one.word == decisive.word for one in every)
    more = "" if decisive.word == "pass" else more_like_it(same)
    tags = frozenset().union(*(one.tags for one in every))
    return replace(decisive, reason=decisive.reason + more, matches=len(every), beside=tags)


def more_like_it(same: int) -> str:
    """What follows the reason of the one that is told of so many."""
    return "" if same == 1 else f" (and {same - 1} more like it)"


def enough(decided: Judged, least: int) -> Judged:
    """A pass on fewer places than demanded is no pass: all of nothing is true."""
    if decided.word == "pass" and decided.matches < least:
        return replace(lacking(f"{decided.matches} places match, at least {least} must"), matches=decided.matches)
    return decided


def reachable(paths: Iterable[str], least: int) -> None:
    """Raises ValueError where `least` places are demanded of paths that lead to fewer, whatever the report holds."""
    steps = [path.parse(text).steps for text in paths]
    if least > len(steps) and all(isinstance(step, path.Field) for one in steps for step in one):
        raise ValueError(
            f"`min_matches: {least}` can never be met: without `.*` or `[*]` there {_places(len(steps))} to look at"
        )


def _places(count: int) -> str:
    return "is one place" if count == 1 else f"are {count} places"


def text_of(value: Fraction) -> str:
    """A number for people and for machines: exact decimal text when it is short, else about ten digits and `~`."""
    decimal = Decimal(value.numerator) / Decimal(value.denominator)
    shown = format(decimal.normalize(), "f")
    if Fraction(decimal) == value and len(shown) <= 24:
        return shown
    try:
        near: float | Decimal = float(value)
    except OverflowError:
        near = decimal.normalize()
    # what is beyond the doubles, and what is nothing to them, is told as well
    return f"~{near or decimal.normalize():.10g}"


def with_unit(shown: str, unit: str) -> str:
    """A number as a sentence has it; the unit "1" of a pure number is not said."""
    return shown if unit == "1" else f"{shown} {unit}"


def _path(text: str) -> str:
    path.parse(text)
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _distinct(value: list[str]) -> list[str]:
    twice = next((one for one in value if value.count(one) > 1), None)
    if twice is not None:
        raise ValueError(f"`{twice}` stands twice: one place would count as two")
    return value


def _decimal_text(value: object) -> object:
    number = fraction(value)
    return value if number is None else text_of(number)


def _decimal_digits(text: str) -> str:
    if not re.fullmatch(NUMBER, text) or len(text) > LONGEST:
        raise ValueError(f'write decimal digits, such as "0.05", at most {LONGEST} of them and no exponent')
    return text


_TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
#: characters of one at most
LONGEST = 40
#: exact decimal text
NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"

#: a path into a report's data, in the language of `kcompiler/policy/path.py`
PathText = Annotated[str, AfterValidator(_path)]
#: one such path, or several
PathTexts = Annotated[
    list[PathText],
    BeforeValidator(_listed),
    AfterValidator(_distinct),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": _TEXT}]}),
]
#: exact decimal text; a YAML number becomes the text it was written as
DecimalText = Annotated[
    str,
    BeforeValidator(_decimal_text),
    AfterValidator(_decimal_digits),
    WithJsonSchema({"type": ["string", "number"], "pattern": NUMBER}),
]
