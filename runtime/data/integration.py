"""A final answer × the facts of tools' results that its row declares → which it says, where, and what it says besides.

Three measures, each one-to-one between facts and places of the answer. *Lax*: a fact is said when its text stands
there as whole words, whatever its case and white space, or its number does in whatever unit. *Semantic*: numbers by
value and unit, dates by day, ids letter by letter, in the locale of the row. *Strict*: semantic, for facts with a key
only, and only where the bytes of the place are proven to be whole tokens.

What an answer asserts besides (a number in digits or in English words, an amount without one such as `several hundred
miles`, a date, an id that is no fact and that nobody asked with, or another value of the results) is a false positive,
and a fact that is denied, left open by "or", or only supposed, is not said (runtime/data/denied.py).
An answer that repeats the result itself, in whatever dress (runtime/data/repeated.py), or that asserts or lists more
than a few things besides, integrates nothing: listing everything would find everything.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import lru_cache

from runtime.contract.wanted import Fact
from runtime.data import numbers, repeated, spelled
from runtime.data.altered import altered, excepted, rated, renamed
from runtime.data.denied import denied, supposed, supposing

#: assertions besides the facts, and places of one fact, from which on an answer only lists
MOST_BESIDES, MOST_PLACES = 4, 3
_ENGLISH = "january february march april may june july august september october november december"
_GERMAN_MONTHS = "januar februar märz april mai juni juli august september oktober november dezember"
_MONTHS = {"en": _ENGLISH.split(" "), "de": _GERMAN_MONTHS.split(" ")}
_ISO = re.compile(r"(?<![\w-])(\d{4})-(\d\d)-(\d\d)(?![\w-])")
#: a day with its time, as machines write it
_STAMP = re.compile(
    r"(?<![\w-])(?P<day>(\d{4})-(\d\d)-(\d\d))[Tt](?P<time>\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)"
    r"(?:[Zz]|[+-](?P<zone>\d\d:?\d\d))?(?![\w-])"
)
_MIDNIGHT = re.compile(r"[0:.,]+")
_SLASHED = re.compile(r"(?<![\w/-])(\d{4})/(\d{1,2})/(\d{1,2})(?![\w/-])")
_GERMAN = re.compile(r"(?<![\w.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?![\w]|\.\d)")
_DAY_FIRST = re.compile(r"(?<![\w.])(\d{1,2})(?:\.|st|nd|rd|th)?\s+(?:of\s+)?([^\W\d_]{3,9})\.?,?\s+(\d{4})(?!\w)")
_DASHED = re.compile(r"(?<![\w-])(\d{1,2})-([^\W\d_]{3,9})-(\d{4})(?![\w-])")
_MONTH_FIRST = re.compile(r"(?<!\w)([^\W\d_]{3,9})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})(?!\w)")
#: letters and digits together; a number with its unit behind it is none
_ID = re.compile(r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[^\W\d_])[\w-]{4,64}(?![\w-])")
#: Han, Hiragana, Katakana, Thai, Lao, Burmese, Khmer
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f]"
)
#: what a number in digits is multiplied by, and the unit behind that
_SCALES = {
    "en": {
        "hundred": 10**2,
        "dozen": 12,
        "thousand": 10**3,
        "k": 10**3,
        "million": 10**6,
        "mn": 10**6,
        "billion": 10**9,
    }
    | {"bn": 10**9, "trillion": 10**12},
    "de": {"tausend": 10**3, "million": 10**6, "millionen": 10**6, "mio": 10**6, "milliarde": 10**9}
    | {"milliarden": 10**9, "mrd": 10**9, "billion": 10**12, "billionen": 10**12},
}
#: a part behind a number in digits
_AND_PART = re.compile(r"\s+and\s+(?P<times>an?|one|three)\s+(?P<part>half|third|quarters?)(?!\w)", re.IGNORECASE)
_PARTS = {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4), "quarters": Fraction(1, 4)}
#: what labels the lines of a list, and what people say with a number in it that counts nothing
_LABEL = re.compile(r"^[ \t]*(\d{1,2})[.)][ \t]+(?=\S)", re.MULTILINE)
_IDIOM = re.compile(r"(?<![\w/.])24/7(?![\w/])")
_SCALE = re.compile(r"(?:(?<=\d)(?P<short>k)|[ \u00a0\u202f-]?(?P<long>[^\W\d_]{2,10}))(?!\w)")
_BEHIND_SCALE = re.compile(r"\.?[ \u00a0\u202f]?((?:[^\W\d_]+|[%\u2030\u00b0][CF]?)(?:/[^\W\d_]+)?)")
_CURRENCY = re.compile("[ \u00a0\u202f]?([$€£¥₹])")
_WITH_UNIT = re.compile(r"-?\d+(?:st|nd|rd|th|[^\W\d_]{1,4})")


_BY_THE_HOUR = re.compile(r"/|\b(?:per|an?)\b|ph$|ps$|kmh")


@dataclass(frozen=True, slots=True)
class Said:
    """One assertion of a text: its kind, its value, its unit, and where it stands, in characters. `bare` is a number
    without the scale behind it (`2.5 million`): its value, its unit and where its digits end."""

    kind: str
    value: object
    unit: str
    start: int
    end: int
    bare: tuple[object, str, int] | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Facts that were said, assertions besides, facts that were not."""

    true: int = 0
    false: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """One answer. `strict` is None where nothing is proven about its tokens, `why` says then why; `spans` are the bytes
    of the facts that were said; `fault` says why an answer counts for nothing."""

    lax: Counts
    semantic: Counts
    strict: Counts | None
    why: str
    spans: tuple[tuple[int, int], ...]
    fault: str


