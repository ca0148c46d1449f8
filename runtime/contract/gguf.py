"""The header of a GGUF file → its metadata and its tensors' places. Pure Python, bounded, no library.

A file comes from outside, so nothing in it is believed: every count and length is compared with what is left of the
file before anything is read or allocated, metadata and tensors have names of their own, nested lists are refused, and
each tensor's block must lie inside the file, aligned, and apart from the others. Weights are not read here.
Format: ggml/docs/gguf.md (versions 2 and 3, little endian); sizes of blocks: gguf 0.19 `GGML_QUANT_SIZES`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

Scalar = int | float | bool | str
Value = Scalar | list[int] | list[float] | list[bool] | list[str]

MAGIC, VERSIONS = b"GGUF", (2, 3)
#: real files have some forty keys, up to 1,200 tensors, 262,144 tokens, and 13 MB of metadata
MOST_KEYS, MOST_TENSORS, MOST_ITEMS, MOST_METADATA = 4096, 65_536, 1_000_000, 64 << 20
LONGEST_KEY, LONGEST_NAME, LONGEST_TEXT, MOST_DIMENSIONS = 1024, 256, 4 << 20, 4
_ALIGNMENT, _LARGEST_ALIGNMENT = 32, 1 << 16
_STRING, _BOOL, _ARRAY = 8, 7, 9
#: number of a plain type → how struct reads it
_PLAIN: Mapping[int, str] = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", _BOOL: "B", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip


class BlockType(NamedTuple):
    """How weights are stored: so many elements in a block of so many bytes."""

    name: str
    elements: int
    bytes: int


#: the types that gguf 0.19 turns into floats
TYPES: Mapping[int, BlockType] = {
    number: BlockType(name, elements, size)
    for number, name, elements, size in (
        (0, "F32", 1, 4), (1, "F16", 1, 2), (30, "BF16", 1, 2),
        (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20), (6, "Q5_0", 32, 22), (7, "Q5_1", 32, 24), (8, "Q8_0", 32, 34),
        (10, "Q2_K", 256, 84), (11, "Q3_K", 256, 110), (12, "Q4_K", 256, 144), (13, "Q5_K", 256, 176),
        (14, "Q6_K", 256, 210), (16, "IQ2_XXS", 256, 66), (17, "IQ2_XS", 256, 74), (18, "IQ3_XXS", 256, 98),
        (19, "IQ1_S", 256, 50), (20, "IQ4_NL", 32, 18), (21, "IQ3_S", 256, 110), (22, "IQ2_S", 256, 82),
        (23, "IQ4_XS", 256, 136), (29, "IQ1_M", 256, 56), (34, "TQ1_0", 256, 54), (35, "TQ2_0", 256, 66),
        (39, "MXFP4", 32, 17), (40, "NVFP4", 64, 36),
    )
}  # fmt: skip
#: what a file is that somebody has taken for one: first bytes → what it is
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive, such as a pickled PyTorch file, and loading that runs code"),
    (b"\x80\x02", "a pickle, and loading one runs code"),
    (b"\x80\x03", "a pickle, and loading one runs code"),
    (b"\x80\x04", "a pickle, and loading one runs code"),
    (b"\x80\x05", "a pickle, and loading one runs code"),
    (b"lmgg", "in ggml's older form"),
    (b"fmgg", "in ggml's older form"),
    (b"tjgg", "in ggml's older form"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
)


class Broken(Exception):
    """A file is no GGUF, or not a whole one; the message says what is wrong and where."""


@dataclass(frozen=True)
class Tensor:
    """One tensor: `shape` in the order of PyTorch (rows first), `offset` in bytes from the start of the file."""

    name: str
    shape: tuple[int, ...]
    type: BlockType
    offset: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements // self.type.elements * self.type.bytes


@dataclass(frozen=True)
class Header:
    """What stands before the weights. `size` is that of the file in bytes."""

    version: int
    size: int
    metadata: Mapping[str, Value] = field(repr=False)
    tensors: Mapping[str, Tensor] = field(repr=False)


def read(path: Path) -> Header:
    """The header of a file. Raises Broken; OSError for what cannot be read."""
    with path.open("rb") as file:
        size = path.stat().st_size
        return _Reader(file, size).header()


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._at = file, size, 0

    def header(self) -> Header:
        magic = self._bytes(4, "its first four bytes")
        if magic != MAGIC:
            rest = magic + self._file.read(20)
            known = next((what for start, what in _OTHERS if rest.startswith(start)), "")
            raise Broken(f"it is {known}" if known else f"it begins with {magic!r}, not with {MAGIC!r}")
        version = self._number("I", "the version")
        if version not in VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS
            raise Broken("its numbers are big-endian" if swapped else f"it is of version {version}, read are 2 and 3")
        tensors = self._count(self._number("Q", "the number of tensors"), "tensors", MOST_TENSORS, 24)
        keys = self._count(self._number("Q", "the number of keys"), "keys", MOST_KEYS, 13)
        metadata: dict[str, Value] = {}
        for _ in range(keys):
            key = self._text("a key", LONGEST_KEY)
            if key in metadata:
                raise Broken(f"key `{shown(key)}` stands twice")
            metadata[key] = self._value(key, self._number("I", f"the type of `{shown(key)}`"))
            if self._at > MOST_METADATA:
                raise Broken(f"more than {MOST_METADATA >> 20} MiB of metadata")
        alignment = metadata.get("general.alignment", _ALIGNMENT)
        if type(alignment) is not int or not 0 < alignment <= _LARGEST_ALIGNMENT or alignment & (alignment - 1):
            raise Broken(f"general.alignment is {alignment!r}, no power of two up to {_LARGEST_ALIGNMENT}")
        named = [self._tensor(alignment) for _ in range(tensors)]
        return Header(version, self._size, metadata, self._placed(named, -(-self._at // alignment) * alignment))

    def _bytes(self, count: int, what: str) -> bytes:
        if count > self._size - self._at:
            raise Broken(f"it ends inside {what}: {count:,} bytes wanted at byte {self._at:,} of {self._size:,}")
        data = self._file.read(count)
        if len(data) != count:
            raise Broken(f"it ends inside {what}, at byte {self._at:,}")
        self._at += count
        return data

    def _number(self, form: str, what: str) -> int:
        return int(struct.unpack(f"<{form}", self._bytes(struct.calcsize(f"<{form}"), what))[0])

    def _count(self, count: int, what: str, most: int, least_bytes: int) -> int:
        """A count that the file can hold: each of them takes at least so many bytes."""
        left = self._size - self._at
        if count > most:
            raise Broken(f"it claims {count:,} {what}, at most {most:,} are read")
        if count * least_bytes > left:
            raise Broken(f"it claims {count:,} {what}, and {left:,} bytes are left at byte {self._at:,}")
        return count

    def _text(self, what: str, longest: int) -> str:
        length = self._number("Q", f"the length of {what}")
        if length > longest:
            raise Broken(f"{what} claims {length:,} bytes at byte {self._at:,}, at most {longest:,} are read")
        try:
            return self._bytes(length, what).decode()
        except UnicodeDecodeError:
            raise Broken(f"{what} at byte {self._at - length:,} is no UTF-8") from None

    def _value(self, key: str, kind: int) -> Value:
        what = f"`{shown(key)}`"
        if kind == _STRING:
            return self._text(what, LONGEST_TEXT)
        if kind == _ARRAY:
            return self._list(what)
        if kind not in _PLAIN:
            raise Broken(f"{what} is of type {kind}, which there is not")
        return self._plain(kind, 1, what)[0]

    def _list(self, what: str) -> Value:
        kind = self._number("I", f"the type of the items of {what}")
        count = self._number("Q", f"the number of items of {what}")
        if kind == _ARRAY:
            raise Broken(f"{what} is a list of lists")
        if kind == _STRING:
            self._count(count, f"texts in {what}", MOST_ITEMS, 8)
            return [self._text(f"a text of {what}", LONGEST_TEXT) for _ in range(count)]
        if kind not in _PLAIN:
            raise Broken(f"the items of {what} are of type {kind}, which there is not")
        self._count(count, f"items in {what}", MOST_ITEMS, struct.calcsize(f"<{_PLAIN[kind]}"))
        return list(self._plain(kind, count, what))

    def _plain(self, kind: int, count: int, what: str) -> list[int] | list[float] | list[bool]:
        form = f"<{count}{_PLAIN[kind]}"
        values = list(struct.unpack(form, self._bytes(struct.calcsize(form), what)))
        if kind == _BOOL:
            if any(value > 1 for value in values):
                raise Broken(f"{what} holds a truth value that is neither 0 nor 1")
            return [value == 1 for value in values]
        return values

    def _tensor(self, alignment: int) -> Tensor:
        """One entry of the list of tensors; its offset counts from the start of the weights."""
        name = self._text("the name of a tensor", LONGEST_NAME)
        what = f"tensor `{shown(name)}`"
        rank = self._number("I", f"the rank of {what}")
        if not 1 <= rank <= MOST_DIMENSIONS:
            raise Broken(f"{what} has {rank} dimensions, 1 to {MOST_DIMENSIONS} are read")
        # the file names the fastest dimension first
        sizes = [self._number("Q", f"a dimension of {what}") for _ in range(rank)]
        number = self._number("I", f"the type of {what}")
        offset = self._number("Q", f"the offset of {what}")
        kind = TYPES.get(number)
        if kind is None:
            raise Broken(f"{what} is stored as type {number}, which cannot be turned into floats")
        if not all(sizes) or sizes[0] % kind.elements:
            raise Broken(f"{what} has dimensions {sizes}, rows of {kind.name} hold {kind.elements} elements each")
        if offset % alignment:
            raise Broken(f"{what} begins at {offset:,}, which is no multiple of {alignment}")
        return Tensor(name, tuple(reversed(sizes)), kind, offset)

    def _placed(self, tensors: list[Tensor], start: int) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        end, before = start, ""
        for tensor in sorted(tensors, key=lambda one: one.offset):
            what, first = f"tensor `{shown(tensor.name)}`", start + tensor.offset
            if tensor.name in found:
                raise Broken(f"{what} stands twice")
            if first + tensor.bytes > self._size:
                raise Broken(
                    f"{what} would end at byte {first + tensor.bytes:,}, and the file at {self._size:,}: it was cut "
                    "short, or its sizes are forged"
                )
            if first < end:
                raise Broken(f"{what} overlaps `{shown(before)}`")
            found[tensor.name] = Tensor(tensor.name, tensor.shape, tensor.type, first)
            end, before = first + tensor.bytes, tensor.name
        return found


def same_float32(one: float, other: float) -> bool:
    """Whether two numbers are one in the precision in which files state them."""
    try:
        return struct.pack("<f", one) == struct.pack("<f", other)
    except OverflowError:
        return one == other


def shown(name: str) -> str:
    plain = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return plain if len(plain) <= 60 else f"{plain[:59]}…"
