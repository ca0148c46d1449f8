"""A file of rows × the names its spec maps → rows with their places: the one reader of people's own files.

Compiling asks it of small files, the data step of all. How a file is read is the matter of runtime/contract/formats.py.
Only what a spec maps is judged; of every other field a line need only be JSON, or a field of CSV.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from runtime.contract import Refusal, conversation, formats, pairs, rows
from runtime.contract.formats import Form, Record
from runtime.contract.rows import Row
from runtime.contract.strict_json import Json, dumps, loads

#: how many fields of a file a message lists, and how many characters of each name
_LISTED, _SHOWN = 12, 40
#: row fields that may be put together from several fields of a file
COMPOSED = ("prompt", "response")
#: row fields that are no text; where a file has text in their place, it is read as JSON
STRUCTURED = ("spans", *rows.TURNS, rows.WANTED)
#: row fields that a file may give
MAPPED = tuple(field for field in (*rows.FIELDS, *rows.TURNS, rows.WANTED, *pairs.SIDES) if field != "source")
#: what a file does not give of a row that the teacher answers
_ANSWERING = ("response", "spans", *rows.TURNS, rows.WANTED, *pairs.SIDES)
#: how messages begin that stand in CSV as JSON
_LISTED_TURNS = re.compile(r"""\s*\[\s*\{\s*"(?:role|content)"\s*:""")
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
#: row fields that a file may use for something else: mapped to "" they are not read
UNREAD = ("id", "class", "spans", rows.WANTED)
#: a name, or text with {name} in it
FORM = r"^(?:[^{}]|\{[^{}]+\})+$"
_NEEDED = (
    "a row needs a prompt and a response: map them with `fields: {prompt: …, response: …}` of its data source, or "
    "`fields: {messages: …}` where it is a conversation, `fields: {prompt: …, chosen: …, rejected: …}` where it is a "
    "preference pair; prompts alone need `responses: teacher`"
)
_CORPUS = (
    "text without prompts has no form here: write rows of a prompt and a response, such as the beginning and the "
    "rest of a passage"
)


def parts(written: str) -> tuple[str, ...]:
    """The fields of the file that a mapped value names: itself, or those between braces."""
    return tuple(_PLACEHOLDER.findall(written)) or (written,)


def composed(written: str) -> bool:
    """Whether a mapped value puts several texts together, as `{instruction}\\n{input}` does."""
    return bool(_PLACEHOLDER.search(written))


@dataclass(frozen=True)
class Found:
    """One row, where it stands, and the fields of its line that nothing maps, or parts of them."""

    line: int
    place: str
    row: Row
    rest: Mapping[str, Any]


def content_id(source: str, *texts: str) -> str:
    """The id of a row that brings none: source and 80 bits of a hash of its content."""
    content = "\0".join(texts)
    return f"{source}-{hashlib.sha256(content.encode()).hexdigest()[:20]}"


class Reader:
    """The rows of one source: its name, its mapping of row fields to fields of the file, and a limit (0 takes all)."""

    def __init__(
        self,
        name: str,
        fields: Mapping[str, str],
        limit: int = 0,
        form: Form | None = None,
        *,
        prompts: bool = False,
    ) -> None:
        """Raises Refusal for a mapping that no file can fulfil."""
        for field, written in fields.items():
            if field not in MAPPED:
                able = ", ".join(MAPPED)
                raise Refusal(f"data source `{name}` maps `{field}`, which no file gives a row", action=f"map {able}")
            if not written and field in UNREAD:
                continue
            if not re.match(FORM, written) or (composed(written) and field not in COMPOSED):
                raise Refusal(
                    f"data source `{name}` maps `{field}` to {written!r}",
                    action=f"name one field of the file; {' and '.join(COMPOSED)} may be text with {{field}} in it",
                )
        unread = {field for field, written in fields.items() if not written}
        fields = {field: written for field, written in fields.items() if written}
        self._paired = bool(set(fields) & set(pairs.SIDES))
        if self._paired and "response" in fields:
            raise Refusal(
                f"data source `{name}` maps `response` and a side of a preference pair",
                action="remove `response`: the student learns to write what is chosen",
            )
        if self._paired and {"prompt", "messages"} <= set(fields):
            raise Refusal(
                f"data source `{name}` maps `prompt` and `messages` before a preference pair",
                action="map the one of them that holds what was asked",
            )
        if not self._paired and "messages" in fields and set(fields) & {*COMPOSED, "spans"}:
            raise Refusal(
                f"data source `{name}` maps `messages` and a part of a single question",
                action="map messages alone (and tools), or prompt and response",
            )
        needless = sorted(set(fields) & set(_ANSWERING)) if prompts else []
        if needless and needless[0] in pairs.SIDES:
            raise Refusal(
                f"data source `{name}` maps `{needless[0]}`, and the teacher answers its prompts: what people "
                "preferred would be lost",
                action="remove `responses: teacher` to learn from the pairs, or map the prompt alone",
            )
        if needless:
            raise Refusal(
                f"data source `{name}` maps `{needless[0]}`, and the teacher answers its prompts",
                action="remove it, or `responses: teacher`",
            )
        self.name, self.limit, self.form, self.prompts = name, limit, form or Form(), prompts
        # a file that maps its questions has no conversations, whatever its other fields are called
        read = set(MAPPED) - set(rows.TURNS if set(fields) & set(COMPOSED) and not self._paired else ())
        read -= set(_ANSWERING if prompts else ())
        # and one that maps its answers has no pairs
        read -= set(pairs.SIDES if set(fields) & {"response", "messages"} and not self._paired else ())
        read -= {"response"} if self._paired else set()
        read -= unread
        self._fields = {field: fields.get(field, field) for field in MAPPED if field in read}
        self._needed = ("prompt",) if prompts else COMPOSED
        self._mapped = frozenset(fields)
        self._asked = frozenset(part for written in self._fields.values() for part in parts(written))
        self._said = {field: _said(field, written) for field, written in self._fields.items()}

    def file(self, path: Path, *, most: int | None = None) -> Iterator[Found]:
        """The rows of a file (of `datasets`: a folder), streamed. Raises Refusal with file and line for the first that
        is wrong, and what else `formats.records` raises."""
        yield from self._read(formats.records(path, self.form, self._asked, most=most), path.name)

    def text(self, data: bytes, place: str, *, most: int | None = None) -> Iterator[Found]:
        """The rows of the bytes of a file of text. Raises what `file` raises."""
        file = formats.opened_bytes(data)
        yield from self._read(
            formats.of_text(file, self.form, self._asked, place=place, size=len(data), most=most), place
        )

    def faults(self, path: Path) -> Iterator[Refusal]:
        """Why each row of a file is wrong that is. Raises what `formats.records` raises for a file that cannot be
        read on."""
        for record in itertools.islice(formats.records(path, self.form, self._asked), self.limit or None):
            try:
                self._row(record.asked, record.rest, record.place)
            except Refusal as wrong:
                yield wrong

    def _read(self, records: Iterator[Record], place: str) -> Iterator[Found]:
        any_row = False
        for record in itertools.islice(records, self.limit or None):
            any_row = True
            row = self._row(record.asked, record.rest, record.place)
            unlearnt = dict.fromkeys(self._unlearnt(row, record.asked, record.place))
            unread = {**self._unpaired(row, record.asked), **record.rest, **unlearnt}
            yield Found(record.number, record.place, row, unread)
        if not any_row:
            raise Refusal("the file holds no row", place=place, action="add rows, or remove the data source")

    def _row(self, value: dict[str, Json], rest: Mapping[str, Any], here: str) -> Row:
        if self._pair(value):
            return self._preferred(value, rest, here)
        spoken = self._spoken(value)
        unread = {*(COMPOSED if spoken else rows.TURNS), *pairs.SIDES}
        fields = [field for field in self._fields if field not in unread]
        found = {field: self._value(field, value, here) for field in fields if self._has(field, value)}
        for field in (*(("messages",) if spoken else self._needed), *sorted(self._mapped)):
            if field not in found:
                raise self._lacking(field, value, rest, here)
        if spoken:
            found = self._conversation(found, here)
        return self._whole(found, here)

    def _whole(self, found: dict[str, Json], here: str) -> Row:
        if "id" in found:
            found["id"] = self._identifier(found["id"], here)
        else:
            turns = [dumps(found[field]) for field in (*rows.TURNS, rows.REJECTED) if field in found]
            found["id"] = content_id(self.name, *(str(found.get(field, "")) for field in COMPOSED), *turns)
        lacking: dict[str, Json] = {"response": ""} if self.prompts else {}
        whole: dict[str, Json] = {"class": "", "spans": {}, **lacking, **found, "source": self.name}
        return rows.checked(whole, here, self._said, answered=not self.prompts)

    def _pair(self, value: Mapping[str, Json]) -> bool:
        """Whether a row is a preference pair: its sides are mapped, or stand where no answer does."""
        if self._paired or "chosen" not in self._fields:
            return self._paired
        there = [self._has(side, value) for side in pairs.SIDES]
        return not self._has("response", value) and (all(there) or (any(there) and not self._has("messages", value)))

    def _unpaired(self, row: Row, value: Mapping[str, Json]) -> dict[str, Json]:
        """Sides of a pair that stand beside a row that is none."""
        sides = [] if rows.REJECTED in row else [side for side in pairs.SIDES if side in self._fields]
        return {self._fields[side]: value[self._fields[side]] for side in sides if self._has(side, value)}

    def _preferred(self, value: dict[str, Json], rest: Mapping[str, Any], here: str) -> Row:
        """The row of a pair."""
        beside = ("id", "class", "spans", rows.WANTED)
        found = {field: self._value(field, value, here) for field in beside if self._has(field, value)}
        for field in (*pairs.SIDES, *sorted(self._mapped)):
            if not self._has(field, value):
                raise self._lacking(field, value, rest, here)
        sides = {side: self._turns(side, value, here) for side in pairs.SIDES}
        tools = self._value("tools", value, here) if self._has("tools", value) else None
        asked = self._question(sides, value, here)
        return self._whole({**found, **pairs.fields_of(asked, sides, tools, here, self._said)}, here)

    def _question(self, sides: Mapping[str, Json], value: Mapping[str, Json], here: str) -> Json:
        """What stands before a pair, None for nothing. Where the sides are conversations that hold their question, a
        prompt is read only to be compared, unless the sides alone are mapped; other messages are the chosen ones again.
        """
        whole = any(pairs.holds_question(side) for side in sides.values())
        for field in sorted(("prompt", "messages"), key=lambda one: one not in self._mapped):
            asked = field in self._mapped or not whole or (field == "prompt" and not self._paired)
            if asked and self._has(field, value):
                return self._turns(field, value, here)
        return None

    def _turns(self, field: str, value: Mapping[str, Json], here: str) -> Json:
        """A field that is a text or messages; in CSV messages are JSON text."""
        found = self._value(field, value, here)
        if self.form.kind == "csv" and isinstance(found, str) and _LISTED_TURNS.match(found):
            return self._unpacked(field, found, here)
        return found

    def _spoken(self, value: Mapping[str, Json]) -> bool:
        """Whether a row is a conversation: `messages` are mapped, or stand where no question does."""
        if "messages" in self._mapped:
            return True
        return "messages" in self._fields and "messages" in value and not any(self._has(one, value) for one in COMPOSED)

    def _unlearnt(self, row: Row, value: Mapping[str, Json], here: str) -> list[str]:
        """What of the messages of a row nothing learns from."""
        spoken = rows.REJECTED not in row and self._spoken(value)
        return conversation.unlearnt(cast(Any, self._value("messages", value, here))) if spoken else []

    def _conversation(self, found: dict[str, Json], here: str) -> dict[str, Json]:
        """The fields of a row with its messages in the one form in which they are held, and their text beside them."""
        messages = conversation.checked(found.pop("messages"), here, self._fields["messages"])
        tools = conversation.checked_tools(found.pop("tools", None), here, self._fields["tools"])
        return {**found, **conversation.row_of(messages, tools)}

    def _has(self, field: str, value: Mapping[str, Json]) -> bool:
        return all(part in value for part in parts(self._fields[field]))

    def _value(self, field: str, value: Mapping[str, Json], here: str) -> Json:
        written = self._fields[field]
        if not composed(written):
            found = value[written]
            return self._unpacked(field, found, here) if field in STRUCTURED and isinstance(found, str) else found
        texts = {}
        for part in parts(written):
            text = value[part]
            if not isinstance(text, str):
                raise Refusal(
                    f"field `{part}` (in `{field}`) must be a string",
                    place=here,
                    action="correct the line, or map another",
                )
            texts[part] = text
        # white space at the ends is of the pieces that are empty in this row
        return _PLACEHOLDER.sub(lambda match: texts[match[1]], written).strip()

    def _unpacked(self, field: str, text: str, here: str) -> Json:
        """What a text says in JSON: the way in which lists and objects stand in CSV, and often in tables."""
        try:
            return loads(text)
        except ValueError as error:
            raise Refusal(
                f"field {self._said[field]} is text and not JSON: {error}",
                place=here,
                action="correct the row, or map another field",
            ) from None

    def _lacking(self, field: str, value: Mapping[str, Json], rest: Mapping[str, Any], here: str) -> Refusal:
        absent = next(part for part in parts(self._fields[field]) if part not in value)
        named = _said(field, absent)
        there = sorted((*value, *rest))
        shown = ", ".join(f"`{_shown(name)}`" for name in there[:_LISTED]) + (" …" if len(there) > _LISTED else "")
        near = difflib.get_close_matches(absent, there, n=1)
        meant = f"did you mean `{_shown(near[0])}`? " if near else ""
        corpus = field in COMPOSED and not self._mapped and there == ["text"]
        return Refusal(
            f"field {named} is missing; the row has {shown or 'no field'}",
            place=here,
            action=meant
            + (_CORPUS if corpus else _NEEDED if field in COMPOSED else "correct the line, or map another field"),
        )

    def _identifier(self, value: Json, here: str) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise Refusal(
                f"field {self._said['id']} must be a string or an integer", place=here, action="correct the line"
            )
        return str(value)


def _said(field: str, written: str) -> str:
    shown = written.replace("\n", "\\n")
    return f"`{shown}`" if written == field else f"`{shown}` (for `{field}`)"


def _shown(name: str) -> str:
    """A name of the file as text that can be written anywhere."""
    whole = name.encode("utf-8", "backslashreplace").decode()
    return whole if len(whole) <= _SHOWN else f"{whole[:_SHOWN]}…"


def unused(found: Mapping[str, Any]) -> list[str]:
    """The names of a line's unmapped fields, as a report may hold them."""
    return [_shown(name) for name in found]
