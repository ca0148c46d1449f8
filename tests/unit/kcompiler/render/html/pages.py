"""What every page must be, whatever it is about: text of others is text, nothing is fetched, and it can be walked."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import html5lib

#: what a page is made of; nothing in it runs, fetches, sends or hides
ELEMENTS = {"html", "head", "meta", "title", "style", "body", "a", "header", "nav", "main", "section", "article", "footer", "h1", "h2", "h3", "p", "pre", "code", "strong", "bdi", "span", "br", "ul", "li", "dl", "dt", "dd", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary", "figure", "figcaption", "svg", "path", "polyline", "circle", "rect", "text"}  # fmt: skip
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "href", "id", "tabindex", "role", "open", "dir", "scope", "aria-hidden", "aria-label", "aria-labelledby", "viewbox", "width", "height", "d", "points", "cx", "cy", "r", "x", "y", "rx", "stroke", "stroke-width", "stroke-dasharray", "xmlns", "data-label"}  # fmt: skip


def parsed(text: str) -> Any:
    """The tree of a page by the algorithm that browsers follow; an error in it fails."""
    text.encode("utf-8")
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)


def elements(tree: Any) -> Iterator[tuple[str, Any]]:
    for one in tree.iter():
        if isinstance(one.tag, str):
            yield one.tag.rpartition("}")[2], one


def words(tree: Any) -> str:
    """All text of the body, spaces folded."""
    return " ".join("".join(tree.find("body").itertext()).split())


def checked(text: str) -> Any:
    """The tree of a page that keeps every promise; an assertion says which it breaks."""
    tree = parsed(text)
    found = list(elements(tree))
    assert {name for name, _ in found} <= ELEMENTS
    ids = [one.get("id") for _, one in found if one.get("id")]
    assert len(ids) == len(set(ids))
    for name, one in found:
        for attribute, value in one.attrib.items():
            attribute = str(attribute).rpartition("}")[2].lower()
            assert attribute in ATTRIBUTES, (name, attribute)
            assert attribute != "href" or value[1:] in ids, value
            assert attribute != "aria-labelledby" or value in ids, value
        if name == "table":
            assert one[0].tag == "caption"
            assert "".join(one[0].itertext()).strip()
        if name == "th":
            assert one.get("scope") in ("col", "row")
        if name == "details":
            assert one[0].tag == "summary"
        if name == "svg":
            hidden, said = one.get("aria-hidden") == "true", one.get("aria-label") or one.findtext("{*}title")
            assert hidden or (one.get("role") == "img" and said)
        if "scroll" in (one.get("class") or "").split():
            assert one.get("aria-label")
        if name == "section":
            assert one.get("aria-label") or one.get("aria-labelledby")
        # what scrolls can be reached by keys
        if name != "main" and (set((one.get("class") or "").split()) & {"scroll", "long"}):
            assert one.get("tabindex") == "0"
    headings = [int(name[1]) for name, _ in found if re.fullmatch("h[1-6]", name)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
    (style,) = [one for name, one in found if name == "style"]
    assert not re.search(r"@import|url\(|@font-face", style.text)
    (policy,) = [one.get("content") for _, one in found if one.get("http-equiv")]
    pin = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{pin}'; base-uri 'none'; form-action 'none'"
    return tree
