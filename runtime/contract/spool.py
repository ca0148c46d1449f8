"""Many values, of which only a few are in memory: made when they are asked for, or kept as bytes beyond it.

An evaluation has as many rows, lines and answers as its data set: what is kept of each is where it stands, and what
statistics need of it. Standard library.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import os
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar, cast, overload

Value = TypeVar("Value")
Made = TypeVar("Made", covariant=True)
#: bytes that a spool holds in memory before it writes them
MEMORY = 1 << 20
#: so many most frequent texts are counted twice
_FEW = 64
#: numbers that a sum holds before it folds them
_HELD = 256


class Each(Sequence[Made]):
    """So many values, each made when it is asked for. Only the last is kept: who asks again for it gets the same."""

    def __init__(self, count: int, make: Callable[[int], Made]) -> None:
        self._count, self._make = count, make
        self._last: tuple[int, Made] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Made: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Made]: ...
    def __getitem__(self, at: int | slice) -> Made | Sequence[Made]:
        if isinstance(at, slice):
            return picked(self, range(self._count)[at])
        if self._last is not None and self._last[0] == at:
            return self._last[1]
        if not -self._count <= at < self._count:
            raise IndexError(at)
        at %= self._count
        made = self._make(at)
        self._last = at, made
        return made

    def __iter__(self) -> Iterator[Made]:
        return map(self.__getitem__, range(self._count))


def same(value: Value, count: int) -> Sequence[Value]:
    """One value so many times."""
    return Each(count, lambda _: value)


def picked(values: Sequence[Value], places: Sequence[int]) -> Sequence[Value]:
    """The values at these places."""
    return Each(len(places), lambda at: values[places[at]])


class Spool(Sequence[bytes]):
    """Byte strings, one after the other: the last `MEMORY` bytes of them in memory, the others in a file that nobody
    else sees. Where no file can be written they stay in memory."""

    def __init__(self, folder: Path | None = None, memory: int = MEMORY) -> None:
        self._folder, self._memory = folder, memory
        self._starts, self._sizes = array("Q"), array("I")
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._tail = bytearray()
        #: bytes that are in the file, and whether more may go there
        self._written, self._writes = 0, True

    @classmethod
    def over(cls, path: Path) -> Spool:
        """Of a file that is there; `add` says where in it each stands."""
        found = cls()
        found._path, found._writes, found._written = path, False, 1 << 63
        return found

    def add(self, start: int, size: int) -> None:
        """One more, which stands in the file."""
        self._starts.append(start)
        self._sizes.append(size)

    def append(self, data: bytes) -> None:
        """One more."""
        self.add(self._written + len(self._tail), len(data))
        self._tail += data
        if len(self._tail) > self._memory and self._writes:
            self._write()

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = cast(BinaryIO, tempfile.TemporaryFile(dir=self._folder, buffering=0))  # noqa: SIM115
            at = 0
            while at < len(self._tail):
                at += os.pwrite(self._file.fileno(), memoryview(self._tail)[at:], self._written + at)
        except OSError:
            # a full or missing disk: slower machines, not other results
            self._writes = False
            return
        self._written += len(self._tail)
        self._tail = bytearray()

    def __len__(self) -> int:
        return len(self._starts)

    def order(self, places: Iterable[int]) -> None:
        """Let those at these places, in this order, be all there are."""
        kept = array("Q", places)
        self._starts = array("Q", (self._starts[at] for at in kept))
        self._sizes = array("I", (self._sizes[at] for at in kept))

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(self._sizes)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(at, slice):
            return picked(self, range(len(self))[at])
        start, size = self._starts[at], self._sizes[at]
        if start >= self._written:
            return bytes(self._tail[start - self._written : start - self._written + size])
        if self._file is None:
            assert self._path is not None
            self._file = self._path.open("rb", buffering=0)
        found = os.pread(self._file.fileno(), size, start)
        if len(found) != size:
            raise ValueError("a file became shorter while it was read")
        return found

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()


def texts(values: Iterable[str]) -> Sequence[str]:
    """Texts of which most are not in memory."""
    spool = Spool()
    for value in values:
        spool.append(value.encode("utf-8", "surrogatepass"))
    return Each(len(spool), lambda at: spool[at].decode("utf-8", "surrogatepass"))


def key(text: str) -> int:
    """The first eight bytes of a text's SHA-256: two texts of one key are, but for a chance of 2^-64, one text."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def keys(values: Iterable[str]) -> array[int]:
    """The key of each text, in eight bytes."""
    return array("Q", map(key, values))


def repeated(found: array[int]) -> set[int]:
    """The keys that stand there twice or more often."""
    ordered = array("Q", sorted(found))
    return {one for at, one in enumerate(ordered[1:]) if ordered[at] == one}


