"""What `quantize` measured → text: a row for each part, a column for each form, and the recipe that is suggested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: beside what a part costs: how much of its float16 bytes is saved
_HEAD = ("part", "tensors", "fp16 bytes")


def text(found: Mapping[str, Any]) -> str:
    """The whole as plain text."""
    lines = [
        f"KL of the next token from float32, nats a token: {found['tokens']:,} tokens of {found['rows']} "
        f"row{'s' * (found['rows'] != 1)} of split {found['split']}",
        *_table(found["profile"]),
        _line("all in float16", found["float16"]),
        _line("recipe of the spec", found["current"]),
    ]
    suggested = found["suggested"]
    if suggested is not None:
        lines += [
            _line("suggested", suggested),
            f"                      the sum of single costs was {_kl(suggested['estimated_kl'])}",
            "bytes are those of the checkpoint's tensors with scales and palettes; tables and the program come on top",
            "",
            suggested["text"].rstrip("\n"),
        ]
    return "\n".join(lines) + "\n"


def _table(profile: Sequence[Mapping[str, Any]]) -> list[str]:
    forms = list(dict.fromkeys(one["form"] for row in profile for one in row["forms"]))
    rows = [(*_HEAD, *forms)]
    for row in profile:
        given = {one["form"]: one for one in row["forms"]}
        cells = (_cell(given.get(form), row["bytes"]) for form in forms)
        rows.append((row["group"], f"{row['tensors']:,}", f"{row['bytes']:,}", *cells))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            f"{cell:<{width}}" if not i else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cell(one: Mapping[str, Any] | None, plain: int) -> str:
    # blocks of this size do not divide it
    if one is None:
        return "does not fit"
    return f"{_kl(one['kl'])} -{100 - 100 * one['bytes'] / plain:.0f}%"


def _line(what: str, one: Mapping[str, Any]) -> str:
    return f"{what:<20}  {one['bytes']:,} bytes, {_kl(one['kl'])} nats a token"


def _kl(value: float) -> str:
    return f"{value:.2e}"
