"""(room, name) → the constant that plug-in exports. Listing names imports nothing.

A built-in plug-in is the file `runtime/<room>/<name>.py`. A third party adds one through the entry-point group
`kcompiler.<room>`; it may not take a built-in's name. Only a plug-in that is asked for is imported.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Any

from runtime import digest
from runtime.contract import ENTRY_POINT_GROUPS, Refusal, Step

_HERE = Path(__file__).parent


@cache
def _installed() -> Any:
    """What all installed distributions offer; asked once, because each question reads every one of them."""
    return importlib.metadata.entry_points()


@cache
def _third_party(room: str) -> dict[str, importlib.metadata.EntryPoint]:
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for entry in _installed().select(group=f"kcompiler.{room}"):
        if entry.name in found and entry.value != found[entry.name].value:
            raise Refusal(
                f"two installed plug-ins are called `{entry.name}` in room `{room}`",
                action="uninstall one of the two distributions",
            )
        if entry.name in _built_in(room):
            raise Refusal(
                f"an installed plug-in takes the built-in name `{entry.name}` of room `{room}`",
                action="uninstall that distribution or rename its entry point",
            )
        found[entry.name] = entry
    return found


@cache
def _built_in(room: str) -> frozenset[str]:
    if room not in ENTRY_POINT_GROUPS:
        raise ValueError(f"no such room: {room}")
    return frozenset(path.stem for path in (_HERE / room).glob("*.py") if path.stem != "__init__")


def names(room: str) -> list[str]:
    """Every plug-in name of a room, sorted."""
    return sorted(_built_in(room) | set(_third_party(room)))


@cache
def load(room: str, name: str) -> Any:
    """The constant of one plug-in. Raises KeyError when nothing has that name, Refusal when it exports wrongly."""
    constant = ENTRY_POINT_GROUPS[room]
    if name in _built_in(room):
        module = importlib.import_module(f"runtime.{room}.{name}")
        value = getattr(module, constant)
    elif name in _third_party(room):
        value = _third_party(room)[name].load()
    else:
        raise KeyError(name)
    if getattr(value, "name", None) != name:
        raise Refusal(
            f"plug-in `{name}` of room `{room}` exports a {constant} named `{getattr(value, 'name', None)}`",
            action="give the file, the entry point and the constant one name",
        )
    return value


def module_of(room: str, name: str) -> str:
    """The module that exports a plug-in."""
    return f"runtime.{room}.{name}" if name in _built_in(room) else _third_party(room)[name].module


def distribution(room: str, name: str) -> dict[str, str] | None:
    """For a third-party plug-in: its distribution, version and the digest of its code's bytes; None for a built-in.

    The bytes are those that stand there now, however the distribution was installed and whatever its RECORD says.
    """
    if name in _built_in(room):
        return None
    entry = _third_party(room)[name]
    from runtime.contract import imports  # 30 ms, urllib and ssl, that no plan without such a plug-in need pay

    if entry.dist is None:
        raise Refusal(f"plug-in `{name}` of room `{room}` belongs to no distribution", action="install it with pip")
    try:
        code = imports.digest_of(entry.dist, entry.module)
    except (ValueError, OSError) as error:
        raise Refusal(
            f"the code of plug-in `{name}` of room `{room}` cannot be read: {error}",
            action="install its distribution again",
        ) from error
    return {"distribution": entry.dist.metadata["Name"], "version": entry.dist.version, "code": code}


def code_of(step: Step, params: Any) -> str:
    """Digest of everything of ours whose text decides a step's result: the step's own file, its code and the built-in
    plug-ins it uses. A third party's plug-in counts by its distribution instead (`distribution`)."""
    modules = {step.run.__module__, *step.code, *step.code_under(params)}
    modules |= {f"runtime.{room}.{name}" for room, name in step.plugs(params) if name in _built_in(room)}
    return _digest_of(tuple(sorted(modules)))


@cache
def _digest_of(modules: tuple[str, ...]) -> str:
    return digest.of_code(modules)


def forget() -> None:
    """Drop every cached look-up (tests install plug-ins while the process runs)."""
    _installed.cache_clear()
    _third_party.cache_clear()
    _built_in.cache_clear()
    load.cache_clear()
    _digest_of.cache_clear()
    digest.parts_of.cache_clear()
