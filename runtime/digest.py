"""Values, files, folders and code → SHA-256, each with a domain prefix so that no two kinds can collide."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import rfc8785

_LARGEST = 2**53 - 1
#: what the C encoder writes for a plain value is its RFC 8785 text
_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def canonical(value: Any) -> bytes:
    """RFC 8785 text of a JSON value. Refuses NaN, infinities and integers beyond 2^53 - 1.

    A large plan is canonicalised three times per step, and the reference implementation is thirty times slower than the
    C encoder of `json`. The two write the same bytes for values without floats and with keys in ASCII; whatever is not
    of that kind, or wrong, goes to the reference implementation.
    """
    if _plain(value):
        try:
            return _compact(value).encode()
        except UnicodeEncodeError:
            return rfc8785.dumps(value)
    if type(value) is list:
        return b"[" + b",".join([canonical(item) for item in value]) + b"]"
    if type(value) is dict and all(type(name) is str and name.isascii() for name in value):
        parts = [_compact(name).encode() + b":" + canonical(value[name]) for name in sorted(value)]
        return b"{" + b",".join(parts) + b"}"
    return rfc8785.dumps(value)


def _plain(value: Any) -> bool:
    """Text, small integers, true, false, null, and lists and mappings of them whose keys are ASCII."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is dict:
            for name in item:
                if type(name) is not str or not name.isascii():
                    return False
            waiting.extend(item.values())
        elif kind is list:
            waiting.extend(item)
        elif kind is int:
            if not -_LARGEST <= item <= _LARGEST:
                return False
        elif kind is not str and kind is not bool and item is not None:
            return False
    return True


def of_value(value: Any, domain: str) -> str:
    """ "sha256:…" of a JSON value under a domain such as "kc.plan.v1"."""
    return "sha256:" + hashlib.sha256(domain.encode() + b"\0" + canonical(value)).hexdigest()


def of_bytes(data: bytes) -> str:
    """ "sha256:…" of the bytes themselves (what `sha256sum` prints)."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """ "sha256:…" of a file's bytes (what `sha256sum` prints)."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def manifest(folder: Path) -> list[dict[str, Any]]:
    """Every file below `folder`: path with forward slashes, size in bytes, digest; sorted by path.

    Raises ValueError for a symbolic link or anything that is not a plain file: they have no stable meaning.
    """
    entries: list[dict[str, Any]] = []
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in [*folders, *files]:
            if (Path(root) / name).is_symlink():
                raise ValueError(f"symbolic link in an artifact: {(Path(root) / name).relative_to(folder)}")
        for name in files:
            path = Path(root) / name
            if not path.is_file():
                raise ValueError(f"not a plain file: {path.relative_to(folder)}")
            entries.append(
                {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "digest": of_file(path)}
            )
    return sorted(entries, key=lambda entry: str(entry["path"]))


def of_folder(folder: Path) -> str:
    """ "sha256:…" of a folder: its manifest, so that names, sizes and contents all count and times do not."""
    return of_value(manifest(folder), "kc.tree.v1")


def of_one_file(name: str, data: bytes) -> str:
    """What `of_folder` says of a folder in which one file of this name and content lies."""
    return of_value([{"path": name, "bytes": len(data), "digest": of_bytes(data)}], "kc.tree.v1")


def of_plan(plan: Any) -> str:
    """ "sha256:…" of what a plan says, whatever its layout."""
    return of_value(plan, "kc.plan.v1")


def _files_of(module: str) -> Iterable[tuple[str, Path]]:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"no source for module {module}")
    origin = Path(spec.origin)
    if spec.submodule_search_locations is None:
        yield module, origin
        return
    for path in sorted(origin.parent.rglob("*.py")):
        yield f"{module}/{path.relative_to(origin.parent).as_posix()}", path


def of_code(modules: Iterable[str]) -> str:
    """ "sha256:…" over the source text of modules (packages: recursively), line ends normalised."""
    parts = {name: part for module in sorted(set(modules)) for name, part in parts_of(module)}
    return of_value(parts, "kc.code.v1")


@cache
def parts_of(module: str) -> tuple[tuple[str, str], ...]:
    """Name and digest of each file of a module; those of one process are those that it read first."""
    return tuple(
        (name, hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest())
        for name, path in _files_of(module)
    )
