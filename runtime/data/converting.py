"""A folder of a public benchmark's files → dataset rows in one file, as a command: what its readers share."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from runtime.contract import Refusal
from runtime.contract.strict_json import Json, dumps
from runtime.machine import durable


def written(rows: Iterable[Mapping[str, Json]], target: Path, lacking: Refusal) -> tuple[int, str]:
    """Rows → one JSON Lines file, byte for byte the same everywhere. Returns how many there are, and the SHA-256.

    Raises `lacking` where there is none, StorageFailed where it cannot be written."""
    lines = [dumps(dict(row)) + "\n" for row in rows]
    if not lines:
        raise lacking
    data = "".join(lines).encode()
    durable.write(target, data)
    return len(lines), hashlib.sha256(data).hexdigest()


def main(arguments: list[str], convert: Callable[[Path, Path], tuple[int, str]], told: str) -> int:
    """The command FOLDER TARGET of a reader whose help is `told`. Returns the exit code."""
    if len(arguments) != 2:
        print(told, file=sys.stderr)
        return 2
    folder, target = map(Path, arguments)
    try:
        count, digest = convert(folder, target)
    except (Refusal, durable.StorageFailed, OSError) as error:
        print(f"{getattr(error, 'place', '')} {error}".strip(), file=sys.stderr)
        return 2
    print(f"{count} rows, sha256 {digest}, {target.stat().st_size} bytes")
    return 0
