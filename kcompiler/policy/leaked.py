"""The texts of a pack × the forms of keys → each key that is written out in one, at its place.

A pack is read by everybody who reads the project and its history. Its rules are copied into evidence and printed, its
cases are printed where they do not come out as they say: so nothing of a pack that holds a key is read further.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from kcompiler import assets
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree, Value, child
from kcompiler.veil import KEY, places

_CODE, _SUMMARY = "KC4209", "this looks like a key"
_HELP = "revoke it, then take it out: whoever reads the project reads its packs"


def in_text(data: bytes, shown: str) -> list[Diagnostic]:
    """Of the bytes of one file, in comments too."""
    return [
        Diagnostic(code=_CODE, file=shown, line=line, column=column, summary=_SUMMARY, help=_HELP)
        for line, column in places(data)
    ]


def in_values(tree: Tree) -> list[Diagnostic]:
    """Of what the text means: a key that is written with escapes, or over several lines."""
    return [tree.diagnostic(_CODE, one, _SUMMARY, help=_HELP) for one in _keys(tree.data, "")]


def beside(folder: Path, shown: str, files: tuple[str, str]) -> list[Diagnostic]:
    """Of the other files of a pack: cases, and what rules compare with. `files`, the head and the rules, are looked at
    where they are read; those of a shipped pack where kcompiler is made."""
    if folder.resolve().is_relative_to(assets.folder("policies").resolve()):
        return []
    found: list[Diagnostic] = []
    for entry in sorted(folder.iterdir()):
        # a folder with a head of its own is another pack, nested by its name
        below = [entry] if entry.is_file() else [] if (entry / files[0]).is_file() else sorted(entry.rglob("*"))
        for file in below:
            if file.suffix in (".json", ".yaml", ".yml") and file.name not in files and file.is_file():
                stat, name = file.stat(), f"{shown}/{file.relative_to(folder).as_posix()}"
                found += _of_file(file, name, stat.st_mtime_ns, stat.st_size)
    return found


@lru_cache(maxsize=16_384)
def _of_file(file: Path, shown: str, _when: int, _size: int) -> list[Diagnostic]:
    """Checks and the plan each load the packs, and each profile again."""
    return in_text(file.read_bytes(), shown)


def _keys(value: Value, pointer: str) -> Iterator[str]:
    if isinstance(value, str) and KEY.search(value):
        yield pointer
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str) and KEY.search(key):
                yield pointer
            else:
                yield from _keys(item, child(pointer, key))
