"""A good spec, changed in one place → its front, its nodes and its plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from kcompiler import lower, plan
from kcompiler.diagnostic import Diagnostic
from kcompiler.front import Front, compile_spec
from kcompiler.graph import Input, Node
from kcompiler.project import Project

ROOT = Path(__file__).resolve().parents[3]
GOOD = ROOT / "tests/golden/validate/a-good-spec-has-no-diagnostics/spec.yaml"
Change = Callable[[dict[str, Any]], Any]
STAGE = {"name": "kd", "steps": 40, "batch_size": 8, "losses": [{"term": "ce_truth", "weight": 1.0}]}


def content() -> dict[str, Any]:
    """The content of the good spec."""
    data: dict[str, Any] = yaml.safe_load(GOOD.read_text(encoding="utf-8"))
    return data


def unchanged(_data: dict[str, Any]) -> None:
    """The good spec as it is."""


def front_of(folder: Path, change: Change = unchanged) -> Front:
    """The front of the good spec with a change; it lies in `folder`/specs, and `folder` is the project."""
    data = content()
    change(data)
    spec = folder / "specs" / "spec.yaml"
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")
    front = compile_spec(spec, folder)
    assert front.spec is not None, front.diagnostics
    return front


def lowered(
    folder: Path, change: Change = unchanged, backend: str | None = None
) -> tuple[dict[str, Node], list[Input]]:
    """Nodes by id, in the order they were made, and inputs."""
    front = front_of(folder, change)
    assert front.spec is not None
    nodes, inputs = lower.lower(front.spec, folder, front.path.parent, backend)
    assert len({node.id for node in nodes}) == len(nodes)
    return {node.id: node for node in nodes}, inputs


def made(
    folder: Path, change: Change = unchanged, backend: str | None = None
) -> tuple[dict[str, Any] | None, list[Diagnostic]]:
    """The plan, or what is wrong with the graph or the policies."""
    return plan.make(front_of(folder, change), Project(folder), backend)


def planned(folder: Path, change: Change = unchanged, backend: str | None = None) -> dict[str, Any]:
    """The plan, which there must be."""
    found, problems = made(folder, change, backend)
    assert found is not None, problems
    return found


def steps(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Steps of a plan by id."""
    return {step["id"]: step for step in found["steps"]}
