"""An English text → the numbers that are spelled out in it, each with its value, its unit and its place.

Read are whole numbers to the trillions (`twenty-three`, `two hundred and five`, `three dozen`), with `point five`, `and
a half` or `and three quarters` behind them and `minus` before them. A number to twelve is often a determiner (`two
cities`, `one day`): it is read where a unit of measurement stands behind it, or a sign before it. Ordinals, `a few` and
fractions of less than one are none, and German words are not read.
"""

from __future__ import annotations

import re
from fractions import Fraction

from runtime.data.numbers import Found

_UNITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate(["zero", *_UNITS, *_TEENS])}
_VALUES |= {word: 10 * at for at, word in enumerate(_TENS, 2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4), "quarters": Fraction(1, 4)}
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
    rf"(?:\s+point(?P<digits>(?:\s+(?:{_DIGIT})\b)+)|\s+and\s+(?P<times>an?|one|two|three)\s+(?P<part>{'|'.join(_PARTS)})\b)?",
    re.IGNORECASE,
)
_MEASURES = (
    r"(?:kilo|centi|milli)?met(?:re|er)s?|miles?|yards?|feet|foot|inch(?:es)?|[kcm]?m|kilograms?|kilos?|grams?|k?g"
    r"|tons?|tonnes?|pounds?|ounces?|(?:milli)?lit(?:re|er)s?|gallons?|degrees?|celsius|fahrenheit|percent|per\s+cent"
    r"|seconds?|minutes?|hours?|days?|weeks?|months?|years?|euros?|dollars?|cents?|pence|francs?|yen|rupees?"
    r"|(?:kilo|mega)?watts?|volts?|(?:kilo|mega|giga)?bytes?|knots?"
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
        if small and measured is None:
            continue
        unit = measured or _NEXT.match(text, match.end())
        found.append(Found(value, unit["unit"] if unit else "", match[0], *match.span()))
    return found


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
    return -value if match["sign"] else value
