"""Prompts → splits and overlaps, by content alone: the order of the rows changes nothing.

A row of an "auto" source is held out when the first 64 bits of SHA-256 over `kc.split.v1`, a zero byte and its
*normalised* prompt, read as a big-endian integer, lie below `held_out` × 2^64. Of the rows that are left to learn from,
those of "train" sources among them, one is kept for validation when the same over `kc.validation.v1` lies below
`validation` × 2^64. Two rows that ask the same question therefore always share a split.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from runtime.contract import Refusal
from runtime.contract.rows import Row
from runtime.contract.strict_json import Json, dumps

_DOMAIN, _VALIDATED = b"kc.split.v1\0", b"kc.validation.v1\0"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
#: every split, in the order in which they are told
SPLITS = (TRAIN, VALIDATION, TEST)


class _Spaces(dict[int, str]):
    """Character → itself, or a space for white space and punctuation; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        found = " " if unicodedata.category(character)[0] in "PZC" else character
        self[code] = found
        return found


_SPACES = _Spaces()


def normalised(text: str) -> str:
    """NFKC, case folded, every run of white space and punctuation one space, none at the ends.

    Punctuation becomes a space instead of nothing, so that 5.0 and 50 stay different. A text of nothing but
    punctuation is left as it is.
    """
    if text.isascii():
        folded = text.casefold()
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(_SPACES).split()) or text


def is_held_out(prompt: str, held_out: float) -> bool:
    """Whether the stable hash of a prompt puts its row into the test split."""
    return _drawn(_DOMAIN, prompt) < Fraction(held_out) * 2**64


def _drawn(domain: bytes, prompt: str) -> int:
    return int.from_bytes(hashlib.sha256(domain + normalised(prompt).encode()).digest()[:8], "big")


@dataclass(frozen=True, slots=True)
class Shares:
    """Which part of the rows is not learnt from: of `auto` sources for testing, and of what is left, that of `train`
    sources too, for validation."""

    held_out: float
    validation: float = 0.0

    def split_of(self, declared: str, prompt: str) -> str:
        """The split of a row of a source that declares this one: "auto", or a split's name."""
        if declared not in ("auto", TRAIN):
            return declared
        if declared == "auto" and is_held_out(prompt, self.held_out):
            return TEST
        kept = self.validation and _drawn(_VALIDATED, prompt) < Fraction(self.validation) * 2**64
        return VALIDATION if kept else TRAIN

    def share(self, declared: str, split: str) -> Fraction:
        """Which part of such a source's rows a split gets, up to chance."""
        if declared not in ("auto", TRAIN):
            return Fraction(declared == split)
        held_out = Fraction(str(self.held_out)) if declared == "auto" else Fraction(0)
        validation = (1 - held_out) * Fraction(str(self.validation))
        return {TEST: held_out, VALIDATION: validation, TRAIN: 1 - held_out - validation}[split]


def order(row: Row) -> bytes:
    """Sort key of a row inside its split: a hash of its id, so that every prefix of a split is a fair sample."""
    return hashlib.sha256(row["id"].encode()).digest()


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pairs (train id, test id), or of two other splits, of rows that ask the same question: letter by letter, or after
    `normalised`."""

    exact: Sequence[tuple[str, str]]
    normalised: Sequence[tuple[str, str]]


def overlap(train: Iterable[Row], test: Iterable[Row]) -> Overlap:
    """Each test row whose prompt also stands in the training split, with the first training row by id."""
    rows = sorted(train, key=lambda row: row["id"])
    by_text: dict[str, str] = {}
    by_normal: dict[str, str] = {}
    for row in rows:
        by_text.setdefault(row["prompt"], row["id"])
        by_normal.setdefault(normalised(row["prompt"]), row["id"])
    held = sorted(test, key=lambda row: row["id"])
    return Overlap(
        exact=[(by_text[row["prompt"]], row["id"]) for row in held if row["prompt"] in by_text],
        normalised=[
            (by_normal[normalised(row["prompt"])], row["id"]) for row in held if normalised(row["prompt"]) in by_normal
        ],
    )


def question(row: Row) -> tuple[str, str]:
    """What a row asks: its prompt, and the tools that are offered beside it ("" without any)."""
    tools = row.get("tools")
    return row["prompt"], dumps(cast(Json, tools)) if tools else ""


def content(row: Row) -> tuple[str, str, str, str]:
    """What makes a row itself: its question, its response, and the answer that was not chosen of a pair, "" of any
    other."""
    rejected = row.get("rejected", "")
    return *question(row), row["response"], rejected if isinstance(rejected, str) else dumps(rejected)


def without_duplicates(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """Rows without those that repeat question and response (of a pair, both) of another; of equals the smallest id
    stays. And the count."""
    kept: dict[tuple[str, str, str, str], Row] = {}
    count = 0
    for row in rows:
        count += 1
        key = content(row)
        if key not in kept or row["id"] < kept[key]["id"]:
            kept[key] = row
    return list(kept.values()), count - len(kept)


def assign(rows: Mapping[str, Iterable[Row]], shares: Shares) -> dict[str, list[Row]]:
    """Rows by declared split ("auto", or its name) → rows of each split, in `order`. There is a split "validation"
    where one is declared, by a source or by a share."""
    validated = VALIDATION in rows or shares.validation > 0
    found: dict[str, list[Row]] = {name: [] for name in SPLITS if validated or name != VALIDATION}
    for declared, group in rows.items():
        for row in group:
            found[shares.split_of(declared, row["prompt"])].append(row)
    return {name: sorted(split, key=order) for name, split in found.items()}


def unique(found: Iterable[tuple[str, Row]]) -> list[Row]:
    """Rows whose ids are unique; (place, row) each. The same row twice is left to the caller.

    Raises Refusal for one id of two contents, and for one that is written in two ways: after Unicode's canonical
    composition nobody tells them apart.
    """
    first: dict[str, tuple[str, Row]] = {}
    rows = []
    for here, row in found:
        place, other = first.setdefault(unicodedata.normalize("NFC", row["id"]), (here, row))
        if other["id"] != row["id"]:
            raise Refusal(
                f"id {row['id']!a} is {other['id']!a} of {place}, written in another way",
                place=here,
                action="rename one of them",
            )
        if content(other) != content(row):
            raise Refusal(
                f"id `{row['id']}` was already used at {place} for another row", place=here, action="rename one of them"
            )
        rows.append(row)
    return rows


def assembled(
    found: Iterable[tuple[str, Row]], split_of: Mapping[str, str], shares: Shares
) -> tuple[dict[str, list[Row]], int]:
    """(place, row) of every source and each source's declared split → rows of each split, and how many duplicates were
    dropped before they were split. A split may be empty.

    Raises Refusal for one id of two rows.
    """
    # a source without a row declares its split all the same
    by_split: dict[str, list[Row]] = {name: [] for name in split_of.values()}
    for row in unique(found):
        by_split.setdefault(split_of[row["source"]], []).append(row)
    kept, dropped = {}, 0
    for name, group in by_split.items():
        kept[name], lost = without_duplicates(group)
        dropped += lost
    return assign(kept, shares), dropped
