"""A graph and its obligations → the bytes of plan.lock: pins, defaults, keys, all written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcompiler import __version__, assets, policy
from kcompiler.front import Front
from kcompiler.graph import Graph, Node
from kcompiler.lock import FORMAT
from kcompiler.plan.estimates import estimates
from kcompiler.project import Project
from kcompiler.source import Tree
from runtime import catalog, digest
from runtime.contract import keys

#: schemas of evidence besides those of the reports
_EVIDENCE = frozenset({"contract", "dataset-row", "plan", "policy", "verdict"})


def content(
    graph: Graph,
    packs: policy.Policy,
    obligations: list[dict[str, Any]],
    front: Front,
    project: Project,
) -> dict[str, Any]:
    """The lock of a spec without errors."""
    assert front.spec is not None
    assert front.tree is not None
    toolchain, plugins = toolchain_of(graph), plugins_of(front, graph)
    steps = steps_of(graph, toolchain, plugins)
    return {
        "lock": {"format": FORMAT, "key_scheme": keys.KEY_SCHEME, "hash": "sha256"},
        "made_by": {"name": "kcompiler", "version": __version__},
        "asked": {
            "spec": project.shown(front.path),
            "name": front.name,
            "owner": front.spec.metadata.owner,
            **({"profile": front.profile} if front.profile else {}),
            "executor": front.spec.execution.executor,
            "risk_tier": front.spec.risk_tier,
        },
        "sources": _sources(front, project),
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
        "budgets": front.spec.budgets.of_runs(),
        "steps": steps,
        "estimates": estimates(front, project, steps),
        "obligations": obligations,
    }


def _sources(front: Front, project: Project) -> list[dict[str, str]]:
    """The spec by what it means, whatever it is composed of, and its fragments by their bytes.

    Profiles that were not asked for mean nothing here.
    """
    assert front.base is not None
    spec = {"path": project.shown(front.path), "meaning": meaning(said(front.base))}
    pinned = sorted(front.fragments, key=lambda one: one.path)
    return [spec, *({"path": one.path, "meaning": f"sha256:{one.sha256}"} for one in pinned)]


def said(base: Tree) -> dict[str, Any]:
    """What a composed spec says."""
    assert isinstance(base.data, dict)
    return {key: value for key, value in base.data.items() if key not in ("include", "profiles")}


def meaning(said: Mapping[str, Any]) -> str:
    """ "sha256:…" of it."""
    return digest.of_value(said, "kc.spec.v1")


def steps_of(graph: Graph, toolchain: Mapping[str, str], plugins: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The steps as they stand in a lock, in order, each with its derivation."""
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
        **({"unkeyed": list(node.unkeyed)} if node.unkeyed else {}),
        "gives": {
            name: {"kind": port.kind, **({"report": port.report} if port.report else {})}
            for name, port in sorted(node.gives.items())
        },
        "code": node.code,
        "seed": str(node.seed),
        "promise": node.promise,
        **({"tolerance": dict(node.tolerance)} if node.tolerance is not None else {}),
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


def toolchain_of(graph: Graph) -> dict[str, str]:
    """Distribution → version that the backends of a graph ask for. Raises ValueError when two disagree."""
    pins: dict[str, str] = {}
    for name in sorted({node.backend for node in graph.nodes}):
        for distribution, version in catalog.load("backends", name).requires.items():
            if pins.setdefault(distribution, version) != version:
                raise ValueError(f"backends disagree on {distribution}: {pins[distribution]} and {version}")
    return pins


def plugins_of(front: Front, graph: Graph) -> list[dict[str, str]]:
    """The code of third parties that a plan uses, each by its distribution and the digest of its bytes."""
    used = {("steps", node.step) for node in graph.nodes} | {("backends", node.backend) for node in graph.nodes}
    for spec in (form.spec for form in front.forms):
        used |= {("losses", loss.term) for stage in spec.training.stages for loss in stage.losses}
        used |= {("suites", suite.use) for suite in spec.evaluation.suites}
        used |= {("runners", runner.use) for runner in spec.evaluation.runners}
        used |= {("generators", source.generator) for source in spec.data.sources if source.kind == "generator"}
        used |= {("teachers", spec.teacher.source), ("executors", spec.execution.executor)}
    found = []
    for room, name in sorted(used):
        distribution = catalog.distribution(room, name)
        if distribution is not None:
            found.append({"room": room, "name": name, **distribution})
    return found
