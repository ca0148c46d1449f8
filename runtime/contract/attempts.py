"""Whether a text that is no call of ours attempts one. A call that nobody can carry out is no silence.

An attempt is one of three things, in whatever dress:

- what only a protocol of calls has: its control tokens and tags, or an object of a name beside arguments;
- the name of a registered tool where something is to be carried out (before brackets, behind `name:`, `call(` or a
  prompt of a shell, in a tag, as a key) with arguments in any form;
- a group of named values (runtime/contract/grouped.py) that fits what a registered tool takes: all that it needs, and
  mostly nothing else; one value alone where the tool is named or little else is said.

The name of a tool in a sentence is none, nor are its arguments described (`get_weather(city, days)` and `city: string`
in prose). Not seen are: the values of an unnamed tool without their names (`Dublin, 6`), or with one name in no bracket
(`days: 6`), `play ABBA` for a tool whose name is a plain word, values in prose (`I ask get_weather about Dublin`),
names and values in another alphabet or cipher than those of `_readings`, and what is split over several places. An
answer that lists exactly what a tool takes (`{"city": "Dublin", "days": 6}` because somebody asked for such an object)
is taken for an attempt.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote

from runtime.contract.fitting import Text, Tools, commanded, fits, given
from runtime.contract.seen import seen

_NAME_KEY = r"""["'](?:name|function|function_name|tool|tool_name|recipient_name|action)["']\s*:"""
_ARGUMENTS_KEY = (
    r"""["'](?:arguments|args|kwargs|parameters|params|inputs?|action_input|(?:tool|function)_(?:input|args|arguments"""
    r"""|parameters))["']\s*:"""
)
#: how calls are written that are not written our way: our own prefix misspelt, prefixes and control tokens of other
#: chat templates, namespaces that only hold tools, and objects with a name beside arguments
_FOREIGN = re.compile(
    "|".join(
        (
            r"""tool\.call\s*["']?\s*[{(\[:=>|]""",
            r"""\b(?:tool|function)[_-]?calls?\s*["']?\s*[{(\[:=>|]""",
            r"</?(?:[\w-]{1,20}:)?(?:tool_?calls?|function_?calls?|tool_use|function|invoke|tool|call)\b",
            r"<\|[^|<>]{0,40}(?:tool|function|python_tag|plugin|action_start)[^|<>]{0,40}\|>",
            r"\[/?(?:AVAILABLE_)?TOOL_CALLS?\]",
            r"<[｜|]tool▁",
            r"\b(?:functions|default_api)[.:]\w[\w.-]{0,100}\s*(?:[({\[]|<\|)",
            r"\bto\s*=\s*(?:functions|tools)\.",
            r"```\s*tool_(?:code|call)",
            r"<<<\s*api_call\s*>>>",
            rf"{_NAME_KEY}[^{{}}]{{0,400}}?{_ARGUMENTS_KEY}",
            rf"{_ARGUMENTS_KEY}.{{0,4000}}?{_NAME_KEY}",
            r"\bAction\s*:\s*\S+\s+Action Input\s*:",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)
#: places of a text in which a value of JSON is looked for
_PLACES = 64
_KEYS = (
    r"name|function|function_name|tool|tool_name|recipient_name|action|next_tool_name|tool_to_use|use_tool|call|command"
    r"|cmd|op|operation|method|api_name|invoke|execute"
)


def attempts(text: str, names: Iterable[str] = ()) -> bool:
    """Whether a text attempts a call. `names` are the registered tools, found in whatever case and behind whatever
    namespace; with their validators, what they take is known as well."""
    return any(_attempts(one, names) for one in _readings(text))


def _readings(text: str) -> Iterator[str]:
    """A text, and what somebody sees in it: brackets of another width, characters that nobody sees, references of HTML,
    escapes of an address and of a text within a text."""
    yield text
    plain = seen(html.unescape(text)) if "&" in text or not text.isascii() else text
    if "%7b" in plain.casefold() or "%22" in plain:
        plain = unquote(plain)
    if plain != text:
        yield plain
    if '\\"' in plain:
        yield plain.replace('\\"', '"').replace('"{', "{").replace('}"', "}")


def _attempts(text: str, names: Iterable[str]) -> bool:
    if _FOREIGN.search(text):
        return True
    known = tuple(names)
    if not known:
        return False
    tools = Tools.of(names) if isinstance(names, Mapping) else None
    patterns = _patterns(known)
    whole = Text(text)
    if patterns.named.search(text):
        if patterns.places.search(text) or _in_json(text, known):
            return True
        if any(given(whole, one, tools) for one in patterns.round.finditer(text)):
            return True
        if tools and any(commanded(whole, one, tools) for one in patterns.command.finditer(text)):
            return True
    return tools is not None and _MAY_HOLD.search(text) is not None and fits(whole, tools)


#: what stands in every text that holds a group of named values
_MAY_HOLD = re.compile(r"[{<=]|--|\w[\"'`*_]{0,3}\s*(?::|->)")


class _Patterns:
    """Of the registered names: `named` stands in every text that one of the others finds something in, and is looked
    for first; the others are made when it is found."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._alike = "|".join(map(_alike, names))
        self._named = rf"(?:(?<![\w-])|(?<=__))(?:{self._alike})"
        self.named = re.compile(self._alike, _FLAGS)

    @cached_property
    def places(self) -> re.Pattern[str]:
        """Places that only a call has."""
        return re.compile(_places(self._alike, self._named), _FLAGS)

    @cached_property
    def round(self) -> re.Pattern[str]:
        """Round brackets behind a name, which also hold what is said by the way."""
        return re.compile(rf"(?P<name>{self._named}){_QUOTED_NAME}(?:\.\w{{1,40}})?(?P<gap>\s*)\(", _FLAGS)

    @cached_property
    def command(self) -> re.Pattern[str]:
        """A line that begins with a name, perhaps behind the prompt of a shell."""
        rest = r"(?:(?P<by>[ \t]*[,;|][ \t]*|[ \t]+)(?P<rest>\S[^\n]*))?$"
        return re.compile(rf"^[ \t]*(?P<sign>[$%!/@]|>>>|\./)?[ \t]*(?P<name>{self._alike}){rest}", _FLAGS)


_FLAGS = re.IGNORECASE | re.MULTILINE
_QUOTED_NAME = r"""[`"'*]{0,3}"""


@lru_cache(maxsize=256)
def _patterns(names: tuple[str, ...]) -> _Patterns:
    return _Patterns(names)


def _alike(name: str) -> str:
    """A name however its words are divided."""
    return r"[._-]?".join(re.escape(part) for part in re.split(r"[._-]", name))


def _places(alike: str, named: str) -> str:
    quoted, ticks = _QUOTED_NAME, r"""[`"'*_]{0,3}"""
    lead = r"(?:[-*\u2022>$%!/@]|\d{1,3}[.)]|>>>|\./)?[ \t]*"
    verb = r"(?:(?:call|run|execute|exec|invoke|use|await|return|calling|running|executing|invoking|using)[ \t]+)?"
    space = r"(?:[\w.-]{1,60}[.:/])?"
    literal = r"(?:[\"'`\[{(\d:*-]|(?:true|false|null|none)\b|[\w-]{1,60}\s*[=:])"
    return "|".join(
        (
            # arguments right behind it, or behind a method of it
            rf"{named}{quoted}(?:\.\w{{1,40}})?[{{\[<]",
            rf"{named}{quoted}\s*(?:\{{|<\|)",
            rf"{named}{quoted}\s*(?::|=|[-=]>)\s*(?:[{{\[]|\(\s*{literal})",
            # arguments without brackets
            rf"{named}{quoted}\s*[:,]?\s+(?:--)?[\w-]{{1,60}}\s*=\s*[^\s=]",
            rf"{named}\s+--\w",
            rf"^[ \t]*{lead}{verb}{quoted}(?:{alike}){quoted}(?:[ \t]+(?:\"[^\"\n]+\"|'[^'\n]+'|-?\d[\d.]*))+[ \t]*$",
            # places where only a call has a name
            rf"[\"'](?:{alike})[\"']\s*:",
            # taken by its name out of something that holds tools, and called
            rf"[\"'](?:{alike})[\"']\s*[\])]\s*[({{]",
            rf"\w\[\s*(?:{alike})\s*\]\s*[({{]|{named}\s*\)+\(",
            # given to something that calls it, with values behind it
            rf"[\w\]]\(\s*[\"'`:]?{space}(?:{alike})[\"'`]?\s*,\s*{literal}",
            rf"\b\w{{1,20}}[ \t]+:(?:{alike})\s*,\s*{literal}",
            # a heading, an arrow or a cell before arguments
            rf"{named}[`\"'*:]{{0,4}}\s*```",
            rf"{named}{quoted}\s*(?:[\u2190-\u21ff\u27f5-\u27ff]|\|)\s*`?[{{\[(]",
            rf"^\s*\[+\s*(?:[\w-]{{1,60}}\.)?(?:{alike})\s*\]+\s*\n\s*[\w\"'-]{{1,60}}\s*=",
            # an address, a request, and the languages of Lisp and SQL
            rf"\b\w{{1,20}}://[^\s\"'<>]{{0,200}}?(?<![\w-])(?:{alike})\s*[?/({{]",
            rf"\b(?:GET|POST|PUT|PATCH|DELETE)\s+[^\s\"'<>]{{0,200}}?/(?:{alike})(?![\w-])",
            rf"\(\s*(?:{alike})\s+:\w",
            rf"\b(?:CALL|EXEC|EXECUTE)\s+(?:{alike})\s+(?:WITH|USING)?\s*[@:({{\[\"']",
            rf"</?\s*(?:{alike})\b",
            rf"(?:^|[{{,])[ \t]*(?:-\s*)?{ticks}(?:{_KEYS}){ticks}\s*[:=]{ticks}\s*{ticks}{space}(?:{alike})(?!\w)",
            rf"(?:^|\W)(?:{_KEYS})\W{{1,8}}\n\s*{ticks}{space}(?:{alike}){ticks}[ \t]*$",
            rf"\bto\s*=\s*{space}(?:{alike})(?!\w)",
        )
    )


def _in_json(text: str, names: tuple[str, ...]) -> bool:
    """Whether a value of JSON in a text holds a tool's name, as a key or as a whole text."""
    known = {name.casefold() for name in names}
    decoder, at = json.JSONDecoder(), 0
    for _ in range(_PLACES):
        begin = re.compile(r"[{\[]").search(text, at)
        if begin is None:
            return False
        try:
            value, at = decoder.raw_decode(text, begin.start())
        except (ValueError, RecursionError):
            at = begin.end()
            continue
        if any(one.casefold() in known or one.casefold().rpartition(".")[2] in known for one in _texts(value)):
            return True
    return False


def _texts(value: Any) -> list[str]:
    stack, found = [value], []
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            found += one
            stack += one.values()
        elif isinstance(one, list):
            stack += one
    return found
