"""Files by name ↔ the one ZIP file that holds them: stored, sorted, without times. Standard library only.

The same files are the same bytes on every machine, so that a bundle can be compared and its digest told; and a ZIP file
that is not these bytes is refused, so that nothing hides between its entries or under a name that stands there twice.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Dict, List, Mapping

#: the first day that ZIP can say: 1980-01-01
_DAY = 0x21
_UTF8 = 0x800
MOST_FILES, MOST_BYTES = 65_535, 2**32 - 1
#: bytes of a name, and of a folder in it, that every system of files takes
_LONGEST, _PART = 1_000, 250


class BadZip(ValueError):
    """Not a ZIP file as `pack` writes it; the message says why."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """The ZIP file of these files. Raises ValueError where ZIP has no room for them."""
    parts: List[bytes] = []
    listed: List[bytes] = []
    at = 0
    for name, data in sorted(files.items()):
        raw = name.encode("utf-8")
        head = struct.pack("<HHHHHIIIHH", 20, _UTF8, 0, 0, _DAY, zlib.crc32(data), len(data), len(data), len(raw), 0)
        local = b"PK\x03\x04" + head + raw + data
        rest = struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, at)
        listed.append(b"PK\x01\x02" + struct.pack("<H", 3 << 8 | 20) + head + rest + raw)
        parts.append(local)
        at += len(local)
        if len(raw) > 65_535 or at > MOST_BYTES or len(listed) > MOST_FILES:
            raise ValueError("more than a ZIP file holds: 65,535 files, 4 GiB")
    central = b"".join(listed)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, len(listed), len(listed), len(central), at, 0)
    return b"".join([*parts, central, end])


def unpack(data: bytes) -> Dict[str, bytes]:
    """Name → bytes. Raises BadZip for a file that `pack` would not have written."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            # what is stored is no larger than the file it is in: nothing here can grow
            if any(one.compress_type != zipfile.ZIP_STORED for one in entries):
                raise BadZip("an entry is compressed: not a bundle as kcompiler writes it")
            found = {one.filename: archive.read(one) for one in entries}
    except BadZip:
        raise
    except (
        zipfile.BadZipFile,
        ValueError,
        LookupError,
        OSError,
        EOFError,
        RuntimeError,
        NotImplementedError,
        struct.error,
    ) as why:
        raise BadZip(f"not a ZIP file, or damaged: {why}") from None
    for name in found:
        if (
            name.startswith("/")
            or "\\" in name
            or "\0" in name
            or any(part in ("", ".", "..") for part in name.split("/"))
        ):
            raise BadZip(f"an entry is called {name!r}")
        if len(name.encode("utf-8")) > _LONGEST or any(len(part.encode("utf-8")) > _PART for part in name.split("/")):
            raise BadZip(f"an entry is called {name[:40]!r}…: not every disk has room for that name")
        if any(name[:at] in found for at, letter in enumerate(name) if letter == "/"):
            raise BadZip(f"{name!r} lies in what is no folder")
    if pack(found) != data:
        raise BadZip("other bytes than those of its files: an entry twice, a comment, a time, or text between entries")
    return found
