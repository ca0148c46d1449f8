"""A text × what registered tools take → whether something in it is given to one of them.

Three ways in which something is: brackets behind a tool's name that hold values, a line that is a command, and a group
of named values that fits. What only speaks of a tool (`(the weather tool)`, `get_weather(city, days)` in a sentence,
lines that describe its arguments) gives it nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from runtime.contract.grouped import TYPE, Group, folded, groups

#: of a tool the names of its arguments, and of those that it needs
Arguments = Mapping[str, tuple[frozenset[str], frozenset[str]]]


def arguments_of(schema: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the arguments that the schema of a tool's parameters declares, and of those that it needs."""
    return frozenset(schema.get("properties") or ()), frozenset(schema.get("required") or ())


def _flat(name: str) -> str:
    return re.sub(r"[\s._-]", "", name).casefold()


@dataclass(frozen=True, slots=True)
class Tools:
    """What the registered tools take: of each the names of its arguments and of those that it needs, folded."""

    takes: Mapping[str, tuple[frozenset[str], frozenset[str]]]

    @staticmethod
    def of(validators: Mapping[str, Any]) -> Tools:
        return _tools(_ById(validators))

    def called(self, name: str) -> tuple[frozenset[str], frozenset[str]]:
        """Those of the tool that is called so, however its words are divided."""
        plain = _flat(name)
        return next((each for one, each in self.takes.items() if _flat(one) == plain), (frozenset(), frozenset()))


class _ById:
    """A registry as a key: the same only as itself."""

    __slots__ = ("of",)

    def __init__(self, of: Mapping[str, Any]) -> None:
        self.of = of

    def __hash__(self) -> int:
        return id(self.of)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.of is self.of


@lru_cache(maxsize=8)
def _tools(registry: _ById) -> Tools:
    schemas = {name: getattr(one, "schema", None) for name, one in registry.of.items()}
    return Tools(
        {
            name: (frozenset(map(folded, known)), frozenset(map(folded, needed)))
            for name, schema in schemas.items()
            if isinstance(schema, Mapping)
            for known, needed in [arguments_of(schema)]
        }
    )


#: how what is given begins
_LITERAL = re.compile(r"\s*(?:[\"'\u201c{\[)]|[-+]?\d|\*{1,2}\w|(?P<key>[\w-]{1,60})\s*(?:=(?!=)|:))")
#: an ending of a word: `play(er)`, `tool(s)`
_ENDING = re.compile(r"(?:e?s|e?d|er|ing)\)")
_ONE = r"[\w-]+\??(?:\s*:\s*[\w\[\]| ]+)?(?:\s*=\s*None)?"
_SIGNATURE = re.compile(rf"\s*{_ONE}(?:\s*,\s*{_ONE})*\s*")
_TYPED = re.compile(r":\s*[\w\[\]| ]+|=\s*None|\?")
_MENTIONED = re.compile(r"(?:\b(?:the|an?|no|of|called|named|like|as|or|and|via|than)\s+[`\"'*]{0,3}\Z)", re.IGNORECASE)
_SPOKEN_OF = re.compile(
    r"[`\"'*]{0,3}\s+(?:functions?|tools?|commands?|methods?|is|are|was|would|could|can|cannot|does|needs?|takes?|gives?"
    r"|tells?|returns?|for\s+that)\b",
    re.IGNORECASE,
)
#: what a sentence has, and a list of values hardly
_PROSE = re.compile(
    r"\b(?:is|are|was|were|be|been|am|do|does|did|can|cannot|could|will|would|should|may|might|must|has|have|had|not|no"
    r"|none|never|needs?|takes?|gives?|tells?|returns?|requires?|expects?|seems?|the|an?|of|to|for|with|and|or|but|that"
    r"|this|it|which|who|only|from|by|as|if|when|so|because|than|then|unavailable|fits?|helps?|works?|\w+n['\u2019]t)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?<!```)(?<!\w)\w+")


