"""Text → tree. The grammar is CEL's, less what the subset leaves out; every node knows where it stands in the text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

#: longest text, deepest nesting
MOST_TEXT, MOST_DEPTH = 8000, 60
#: a number's exponent and digits, so that no literal takes memory without bound
_MOST_EXPONENT = 400
LEAST_INT, MOST_INT = -(2**63), 2**63 - 1


class Refused(ValueError):
    """The text is no expression of the subset: what is wrong, at which character, what to write instead.

    `rule` is one word for why, so that what is stricter than CEL can be counted.
    """

    def __init__(self, rule: str, message: str, at: int, advice: str = "") -> None:
        super().__init__(message)
        self.rule, self.message, self.at, self.advice = rule, message, at, advice


@dataclass(frozen=True, eq=False)
class Literal:
    """A value that stands in the text; a number with a point or an exponent is exact."""

    value: bool | int | Fraction | str | None
    at: int
    end: int


@dataclass(frozen=True, eq=False)
class Listed:
    """`[a, b]`."""

    items: tuple[Node, ...]
    at: int
    end: int


@dataclass(frozen=True, eq=False)
class Name:
    """A variable."""

    name: str
    at: int
    end: int


@dataclass(frozen=True, eq=False)
class Select:
    """`of.field`."""

    of: Node
    field: str
    at: int
    end: int


@dataclass(frozen=True, eq=False)
class Index:
    """`of[key]`."""

    of: Node
    key: Node
    at: int
    end: int


@dataclass(frozen=True, eq=False)
class Call:
    """`function(args)`, or `of.function(args)`."""

    function: str
    of: Node | None
    args: tuple[Node, ...]
    at: int
    end: int


@dataclass(frozen=True, eq=False)
class Macro:
    """`of.all(name, body)` and its like."""

    macro: str
    of: Node
    name: str
    body: Node
    at: int
    end: int


@dataclass(frozen=True, eq=False)
class Unary:
    """`!of`, `-of`."""

    op: str
    of: Node
    at: int
    end: int


@dataclass(frozen=True, eq=False)
class Binary:
    """`left op right`."""

    op: str
    left: Node
    right: Node
    at: int
    end: int


@dataclass(frozen=True, eq=False)
class Choice:
    """`test ? yes : no`."""

    test: Node
    yes: Node
    no: Node
    at: int
    end: int


Node = Literal | Listed | Name | Select | Index | Call | Macro | Unary | Binary | Choice

MACROS = ("all", "exists", "exists_one", "filter", "map")
#: words that CEL keeps for itself (cel-spec, grammar, RESERVED)
_RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f]+|//[^\n]*)
    |(?P<float>(?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
    |(?P<int>0x[0-9a-fA-F]+|[0-9]+)
    |(?P<string>(?:[rRbB]{0,2})(?:\"\"\"|'''|\"|'))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])""",
    re.VERBOSE,
)
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "?": "?", '"': '"',
    "'": "'", "`": "`",
}  # fmt: skip
_CODES = {"x": 2, "X": 2, "u": 4, "U": 8}
_RELATIONS = ("==", "!=", "<", "<=", ">", ">=", "in")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int
    end: int
    value: int | Fraction | str = ""


def parse(text: str) -> Node:
    """Text → tree. Raises Refused."""
    if len(text) > MOST_TEXT:
        raise Refused("size", f"an expression of {len(text)} characters; at most {MOST_TEXT} are read", 0)
    return _Parser(_tokens(text), len(text)).whole()


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Refused("syntax", f"`{text[at]}` begins nothing here", at, "write `==`" if text[at] == "=" else "")
        kind, end = str(match.lastgroup), match.end()
        value: int | Fraction | str = ""
        if kind in ("int", "float"):
            if text[end : end + 1] in ("u", "U"):
                raise Refused("unsigned", "unsigned integers are left out", at, "write the number without `u`")
            if re.match(r"[A-Za-z_]", text[end : end + 1]):
                raise Refused("syntax", f"a number that goes on with `{text[end]}`", end)
            value = _integer(match.group(), at) if kind == "int" else _decimal(match.group(), at)
        elif kind == "string":
            value, end = _string(text, at, match.group())
        if kind != "space":
            found.append(_Token(kind, text[at:end], at, end, value))
        at = end
    return found


