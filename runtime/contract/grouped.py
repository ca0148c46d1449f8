"""A text → the groups of named values that stand in it, whatever language they are written in.

`{"city": "Oslo", "days": 6}`, `{city: 'Oslo'}`, `f(city="Oslo")`, `<city>Oslo</city>`, `--city Oslo`, and lines of
`city: Oslo` are one thing here: names with values behind them. Read are names only; a group whose brackets never close
is one, too. A value that is a type (`city: string`, `{"type": "integer"}`) describes an argument and gives none: a
group of nothing else is documentation. Linear in the text. Standard library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["object", "call", "tags", "flags", "lines"]

_TOKEN = re.compile(
    r"\"(?:[^\"\\\n]|\\.)*\"|(?<!\w)'(?:[^'\\\n]|\\.)*'(?!\w)|[\w$][\w$-]*(?:\.[\w$-]+)*|[{}()\[\]]|=>|->|[:=\n]"
)
_TYPES = r"(?:str(?:ing)?|int(?:eger)?|float|double|number|bool(?:ean)?|list|array|dict|object|any|date(?:time)?|enum)"
#: the name of a type, perhaps of what it holds
TYPE = re.compile(rf"{_TYPES}(?:\[[\w, ]*\])?(?:\s*\|\s*(?:None|{_TYPES}))?", re.IGNORECASE)
#: a value that says what kind of value belongs there
_DESCRIBES = re.compile(
    rf"\s*(?:[`(\[]?(?:Optional\[|list\[)?{_TYPES}\b[`)\]]*\s*(?:$|[,;.)}}\]|(=]|\s[-–—]|\bor\b)"
    r"|[\"'](?:str|string|int|integer|float|number|bool|boolean)[\"']\s*(?:$|[,;}\]])"
    rf"|\{{\s*[\"']?(?:type[\"']?\s*:\s*[\"'\[]{{0,2}}{_TYPES}\b|(?:anyOf|enum)[\"']?\s*:)"
    r"|\(?(?:optional|required)\b"
    r"|(?:the|an?|which|whose)\s+[a-z]|(?:name|names|number|list|title|type|text|amount)\s+(?:of|for)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_TAG = re.compile(
    r"<(?P<end>/?)\s*(?P<tag>[A-Za-z_][\w:.-]{0,60})(?:=(?P<of>[\w.-]{1,60}))?"
    r"(?P<rest>(?:\s+[\w:-]{1,60}\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'))*)\s*/?>"
)
_ATTRIBUTE = re.compile(r"([\w:-]{1,60})\s*=\s*[\"']([^\"']*)[\"']")
_FLAG = re.compile(r"(?:^|\s)--([A-Za-z][\w-]{0,60})(?:=|\s+)(?=\S)")
_EMPTY = re.compile(r"[ \t*_`]*(?:\n|\Z)")
_CLOSES = {"}": "{", ")": "(", "]": "["}


@dataclass(slots=True)
class Group:
    """Names with values: in which form, from where to where in the text, and what stands right before."""

    kind: Kind
    keys: set[str] = field(default_factory=set)
    start: int = 0
    end: int = 0
    #: each name has `=` behind it
    assigned: bool = True
    #: how many of the values describe, and how many are there
    describing: int = 0
    values: int = 0

    @property
    def described(self) -> bool:
        """Whether each value says what kind of value belongs there."""
        return 0 < self.values == self.describing


def folded(key: str) -> str:
    """A name as it is compared: small letters, one sign between its words."""
    return key.strip("\"'`$").replace("-", "_").casefold()


def groups(text: str) -> Iterator[Group]:
    """Every group of named values of a text."""
    yield from _bracketed(text)
    tags = _tags(text) if "<" in text else None
    if tags is not None and tags.keys:
        yield tags
    if "--" in text:
        flags = [*_FLAG.finditer(text)]
        if flags:
            yield Group("flags", {folded(one[1]) for one in flags}, flags[0].start(), len(text))


def _bracketed(text: str) -> Iterator[Group]:
    """Groups in brackets, and lines of names that stand in none."""
    stack: list[tuple[str, Group]] = []
    line, block = Group("lines"), Group("lines")
    before: re.Match[str] | None = None
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign == "\n":
            if not stack:
                block, done = _joined(block, line)
                if done is not None:
                    yield done
                line = Group("lines", start=token.end(), end=token.end())
        elif sign in "{([":
            attached = token.start() > 0 and (text[token.start() - 1].isalnum() or text[token.start() - 1] in "_")
            kind: Kind = "object" if sign == "{" else "call" if attached else "lines"
            stack.append((sign, Group(kind, start=token.start(), end=len(text))))
        elif sign in "})]":
            # a bracket that was never opened closes nothing
            if any(opened == _CLOSES[sign] for opened, _ in stack):
                while stack:
                    opened, group = stack.pop()
                    group.end = token.end()
                    if group.keys:
                        yield group
                    if opened == _CLOSES[sign]:
                        break
        elif before is not None and _is_key(text, before, token):
            group = stack[-1][1] if stack else line
            if not stack:
                group.start = group.start if group.keys else before.start()
                group.end = _end_of_line(text, token.end())
            group.keys.add(folded(before[0]))
            group.assigned &= sign == "="
            if not _EMPTY.match(text, token.end()):
                group.values += 1
                group.describing += bool(_DESCRIBES.match(text, token.end(), token.end() + 60))
        before = token
    yield from (group for _, group in reversed(stack) if group.keys)
    block, done = _joined(block, line)
    if done is not None:
        yield done
    if block.keys:
        yield block


def _is_key(text: str, before: re.Match[str], token: re.Match[str]) -> bool:
    """Whether a token says that the one before it is a name."""
    named = token[0] in (":", "=", "=>", "->") and before[0] not in _SIGNS
    return named and not text[before.end() : token.start()].strip(" \t*_`")


_SIGNS = frozenset({"{", "}", "(", ")", "[", "]", ":", "=", "=>", "->", "\n"})


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _joined(block: Group, line: Group) -> tuple[Group, Group | None]:
    """The block that goes on, and the one that has ended: names of lines that follow each other are one group."""
    if not line.keys:
        return Group("lines"), block if block.keys else None
    if not block.keys:
        return line, None
    joined = Group(
        "lines",
        block.keys | line.keys,
        block.start,
        line.end,
        block.assigned and line.assigned,
        block.describing + line.describing,
        block.values + line.values,
    )
    return joined, None


def _tags(text: str) -> Group:
    """Elements that are closed, attributes, and what `name` or `key` of an element says."""
    found = [*_TAG.finditer(text)]
    closed = {one["tag"] for one in found if one["end"]}
    group = Group("tags", start=len(text))
    for one in found:
        if one["end"]:
            group.end = max(group.end, one.end())
            continue
        said = dict(_ATTRIBUTE.findall(one["rest"] or ""))
        keys = (
            {one["of"]}
            if one["of"]
            else {said["name"]}
            if "name" in said
            else {said["key"]}
            if "key" in said
            else {*said}
        )
        if not keys and one["tag"] in closed:
            keys = {one["tag"]}
        group.keys |= {folded(key) for key in keys}
        group.start, group.end = min(group.start, one.start()), max(group.end, one.end())
    return group
