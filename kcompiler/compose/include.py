"""Fragments that a spec includes → one tree: whole sections or parts of them, pinned by the digest of their bytes.

What the spec itself says wins over its fragments. Two fragments that say different things about one key are refused
unless the spec decides: an order of files must never be what decides.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from kcompiler import source
from kcompiler.compose.draft import Draft
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Limits, Tree, Value, child, file

#: a spec of more fragments than this has lost its reader
MOST = 32
#: what only a spec says: it is one document, whatever it is made of
_OWN = ("apiVersion", "kind", "include", "profiles", "matrix")
_ELSEWHERE = re.compile(r"[/~\\]|[A-Za-z]:")


@dataclass(frozen=True)
class Fragment:
    """One included file: path from the project's root, digest of its bytes, and the bytes."""

    path: str
    sha256: str
    data: bytes = field(repr=False)


def merge(
    tree: Tree, draft: Draft, root: Path, folder: Path, limits: Limits
) -> tuple[list[Fragment], list[Diagnostic]]:
    """Put what the fragments say into the draft of the spec. Entries that the schema will refuse are passed over."""
    entries = tree.get("/include")
    read: list[Fragment] = []
    found: list[Diagnostic] = []
    #: pointer of a leaf → pointer of the fragment that said it first
    said: dict[str, Tree] = {}
    for i, entry in enumerate(entries[:MOST] if isinstance(entries, list) else []):
        path, pin = (entry.get("path"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if not isinstance(path, str) or not isinstance(pin, str):
            continue
        fragment, wrong = _read(tree, i, path, pin, root, folder, limits)
        if fragment is None:
            found += wrong
            continue
        read.append(fragment)
        part, wrong = source.load(fragment.path, fragment.data, limits=limits)
        found += wrong
        if part is None or any(item.severity == "error" for item in wrong):
            continue
        found += _fit(part)
        if isinstance(part.data, dict):
            _merge(draft, part, "", tree, said, found)
    return read, found


def _read(
    tree: Tree, i: int, written: str, pin: str, root: Path, folder: Path, limits: Limits
) -> tuple[Fragment | None, list[Diagnostic]]:
    pointer = f"/include/{i}/path"

    def wrong(summary: str, label: str, help: str) -> tuple[None, list[Diagnostic]]:
        return None, [tree.diagnostic("KC2112", pointer, summary, label=label, help=help)]

    if _ELSEWHERE.match(written) or "\\" in written:
        return wrong("an included file is named from the spec's own folder", "not a relative path", "write it as one")
    target = folder / written
    try:
        target = target.resolve()
        if not target.is_relative_to(root.resolve()):
            return wrong("an included file lies outside the project", "leads out of it", "copy it into the project")
        data = file.read(target, limits.bytes + 1)
    except file.NotAFile:
        return wrong("an included file cannot be read", "not a file", "name a YAML file")
    except (OSError, RuntimeError, ValueError) as error:
        why = str(error) if isinstance(error, RuntimeError) else file.reason(error)
        return wrong("an included file cannot be read", why, "check the path")
    digest = hashlib.sha256(data).hexdigest()
    if digest != pin:
        return None, [
            tree.diagnostic(
                "KC2115",
                f"/include/{i}/sha256",
                "an included file is not the one that was pinned",
                label=f"`{written}` is {digest}",
                help=f"review the file, then write sha256: {digest}",
            )
        ]
    return Fragment(target.relative_to(root.resolve()).as_posix(), digest, data), []


def _fit(part: Tree) -> list[Diagnostic]:
    if not isinstance(part.data, dict):
        return [
            part.diagnostic(
                "KC2117",
                "",
                "a fragment must be a mapping of sections",
                label="this is no mapping",
                help="write sections as in a spec, such as `shapes: {…}`",
            )
        ]
    return [
        part.diagnostic(
            "KC2117",
            child("", key),
            f"`{key}` cannot stand in a fragment",
            on="key",
            label="only a spec says this",
            help="move it into the spec that includes this file",
        )
        for key in part.data
        if key in _OWN
    ]


def _merge(draft: Draft, part: Tree, pointer: str, spec: Tree, said: dict[str, Tree], found: list[Diagnostic]) -> None:
    """Below one mapping: what is not there is put, mappings are joined, the spec's own word stands."""
    value = part.get(pointer)
    assert isinstance(value, dict)
    here = draft.get(pointer)
    assert isinstance(here, dict)
    for key, item in value.items():
        below = child(pointer, key)
        if not pointer and key in _OWN:
            continue
        if key not in here:
            draft.put(below, part, below)
            _note(part, below, item, said)
        elif isinstance(item, dict) and isinstance(here[key], dict):
            _merge(draft, part, below, spec, said, found)
        elif below in said and not _same(here[key], item):
            first = said[below]
            found.append(
                part.diagnostic(
                    "KC2116",
                    below,
                    f"two included files disagree about `{below[1:].replace('/', '.')}`",
                    label=f"{_short(item)} here, {_short(here[key])} in {first.file_of(below)}",
                    help="say in the spec itself which one holds, or correct one of the files",
                    related=(first.related(below, "the other value"),),
                )
            )


def _note(part: Tree, pointer: str, value: Value, said: dict[str, Tree]) -> None:
    said[pointer] = part
    if isinstance(value, dict):
        for key, item in value.items():
            _note(part, child(pointer, key), item, said)


def _same(one: Value, other: Value) -> bool:
    """Whether two values are written alike: false is not 0, and 1 is not 1.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _short(value: Value) -> str:
    text = "a mapping" if isinstance(value, dict) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