def _integer(text: str, at: int) -> int:
    if len(text) > 20:
        raise Refused("range", "an integer beyond 64 bits", at)
    number = int(text, 16 if text.startswith("0x") else 10)
    if number > -LEAST_INT:
        raise Refused("range", "an integer beyond 64 bits", at)
    return number


def _decimal(text: str, at: int) -> Fraction:
    digits, _, exponent = text.lower().partition("e")
    if len(digits) > _MOST_EXPONENT or len(exponent) > 5 or abs(int(exponent or 0)) > _MOST_EXPONENT:
        raise Refused("range", f"a number beyond {_MOST_EXPONENT} digits", at)
    number = Fraction(("0" if digits.startswith(".") else "") + digits) * Fraction(10) ** int(exponent or 0)
    try:
        float(number)
    except OverflowError:
        raise Refused("range", "a number beyond every double", at, "no datum of a report is as large") from None
    return number


def _string(text: str, at: int, opened: str) -> tuple[str, int]:
    """The text of a string that opens here, and where it ends."""
    prefix = opened.rstrip("\"'").lower()
    quote = opened[len(prefix) :]
    if "b" in prefix:
        raise Refused("bytes", "bytes are left out", at, "write a text")
    made: list[str] = []
    here = at + len(opened)
    while not text.startswith(quote, here):
        if here >= len(text) or (len(quote) == 1 and text[here] in "\r\n"):
            raise Refused("syntax", "a text that does not end", at)
        if text[here] == "\\" and prefix != "r":
            one, here = _escape(text, here)
            made.append(one)
        elif text[here] == "\\":
            made.append(text[here : here + 2])
            here += 2
        else:
            made.append(text[here])
            here += 1
    return "".join(made), here + len(quote)


def _escape(text: str, at: int) -> tuple[str, int]:
    kind = text[at + 1 : at + 2]
    if kind in _ESCAPES:
        return _ESCAPES[kind], at + 2
    if octal := re.compile(r"[0-3][0-7]{2}").match(text, at + 1):
        return chr(int(octal.group(), 8)), octal.end()
    width = _CODES.get(kind, 0)
    code = text[at + 2 : at + 2 + width]
    if not width or not re.fullmatch(rf"[0-9a-fA-F]{{{width}}}", code):
        raise Refused("syntax", f"`\\{kind}` is no escape", at)
    number = int(code, 16)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise Refused("syntax", "no character has this number", at)
    return chr(number), at + 2 + width