def _day(year: str, month: str | int, day: str, locale: str) -> date | None:
    if isinstance(month, str) and not month.isdigit():
        names, low = _MONTHS[locale], month.lower()
        found = [i for i, name in enumerate(names, 1) if name == low or (len(low) >= 3 and name[:3] == low[:3] == low)]
        if len(found) != 1:
            return None
        month = found[0]
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _dates(text: str, locale: str) -> Iterator[Said]:
    for match in _STAMP.finditer(text):
        made = _day(match[2], match[3], match[4], locale)
        if made is not None:
            # midnight says nothing but the day
            whole = _MIDNIGHT.fullmatch(match["time"])
            yield Said("date", made, "", match.start(), match.end() if whole else match.end("day"))
    ways = [(_ISO, 1, 2, 3), (_SLASHED, 1, 2, 3), (_DAY_FIRST, 3, 2, 1), (_DASHED, 3, 2, 1), (_MONTH_FIRST, 3, 1, 2)]
    for pattern, year, month, day in ways + ([(_GERMAN, 3, 2, 1)] if locale == "de" else []):
        for match in pattern.finditer(text):
            made = _day(match[year], match[month], match[day], locale)
            if made is not None:
                yield Said("date", made, "", *match.span())


@lru_cache(maxsize=256)
def said(text: str, locale: str) -> Sequence[Said]:
    """Every date, id, number and unreadable numeral that a text asserts, in its order, each place once.

    The last few are kept: what was asked, and a row's own answer, stand beside every model's answer to it.
    """
    found = list(_dates(text, locale))
    idle = _idle(text)
    for match in _ID.finditer(text):
        if not _WITH_UNIT.fullmatch(match[0]) and not _over(found, *match.span()):
            found.append(Said("id", match[0], "", *match.span()))
    decimal = "," if locale == "de" else "."
    for start, end, number in numbers.placed(text, decimal):
        if start not in idle and not _over(found, start, end):
            behind = _CURRENCY.match(text, end)
            sign = behind[1] if behind and not number.unit else ""
            found.append(
                _scaled(text, number, end, locale) or Said("number", number.value, number.unit or sign, start, end)
            )
    for number in spelled.placed(text) if locale == "en" else ():
        if not _over(found, number.start, number.end):
            found.append(Said("number", number.value, number.unit, number.start, number.end))
    for start, end in spelled.vague(text) if locale == "en" else ():
        if not _over(found, start, end):
            found.append(Said("numeral", text[start:end].casefold(), "", start, end))
    # numerals that nobody can read assert something, too: what it is stays their own text
    for start, end in numbers.unread(text, decimal):
        if not _over(found, start, end):
            found.append(Said("numeral", text[start:end], "", start, end))
    return tuple(sorted(found, key=lambda one: one.start))


