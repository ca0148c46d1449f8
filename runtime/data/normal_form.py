"""A text → what is compared of it: its normal form, and where words of a normal form stand in it as it is written."""

from __future__ import annotations

import re
import unicodedata

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


def normalised(text: str, *, letters: bool = False) -> str:
    """What `normalised` compares: see the head of runtime.data.matching. May be empty. `letters`: every `a` stays."""
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


def names_kept(one: str, other: str) -> bool:
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


def holds(text: str, answer: str) -> bool:
    """Whether an answer stands in a text as whole words, both normalised."""
    return bool(answer) and f" {answer} " in f" {text} "


def _letter(char: str) -> str:
    """Where a character of a normalised answer stands in an output as it is written: operators in any dress."""
    return rf" ?[{_DASHES}*] ?" if char in "-\u2217" else re.escape(char)


def where(output: str, wanted: str) -> list[tuple[int, int]]:
    """Where the words of a normalised answer stand in an output as it is written."""
    words = r"(?:[\W_]|\b(?:a|an|the)\b)+".join(r"['\u2019]?".join(map(_letter, word)) for word in wanted.split())
    return [match.span() for match in re.finditer(rf"(?<!\w){words}(?!\w)", output, re.IGNORECASE)]
