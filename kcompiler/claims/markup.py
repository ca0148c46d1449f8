"""Markdown text → the stretches that a reader sees, each with its anchors and where in the source it stands.

Structure is CommonMark's with tables, as markdown-it-py reads it: what is a fence, inline code, a comment or a link is
decided there and nowhere else. What a renderer hides (comments, tags, targets of links) is in no stretch; what it shows
is, with entities and escapes resolved and emphasis taken away; so are titles and what stands for a picture.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

_EVIDENCE = re.compile(r"<!--\s*evidence:\s*(.*?)\s*--!?>\Z", re.DOTALL)
_SHOWN = re.compile(r"\[evidence:([^\[\]]*)\]")
_COMMENT_OR_TAG = re.compile(r"<!--(?:-?>|.*?(?:--!?>|\Z))|</?([A-Za-z][A-Za-z0-9-]*)[^<>]*>|<[!?][^<>]*>", re.DOTALL)
#: attributes that a reader is shown, or is read by what reads aloud
_ATTRIBUTE = re.compile(
    r"""[\s"'](?:title|alt|aria-label|aria-description|placeholder|label|summary)\s*=\s*"""
    r"""(?:"(?P<a>[^"]*)"|'(?P<b>[^']*)'|(?P<c>[^\s"'<>=`]+))""",
    re.IGNORECASE,
)
#: tags that part no words
_INLINE = {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd", "mark", "q"}
_INLINE |= {"s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var", "wbr"}
#: stands where something stands that is not read, so that its neighbours do not join
HOLE = "\ufffc"
#: a piece of text is looked for this far ahead in the source: where it is not found, messages point close by
_AHEAD = 4096


@dataclass(frozen=True)
class Named:
    """Something of a stretch with its place in the source: an anchor, a code, the target of a link."""

    text: str
    source: tuple[int, int]
    #: offset in the stretch's text
    at: int = 0


@dataclass
class Stretch:
    """What is read together: a paragraph, heading, cell or block of HTML; or what stands in a fence."""

    text: str = ""
    anchors: list[Named] = field(default_factory=list)
    codes: list[Named] = field(default_factory=list)
    links: list[Named] = field(default_factory=list)
    #: None of prose; of a fence the first word of its info, "" without one
    info: str | None = None
    #: of a cell, what stands first in its row and above it
    context: tuple[str, ...] = ()
    _pieces: list[str] = field(default_factory=list)
    _length: int = 0
    _offsets: list[int] = field(default_factory=list)
    _sources: list[int] = field(default_factory=list)

    def add(self, piece: str, source: int) -> None:
        self._offsets.append(self._length)
        self._sources.append(source)
        self._pieces.append(piece)
        self._length += len(piece)

    def anchor(self, text: str, start: int, end: int) -> None:
        self.anchors.append(Named(text, (start, end), self._length))

    def close(self) -> None:
        """Joins what was added; anchors that are shown are taken out of the text, in its place a hole."""
        self.text = "".join(self._pieces)
        if "[evidence:" in self.text and self.info is None:
            for found in _SHOWN.finditer(self.text):
                self.anchors.append(Named(found[1].strip(), self.source(*found.span()), found.start()))
            self.text = _SHOWN.sub(lambda found: HOLE * len(found[0]), self.text)
            self.anchors.sort(key=lambda one: one.at)

    def source(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of the text stands in the source."""
        first, last = self._at(start), self._at(max(start, end - 1)) + 1
        return first, max(first + 1, last)

    def _at(self, offset: int) -> int:
        index = max(0, bisect_right(self._offsets, offset) - 1)
        if not self._offsets:
            return 0
        return self._sources[index] + min(offset - self._offsets[index], max(0, len(self._pieces[index]) - 1))


def read(text: str, *, codes: re.Pattern[str] | None) -> list[Stretch]:
    """All stretches of a text in their order. Inline code that `codes` matches whole is read as text, all of it where
    `codes` is None."""
    # of one length each, so that places stay right
    same = text.replace("\r\n", " \n").replace("\r", "\n").replace("\0", "\ufffd")
    return [stretch for stretch in _Reader(same, codes).run() if stretch.text or stretch.anchors or stretch.links]


@cache
def _parser() -> MarkdownIt:
    # escapes and entities stay apart from the text around them: each piece is then found again in the source
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable("text_join")


class _Table:
    """Cells as they come → what each belongs to: the first cell of its row, and the head of its column."""

    def __init__(self) -> None:
        self._heads: list[Stretch] = []
        self._row: list[Stretch] = []
        self._of: list[tuple[Stretch, list[Stretch]]] = []

    def see(self, token: Token) -> None:
        if token.type == "table_open":
            self._heads = []
        elif token.type == "tr_open":
            self._row = []
        elif token.type == "thead_close":
            self._heads = self._row

    def cell(self, stretch: Stretch) -> None:
        at = len(self._row)
        self._row.append(stretch)
        if self._heads:
            self._of.append((stretch, [*self._row[:1][: at > 0], *self._heads[at : at + 1]]))

    def close(self) -> None:
        for stretch, names in self._of:
            stretch.context = tuple(one.text for one in names if one is not stretch)


class _Reader:
    def __init__(self, text: str, codes: re.Pattern[str] | None) -> None:
        self.text, self.codes = text, codes
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self.cursor = 0
        self.found: list[Stretch] = []

    def run(self) -> list[Stretch]:
        tokens = _parser().parse(self.text)
        #: line behind the stretch before and its depth; a comment that touches a paragraph belongs to it
        touches: tuple[int, int] | None = None
        table = _Table()
        for index, token in enumerate(tokens):
            table.see(token)
            if token.type not in ("inline", "html_block", "fence", "code_block"):
                continue
            if token.map:
                self.cursor = max(self.cursor, self.starts[min(token.map[0], len(self.starts) - 1)])
            if token.type in ("fence", "code_block"):
                self._fence(token)
                touches = None
                continue
            cell = token.type == "inline" and tokens[index - 1].type in ("td_open", "th_open")
            depth = token.level - (token.type == "inline")
            joined = touches is not None and not cell and token.map is not None and (token.map[0], depth) == touches
            if not joined:
                self.found.append(Stretch())
            else:
                self.found[-1].add("\n", self.cursor)
            if token.type == "inline":
                self._inline(token.children or [], self.found[-1])
                if cell:
                    table.cell(self.found[-1])
            else:
                self._html(token.content, self.found[-1])
            paragraph = token.type == "html_block" or tokens[index - 1].type == "paragraph_open"
            touches = (token.map[1], depth) if token.map and paragraph else None
        for stretch in self.found:
            stretch.close()
        table.close()
        return self.found

    def _seek(self, piece: str) -> int:
        """Where a piece stands next in the source."""
        at = self.text.find(piece, self.cursor, self.cursor + len(piece) + _AHEAD)
        if at < 0:
            return self.cursor
        self.cursor = at + len(piece)
        return at

    def _inline(self, tokens: Sequence[Token], out: Stretch) -> None:
        quiet, links = False, list[tuple[int, str, str]]()
        for token in tokens:
            if token.type == "text":
                if not quiet and token.content:
                    out.add(token.content, self._seek(token.content))
            elif token.type == "text_special":
                out.add(token.content, self._seek(token.markup))
            elif token.type in ("softbreak", "hardbreak"):
                out.add("\n", self.cursor)
            elif token.type == "code_inline":
                at = self._seek(token.content)
                out.codes.append(Named(token.content, (at, at + len(token.content))))
                seen = self.codes is None or self.codes.fullmatch(token.content.strip())
                out.add(token.content if seen else HOLE, at)
            elif token.type == "html_inline":
                at = self._seek(token.content)
                if found := _EVIDENCE.match(token.content):
                    out.anchor(found[1], at, at + len(token.content))
                elif (tag := _COMMENT_OR_TAG.match(token.content)) and tag[1]:
                    if tag[1].lower() not in _INLINE:
                        out.add(" ", at)
                    _attributes(token.content, at, out)
            elif token.type == "link_open":
                # of an address between angle brackets the text is no claim
                quiet = token.markup == "autolink"
                links.append((self.cursor, str(token.attrGet("href") or ""), str(token.attrGet("title") or "")))
            elif token.type == "link_close":
                quiet = False
                if links:
                    start, href, title = links.pop()
                    out.links.append(Named(unquote(href), (start, max(start + 1, self.cursor))))
                    self._title(title, out)
            elif token.type == "image":
                start = self.cursor
                self._inline(token.children or [], out)
                out.links.append(Named(unquote(str(token.attrGet("src") or "")), (start, max(start + 1, self.cursor))))
                self._title(str(token.attrGet("title") or ""), out)

    def _title(self, title: str, out: Stretch) -> None:
        """What is shown over a link or a picture."""
        if title:
            out.add(f" {title} ", max(0, self._seek(title) - 1))

    def _html(self, content: str, out: Stretch) -> None:
        at = 0
        for found in _COMMENT_OR_TAG.finditer(content):
            self._plain(content[at : found.start()], out)
            at = found.end()
            start = self._seek(found[0])
            if anchor := _EVIDENCE.match(found[0]):
                out.anchor(anchor[1], start, start + len(found[0]))
            elif found[1]:
                if found[1].lower() not in _INLINE:
                    out.add(" ", start)
                _attributes(found[0], start, out)
        self._plain(content[at:], out)

    def _plain(self, text: str, out: Stretch) -> None:
        for line in text.splitlines(keepends=True):
            if line.strip():
                start = self._seek(line.strip())
                out.add(html.unescape(line), max(0, start - (len(line) - len(line.lstrip()))))
            elif line and out.text is not None:
                out.add("\n" if "\n" in line else " ", self.cursor)

    def _fence(self, token: Token) -> None:
        info = re.match(r"[^\s,:{}]*", token.info.strip().lstrip("{."))
        stretch = Stretch(info=info[0].lower() if info else "")
        line = (token.map[0] if token.map else 0) + (token.type == "fence")
        for piece in token.content.split("\n"):
            start = self.starts[min(line, len(self.starts) - 1)]
            end = self.starts[line + 1] if line + 1 < len(self.starts) else len(self.text)
            # what stands before it is of the list or quotation around the fence
            found = self.text.rfind(piece, start, end) if piece else start
            stretch.add(piece + "\n", found if found >= 0 else start)
            line += 1
        if token.map:
            self.cursor = self.starts[min(token.map[1], len(self.starts) - 1)]
        self.found.append(stretch)


def _attributes(tag: str, at: int, out: Stretch) -> None:
    """What a tag that stands at a place of the source shows by its attributes."""
    for found in _ATTRIBUTE.finditer(tag):
        name = found.lastgroup
        if name and found[name].strip():
            # a space stands before, in the place of the quotation mark
            out.add(f" {html.unescape(found[name])} ", at + max(0, found.start(name) - 1))


def lines(stretch: Stretch) -> Iterator[tuple[str, int]]:
    """The lines of a fence, and where each begins in the source."""
    offset = 0
    for line in stretch.text.split("\n"):
        yield line, stretch.source(offset, offset + 1)[0]
        offset += len(line) + 1