class Text:
    """A text, and how many words of it stand outside of a place."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._words: list[int] | None = None
        self._named: dict[str, bool] = {}

    def around(self, start: int, end: int) -> int:
        """Words that begin before `start` or from `end` on; the language of a fence is none."""
        if self._words is None:
            self._words = [one.start() for one in _WORD.finditer(self.text)]
        return bisect_left(self._words, start) + len(self._words) - bisect_left(self._words, end)

    def names(self, tool: str) -> bool:
        """Whether the text names a tool."""
        if tool not in self._named:
            self._named[tool] = _spaced(tool).search(self.text) is not None
        return self._named[tool]


def given(whole: Text, found: re.Match[str], tools: Tools | None) -> bool:
    """Whether a bracket behind a name gives it something: `(the weather tool)` and `(city, days)` speak of it."""
    text, begin = whole.text, found.end()
    if not found["gap"] and _ENDING.match(text, begin):
        return False
    known = tools.called(found["name"])[0] if tools else frozenset[str]()
    end = text.find(")", begin, begin + _LONGEST)
    inside = text[begin : end if end >= 0 else begin + _LONGEST]
    said = whole.around(found.start(), begin + len(inside) + 1)
    if not inside.strip():
        spoken = _MENTIONED.search(text, max(0, found.start() - 40), found.start()) or _SPOKEN_OF.match(text, end + 1)
        return not (spoken and said >= _FEW)
    if _SIGNATURE.fullmatch(inside) and said >= _FEW:
        names = {folded(_TYPED.sub("", one).strip()) for one in inside.split(",")}
        if names <= known and (_typed(inside) or "=" not in inside):
            return False
    if not found["gap"]:
        return True
    first = _LITERAL.match(text, begin)
    return first is not None and (not first["key"] or not known or folded(first["key"]) in known)


#: longest signature that is read as one
_LONGEST = 400
#: so many words around something make a sentence of it
_FEW = 3


def _typed(inside: str) -> bool:
    """Whether what stands behind the colons of a signature are types."""
    return all(TYPE.fullmatch(one.strip()) for one in re.findall(r":\s*([\w\[\]| ]+)", inside)) and "=" not in re.sub(
        r"=\s*None", "", inside
    )


def commanded(whole: Text, found: re.Match[str], tools: Tools) -> bool:
    """Whether a line is a command: behind a prompt, or alone and with as many values as the tool takes."""
    rest = found["rest"]
    if rest is not None and (rest[0] in "=:-" or _PROSE.search(_QUOTED.sub("", rest))):
        return False
    if found["sign"]:
        return True
    if rest is None or whole.around(*found.span()):
        return False
    known, needed = tools.called(found["name"])
    by = found["by"].strip()
    values = [one.strip() for one in rest.rstrip("| \t").split(by)] if by else _SHELL.findall(rest)
    if any(_flat(one) in {_flat(name) for name in tools.takes} for one in values):
        return False
    if not max(1, len(needed)) <= len(values) <= len(known):
        return False
    if by:
        return len(values) > 1 and all(len(one.split()) <= _FEW for one in values)
    # a plain word begins a sentence as well
    return not found["name"].isalpha() or not found["name"][1:].islower()


_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_SHELL = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")


def fits(whole: Text, tools: Tools) -> bool:
    """Whether a group of named values fits what a tool takes."""
    return any(
        _is_of(group, whole, name, known, needed)
        for group in groups(whole.text)
        if not group.described
        for name, (known, needed) in tools.takes.items()
        if needed <= group.keys and not known.isdisjoint(group.keys)
    )


def _is_of(group: Group, whole: Text, name: str, known: frozenset[str], needed: frozenset[str]) -> bool:
    """Whether a group that has what a tool needs is meant for it."""
    mine = len(group.keys & known)
    strange = len(group.keys) - mine
    if group.kind in ("object", "call"):
        if strange and (strange > 1 or mine < 2):
            return False
        return mine > 1 or whole.around(group.start, group.end) <= _BESIDE or whole.names(name)
    if group.kind == "tags":
        return whole.names(name) or (not strange and whole.around(group.start, group.end) <= _BESIDE)
    if group.kind == "flags":
        return whole.names(name) or (not strange and mine > 1)
    if 2 * group.describing >= max(1, group.values):
        return False
    if whole.names(name) and strange <= mine + _WRAPPING:
        return group.assigned or mine > 1 or _is_heading(name, whole.text, group)
    if _SENTENCES.search(whole.text, group.start, group.end):
        return False
    return not strange and mine > 1 and whole.around(group.start, group.end) < _FEW


_SENTENCES = re.compile(r"[.!?][ \t]+\S")
#: words that may stand beside the arguments of a tool, and keys that may stand around them (`tool`, `arguments`)
_BESIDE, _WRAPPING = 4, 3


def _is_heading(name: str, text: str, group: Group) -> bool:
    """Whether what stands before a group ends with the name of the tool, perhaps with a colon or `with` behind it."""
    if _flat(name) in map(_flat, group.keys):
        return True
    ahead = text[max(0, group.start - 200) : group.start]
    return any(
        re.fullmatch(
            r"[`\"'*_:\s|>-]*(?:with|on|for|arguments?|args|parameters|input)?[`\"'*_:\s-]*", ahead[one.end() :]
        )
        for one in _spaced(name).finditer(ahead)
    )


@lru_cache(maxsize=1024)
def _spaced(name: str) -> re.Pattern[str]:
    """A name however its words are divided, also by spaces."""
    inner = r"[\s._-]*".join(re.escape(part) for part in re.split(r"[._-]", name))
    return re.compile(rf"(?<![^\W_]){inner}(?![^\W_])", re.IGNORECASE)
