"""Values, files, folders and code → SHA-256, each with a domain prefix so that no two kinds can collide."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rfc8785


def canonical(value: Any) -> bytes:
    """RFC 8785 text of a JSON value. Refuses NaN, infinities and integers beyond 2^53 - 1."""
    return rfc8785.dumps(value)


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
    parts = {}
    for module in sorted(set(modules)):
        for name, path in _files_of(module):
            parts[name] = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    return of_value(parts, "kc.code.v1")
