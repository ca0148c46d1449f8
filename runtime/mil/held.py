"""Large constants between two uses: narrow or still in their file, float32 only while an op reads them.

A weight as float32 takes twice its float16 bytes, and to read those for a product with one token takes longer than to
widen it anew. So nothing large is kept widened: an interpreter keeps float16 (`Narrow`: the file's own pages where it
stands there so) or, streamed, nothing at all (`Stored`, `Remade`). The bits that an op sees are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np

from runtime.machine import scarce
from runtime.mil.numerics import Array, has_extremes, narrow, widen
from runtime.mil.program import BlobRef, Function, Literal, walk

#: elements from which on a constant is large: below, a look-up costs more than the memory is worth
LARGE = 1 << 14
#: ops whose result never is a view of a constant operand, so that its memory may serve the next one
CONSUMING = frozenset({"linear", "matmul", "conv"})
#: ops that pick elements of their first operand, a table of which most runs touch little
PICKING = frozenset({"gather", "gather_along_axis", "gather_nd"})


class Held(Protocol):
    """A large constant that is no array now."""

    def load(self, room: Array | None = None) -> Array:
        """Its elements in their carrier dtype; in `room`, flat float32 of at least as many, where that serves."""

    def finite(self) -> bool:
        """Whether every element is."""

    def narrow(self) -> Array | None:
        """Its elements as float16 without a copy in memory, where there are such."""


@dataclass(frozen=True)
class Narrow:
    """Elements on the float16 grid, in memory or mapped from their file; contiguous in C or Fortran order."""

    data: Array

    @property
    def count(self) -> int:
        return int(self.data.size)

    def load(self, room: Array | None = None) -> Array:
        """float32, in the order in which they lie."""
        return widen(self.data, room)

    def finite(self) -> bool:
        """Without widening them."""
        return not has_extremes(self.data)

    def narrow(self) -> Array | None:
        """They are so."""
        return self.data


class Files(Protocol):
    """An opened package, as far as its stored literals go."""

    def array(self, literal: Literal, *, mapped: bool) -> Array: ...
    def parts(self, literal: Literal) -> Iterator[Array]: ...


@dataclass(frozen=True)
class Stored:
    """Elements that stay in the package's file."""

    files: Files
    literal: Literal

    @property
    def count(self) -> int:
        return self.literal.count

    def load(self, room: Array | None = None) -> Array:
        """float16 is widened, part by part; anything else is its own carrier."""
        if not self._is_half:
            return self.files.array(self.literal, mapped=False)
        flat = np.empty(self.count, dtype=np.float32) if room is None else room[: self.count]
        start = 0
        for part in self.files.parts(self.literal):
            widen(part, flat[start : start + part.size])
            start += part.size
        return flat.reshape([size or 0 for size in self.literal.type.shape])

    def finite(self) -> bool:
        """Reads them, part by part."""
        if self._is_half:
            return not any(map(has_extremes, self.files.parts(self.literal)))
        return all(bool(np.isfinite(part).all()) for part in self.files.parts(self.literal))

    def narrow(self) -> Array | None:
        """Mapped: pages that nobody touches are never read."""
        return self.files.array(self.literal, mapped=True) if self._is_half else None

    @property
    def _is_half(self) -> bool:
        return self.literal.type.dtype == "float16"


@dataclass(frozen=True)
class Remade:
    """The result of an op over constants, computed at each use."""

    make: Callable[[], Array]

    def load(self, room: Array | None = None) -> Array:
        """What `make` gives; `room` does not serve."""
        return self.make()

    def finite(self) -> bool:
        """Computes them."""
        return bool(np.isfinite(self.make()).all())

    def narrow(self) -> Array | None:
        """There are none."""
        return None


def is_held(value: object) -> TypeGuard[Held]:
    """Whether it is one of these, and not an array or a text."""
    return isinstance(value, Narrow | Stored | Remade)


def is_large(value: object) -> TypeGuard[Array]:
    """Whether it is an array that is worth holding otherwise."""
    return isinstance(value, np.ndarray) and value.size >= LARGE


def narrowed(value: Array) -> Narrow | None:
    """float32 elements on the float16 grid (or to be rounded to it), held in half the bytes. None where an op would see
    them in another order afterwards."""
    flags = value.flags
    return Narrow(narrow(value)) if flags.c_contiguous or flags.f_contiguous else None


class Rooms:
    """Memory for one widened constant after another, so that the system need not clear new pages for each.

    At most one stretch waits here, the largest that was given back. Threads may share it.
    """

    def __init__(self) -> None:
        self._free: list[Array] = []

    def take(self, count: int) -> Array:
        """`count` float32 of any content."""
        try:
            found = self._free.pop()
        except IndexError:
            return np.empty(count, dtype=np.float32)
        return found if found.size >= count else np.empty(count, dtype=np.float32)

    def give(self, room: Array) -> None:
        """What nobody reads any more."""
        other = self._free.pop() if self._free else room
        self._free.append(max(room, other, key=lambda one: one.size))


def bytes_of(function: Function) -> int:
    """Bytes that the stored constants of a function take as float16, dequantized: about what `Narrow` holds."""
    stored = {
        item.data: item.count
        for operation in walk(function.operations)
        for group in operation.inputs.values()
        for item in group
        if isinstance(item, Literal) and isinstance(item.data, BlobRef)
    }
    return 2 * sum(stored.values())


def is_too_much(size: int) -> bool:
    """Whether so many bytes would take more than half of what this process may still use."""
    return any(size > one.left // 2 for one in scarce.limits()[:1])
