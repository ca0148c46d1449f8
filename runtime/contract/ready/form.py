"""XML and JSON that somebody else's tool wrote → its elements, or why it is not read.

XML is read without entities and without anything from elsewhere: a file of a few lines can stand for gigabytes.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from runtime.contract import strict_json

#: bytes of a file, and elements within each other
MOST_BYTES, DEEPEST = 256 * 2**20, 64


class Unreadable(ValueError):
    """The file is not of its form; the message continues "the file …"."""


def xml(data: bytes) -> Element:
    """The root of a document. Raises Unreadable."""
    if len(data) > MOST_BYTES:
        raise Unreadable(f"has {len(data)} bytes, more than {MOST_BYTES}")
    if not data.strip():
        raise Unreadable("is empty")
    builder, depth = TreeBuilder(), 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise Unreadable(f"has elements within each other deeper than {DEEPEST}")
        builder.start(name.rpartition("}")[2], attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name.rpartition("}")[2])

    def doctype(_name: str, _system: str | None, _public: str | None, inside: bool) -> None:
        # a reference to a DTD is common (Cobertura) and never followed; declarations inside are how bombs are built
        if inside:
            raise Unreadable("declares entities or elements of its own, and such files are not read")

    def entity(*_: Any) -> None:
        raise Unreadable("declares entities, and such files are not read")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler, parser.EntityDeclHandler = doctype, entity
    try:
        parser.Parse(data, True)
        return builder.close()
    except expat.ExpatError as error:
        raise Unreadable(f"is no XML: {error}") from None


def json(data: bytes) -> Any:
    """The content of a JSON file. Raises Unreadable."""
    if len(data) > MOST_BYTES:
        raise Unreadable(f"has {len(data)} bytes, more than {MOST_BYTES}")
    if not data.strip():
        raise Unreadable("is empty")
    try:
        return strict_json.loads(data)
    except ValueError as error:
        raise Unreadable(f"is no JSON: {error}") from None


def count(element: Element, name: str) -> int | None:
    """A whole number that an element says of itself; None where it says nothing. Raises Unreadable."""
    text = element.get(name)
    if text is None:
        return None
    if not text.strip().isascii() or not text.strip().isdigit():
        raise Unreadable(f"says {name}={text!r}, which is no count")
    return int(text)
