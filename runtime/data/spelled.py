"""An English text → the numbers that are spelled out in it, each with its value, its unit and its place.

Read are whole numbers to the trillions (`twenty-three`, `two hundred and five`, `three dozen`), with `point five`, `and
a half` or `and three quarters` behind them (and a scale behind these: `two and a half million`) and `minus` before
them. A number to twelve is often a determiner (`two cities`, `one day`): it is read where a unit of measurement stands
behind it, a sign before it, or where it is all that is said (`The distance is seven.`, `Eight.`; of `one` only the
latter). Parts of a unit (`half a kilometre`) and Roman numerals before a unit (`XIV km`) are numbers, too. `vague`
finds amounts that are none (`several hundred kilometres`). Ordinals are none, and German words are not read.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from fractions import Fraction

from runtime.data.numbers import Found

_UNITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate(["zero", *_UNITS, *_TEENS])}
_VALUES |= {word: 10 * at for at, word in enumerate(_TENS, 2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": Fraction(1, 2),
    "third": Fraction(1, 3),
    "thirds": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "quarters": Fraction(1, 4),
}
#: the greatest number that is often a determiner
_DETERMINER = 12
_DIGIT = "|".join(["zero", "oh", *_UNITS])
_BELOW_100 = (
    rf"(?:(?:{'|'.join(_TENS)})(?:[\s-]+(?:{'|'.join(_UNITS)})\b)?|{'|'.join(_TEENS)}|zero|{'|'.join(_UNITS)})\b"
)
_BELOW_1000 = rf"(?:(?:an?|{_BELOW_100})[\s-]+(?:hundred(?:\s+(?:and\s+)?{_BELOW_100})?|dozen)\b|{_BELOW_100})"
_SCALED = rf"(?:an?|{_BELOW_1000})[\s-]+(?:{'|'.join(_SCALES)})\b"
_NUMBER = re.compile(
    rf"(?<![\w-])(?P<sign>(?:minus|negative)\s+)?"
    rf"(?P<whole>{_SCALED}(?:,?\s+(?:and\s+)?{_SCALED})*(?:,?\s+(?:and\s+)?{_BELOW_1000})?|{_BELOW_1000})"
    rf"(?:(?:\s+point(?P<digits>(?:\s+(?:{_DIGIT})\b)+)|\s+and\s+(?P<times>an?|one|two|three)\s+(?P<part>{'|'.join(_PARTS)})\b)"
    rf"(?:[\s-]+(?P<scale>{'|'.join(_SCALES)})\b)?)?",
    re.IGNORECASE,
)
_MEASURES = (
    r"(?:kilo|centi|milli)?met(?:re|er)s?|miles?|yards?|feet|foot|inch(?:es)?|[kcm]?m|kilograms?|kilos?|grams?|k?g"
    r"|tons?|tonnes?|pounds?|ounces?|(?:milli)?lit(?:re|er)s?|gallons?|degrees?|celsius|fahrenheit|percent|per\s+cent"
    r"|seconds?|minutes?|hours?|days?|weeks?|months?|years?|euros?|dollars?|cents?|pence|francs?|yen|rupees?"
    r"|(?:kilo|mega)?watts?|volts?|(?:kilo|mega|giga)?bytes?|knots?|leagues?"
)
_UNIT = re.compile(rf"[\s-]+(?P<unit>{_MEASURES})(?!\w)", re.IGNORECASE)
_ORDINAL = re.compile(r"[\s-]+(?:first|second|third|(?:four|fif|six|seven|eigh|nin)th)\b", re.IGNORECASE)
#: what people say with a number in it that counts nothing
_IDIOMS = re.compile(
    r"\bone\s+day\b|\b(?:give\s+me|just|wait|hold\s+on(?:\s+for)?)\s+one\s+(?:second|minute|moment)\b"
    r"|\bone\s+(?:second|minute|moment),?\s+please\b"
    r"|\b(?:an?|one)\s+hundred\s+per\s?cent\s+(?:sure|certain|confident|positive)\b"
    r"|\b(?:an?|one)\s+(?:hundred|thousand|million)\s+(?:thanks|apologies)\b"
    r"|\btwenty[\s-]four\s+hours\s+a\s+day\b|\btwenty\s+questions\b",
    re.IGNORECASE,
)
_NEXT = re.compile(r"[\s-]+(?P<unit>[^\W\d_]+)")
#: what stands before and behind a number that is all that a sentence says of something, or all of a sentence
_SAID = re.compile(r"(?:\b(?:is|are|was|were|equals?|be)\s+|[:=]\s*)\Z", re.IGNORECASE)
_ENDS = re.compile(r"[^\w\s]*(?:\s*\Z|[.,;!)](?:\s|\Z)|\n)")
_BEGINS = re.compile(r"(?:\A|[.!?;:]\s|\n)[^\w\n]*\Z")
_STOPS = re.compile(r"\s*(?:[.!](?:\s|\Z)|\Z|\n)")
#: words of a number that are looked at on either side
_NEAR = 12
_PART_OF = re.compile(
    rf"(?<![\w-])(?<!and )(?<!first )(?<!second )(?:(?P<times>an?|one|two|three)[\s-]+)?"
    rf"(?P<part>half|thirds?|quarters?)\s+(?:(?:of\s+)?(?:an?|one)|of\s+the)\s+(?P<unit>{_MEASURES})(?!\w)",
    re.IGNORECASE,
)
_ROMAN = re.compile(
    r"\b(?=[IVXLCDM]{2})(?P<roman>M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))"
    rf"\s+(?P<unit>(?i:{_MEASURES}))(?!\w)"
)
_LETTERS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_TIMES = r"seconds?|minutes?|hours?|days?|weeks?|months?|years?|moments?"
#: amounts of a unit that name no number; of time only what is large
_VAGUE = re.compile(
    r"(?<![\w-])(?<!how )(?<!so )(?<!as )"
    r"(?:(?:(?:several|some|many|(?:a\s+)?few|a\s+couple(?:\s+of)?)\s+(?:hundred|thousand|million|billion|dozen)s?"
    r"|(?:hundreds|thousands|millions|billions|dozens|scores)(?:\s+of\s+(?:hundreds|thousands|millions|billions))?)"
    rf"\s+(?:of\s+)?(?:{_MEASURES})"
    r"|(?:a\s+few|a\s+couple(?:\s+of)?|several|a\s+handful\s+of|countless)\s+"
    rf"(?!(?:{_TIMES})\b)(?:{_MEASURES}))(?!\w)",
    re.IGNORECASE,
)


def placed(text: str) -> list[Found]:
    """Every number that is spelled out in a text, in its order."""
    found = []
    idioms = _IDIOMS.finditer(text)
    idiom = next(idioms, None)
    for match in _NUMBER.finditer(text):
        while idiom is not None and idiom.end() <= match.start():
            idiom = next(idioms, None)
        if idiom is not None and idiom.start() <= match.start():
            continue
        if _ORDINAL.match(text, match.end()) and match["whole"].lower().endswith("ty"):
            continue
        value = _value(match)
        measured = _UNIT.match(text, match.end())
        small = value <= _DETERMINER and not (match["sign"] or match["digits"] or match["part"])
        if small and measured is None and not _alone(text, match):
            continue
        unit = measured or _NEXT.match(text, match.end())
        found.append(Found(value, unit["unit"] if unit else "", match[0], *match.span()))
    found += _further(text, found, [one.span() for one in _IDIOMS.finditer(text)])
    return sorted(found, key=lambda one: one.start)


def vague(text: str) -> list[tuple[int, int]]:
    """Where amounts stand that name no number (`several hundred kilometres`, `dozens of miles`), in their order."""
    return [match.span() for match in _VAGUE.finditer(text)]


def _alone(text: str, match: re.Match[str]) -> bool:
    """Whether a small number is all that is said: of something, or in a sentence."""
    before = text[max(0, match.start() - _NEAR) : match.start()]
    if _BEGINS.search(before) and _STOPS.match(text, match.end()):
        return True
    return match[0].lower() != "one" and bool(_SAID.search(before) and _ENDS.match(text, match.end()))


def _further(text: str, found: list[Found], taken: list[tuple[int, int]]) -> list[Found]:
    """Parts of a unit and Roman numerals, where no number and no idiom stands."""
    taken = sorted([*taken, *((one.start, one.end) for one in found)])
    made = []
    for match in _PART_OF.finditer(text):
        count = max(_VALUES.get((match["times"] or "a").lower(), 1), 1)
        made.append(Found(count * _PARTS[match["part"].lower()], match["unit"], match[0], *match.span()))
    for match in _ROMAN.finditer(text):
        if match["roman"]:
            values = [_LETTERS[letter] for letter in match["roman"]]
            value = sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))
            made.append(Found(Fraction(value), match["unit"], match["roman"], *match.span("roman")))
    free = []
    for one in made:
        at = bisect_left(taken, (one.end, 0))
        if not at or max(end for _, end in taken[max(0, at - 2) : at]) <= one.start:
            free.append(one)
    return free


def _value(match: re.Match[str]) -> Fraction:
    total = part = 0
    for word in re.findall(r"[a-z]+", match["whole"].lower()):
        if word in _SCALES:
            total, part = total + max(part, 1) * _SCALES[word], 0
        elif word in ("hundred", "dozen"):
            part = max(part, 1) * (100 if word == "hundred" else 12)
        else:
            # `a` and `and` add nothing
            part += _VALUES.get(word, 0)
    value = Fraction(total + part)
    if match["digits"]:
        digits = "".join(str(_VALUES.get(word, 0)) for word in match["digits"].lower().split())
        value += Fraction(int(digits), 10 ** len(digits))
    if match["part"]:
        value += max(_VALUES.get(match["times"].lower(), 1), 1) * _PARTS[match["part"].lower()]
    if match["scale"]:
        value *= _SCALES[match["scale"].lower()]
    return -value if match["sign"] else value
