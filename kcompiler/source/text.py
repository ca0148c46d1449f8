"""Bytes of a file → text that can be shown to anybody, or why not."""

from __future__ import annotations

import re

from kcompiler.diagnostic import Diagnostic, Place, at
from kcompiler.source.tree import Limits

LINE_BREAK = re.compile(r"\r\n|\r|\n")
#: controls, line breaks that only some readers see, bidirectional and zero-width characters (CVE-2021-42574)
INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff]"
)
_CONFLICT = re.compile(r"^(?:<{7}|>{7}|\|{7})(?: [^\r\n]*)?$", re.MULTILINE)
#: how many places of one kind are worth a line each
_SHOWN = 20


def place_at(text: str, start: int, end: int) -> Place:
    """The place of a stretch given by character offsets."""
    breaks = [match.end() for match in LINE_BREAK.finditer(text, 0, end)]
    before = [stop for stop in breaks if stop <= start]
    return Place(
        len(before) + 1,
        start - (before[-1] if before else 0) + 1,
        len(breaks) + 1,
        end - (breaks[-1] if breaks else 0) + 1,
        start,
        end,
    )


def decode(file: str, data: bytes, limits: Limits) -> tuple[str | None, list[Diagnostic]]:
    """The text, or None with the reason; text with characters that hide something comes with diagnostics."""
    if len(data) > limits.bytes:
        return None, [
            Diagnostic(
                code="KC1004",
                file=file,
                summary=f"file larger than {limits.bytes:,} bytes",
                detail=f"it has at least {len(data):,} bytes",
                help="move data into files that the spec names",
            )
        ]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None, [_not_utf8(file, data, 0, "UTF-16 byte-order mark")]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, [_not_utf8(file, data, error.start, f"byte 0x{data[error.start]:02x} cannot stand here")]
    found = []
    if text.startswith("\ufeff"):
        found.append(
            at(
                Place(1, 1, 1, 2, 0, 1),
                code="KC1006",
                file=file,
                summary="file starts with a byte-order mark",
                label="byte-order mark",
                help="save it as UTF-8 without a byte-order mark",
            )
        )
    for match in list(INVISIBLE.finditer(text, len(found)))[:_SHOWN]:
        found.append(
            at(
                place_at(text, match.start(), match.end()),
                code="KC1007",
                file=file,
                summary="a character that nobody can see",
                label=f"U+{ord(match[0]):04X}",
                help="remove it; in a quoted text it may be written as an escape",
            )
        )
    for match in list(_CONFLICT.finditer(text))[:1]:
        found.append(
            at(
                place_at(text, match.start(), match.end()),
                code="KC1008",
                file=file,
                summary="unresolved merge conflict",
                label="conflict marker",
                help="keep one side and remove the markers",
            )
        )
    return text, found


def _not_utf8(file: str, data: bytes, offset: int, label: str) -> Diagnostic:
    before = data[:offset].decode("utf-8")
    place = place_at(before, len(before), len(before))
    return at(
        place._replace(end_column=place.column + 1),
        code="KC1005",
        file=file,
        summary="file is not UTF-8",
        label=label,
        help="save it as UTF-8",
    )