def _idle(text: str) -> frozenset[int]:
    """Where numbers begin that count nothing: idioms, and the labels of lists, each from 1 on without a gap."""
    runs: list[list[int]] = []
    due = 0
    for label in _LABEL.finditer(text):
        number = int(label[1])
        if number == 1:
            runs.append([])
        due = number + 1 if number and runs and number in (1, due) else 0
        if due:
            runs[-1].append(label.start(1))
    return frozenset(
        [one.start() for one in _IDIOM.finditer(text)] + [at for run in runs if len(run) > 1 for at in run]
    )


def _scaled(text: str, number: numbers.Found, end: int, locale: str) -> Said | None:
    """A number in digits with a scale behind it, or with a part (`7 and a half`)."""
    part = _AND_PART.match(text, end) if locale == "en" else None
    if part is not None:
        count = 3 if part["times"].casefold() == "three" else 1
        unit = _BEHIND_SCALE.match(text, part.end())
        value = number.value + count * _PARTS[part["part"].casefold()]
        return Said("number", value, unit[1] if unit else "", number.start, part.end())
    behind = _SCALE.match(text, end)
    word = (behind["short"] or behind["long"].casefold().removesuffix("s" if locale == "en" else "")) if behind else ""
    times = _SCALES[locale].get(word)
    if behind is None or times is None:
        return None
    unit = _BEHIND_SCALE.match(text, behind.end())
    currency = number.unit if number.unit in numbers.CURRENCY else ""
    said_ = currency or (unit[1] if unit else "")
    bare = number.value, f"{behind[0].strip()} {said_}".strip(), end
    return Said("number", number.value * times, said_, number.start, behind.end(), bare)


def _over(found: Sequence[Said], start: int, end: int) -> bool:
    return any(one.start < end and start < one.end for one in found)


def _pattern(value: str) -> re.Pattern[str]:
    """A value as whole words, its accents as one character with their letter or as one of their own."""
    forms = dict.fromkeys((value, unicodedata.normalize("NFC", value), unicodedata.normalize("NFD", value)))
    said_ = "|".join(r"\s+".join(re.escape(part) for part in form.split()) for form in forms)
    # scripts without spaces between words have no whole ones
    before = "" if _UNSPACED.match(value.strip()[:1]) else r"(?<!\w)(?<!\d[.,])"
    behind = "" if _UNSPACED.match(value.strip()[-1:]) else r"(?!\w|[.,]\d)"
    return re.compile(rf"{before}(?:{said_})(?![\u0300-\u036f]){behind}", re.IGNORECASE)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _words(text: str, value: str) -> list[tuple[int, int]]:
    """Where a value stands in a text as whole words; places are those of the text as it is."""
    return [match.span() for match in _pattern(value).finditer(text)]


def value_of(fact: Fact) -> object:
    """The value of a typed fact: numbers and dates are declared as a machine writes them. Raises ValueError."""
    if fact.type == "number":
        return Fraction(fact.value)
    if fact.type == "date":
        return date.fromisoformat(fact.value)
    return fact.value


def _units(fact: Fact) -> frozenset[str]:
    """Spellings of a unit stand beside each other, divided by |."""
    return frozenset(unit.strip().casefold() for unit in fact.unit.split("|")) if fact.unit else frozenset()


def _places(fact: Fact, text: str, assertions: Sequence[Said], *, lax: bool) -> list[tuple[int, int]]:
    """Where a text says a fact."""
    found = []
    if fact.type != "text":
        value, units = value_of(fact), _units(fact)
        for one in assertions:
            if one.kind != fact.type:
                continue
            if one.value == value and (lax or not units or one.unit.casefold() in units):
                found.append((one.start, one.end))
            elif one.bare and one.bare[0] == value and (lax or not units or _of_scale(one.bare[1], units)):
                found.append((one.start, one.bare[2]))
    if fact.type == "text" or (lax and not found) or (fact.type == "id" and not found):
        exact = fact.type == "id" and not lax
        found += [
            (s, e) for s, e in _words(text, fact.value) if not exact or _composed(text[s:e]) == _composed(fact.value)
        ]
    return found


