"""The texts of a pack × the forms of keys → each key that is written out in one, at its place.

A pack is read by everybody who reads the project and its history. Its rules are copied into evidence and printed, its
cases are printed where they do not come out as they say: so nothing of a pack that holds a key is read further.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from kcompiler import assets
from kcompiler.diagnostic import Diagnostic
from kcompiler.veil import holds, places, starred

_CODE, _SUMMARY, _NAME = "KC4209", "this looks like a key", "the name of this file looks like a key"
_HELP = "revoke it, then take it out: whoever reads the project reads its packs"


def in_text(data: bytes, shown: str) -> list[Diagnostic]:
    """Of the bytes of one file, in comments and behind escapes, too."""
    return [
        Diagnostic(code=_CODE, file=shown, line=line, column=column, summary=_SUMMARY, help=_HELP)
        for line, column in places(data)
    ]


def in_name(shown: str) -> list[Diagnostic]:
    """Of what a file, and the folders that it lies in, are called."""
    hidden = starred(shown)
    return [] if hidden == shown else [Diagnostic(code=_CODE, file=hidden, summary=_NAME, help=_HELP)]


def beside(folder: Path, shown: str, files: tuple[str, str]) -> list[Diagnostic]:
    """Of the other files of a pack: cases, and what rules compare with. `files`, the head and the rules, are looked at
    where they are read; those of a shipped pack where kcompiler is made."""
    if folder.resolve().is_relative_to(assets.folder("policies").resolve()):
        return []
    found: list[Diagnostic] = []
    for entry in sorted(folder.iterdir()):
        # a folder with a head of its own is another pack, nested by its name
        below = [entry] if entry.is_file() else [] if (entry / files[0]).is_file() else sorted(entry.rglob("*"))
        for path in dict.fromkeys([entry, *below]):
            found += in_name(f"{shown}/{path.relative_to(folder).as_posix()}") if holds(path.name) else []
        for file in below:
            if file.suffix in (".json", ".yaml", ".yml") and file.name not in files and file.is_file():
                stat, name = file.stat(), f"{shown}/{file.relative_to(folder).as_posix()}"
                found += _of_file(file, name, stat.st_mtime_ns, stat.st_size)
    return found


@lru_cache(maxsize=16_384)
def _of_file(file: Path, shown: str, _when: int, _size: int) -> list[Diagnostic]:
    """Checks and the plan each load the packs, and each profile again."""
    return in_text(file.read_bytes(), shown)
