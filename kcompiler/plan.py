"""Spec → the content of plan.lock: the graph in order, every default, pin, key and obligation written out.

A pure function of the spec's meaning, the pinned inputs, the policies, the schemas and the code: the same bytes on
every machine. What will run here and now is the delta's business, not the plan's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompiler import __version__, assets, checks, policy
from kcompiler.diagnostic import Diagnostic
from kcompiler.front import Front
from kcompiler.graph import Graph, Node, Problem, build
from kcompiler.lock import FORMAT
from kcompiler.lower import lower
from kcompiler.project import Project
from kcompiler.spec import Spec
from runtime import catalog, digest
from runtime.contract import keys

_CODES = {
    "cycle": "KC3001",
    "dangling": "KC3002",
    "missing": "KC3003",
    "kind": "KC3004",
    "unknown_port": "KC3005",
    "duplicate": "KC3006",
}

#: schemas of evidence besides those of the reports
_EVIDENCE = frozenset({"contract", "dataset-row", "plan", "policy", "verdict"})

#: who makes the report on the run itself: no step, but apply
APPLY = "apply"


def make(front: Front, project: Project, backend: str | None = None) -> tuple[dict[str, Any] | None, list[Diagnostic]]:
    """The plan of a spec without errors, or why there is none."""
    assert front.spec is not None
    assert front.tree is not None
    spec_path = front.path
    nodes, inputs = lower(front.spec, project.root, spec_path.parent, backend)
    graph, problems = build(nodes, inputs)
    if graph is None:
        return None, [_diagnostic(problem, front) for problem in problems]
    packs = policy.load(front.spec.policies, [project.root / "policies", assets.folder("policies")])
    producers = {**graph.producers(), "run": [APPLY]}
    obligations, found = policy.obligations(packs, front.spec.model_dump(mode="json", by_alias=True), producers)
    if any(item.severity == "error" for item in found):
        return None, found
    return _content(graph, front, project, packs, obligations), found


def restrict(plan: Mapping[str, Any], targets: Sequence[str]) -> dict[str, Any]:
    """The part of a plan that makes `targets`, marked as a part. Raises KeyError: there is no such step.

    Every obligation stays. What the part leaves out is then not evaluated, so that no verdict on a part can pass.
    """
    wanted = keys.needed(plan["steps"], targets)
    steps = [step for step in plan["steps"] if step["id"] in wanted]
    taken = {reference.removeprefix("input:") for step in steps for reference in step["takes"].values()}
    return {
        **plan,
        "asked": {**plan["asked"], "targets": sorted(set(targets))},
        "inputs": [entry for entry in plan["inputs"] if entry["name"] in taken],
        "steps": steps,
    }


def undecidable(front: Front, project: Project) -> list[Diagnostic]:
    """Warnings of the statistics family: gates that the declared evaluation cannot decide."""
    if front.spec is None or front.tree is None or "statistics" not in checks.families():
        return []
    folder = front.path.resolve().parent
    world = checks.World(project.root, folder, (project.root / "policies", assets.folder("policies")))
    asked = [check.ask(front.spec, front.tree, world) for check in checks.checks_of("statistics")]
    return [item for found in asked for item in found if item.severity == "warning"]


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """A pin that people write, and what it would have to be now. `line` counts from 1, 0 where nothing is written."""

    field: str
    line: int
    column: int
    old: str
    new: str


def upgrade(front: Front, project: Project) -> dict[str, Upgrade]:
    """Input → its pin, for those whose digest stands in the spec itself; all others are pinned by every plan anew.

    Works on a spec that is refused, too: a pin that moved is a reason to be refused. Raises ValueError: the folder
    holds something without a stable meaning; OSError: it cannot be read.
    """
    tree = front.tree
    teacher = tree.data.get("teacher") if tree is not None and isinstance(tree.data, dict) else None
    if tree is None or not isinstance(teacher, dict) or teacher.get("source") != "hf":
        return {}
    folder = (front.path.resolve().parent / str(teacher.get("model"))).resolve()
    if not folder.is_relative_to(project.root.resolve()) or not folder.is_dir():
        return {}
    place = tree.values.get("/teacher/revision")
    return {
        "teacher": Upgrade(
            field="teacher.revision",
            line=place.line if place else 0,
            column=place.column if place else 0,
            old=str(teacher.get("revision", "")),
            new=digest.of_folder(folder),
        )
    }


def _content(
    graph: Graph, front: Front, project: Project, packs: policy.Policy, obligations: list[dict[str, Any]]
) -> dict[str, Any]:
    assert front.spec is not None
    assert front.tree is not None
    toolchain, plugins = _toolchain(graph), _plugins(front.spec, graph)
    return {
        "lock": {"format": FORMAT, "key_scheme": keys.KEY_SCHEME, "hash": "sha256"},
        "made_by": {"name": "kcompiler", "version": __version__},
        "asked": {
            "spec": project.shown(front.path),
            "name": front.spec.metadata.name,
            "executor": front.spec.execution.executor,
            "risk_tier": front.spec.risk_tier,
        },
        "sources": [{"path": project.shown(front.path), "meaning": digest.of_value(front.tree.data, "kc.spec.v1")}],
        "schemas": _schemas(),
        "policies": packs.pins(),
        "inputs": [
            {
                "name": entry.name,
                "kind": entry.kind,
                "path": entry.path,
                "digest": entry.digest,
                "bytes": entry.bytes,
                "license": entry.license,
            }
            for entry in sorted(graph.inputs, key=lambda entry: entry.name)
        ],
        "toolchain": toolchain,
        "plugins": plugins,
        "budgets": front.spec.budgets.model_dump(mode="json"),
        "steps": _steps(graph, toolchain, plugins),
        "obligations": obligations,
    }


def _steps(graph: Graph, toolchain: Mapping[str, str], plugins: list[dict[str, str]]) -> list[dict[str, Any]]:
    pins = {entry.name: entry.digest for entry in graph.inputs}
    derivations: dict[str, str] = {}
    steps = []
    for node in graph.nodes:
        step = _step(node)
        around = keys.environment(toolchain, catalog.load("backends", node.backend).requires)
        derivations[node.id] = keys.derivation(
            step, pins=pins, derivations=derivations, environment=around, plugins=plugins
        )
        steps.append({**step, "derivation": derivations[node.id]})
    return steps


def _step(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "kind": f"{node.step}@{node.version}",
        "backend": node.backend,
        "takes": dict(sorted(node.takes.items())),
        "after": list(node.after),
        "params": dict(node.params),
        "gives": {
            name: {"kind": port.kind, **({"report": port.report} if port.report else {})}
            for name, port in sorted(node.gives.items())
        },
        "code": node.code,
        "seed": str(node.seed),
        "promise": node.promise,
    }


def _schemas() -> list[dict[str, str]]:
    """The schemas by which evidence is read. The spec's own is left out: a new loss changes it and no plan."""
    folder = assets.folder("schemas")
    names = (path.name.removesuffix(".schema.json") for path in sorted(folder.glob("*.schema.json")))
    return [
        {"id": name, "digest": digest.of_file(folder / f"{name}.schema.json")}
        for name in names
        if name.startswith("report") or name in _EVIDENCE
    ]


