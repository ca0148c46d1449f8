"""A file of tool declarations → the tools, or what is wrong with them, by the rules that the data step has as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from runtime.contract import toolset
from runtime.contract.strict_json import Json, loads


def _value(path: Path) -> Json | str:
    """What the file holds, or in `str` why it holds nothing; a registry is never a text."""
    try:
        if path.stat().st_size > toolset.MAX_BYTES:
            return f"larger than {toolset.MAX_BYTES >> 20} MB"
        value = loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        return f"not JSON: {error}" if isinstance(error, ValueError) else "it cannot be read"
    return value if not isinstance(value, str) else "not a list of at least one tool"


def faults(path: Path) -> list[str]:
    """Every reason why a file is no registry, at most one per tool; empty when it is one."""
    value = _value(path)
    return [value] if isinstance(value, str) else toolset.faults(value)


def tools(path: Path) -> Sequence[Mapping[str, Any]]:
    """The tools of a file without `faults`; none of any other."""
    try:
        return _tools(path, path.stat().st_mtime_ns)
    except OSError:
        return ()


@lru_cache(maxsize=4)
def _tools(path: Path, _changed: int) -> Sequence[Mapping[str, Any]]:
    value = _value(path)
    whole = isinstance(value, list) and not toolset.faults(value)
    return [tool for tool in value if isinstance(tool, dict)] if whole and isinstance(value, list) else ()