class _Parser:
    """Recursive descent over the tokens, as deep as `MOST_DEPTH`."""

    def __init__(self, tokens: list[_Token], length: int) -> None:
        self.tokens, self.next, self.length, self.depth = tokens, 0, length, 0

    def whole(self) -> Node:
        node = self._choice()
        if self.next < len(self.tokens):
            token = self.tokens[self.next]
            raise Refused("syntax", f"`{token.text}` is one too many", token.at)
        return node

    def _peek(self) -> str:
        if self.next >= len(self.tokens) or self.tokens[self.next].kind not in ("mark", "name"):
            return ""
        return self.tokens[self.next].text

    def _take(self, wanted: str = "") -> _Token:
        if self.next >= len(self.tokens):
            raise Refused("syntax", f"it ends where {f'`{wanted}`' if wanted else 'a value'} is due", self.length)
        token = self.tokens[self.next]
        if wanted and (token.text != wanted or token.kind != "mark"):
            raise Refused("syntax", f"`{token.text}` where `{wanted}` is due", token.at)
        self.next += 1
        return token

    def _choice(self) -> Node:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise Refused(
                "size", f"nested deeper than {MOST_DEPTH}", self.tokens[min(self.next, len(self.tokens) - 1)].at
            )
        node = self._chain(("||",), lambda: self._chain(("&&",), self._relation))
        if self._peek() == "?":
            self._take()
            yes = self._chain(("||",), lambda: self._chain(("&&",), self._relation))
            self._take(":")
            no = self._choice()
            node = Choice(node, yes, no, node.at, no.end)
        self.depth -= 1
        return node

    def _relation(self) -> Node:
        return self._chain(
            _RELATIONS, lambda: self._chain(("+", "-"), lambda: self._chain(("*", "/", "%"), self._unary))
        )

    def _chain(self, marks: tuple[str, ...], below: Callable[[], Node]) -> Node:
        node = below()
        while self._peek() in marks:
            op = self._take().text
            right = below()
            node = Binary(op, node, right, node.at, right.end)
        return node

    def _unary(self) -> Node:
        mark = self._peek()
        if mark not in ("!", "-"):
            return self._member()
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise Refused("size", f"nested deeper than {MOST_DEPTH}", self.tokens[self.next].at)
        token = self._take()
        follows = self.tokens[self.next] if self.next < len(self.tokens) else None
        if mark == "-" and follows is not None and follows.kind in ("int", "float"):
            self._take()
            assert isinstance(follows.value, int | Fraction)
            node: Node = self._members(Literal(-follows.value, token.at, follows.end))
        else:
            inner = self._unary()
            node = Unary(mark, inner, token.at, inner.end)
        self.depth -= 1
        return node

    def _member(self) -> Node:
        return self._members(self._primary())

    def _members(self, node: Node) -> Node:
        while self._peek() in (".", "[", "{"):
            if self._peek() == "{":
                raise Refused("message", "messages that are written down are left out", self.tokens[self.next].at)
            if self._take().text == "[":
                key = self._choice()
                node = Index(node, key, node.at, self._take("]").end)
                continue
            name = self._take()
            if name.kind != "name" or name.text in ("in", "true", "false", "null"):
                raise Refused("syntax", f"`{name.text}` where the name of a field is due", name.at)
            node = self._called(node, name) if self._peek() == "(" else Select(node, name.text, node.at, name.end)
        return node

    def _called(self, of: Node | None, name: _Token) -> Node:
        at = name.at if of is None else of.at
        args, end = self._args(")", "(")
        if of is not None and name.text in MACROS:
            if len(args) != 2 or not isinstance(args[0], Name):
                raise Refused("syntax", f"`{name.text}` takes a name and an expression about it", name.at)
            return Macro(name.text, of, args[0].name, args[1], at, end)
        return Call(name.text, of, args, at, end)

    def _args(self, closing: str, opening: str) -> tuple[tuple[Node, ...], int]:
        self._take(opening)
        items: list[Node] = []
        while self._peek() != closing:
            items.append(self._choice())
            if self._peek() != ",":
                break
            self._take()
            if self._peek() == closing and closing == ")":
                raise Refused("syntax", "a comma before nothing", self.tokens[self.next].at)
        return tuple(items), self._take(closing).end

    def _primary(self) -> Node:
        token = self._take()
        if token.kind in ("int", "float", "string"):
            if token.kind == "int" and token.value == -LEAST_INT:
                raise Refused("range", "an integer beyond 64 bits", token.at)
            return Literal(token.value, token.at, token.end)
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            node = self._choice()
            self._take(")")
            return node
        if token.text == "[":
            self.next -= 1
            items, end = self._args("]", "[")
            return Listed(items, token.at, end)
        if token.text == "{":
            raise Refused("map", "maps that are written down are left out", token.at)
        if token.text == ".":
            raise Refused("scope", "names have no leading point here", token.at)
        raise Refused("syntax", f"`{token.text}` where a value is due", token.at)

    def _named(self, token: _Token) -> Node:
        words: dict[str, bool | None] = {"true": True, "false": False, "null": None}
        if token.text in words:
            return Literal(words[token.text], token.at, token.end)
        if token.text == "in" or token.text in _RESERVED:
            raise Refused("syntax", f"`{token.text}` is a word of the language", token.at)
        if self._peek() == "(":
            return self._called(None, token)
        return Name(token.text, token.at, token.end)