def _toolchain(graph: Graph) -> dict[str, str]:
    pins: dict[str, str] = {}
    for name in sorted({node.backend for node in graph.nodes}):
        for distribution, version in catalog.load("backends", name).requires.items():
            if pins.setdefault(distribution, version) != version:
                raise ValueError(f"backends disagree on {distribution}: {pins[distribution]} and {version}")
    return pins


def _plugins(spec: Spec, graph: Graph) -> list[dict[str, str]]:
    used = {("steps", node.step) for node in graph.nodes} | {("backends", node.backend) for node in graph.nodes}
    used |= {("losses", loss.term) for stage in spec.training.stages for loss in stage.losses}
    used |= {("suites", suite.use) for suite in spec.evaluation.suites}
    used |= {("generators", source.generator) for source in spec.data.sources if source.kind == "generator"}
    used |= {("teachers", spec.teacher.source), ("executors", spec.execution.executor)}
    found = []
    for room, name in sorted(used):
        distribution = catalog.distribution(room, name)
        if distribution is not None:
            found.append({"room": room, "name": name, **distribution})
    return found


def _diagnostic(problem: Problem, front: Front) -> Diagnostic:
    assert front.tree is not None
    return front.tree.diagnostic(
        _CODES[problem.what], problem.origin, problem.summary, label=problem.label, help=problem.help
    )


def lock_path(project: Project, plan: Mapping[str, Any]) -> Path:
    """Where the lock of a plan is kept."""
    return project.lock(str(plan["asked"]["name"]))
