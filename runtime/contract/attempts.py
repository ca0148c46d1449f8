"""Whether a text that is no call of ours attempts one: in the form of somebody else, or of a registered tool.

A call that nobody can carry out is no silence. The name of a tool in a sentence is no call: it takes arguments behind
it, in whatever brackets, or a place where only a call has a name. Arguments without a name are one where they are
those of a registered tool and nothing else is said.
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

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
            r"</?(?:tool_call|function_calls?|tool_use|function|invoke|tool|call)\b",
            r"<\|[^|<>]{0,40}(?:tool|function|python_tag)[^|<>]{0,40}\|>",
            r"\[/?(?:AVAILABLE_)?TOOL_CALLS?\]",
            r"<[｜|]tool▁",
            r"\b(?:functions|default_api)[.:]\w[\w.-]{0,100}\s*(?:[({\[]|<\|)",
            r"\bto\s*=\s*(?:functions|tools)\.",
            r"```\s*tool_(?:code|call)",
            rf"{_NAME_KEY}[^{{}}]{{0,400}}?{_ARGUMENTS_KEY}",
            rf"{_ARGUMENTS_KEY}.{{0,4000}}?{_NAME_KEY}",
            r"\bAction\s*:\s*\S+\s+Action Input\s*:",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)
#: places of a text in which a value of JSON is looked for
_PLACES = 64
_KEYS = "name|function|function_name|tool|tool_name|recipient_name|action"


def attempts(text: str, names: Iterable[str] = ()) -> bool:
    """Whether a text attempts a call. `names` are the registered tools; each in whatever case and behind whatever
    namespace, with arguments behind it in whatever brackets."""
    # brackets of another width, characters that nobody sees and references of HTML are read as what they look like
    plain = seen(html.unescape(text)) if "&" in text or not text.isascii() else text
    if _FOREIGN.search(text) or (plain != text and _FOREIGN.search(plain)):
        return True
    known = tuple(names)
    if not known:
        return False
    named, exact, loose = _patterns(known)
    if named.search(plain) and (exact.search(plain) or loose.search(plain)):
        return True
    return _in_json(plain, known)


@lru_cache(maxsize=256)
def _patterns(names: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """What stands in every text that one of the other two finds something in: it is looked for sooner."""
    here = r"(?:(?<![\w-])|(?<=__))"
    exact = "|".join(re.escape(name) for name in names)
    # what divides the words of a name is spelled in other ways where a name may not hold it
    alike = "|".join(r"[._-]?".join(re.escape(part) for part in re.split(r"[._-]", name)) for name in names)
    named = rf"{here}(?:{alike})"
    quoted = r"""[`"'*]{0,3}"""
    loose = "|".join(
        (
            # arguments right behind it, or behind a method of it
            rf"{named}{quoted}(?:\.\w{{1,40}})?[({{\[<]",
            rf"{named}{quoted}\s*(?:\{{|<\||\(\s*(?:[\w-]{{1,60}}\s*[=:]|[{{\[\"']))",
            rf"{named}{quoted}\s*(?::|=|[-=]>)\s*[{{\[(]",
            # arguments without brackets
            rf"{named}{quoted}\s*[:,]?\s+(?:--)?[\w-]{{1,60}}\s*=\s*[^\s=]",
            rf"{named}\s+--\w",
            # places where only a call has a name
            rf"[\"'](?:{alike})[\"']\s*:",
            # taken by its name out of something that holds tools, and called
            rf"[\"'](?:{alike})[\"']\s*[\])]\s*[({{]",
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
            rf"(?:^|[{{,])[ \t]*(?:-\s*)?[\"']?(?:{_KEYS})[\"']?\s*[:=]\s*[\"']?"
            rf"(?:[\w.-]{{1,60}}[.:/])?(?:{alike})(?!\w)",
            rf"\bto\s*=\s*(?:[\w.-]{{1,60}}[.:/])?(?:{alike})(?!\w)",
        )
    )
    flags = re.IGNORECASE | re.MULTILINE
    return re.compile(alike, flags), re.compile(rf"{here}(?:{exact})\s*[({{]"), re.compile(loose, flags)


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


#: of a tool the names of its arguments, and of those that it needs
Arguments = Mapping[str, tuple[frozenset[str], frozenset[str]]]


def arguments_of(schema: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the arguments that the schema of a tool's parameters declares, and of those that it needs."""
    return frozenset(schema.get("properties") or ()), frozenset(schema.get("required") or ())


def bare(text: str, tools: Arguments) -> bool:
    """Whether a text is nothing but arguments of a tool: an object, or a list of them, whose keys are arguments of one
    registered tool, those among them that it needs; in a fence, quoted or behind a colon as well."""
    whole = seen(html.unescape(text)).strip()
    fenced = _FENCE.search(whole)
    inner = (fenced[1] if fenced else whole).strip().strip("`").strip()
    value = _literal(inner[inner.index("{") if _LEAD.match(inner) else 0 :])
    made = value if isinstance(value, list) else [value]
    return bool(made) and all(isinstance(one, dict) and _of_a_tool(frozenset(one), tools) for one in made)


#: a word or a few before an object; a fence, whatever stands around it
_LEAD = re.compile(r"[^{}\[\]\n]{0,80}[:=]\s*\{")
#: the parser of Python is not made for hostile text
_MOST_PYTHON, _MOST_BRACKETS = 2_000, 40
_NESTS = re.compile(r"[{\[(]|[-+~](?=[-+~])")
_FENCE = re.compile(r"```[\w-]*\s(.*?)```", re.DOTALL)


def _literal(text: str) -> Any:
    """The value of a text of JSON, or of a short one of Python; None where it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > _MOST_PYTHON or len(_NESTS.findall(text)) > _MOST_BRACKETS or "\\" in text:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _of_a_tool(keys: frozenset[str], tools: Arguments) -> bool:
    return bool(keys) and any(needed <= keys <= known for known, needed in tools.values())


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
