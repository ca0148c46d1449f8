"""Parquet and Arrow files → their rows as lines of JSON, made by a process of its own.

Such a file is binary, read by a large library in C++, and comes from anywhere. The process (runtime/data/tables.py) has
a bound on its memory and can die alone: whatever a forged file does to it is a message here. Compiling and the data
step ask it alike, so that neither imports the library and both read the same rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from runtime.contract import Refusal, Unavailable, rows
from runtime.contract.strict_json import loads

#: the program, run by its path: it needs pyarrow and nothing of ours
PROGRAM = Path(__file__).resolve().parents[1] / "data" / "tables.py"
NEEDS = "pip install 'kcompiler[parquet]'"
#: bytes that a file may expand to, whatever its size, and how many times its size it may expand to beyond that
_FREE, _FOLD = 64 << 20, 200


def expanded(size: int) -> int:
    """Bytes that the content of a packed file of this size may have."""
    return max(_FREE, _FOLD * size)


def bomb(bound: int, here: str) -> Refusal:
    """The refusal of a file whose content does not end."""
    return Refusal(
        f"the content expands beyond {bound >> 20:,} MiB, more than {_FOLD} times the file",
        place=here,
        action="unpack the file and look at it: rows that repeat so much teach nothing",
    )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_dir():
        return sum(item.lstat().st_size for item in path.rglob("*") if item.is_file())
    return path.stat().st_size


def lines(path: Path, kind: str, asked: frozenset[str]) -> Iterator[tuple[int, str, bytes]]:
    """(number of the row in its file, place, JSON text of the row) of each row, in order.

    The text has the columns of `asked`, and those others that hold plain text; of the rest only the names. Raises
    Refusal for what cannot be read, Unavailable where pyarrow is not installed.
    """
    bound, seen = expanded(size_of(path)), 0
    command = [sys.executable, "-I", str(PROGRAM)]
    # a folder of its own, so that nothing that lies about is imported
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROGRAM.parent,
        # no key of anybody for what reads a stranger's file
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        # Ctrl-C on a terminal is for whoever reads from it, who comes to a safe point first
        start_new_session=True,
    ) as process:
        try:
            request = {"path": str(path.absolute()), "kind": kind, "asked": sorted(asked), "most": rows.MAX_LINE_BYTES}
            stdin, stdout = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
            try:
                stdin.write(json.dumps(request).encode())
                stdin.close()
            except BrokenPipeError:
                pass
            shard, number = path.name, 0
            while line := stdout.readline(4 * rows.MAX_LINE_BYTES):
                if not line.startswith(b"["):
                    number += 1
                    seen += len(line)
                    here = f"{shard}:{number}"
                    if seen > bound:
                        raise bomb(bound, here)
                    yield number, here, line
                    continue
                word, *said = cast(list[str], loads(line))
                if word == "end":
                    return
                if word == "shard":
                    shard, number = said[0], 0
                elif word == "absent":
                    raise Unavailable(
                        "Parquet and Arrow files are read by pyarrow, which is not installed", needs=NEEDS
                    )
                else:
                    place, message, action = said
                    raise Refusal(message, place=place, action=action)
            code = process.wait()
            why = f"signal {-code}" if code < 0 else f"exit {code}"
            raise Refusal(
                f"the file cannot be read: its reader died ({why})",
                place=f"{shard}:{number + 1}",
                action="write the file again with a current version of pyarrow",
            )
        finally:
            process.kill()
