"""The text form of cel-spec's conformance files → (name, expression, what is expected). As much of textproto as they use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(?P<word>[-+A-Za-z0-9_.\[\]/]+)|(?P<mark>[{}:,;<>])""",
    re.VERBOSE | re.DOTALL,
)
_SIMPLE = {"n": b"\n", "t": b"\t", "r": b"\r", "a": b"\a", "b": b"\b", "f": b"\f", "v": b"\v"}


@dataclass
class Case:
    """One test; `expects` is the message of its field `value`, or None where an error is due."""

    name: str
    text: str
    expects: dict[str, list[Any]] | None
    variables: dict[str, Any] = field(default_factory=dict)


def _unescaped(text: str) -> str:
    out, at = b"", 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode()
            at += 1
            continue
        kind = text[at + 1]
        if octal := re.compile(r"[0-7]{1,3}").match(text, at + 1):
            out += bytes([int(octal.group(), 8)])
            at = octal.end()
        elif kind in "xX" and (found := re.compile(r"[0-9a-fA-F]{1,2}").match(text, at + 2)):
            out += bytes([int(found.group(), 16)])
            at = found.end()
        elif kind in "uU":
            width = 4 if kind == "u" else 8
            out += chr(int(text[at + 2 : at + 2 + width], 16)).encode("utf-8", "surrogatepass")
            at += 2 + width
        else:
            out += _SIMPLE.get(kind, kind.encode())
            at += 2
    return out.decode("utf-8", "surrogateescape")


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None, text[at : at + 40]
        if match.lastgroup:
            found.append((match.lastgroup, match.group()))
        at = match.end()
    return found


def _message(tokens: list[tuple[str, str]], at: int) -> tuple[dict[str, list[Any]], int]:
    made: dict[str, list[Any]] = {}
    while at < len(tokens) and tokens[at][1] not in ("}", ">"):
        name = tokens[at][1]
        at += 1
        if tokens[at][1] == ":":
            at += 1
        if tokens[at][1] in ("{", "<"):
            value, at = _message(tokens, at + 1)
            at += 1
            made.setdefault(name, []).append(value)
        else:
            kind, text = tokens[at]
            at += 1
            value: Any = _unescaped(text[1:-1]) if kind == "string" else text
            while kind == "string" and at < len(tokens) and tokens[at][0] == "string":
                value += _unescaped(tokens[at][1][1:-1])
                at += 1
            made.setdefault(name, []).append(value)
        if at < len(tokens) and tokens[at][1] in (",", ";"):
            at += 1
    return made, at


def read(path: Path) -> Iterator[Case]:
    """Every case of a file."""
    content, _ = _message(_tokens(path.read_text(encoding="utf-8")), 0)
    for section in content["section"]:
        for test in section.get("test", ()):
            name = f"{path.stem}/{section['name'][0]}/{test['name'][0]}"
            bound = {one["key"][0]: one["value"][0]["value"][0] for one in test.get("bindings", ())}
            fails = {"eval_error", "any_eval_errors", "unknown", "any_unknowns"} & test.keys()
            # a case that says nothing expects true
            expects = None if fails else test.get("value", [{"bool_value": ["true"]}])[0]
            yield Case(name, test["expr"][0], expects, bound)


def value_of(message: dict[str, list[Any]]) -> Any:
    """A value as ours are: int, Fraction, str, bool, None, tuple. Raises KeyError for one that the subset does not know."""
    ((kind, (raw, *_)),) = message.items()
    if kind == "list_value":
        return tuple(value_of(one) for one in raw.get("values", ()))
    if kind == "null_value":
        return None
    if kind == "bool_value":
        return raw == "true"
    return {"int64_value": int, "double_value": _double, "string_value": str}[kind](raw)


def _double(text: str) -> Fraction | float:
    number = float(text)
    return Fraction(text) if number - number == 0 else number
