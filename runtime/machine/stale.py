"""Lock × world → every difference between what was planned and what is here now. Imports no toolchain."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import catalog, digest
from runtime.contract import Backend, MachineError, Refusal, Step, places, unkeyed
from runtime.machine.locked import params_of

#: how `digest_of` says that nothing is there
_ABSENT = "no such"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not as the lock says. `kind`: source, input, plugin, step, code, backend or toolchain.

    `absent` is the path of an input that is pinned and not here: planning again would not help.
    """

    kind: str
    name: str
    locked: str
    found: str
    absent: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: locked {self.locked}, found {self.found}"


class Stale(MachineError):
    """The world differs from the lock; planning again shows what that means."""

    def __init__(self, differences: Iterable[Difference]) -> None:
        self.differences = list(differences)
        super().__init__(f"{len(self.differences)} difference(s) between the lock and this machine")
        self.message = str(self)


def require_fresh(lock: Mapping[str, Any], root: Path) -> None:
    """Raises Stale unless sources, inputs, plug-ins, steps, backends and the executor are what the lock says.

    Raises Refusal for parameters that do not fit their step and for a path that leaves the project.
    """
    differences = [*_files(lock, root), *_plugins(lock), *_steps(lock)]
    executor = executor_of(lock)
    if _load("executors", executor) is None:
        differences.append(Difference(kind="executor", name=executor, locked=executor, found="not installed"))
    if differences:
        raise Stale(differences)


def requirements(lock: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
    """Backend name → what it requires, for the backends of a lock (an argument of `keys.predict`). Raises Stale."""
    names = sorted({str(step["backend"]) for step in lock["steps"]})
    try:
        return {name: catalog.load("backends", name).requires for name in names}
    except KeyError as error:
        name = str(error.args[0])
        missing = Difference(kind="backend", name=name, locked=name, found="not installed")
        raise Stale([missing]) from error


def require_toolchain(lock: Mapping[str, Any], backends: Iterable[str]) -> None:
    """Raises Stale unless what these backends of the lock require is locked and installed in exactly that version."""
    requires = requirements(lock)
    differences: dict[str, Difference] = {}
    for backend in sorted(set(backends)):
        for name, pin in requires[backend].items():
            locked, found = str(lock["toolchain"].get(name, "not locked")), installed(name)
            if not same_version(locked, found):
                differences[name] = Difference(kind="toolchain", name=name, locked=locked, found=found)
            elif pin != locked:
                differences[name] = Difference(kind="backend", name=f"{backend}/{name}", locked=locked, found=pin)
    if differences:
        raise Stale(differences.values())


def executor_of(lock: Mapping[str, Any]) -> str:
    """Name of the executor a lock asks for."""
    return str(lock["asked"].get("executor", "local"))


def installed(distribution: str) -> str:
    """Version of an installed distribution, or "not installed"."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def same_version(locked: str, found: str) -> bool:
    """Equal, or equal but for a local label (`+cpu`) that the lock does not name (PEP 440, version matching)."""
    return found == locked or ("+" not in locked and found.partition("+")[0] == locked)


def place_of(root: Path, path: str) -> Path:
    """Where a path of the lock stands. Raises Refusal when it leaves the project root, also through a link, and
    NoPlace for a model that this machine has no place for."""
    if places.elsewhere(path):
        return places.place_of(root, path)
    place = root / path
    if Path(path).is_absolute() or not place.resolve().is_relative_to(root.resolve()):
        raise Refusal(
            f"the lock names `{path}`, which is outside the project", action="plan again: kcompiler plan", code="KR0103"
        )
    return place


def digest_of(place: Path, kind: str) -> str:
    """Digest of an input as it stands now, or why there is none."""
    try:
        if kind == "file":
            return digest.of_file(place)
        if not place.is_dir():
            return f"{_ABSENT} folder"
        return digest.of_folder(place)
    except FileNotFoundError:
        return f"{_ABSENT} file"
    except (OSError, ValueError) as error:
        return f"not readable: {error}"


def _files(lock: Mapping[str, Any], root: Path) -> list[Difference]:
    wanted = [
        ("source", entry["path"], entry["path"], "file", entry["bytes"])
        for entry in lock["sources"]
        if entry.get("bytes")
    ]
    wanted += [("input", entry["name"], entry["path"], entry["kind"], entry["digest"]) for entry in lock["inputs"]]
    differences = []
    for what, name, path, kind, locked in wanted:
        try:
            found = digest_of(place_of(root, path), kind)
        except places.NoPlace as reason:
            found = f"{_ABSENT} place: {reason}"
        if found != locked:
            absent = path if what == "input" and found.startswith(_ABSENT) else ""
            differences.append(Difference(kind=what, name=name, locked=locked, found=found, absent=absent))
    return differences


def _plugins(lock: Mapping[str, Any]) -> list[Difference]:
    differences = []
    for entry in lock.get("plugins", []):
        name = f"{entry['room']}/{entry['name']}"
        locked = f"{entry['distribution']} {entry['version']} {entry['code']}"
        try:
            here = catalog.distribution(entry["room"], entry["name"])
        except KeyError:
            differences.append(Difference(kind="plugin", name=name, locked=locked, found="not installed"))
            continue
        found = "built in" if here is None else f"{here['distribution']} {here['version']} {here['code']}"
        if found != locked:
            differences.append(Difference(kind="plugin", name=name, locked=locked, found=found))
    return differences


def _steps(lock: Mapping[str, Any]) -> list[Difference]:
    differences: dict[tuple[str, str], Difference] = {}
    for entry in lock["steps"]:
        name, _, version = entry["kind"].partition("@")
        step = _load("steps", name)
        backend = _load("backends", entry["backend"])
        if not isinstance(step, Step) or step.version != int(version):
            found = f"{name}@{step.version}" if isinstance(step, Step) else "not installed"
            differences["step", name] = Difference(kind="step", name=name, locked=entry["kind"], found=found)
            continue
        if unkeyed(step.params) != list(entry.get("unkeyed", [])):
            differences["step", name] = Difference(
                kind="step",
                name=name,
                locked=f"unkeyed {', '.join(entry.get('unkeyed', [])) or 'nothing'}",
                found=f"unkeyed {', '.join(unkeyed(step.params)) or 'nothing'}",
            )
        here = _code_of(step, entry)
        if here != entry["code"]:
            differences["code", name] = Difference(kind="code", name=name, locked=entry["code"], found=here)
        if not isinstance(backend, Backend):
            wanted, found = entry["backend"], "not installed"
        elif not _carries_out(backend, step):
            wanted, found = f"{backend.name} carries out {name}", "it cannot"
        else:
            continue
        differences["backend", entry["backend"]] = Difference(
            kind="backend", name=entry["backend"], locked=wanted, found=found
        )
    return list(differences.values())


def _carries_out(backend: Backend, step: Step) -> bool:
    """By an operation of its own, or because the step needs no toolchain and does its work in its own `run`."""
    alone = step.backend == backend.name and not backend.requires
    return backend.forges or step.name in backend.operations or alone


def _load(room: str, name: str) -> object:
    try:
        return catalog.load(room, name)
    except KeyError:
        return None


def _code_of(step: Step, entry: Mapping[str, Any]) -> str:
    try:
        return catalog.code_of(step, params_of(step, entry))
    except (ValueError, ModuleNotFoundError) as error:
        return f"not readable: {error}"
