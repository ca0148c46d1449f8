"""A question → what else its answer might be: answers of other rows, and what of its own prompt is like its answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from runtime.data.normal_form import normalised


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
