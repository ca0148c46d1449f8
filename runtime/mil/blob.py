"""weights/weight.bin → stored arrays, every read checked against the file's bounds and its own metadata.

Format (version 2 of Apple's MIL blob storage; little endian): a 64-byte header {count u32, version u32, zeros}, then
per blob a 64-byte aligned metadata record {sentinel u32 = 0xDEADBEEF, dtype u32, bytes u64, data offset u64, padding
bits u64, zeros} and its data, also 64-byte aligned. Elements narrower than a byte are one bit stream, least significant
bit first; `padding bits` says how many bits of the last byte are unused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.contract import BrokenEvidence
from runtime.mil.numerics import BY_NAME, Array

_ALIGNMENT = 64
_SENTINEL = 0xDEADBEEF
_VERSION = 2
_HEADER = struct.Struct("<II")
_METADATA = struct.Struct("<IIQQQ")
#: elements read or unpacked at once: whole bytes of any width, and flags that stay in the processor's cache
_PART = 1 << 16

#: dtype code of a blob's metadata → dtype name. Codes 5 (bfloat16), 16 and 17 (float8) are not modelled.
_DTYPE_OF_CODE = {
    1: "float16",
    2: "float32",
    3: "uint8",
    4: "int8",
    6: "int16",
    7: "uint16",
    8: "int4",
    9: "uint1",
    10: "uint2",
    11: "uint4",
    12: "uint3",
    13: "uint6",
    14: "int32",
    15: "uint32",
}


def unpack(stream: NDArray[np.uint8], bits: int, count: int, signed: bool) -> Array:
    """`count` integers of `bits` bits from a little-endian bit stream, as int8 or uint8.

    Raises ValueError when the stream is shorter.
    """
    if stream.size * 8 < bits * count:
        raise ValueError(f"{stream.size} bytes cannot hold {count} elements of {bits} bits")
    values = np.empty(count, dtype=np.uint8)
    for start in range(0, count, _PART):
        part = values[start : start + _PART]
        here = stream[start * bits // 8 :]
        flags = np.unpackbits(here, count=bits * part.size, bitorder="little").reshape(part.size, bits)
        np.matmul(flags, (1 << np.arange(bits)).astype(np.uint8), out=part)
    if not signed:
        return values
    # two's complement: what stands in the highest bit counts down
    return ((values ^ (1 << (bits - 1))) - np.uint8(1 << (bits - 1))).view(np.int8)


class BlobFile:
    """One opened blob file. Raises BrokenEvidence when its header is not one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        if size < _ALIGNMENT:
            raise self._broken(f"{size} bytes are too few for a blob file")
        # private to this process, so that torch takes it: it warns of memory that it must not write to
        self._bytes: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="c")
        self.count, version = _HEADER.unpack(self._bytes[: _HEADER.size].tobytes())
        if version != _VERSION:
            raise self._broken(f"blob storage version {version}, expected {_VERSION}")

    def read(self, offset: int, dtype: str, count: int, *, mapped: bool) -> Array:
        """The `count` elements declared `dtype` whose metadata starts at byte `offset`, in their stored dtype.
        `mapped`: as the file has them, without a copy, where each has whole bytes; pages that were read stay in memory.

        Raises BrokenEvidence as `located` does.
        """
        start, size = self.located(offset, dtype, count)
        info = BY_NAME[dtype]
        if mapped:
            data = self._bytes[start : start + size]
        else:
            data = np.fromfile(self.path, dtype=np.uint8, count=size, offset=start)
            if data.size != size:
                raise self._broken(f"blob at offset {offset}: the file has become shorter")
        if info.bits < 8:
            return unpack(data, info.bits, count, signed=not dtype.startswith("u"))
        found = np.frombuffer(data, dtype=np.dtype(info.stored).newbyteorder("<"), count=count)
        # what is widened elsewhere alone may look writable; an op reads the rest as it is
        found.flags.writeable = not mapped or dtype == "float16"
        return found

    def parts(self, offset: int, dtype: str, count: int) -> Iterator[Array]:
        """The same elements, whose dtype has whole bytes, some at a time. Raises BrokenEvidence as `located` does."""
        start, _ = self.located(offset, dtype, count)
        kind = np.dtype(BY_NAME[dtype].stored).newbyteorder("<")
        with self.path.open("rb") as file:
            file.seek(start)
            for left in range(count, 0, -_PART):
                part = np.fromfile(file, dtype=kind, count=min(left, _PART))
                if part.size < min(left, _PART):
                    raise self._broken(f"blob at offset {offset}: the file has become shorter")
                yield part

    def located(self, offset: int, dtype: str, count: int) -> tuple[int, int]:
        """(first byte, bytes) of such elements. Raises BrokenEvidence when sentinel, alignment, dtype, size or bounds
        disagree with that."""
        where = f"blob at offset {offset}"
        if offset % _ALIGNMENT or offset < _ALIGNMENT or offset + _ALIGNMENT > self._bytes.size:
            raise self._broken(f"{where}: not the offset of a metadata record")
        record = self._bytes[offset : offset + _METADATA.size].tobytes()
        sentinel, code, size, start, padding = _METADATA.unpack(record)
        if sentinel != _SENTINEL:
            raise self._broken(f"{where}: sentinel is {sentinel:#x}")
        if _DTYPE_OF_CODE.get(code) != dtype:
            raise self._broken(f"{where}: stores {_DTYPE_OF_CODE.get(code, f'dtype code {code}')}, declared {dtype}")
        if start % _ALIGNMENT or start < offset + _ALIGNMENT or start + size > self._bytes.size:
            raise self._broken(f"{where}: data [{start}, {start + size}) lies outside the file or is not aligned")
        info = BY_NAME[dtype]
        if size != (count * info.bits + 7) // 8 or (info.bits < 8 and padding != size * 8 - count * info.bits):
            raise self._broken(f"{where}: {size} bytes do not hold exactly {count} elements of {dtype}")
        return start, size

    def _broken(self, message: str) -> BrokenEvidence:
        return BrokenEvidence(f"{self.path.name}: {message}", subject=self.path.name)
