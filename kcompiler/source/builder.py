"""A stream of YAML events → values and places, without recursion over the input and without any surprising object."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

from kcompiler.diagnostic import Diagnostic, Place, at
from kcompiler.source.scalars import NotANumber, resolve
from kcompiler.source.text import INVISIBLE, LINE_BREAK
from kcompiler.source.tree import Limits, Value, child, related

_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t]+)+")
_TAG = re.compile(r"![^\s,\[\]{}]*")
#: first character of the stand-in for a key that is refused: its value is read, with its mistakes, and dropped
_DROPPED = "\0"


class Stop(Exception):
    """Reading cannot go on; carries why."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.summary)
        self.diagnostic = diagnostic


class _Frame:
    """A collection that is being filled."""

    __slots__ = ("key", "place", "pointer", "value")

    def __init__(self, value: list[Value] | dict[str, Value], pointer: str, place: Place) -> None:
        self.value, self.pointer, self.place = value, pointer, place
        #: the key that waits for its value; None when the next event is a key
        self.key: str | None = None


class _Anchored(NamedTuple):
    pointer: str
    value: Value
    place: Place


class Builder:
    """Consumes the events of one file."""

    def __init__(self, file: str, text: str, limits: Limits) -> None:
        self.file, self.text, self.limits = file, text, limits
        self.found: list[Diagnostic] = []
        self.keys: dict[str, Place] = {}
        self.values: dict[str, Place] = {}
        self.broken: set[str] = set()
        self.root: list[Value] = []
        self._frames: list[_Frame] = []
        self._anchors: dict[str, _Anchored] = {}
        self._alias_nodes = 0
        self._dropped = 0
        #: whether the text holds any tab, so that texts without one cost nothing
        self.tabs = "\t" in text

    def build(self, events: Iterator[yaml.Event]) -> None:
        """Read to the end. Raises Stop where nothing after could be trusted; other mistakes go to `found`."""
        documents = 0
        handlers: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._open,
            yaml.SequenceStartEvent: self._open,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
        }
        for event in events:
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(
                        "KC1017",
                        _span(event),
                        "more than one document in the file",
                        label="a second document starts here",
                        help="keep one document per file and remove this `---`",
                    )

    def _report(self, code: str, place: Place, summary: str, *, pointer: str = "", **more: Any) -> None:
        self.found.append(at(place, code=code, summary=summary, file=self.file, pointer=pointer, **more))
        if len(self.found) >= self.limits.mistakes:
            self._stop(
                "KC1024",
                place,
                f"{self.limits.mistakes} mistakes, reading stopped here",
                label="nothing below was looked at",
                help="correct those above first",
            )

    def _stop(self, code: str, place: Place, summary: str, **more: Any) -> None:
        raise Stop(at(place, code=code, summary=summary, file=self.file, **more))

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        whole = place = _span(event)
        if event.anchor or event.tag:
            place = self._without_properties(whole)
        if self.tabs:
            self._refuse_tab(place)
        if self._key_expected():
            if event.tag:
                self._tag(event.tag, whole, "")
            self._key(event, place)
            return
        pointer = self._next_pointer()
        if event.tag:
            self._tag(event.tag, whole, pointer)
        value: Value = event.value
        if event.implicit[0]:
            try:
                value = resolve(event.value)
            except NotANumber as problem:
                self._report(
                    problem.code, place, problem.summary, pointer=pointer, label=problem.label, help=problem.help
                )
                self.broken.add(pointer)
                value = 0
        elif "\0" in event.value or not _encodable(event.value):
            self._report(
                "KC1007",
                place,
                "text holds an escaped NUL or half of a surrogate pair",
                pointer=pointer,
                label="not a character",
                help="remove the escape",
            )
            self.broken.add(pointer)
        self._put(pointer, value, place)
        if event.anchor:
            self._define(event.anchor, _Anchored(pointer, value, place))

    def _key_expected(self) -> bool:
        return bool(self._frames) and isinstance(self._frames[-1].value, dict) and self._frames[-1].key is None

    def _key(self, event: yaml.ScalarEvent, place: Place) -> None:
        frame, text = self._frames[-1], event.value
        pointer = child(frame.pointer, text)
        problem: dict[str, Any] | None = None
        if event.anchor:
            problem = {"code": "KC1019", "summary": "a key may not carry an anchor", "help": "remove the anchor"}
        elif event.implicit[0] and text == "<<":
            problem = {
                "code": "KC1013",
                "summary": "merge keys are not supported",
                "label": "merge key",
                "help": "write the keys out; an anchor may be reused as a whole value",
            }
        elif event.implicit[0] and (kind := _kind(text)) != "text":
            problem = {
                "code": "KC1019",
                "summary": f"a key must be text, this one is {kind}",
                "label": "not text",
                "help": f'write it as "{text}" if text is meant' if text else "write a key before the `:`",
            }
        elif INVISIBLE.search(text) or not _encodable(text) or not unicodedata.is_normalized("NFC", text):
            problem = {
                "code": "KC1007",
                "summary": "a key holds characters that nobody can see or tell apart",
                "label": "invisible, bidirectional or not in Unicode form NFC",
                "help": "write the key again by hand",
            }
        elif pointer in self.keys:
            problem = {
                "code": "KC1011",
                "summary": f"duplicate key `{text}`",
                "label": "defined again",
                "related": [related(self.file, self.keys[pointer], "first defined here")],
                "help": "keep one of the two",
            }
        if problem is None:
            frame.key = text
            self.keys[pointer] = place
        else:
            self._report(place=place, pointer=pointer, **problem)
            self._dropped += 1
            frame.key = f"{_DROPPED}{self._dropped}"

    def _without_properties(self, place: Place) -> Place:
        """The place of a value without its anchor and tag."""
        match = _PROPERTIES.match(self.text, place.start, place.end)
        if match is None:
            return place
        shift = match.end() - place.start
        return place._replace(column=place.column + shift, start=place.start + shift)

    def _tag(self, tag: str, whole: Place, pointer: str) -> None:
        written = _TAG.search(self.text, whole.start)
        place = whole
        if written is not None and "\n" not in self.text[whole.start : written.start()]:
            column = whole.column + written.start() - whole.start
            place = Place(whole.line, column, whole.line, column + len(written[0]), *written.span())
        self._report(
            "KC1012",
            place,
            "YAML tags are not supported",
            pointer=pointer,
            label=f"tagged {tag[:80]}",
            help="remove the tag; write text in quotes where text is meant",
        )
        self.broken.add(pointer)

    def _refuse_tab(self, place: Place) -> None:
        """A tab before the first token of a line: some parsers take it for indentation, some do not."""
        blank = self.text[place.start - place.column + 1 : place.start]
        if "\t" in blank and not blank.strip(" \t"):
            start = place.start - place.column + 1 + blank.index("\t")
            tab = Place(place.line, blank.index("\t") + 1, place.line, blank.index("\t") + 2, start, start + 1)
            self._stop("KC1009", tab, "a tab cannot indent YAML", label="tab", help="indent with spaces")

    def _next_pointer(self) -> str:
        if not self._frames:
            return ""
        frame = self._frames[-1]
        return child(frame.pointer, frame.key or "" if isinstance(frame.value, dict) else len(frame.value))

    def _put(self, pointer: str, value: Value, place: Place) -> None:
        """Hand a finished or opened value to the collection that is being filled."""
        self.values[pointer] = place
        if len(self.values) > self.limits.values + self._alias_nodes:
            self._stop(
                "KC1023",
                place,
                f"more than {self.limits.values:,} values",
                label="one value too many",
                help="move data into files that the spec names",
            )
        if not self._frames:
            self.root.append(value)
            return
        frame = self._frames[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
            return
        assert frame.key is not None
        if not frame.key.startswith(_DROPPED):
            frame.value[frame.key] = value
        frame.key = None

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        place = _span(event)
        if self._key_expected():
            self._stop(
                "KC1019",
                place,
                "a key must be text, this one is a collection",
                label="not text",
                help="put the value of a field that starts with `[` or `{` in quotes",
            )
        if self.tabs:
            self._refuse_tab(place)
        if event.tag:
            self._tag(event.tag, place, self._next_pointer())
        if event.anchor or event.tag:
            place = self._without_properties(place)
        if len(self._frames) >= self.limits.depth:
            self._stop(
                "KC1016",
                place,
                f"nested deeper than {self.limits.depth} levels",
                label="one level too deep",
                help="flatten it; no section of a spec is deeper than ten levels",
            )
        pointer = self._next_pointer()
        value: list[Value] | dict[str, Value] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._put(pointer, value, place)
        if event.anchor:
            self._define(event.anchor, _Anchored(pointer, value, place))
        self._frames.append(_Frame(value, pointer, place))

    def _close(self, event: yaml.MappingEndEvent | yaml.SequenceEndEvent) -> None:
        frame = self._frames.pop()
        first, last = frame.place, _span(event)
        # the end of a block collection is where the next thing starts; its own last line is before that
        stop = first.start + len(self.text[first.start : last.end].rstrip())
        if stop == last.end:
            end_line, end_column = last.end_line, last.end_column
        else:
            breaks = [match.end() for match in LINE_BREAK.finditer(self.text, first.start, stop)]
            end_line = first.line + len(breaks)
            end_column = stop - breaks[-1] + 1 if breaks else first.column + stop - first.start
        self.values[frame.pointer] = Place(first.line, first.column, end_line, end_column, first.start, stop)

    def _define(self, anchor: str, anchored: _Anchored) -> None:
        if anchor in self._anchors:
            first = self._anchors[anchor].place
            self._report(
                "KC1015",
                anchored.place,
                f"anchor `&{anchor}` is defined twice",
                label="defined again",
                related=[related(self.file, first, "first defined here")],
                help="give one of them another name",
            )
        else:
            self._anchors[anchor] = anchored

    def _alias(self, event: yaml.AliasEvent) -> None:
        place, name = _span(event), str(event.anchor)
        if self._key_expected():
            self._stop("KC1019", place, "a key may not be an alias", label="not text", help="write the key out")
        if name not in self._anchors:
            self._stop(
                "KC1015",
                place,
                f"no anchor `&{name}` stands above this alias",
                label="unknown alias",
                help="define the anchor first, or quote the text if a leading `*` is meant",
            )
        source = self._anchors[name]
        if any(frame.value is source.value for frame in self._frames):
            self._stop(
                "KC1015",
                place,
                f"`*{name}` stands inside the value it names",
                label="contains itself",
                related=[related(self.file, source.place, "the value starts here")],
                help="a value cannot contain itself; write it out",
            )
        pointer = self._next_pointer()
        value = self._copy(source.value, source.pointer, pointer, len(self._frames), place)
        self._put(pointer, value, place)

    def _copy(self, value: Value, old: str, new: str, depth: int, alias: Place) -> Value:
        """An anchored value again, its places known below the new pointer too. Its depth is capped: it may recurse."""
        self._alias_nodes += 1
        if self._alias_nodes > self.limits.alias_nodes or depth > self.limits.depth:
            self._stop(
                "KC1014",
                alias,
                f"aliases stand for more than {self.limits.alias_nodes:,} values or {self.limits.depth} levels",
                label="one alias too many",
                help="write the values out, or reuse less",
            )
        if old in self.broken:
            self.broken.add(new)
        if isinstance(value, dict):
            copied: Value = {
                key: self._copy_child(item, child(old, key), child(new, key), depth, alias)
                for key, item in value.items()
            }
        elif isinstance(value, list):
            copied = [self._copy_child(item, f"{old}/{i}", f"{new}/{i}", depth, alias) for i, item in enumerate(value)]
        else:
            copied = value
        return copied

    def _copy_child(self, value: Value, old: str, new: str, depth: int, alias: Place) -> Value:
        self.values[new] = self.values[old]
        if old in self.keys:
            self.keys[new] = self.keys[old]
        return self._copy(value, old, new, depth + 1, alias)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind(text: str) -> str:
    try:
        value = resolve(text)
    except NotANumber:
        return "a number"
    if isinstance(value, str):
        return "text"
    return "null" if value is None else "true or false" if isinstance(value, bool) else "a number"


def _span(event: yaml.Event) -> Place:
    start, end = event.start_mark, event.end_mark
    assert start is not None
    assert end is not None
    return Place(start.line + 1, start.column + 1, end.line + 1, end.column + 1, start.index, end.index)