def _of_scale(unit: str, units: frozenset[str]) -> bool:
    """Whether a scale, with its unit or without, is one of the declared units (`million`, `million km`)."""
    low = unit.casefold()
    return low in units or low.partition(" ")[0] in units


def _matched(
    facts: Sequence[Fact], text: str, assertions: Sequence[Said], *, lax: bool, so: Sequence[bool], free: bool
) -> tuple[dict[int, tuple[int, int]], bool]:
    """Fact → its place, as many as can be at once, each place for one fact; and whether a fact is only repeated. `so`:
    the row's own answer says the fact as a bound or a part, so that an answer may; `free`: the question supposes
    something, so that an answer may, too."""
    places = [
        [
            at
            for at in _places(fact, text, assertions, lax=lax)
            if not denied(text, *at) and (allowed or not _otherwise(fact, text, *at, free=free))
        ]
        for fact, allowed in zip(facts, so, strict=True)
    ]
    taken: dict[tuple[int, int], int] = {}

    def place(fact: int, tried: set[tuple[int, int]]) -> bool:
        for at in places[fact]:
            if at in tried:
                continue
            tried.add(at)
            if at not in taken or place(taken[at], tried):
                taken[at] = fact
                return True
        return False

    for index in range(len(facts)):
        place(index, set())
    alike = {fact.value: sum(one.value == fact.value for one in facts) for fact in facts}
    listed = any(len(set(at)) > MOST_PLACES * alike[fact.value] for fact, at in zip(facts, places, strict=True))
    return {fact: at for at, fact in taken.items()}, listed


def _times(result: str, facts: Sequence[Fact]) -> Iterator[str]:
    """The times of day that a result writes into one word with a day that is a fact."""
    days = {fact.value for fact in facts if fact.type == "date"}
    for match in _STAMP.finditer(result) if days else ():
        if match["day"] in days:
            yield match["time"]
            yield match["zone"] or ""


def _otherwise(fact: Fact, text: str, start: int, end: int, *, free: bool) -> bool:
    if not free and supposed(text, start, end):
        return True
    if fact.type == "number":
        return altered(text, start, end) or (_plain(fact) and rated(text, start, end))
    return excepted(text, start) or (fact.type == "text" and renamed(text, start, end))


def _plain(fact: Fact) -> bool:
    """Whether a fact declares its unit, and by no hour."""
    units = _units(fact)
    return bool(units) and not any(_BY_THE_HOUR.search(one) for one in units)


def _bytes(text: str, at: tuple[int, int]) -> tuple[int, int]:
    start = len(text[: at[0]].encode())
    return start, start + len(text[at[0] : at[1]].encode())


def strangers(
    facts: Sequence[Fact], results: Sequence[str], asked: str, declared: Sequence[str]
) -> list[tuple[str, re.Pattern[str]]]:
    """Values of results that are no facts, and how each is found in an answer: what was asked, and what a row's own
    answer says, may be said."""
    units = [unit for fact in facts for unit in _units(fact)]
    found = repeated.strangers(results, [fact.value for fact in facts], units, [asked, *declared])
    return [(_composed(value).casefold(), _pattern(value)) for value in found]


