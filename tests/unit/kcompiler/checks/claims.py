"""A good spec with a change → what one family of checks says of it, by its real module or by a mutated one."""

from __future__ import annotations

import ast
import importlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import yaml

import kcompiler
from kcompiler import tables
from kcompiler.checks import World
from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree, load
from kcompiler.spec import Spec
from kcompiler.spec.parse import parse
from kcompiler.tables import Hardware
from tests.unit.kcompiler.checks.laboratory import GOOD, ROOT

Change = Callable[[dict[str, Any]], Any]
#: a module's name, less what every check shares: `memory` of the checks, `facts.rows` of what they ask
PACKAGE = "kcompiler.checks"


@dataclass(frozen=True)
class Claim:
    """`says` are the codes that the family gives, each once; `words` stand in the text of what it gives.

    `table` replaces the table of hardware; `files` are laid beside the spec.
    """

    name: str
    change: Change
    says: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    table: Hardware | None = None
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    severity: str = ""


def several(*changes: Change) -> Change:
    return lambda data: [change(data) for change in changes]


def hardware(**more: Any) -> Change:
    return lambda data: data["hardware"].update(more)


def student(**more: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        data["student"]["architecture"].update(more)
        data["student"].pop("parameters", None)

    return change


def section(name: str, **more: Any) -> Change:
    return lambda data: data.setdefault(name, {}).update(more)


def figure(value: float | int | None) -> dict[str, Any]:
    return {"note": "absent"} if value is None else {"value": value, "source": "s"}


def machine(
    memory: int | None = 10**12,
    model: int | None = 10**12,
    bandwidth: float | None = 400,
    gpu: tuple[float | None, float | None] | None = (10.0, 5.0),
    ane: tuple[float | None, float | None] | None = (10.0, 30.0),
    share: float | None = 0.65,
    cpu: float | None = None,
    system: str = "macos",
    **others: int,
) -> Hardware:
    """A table with one machine under the name the good spec uses; `others` are further machines by their memory."""
    row: dict[str, Any] = {
        "title": "a machine",
        "system": system,
        "memory_bytes": figure(memory),
        "model_bytes": figure(model),
        "bandwidth_gb_s": figure(bandwidth),
    }
    if gpu is not None:
        row["gpu"] = {"fp16_tflops": figure(gpu[0]), "fp32_tflops": figure(gpu[1])}
    if ane is not None:
        row["ane"] = {"tops": figure(ane[0]), "reached_gb_s": figure(ane[1])}
    if cpu is not None:
        row["cpu"] = {"fp32_tflops": figure(cpu)}
    more = {name: {**row, "memory_bytes": figure(size)} for name, size in others.items()}
    source = {"title": "a source", "url": "https://example.org/", "date": "2026", "kind": "vendor"}
    return Hardware.model_validate(
        {"sources": {"s": source}, "gpu_share": figure(share), "profiles": {"m1-max-64gb": row, **more}}
    )


@contextmanager
def table(hardware: Hardware | None) -> Iterator[None]:
    """Another table of hardware while it lasts."""
    real = tables.hardware
    if hardware is not None:
        tables.hardware = lambda: hardware  # type: ignore[assignment]
    try:
        yield
    finally:
        tables.hardware = real  # type: ignore[assignment]


@cache
def _parsed(change: Change) -> tuple[Spec, Tree]:
    data = yaml.safe_load(GOOD)
    change(data)
    tree, problems = load("spec.yaml", yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode())
    assert tree is not None, problems
    parsed = parse(tree)
    assert parsed.spec is not None, parsed.diagnostics
    return parsed.spec, tree


def said(family: str, claim: Claim, folder: Path) -> list[Diagnostic]:
    """What the family's present module says. `folder` is empty and belongs to this claim."""
    spec, tree = _parsed(claim.change)
    for name, text in claim.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    world = World(folder, folder, (folder / "policies", ROOT / "policies"))
    checks = importlib.import_module(f"kcompiler.checks.{family}").CHECKS
    with table(claim.table):
        return [item for check in checks for item in check.ask(spec, tree, world)]


def disagrees(family: str, claim: Claim, folder: Path) -> str:
    """What is different from the claim; empty when it holds."""
    found = said(family, claim, folder)
    codes = tuple(sorted(item.code for item in found))
    if codes != tuple(sorted(claim.says)):
        return f"{claim.name}: said {codes}"
    said_of = ((item.summary, item.label, item.detail, item.help, *item.notes) for item in found)
    text = "".join(f"{line}\n" for lines in said_of for line in lines)
    lacking = [word for word in claim.words if word not in text]
    if lacking:
        return f"{claim.name}: {lacking} not in\n{text}"
    if claim.severity and {item.severity for item in found} != {claim.severity}:
        return f"{claim.name}: severity {[item.severity for item in found]}"
    return ""


def modules() -> list[str]:
    """Every module of the checks and of the facts they ask, sorted."""
    home = Path(kcompiler.__file__).parent
    rooms = ("checks", "facts")
    return sorted(f"kcompiler.{room}.{path.stem}" for room in rooms for path in (home / room).glob("[!_]*.py"))


def short(module: str) -> str:
    return module.removeprefix(f"{PACKAGE}.").removeprefix("kcompiler.")


def long(name: str) -> str:
    return f"kcompiler.{name}" if name.startswith("facts.") else f"{PACKAGE}.{name}"


def source_of(module: str) -> str:
    path = Path(kcompiler.__file__).parents[1] / Path(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


@cache
def _imported(module: str) -> frozenset[str]:
    """What a module of the checks or facts imports."""
    found = set()
    for node in ast.walk(ast.parse(source_of(module))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return frozenset(found)


@cache
def dependents(module: str) -> tuple[str, ...]:
    """Modules of the checks and facts that hold on to what `module` defines, directly or not, in the order of arrows."""
    every = modules()
    found: list[str] = []

    def visit(one: str) -> None:
        for other in every:
            if one in _imported(other) and other not in found:
                visit(other)
                found.append(other)

    visit(module)
    return tuple(reversed(found))


@contextmanager
def mutated(module: str, changed: CodeType) -> Iterator[None]:
    """`module` runs `changed`, and its dependents are made anew around it; afterwards the real ones are back."""
    names = (module, *dependents(module))
    kept = {name: importlib.import_module(name) for name in names}
    try:
        for name in names:
            made = types.ModuleType(name)
            made.__file__ = kept[name].__file__
            sys.modules[name] = made
            setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], made)
            code = changed if name == module else compile(source_of(name), name, "exec")
            exec(code, made.__dict__)
        yield
    finally:
        for name, real in kept.items():
            sys.modules[name] = real
            setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], real)