class Places:
    """Texts of a sequence → where they stand, in twelve bytes each."""

    def __init__(self, values: Iterable[str]) -> None:
        found = keys(values)
        self._places = array("I", sorted(range(len(found)), key=found.__getitem__))
        self._keys = array("Q", (found[at] for at in self._places))

    def of(self, text: str) -> array[int]:
        """Where a text may stand: where one of its key does."""
        sought = key(text)
        return self._places[bisect_left(self._keys, sought) : bisect_right(self._keys, sought)]


class Groups:
    """Equal texts of a sequence as groups, numbered as they first stand there. Of each text its group is kept, of each
    group where it stands first, and its members in their order."""

    def __init__(self, values: Iterable[str]) -> None:
        found, other = array("Q"), array("Q")
        for value in values:
            whole = hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
            found.append(int.from_bytes(whole[:8], "big"))
            other.append(int.from_bytes(whole[8:16], "big"))
        ordered = array("Q", sorted(found))
        number = array("q", [-1]) * len(ordered)
        self.of, self.firsts, self._sizes = array("I"), array("I"), array("I")
        for at, one in enumerate(found):
            place = bisect_left(ordered, one)
            if number[place] < 0:
                number[place] = len(self.firsts)
                self.firsts.append(at)
                self._sizes.append(0)
            group = number[place]
            if other[self.firsts[group]] != other[at]:
                raise ValueError("two texts with one beginning of their SHA-256")
            self.of.append(group)
            self._sizes[group] += 1
        self._starts = array("I", [0])
        for size in self._sizes:
            self._starts.append(self._starts[-1] + size)
        self._members, ahead = array("I", [0]) * len(self.of), self._starts[:]
        for at, group in enumerate(self.of):
            self._members[ahead[group]] = at
            ahead[group] += 1

    def __len__(self) -> int:
        return len(self.firsts)

    def members(self, group: int) -> array[int]:
        """Where the texts of a group stand."""
        return self._members[self._starts[group] : self._starts[group + 1]]


class Sum:
    """The exact sum of numbers, of which a few are held: it is rounded once, when it is asked for."""

    def __init__(self) -> None:
        self.count, self._held = 0, list[float]()

    def add(self, value: float) -> None:
        """One more."""
        self.count += 1
        self._held.append(value)
        if len(self._held) > _HELD:
            self._fold()

    def _fold(self) -> None:
        parts: list[float] = []
        # what a rounded sum leaves is summed again, until nothing is left
        while part := math.fsum(self._held):
            parts.append(part)
            if not math.isfinite(part):
                break
            self._held.append(-part)
        self._held = parts

    @property
    def mean(self) -> float:
        """Of all that were added. Raises ZeroDivisionError where none was."""
        return math.fsum(self._held) / self.count


def most(found: array[int]) -> int:
    """How often the most frequent key stands there."""
    ordered, times, at = array("Q", sorted(found)), 0, 0
    while at < len(ordered):
        after = bisect_right(ordered, ordered[at])
        times, at = max(times, after - at), after
    return times


def commonest(values: Sequence[str], count: int = 1, among: Sequence[int] | None = None) -> array[int]:
    """Where the most frequent texts stand first, at most so many of them, the most frequent before the others and of
    equally frequent ones the first; of the places that are true in `among`.

    Texts are counted by their keys. Where few win they are counted again as they are written, so that no two texts that
    share a key are taken for one."""
    found = keys(value if among is None or among[at] else "" for at, value in enumerate(values))
    places = range(len(found)) if among is None else array("I", (at for at, one in enumerate(among) if one))
    ordered = array("Q", sorted(found[at] for at in places))
    seen, firsts, times = bytearray(len(ordered)), array("I"), array("I")
    for at in places:
        first = bisect_left(ordered, found[at])
        if not seen[first]:
            seen[first] = 1
            firsts.append(at)
            times.append(bisect_right(ordered, found[at]) - first)
    won = heapq.nsmallest(count, range(len(firsts)), key=lambda one: -times[one])
    if count <= _FEW and not _confirmed(values, places, found, {found[firsts[one]]: times[one] for one in won}):
        return _exactly(values, count, places)
    return array("I", (firsts[one] for one in won))


def _confirmed(values: Sequence[str], places: Iterable[int], found: array[int], times: Mapping[int, int]) -> bool:
    """Whether all texts of each of these keys, of which there are so many, are one text."""
    several = {one for one, count in times.items() if count > 1}
    texts_: dict[int, str] = {}
    return all(
        texts_.setdefault(found[at], values[at]) == values[at] for at in places if several and found[at] in several
    )


def _exactly(values: Sequence[str], count: int, places: Iterable[int]) -> array[int]:
    """The same with every text in memory."""
    counts: dict[str, tuple[int, int]] = {}
    for at in places:
        times, first = counts.get(values[at], (0, at))
        counts[values[at]] = times - 1, first
    return array("I", (at for _, at in heapq.nsmallest(count, counts.values())))