def score(
    text: str,
    facts: Sequence[Fact],
    locale: str,
    asked: str,
    results: Sequence[str],
    edges: Sequence[int] | None,
    beside: Sequence[tuple[str, re.Pattern[str]]] = (),
    declared: str = "",
) -> Score:
    """One answer beside the facts of its row. `asked` is what the user said: repeating it asserts nothing. `edges` are
    the byte offsets at which tokens of the answer begin or end, its own end included; None where they are not known.
    `beside` are the `strangers` of its row, `declared` is its own answer: the words for numbers in it may be said.

    Raises ValueError for a fact whose value is not of its type.
    """
    assertions = said(text, locale)
    heard = {(one.kind, one.value) for one in said(asked, locale)}
    heard |= {("number", one.value) for one in spelled.placed(declared)} if locale == "en" else set()
    own = said(declared, locale)
    heard |= {("numeral", one.value) for one in own if one.kind == "numeral"}
    heard |= {("numeral", time) for result in results for time in _times(result, facts)}
    free = supposing(asked)
    so = [
        any(_otherwise(fact, declared, *at, free=free) for at in _places(fact, declared, own, lax=True))
        for fact in facts
    ]
    spans: list[tuple[int, int]] = []
    counts = {}
    low = _composed(text).casefold()
    others = [at.span() for value, pattern in beside if value in low for at in pattern.finditer(text)]
    fault = "echo" if repeated.echo(text, results) else ""
    fault = fault or ("list" if repeated.listed(text, [asked, *results]) > MOST_BESIDES else "")
    matched: dict[str, dict[int, tuple[int, int]]] = {}
    for name, lax in (("lax", True), ("semantic", False)):
        found, listed = _matched(facts, text, assertions, lax=lax, so=so, free=free)
        matched[name] = found
        values = {(facts[i].type, value_of(facts[i])) for i in found}
        covered = list(found.values())
        besides = sum(
            not any(one.start < end and start < one.end for start, end in covered)
            and (one.kind, one.value) not in heard | values
            for one in assertions
        )
        besides += sum(not any(s < end and start < e for start, end in covered) for s, e in others)
        if listed or besides > MOST_BESIDES:
            fault = fault or "list"
        counts[name] = Counts(len(found), besides, len(facts) - len(found))
    keyed = [index for index, fact in enumerate(facts) if fact.key]
    spans = sorted(_bytes(text, at) for at in matched["lax"].values())
    nothing = Counts(0, len(assertions) + len(others), len(facts))
    if fault:
        return Score(nothing, nothing, Counts(0, nothing.false, len(keyed)), "", (), fault)
    if edges is None:
        return Score(counts["lax"], counts["semantic"], None, "its tokens are not known", tuple(spans), "")
    mine = {index: _bytes(text, at) for index, at in matched["semantic"].items() if index in keyed}
    known = set(edges)
    if any(start not in known or end not in known for start, end in mine.values()):
        return Score(counts["lax"], counts["semantic"], None, "a span cuts a token", tuple(spans), "")
    strict = Counts(len(mine), counts["semantic"].false, len(keyed) - len(mine))
    return Score(counts["lax"], counts["semantic"], strict, "", tuple(spans), "")


def edges_of(text: str, spelled: Sequence[str]) -> list[int] | None:
    """Byte offsets of the tokens of a text that is spelled so; None where the tokens are not the text. White space at
    the beginning of a token belongs to it, and a word after it begins there, too."""
    if "".join(spelled) != text:
        return None
    found, at = {0}, 0
    for token in spelled:
        size = len(token.encode())
        found.add(at + size - len(token.lstrip().encode()))
        at += size
        found.add(at)
    return sorted(found)


def misfit(facts: Sequence[Fact], locale: str, asked: str, results: Sequence[str]) -> str:
    """Why facts cannot be facts of these results, or "": a value is not of its type, stands in no result, or was said
    by whoever asked, so that repeating the question would carry it over."""
    if not results:
        return "no result of a tool stands before the answer"
    there = "\n".join(results)
    for number, fact in enumerate(facts):
        try:
            value_of(fact)
        except (ValueError, ZeroDivisionError):
            return f"fact {number}: {fact.value[:40]!r} is no {fact.type}"
        # a result is written for machines, whatever the language of the answer
        if not _says(there, fact):
            return f"fact {number}: {fact.value[:40]!r} stands in no result of a tool"
        if fact.key and not any(_says(one, fact) for result in results for one in _under(result, fact.key)):
            return f"fact {number}: no field {fact.key[:40]!r} of a result holds {fact.value[:40]!r}"
        if _places(fact, asked, said(asked, locale), lax=True):
            return f"fact {number}: {fact.value[:40]!r} was said by whoever asked"
    return ""


def _says(text: str, fact: Fact) -> bool:
    return bool(_places(fact, text, said(text, "en"), lax=True))


def _under(result: str, key: str) -> list[str]:
    """What stands under the fields of this name, as text, where a result is JSON."""
    try:
        value = json.loads(result)
    except (ValueError, RecursionError):
        return []
    stack, found = [value], []
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            if key in one:
                held = one[key]
                found.append(held if isinstance(held, str) else json.dumps(held, ensure_ascii=False))
            stack += one.values()
        elif isinstance(one, list):
            stack += one
    return found
