"""Spec → the content of plan.lock: the graph in order, every default, pin, key and obligation written out.

A pure function of the spec's meaning, the pinned inputs, the policies, the schemas and the code: the same bytes on
every machine. What will run here and now is the delta's business, not the plan's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kcompiler import assets, policy
from kcompiler.checks import order
from kcompiler.compose import variants
from kcompiler.diagnostic import Diagnostic
from kcompiler.diff import strengthens
from kcompiler.front import Front
from kcompiler.graph import Graph, Problem, build
from kcompiler.lower import lower
from kcompiler.plan import named
from kcompiler.plan.decided import at_compile, at_plan
from kcompiler.plan.estimates import kept, told, undecidable
from kcompiler.plan.locked import content, meaning, said
from kcompiler.plan.obliged import APPLY, obligations, written
from kcompiler.plan.silent import silent
from kcompiler.plan.waived import waived
from kcompiler.policy import believed
from kcompiler.project import Project
from kcompiler.source import Tree
from runtime.contract import keys

__all__ = [
    "APPLY",
    "asked_by",
    "kept",
    "lock_path",
    "make",
    "meaning",
    "obligations",
    "problems",
    "restrict",
    "said",
    "silent",
    "told",
    "undecidable",
]

_CODES = {
    "cycle": "KC3001",
    "dangling": "KC3002",
    "missing": "KC3003",
    "kind": "KC3004",
    "unknown_port": "KC3005",
    "duplicate": "KC3006",
}

#: of a step: a report is a file of its name
LONGEST_ID = 200


class _Parts(NamedTuple):
    """What a plan is written from."""

    graph: Graph
    packs: policy.Policy
    obligations: list[dict[str, Any]]


def make(
    front: Front, project: Project, backend: str | None = None, as_of: str | None = None
) -> tuple[dict[str, Any] | None, list[Diagnostic]]:
    """The plan of a spec without errors, or why there is none. Rules that decide before anything runs decide as of
    `as_of`; without it, one with a day only warns."""
    parts, found = _parts(front, project, backend, as_of)
    if parts is None:
        return None, found
    made = content(*parts, front, project)
    held, wrong = waived(made, project)
    made |= {"waivers": held} if held else {}
    wrong += at_plan(front, parts.packs, made, as_of)
    found = [*found, *wrong]
    return (None if any(one.severity == "error" for one in wrong) else made), found


def problems(front: Front, project: Project) -> list[Diagnostic]:
    """What is wrong with the graph and the policies of a spec without errors. No key is computed."""
    return _parts(front, project, None, None)[1]


def _parts(
    front: Front, project: Project, backend: str | None, as_of: str | None
) -> tuple[_Parts | None, list[Diagnostic]]:
    graph, wrong = _graph(front, project, backend)
    if graph is None:
        return None, wrong
    assert front.spec is not None
    packs = policy.load(front.spec.policies, [project.root / "policies", assets.folder("policies")])
    asked, found = obligations(front, packs, *_made(graph))
    found = [*found, *strengthens.weaker(packs.packs)]
    if not any(item.severity == "error" for item in found):
        found += named.unnamed(graph, packs, asked)
    if not any(item.severity == "error" for item in found):
        found += at_compile(front, graph, packs, asked, as_of)
    if any(item.severity == "error" for item in found):
        return None, found
    return _Parts(graph, packs, asked), found


def _graph(front: Front, project: Project, backend: str | None) -> tuple[Graph | None, list[Diagnostic]]:
    assert front.spec is not None
    assert front.tree is not None
    cells = []
    for form in front.forms:
        nodes, inputs = lower(form.spec, project.root, front.path.parent, backend)
        cells.append(variants.Cell(form.labels, nodes, inputs))
    nodes, inputs = variants.unite(cells)
    longest = max((node.id for node in nodes), key=len)
    if len(longest) > LONGEST_ID:
        return None, [_long_id(front.tree, longest)]
    graph, wrong = build(nodes, inputs)
    if graph is None:
        return None, [_diagnostic(problem, front) for problem in wrong]
    if lacking := list(order.missing(graph.nodes)):
        # no spec can bring this about: lowering makes the edges, whatever the sections say
        raise RuntimeError(f"step `{lacking[0][0]}` does not come after `{lacking[0][1]}`")
    return graph, []


def _made(graph: Graph) -> tuple[dict[str, list[str]], dict[str, Mapping[str, Any]], dict[str, str]]:
    """Who makes which report, by which parameters, and which of them rest on a judge."""
    settings = {node.id: node.params for node in graph.nodes}
    settings |= policy.starting((node.id, node.step, node.backend, node.params) for node in graph.nodes)
    return graph.producers(), settings, believed.edges({node.id: node.takes for node in graph.nodes})


def asked_by(front: Front, project: Project, packs: policy.Policy) -> list[Diagnostic]:
    """What rules of these packs ask that a plan of a spec without errors could not answer: a report that no step makes,
    a name that the plan does not have. The spec need not name the packs."""
    graph, wrong = _graph(front, project, None)
    if graph is None:
        return wrong
    asked, found = written(front, packs, *_made(graph))
    return [*found, *named.unnamed(graph, packs, asked)]


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
        "estimates": {step["id"]: plan["estimates"][step["id"]] for step in steps if step["id"] in plan["estimates"]},
    }


def lock_path(project: Project, plan: Mapping[str, Any]) -> Path:
    """Where the lock of a plan is kept."""
    return project.lock(str(plan["asked"]["name"]))


def _long_id(tree: Tree, name: str) -> Diagnostic:
    return tree.diagnostic(
        "KC2120",
        "/matrix",
        f"the id of a step would have {len(name)} characters",
        on="key",
        label=f"`{name[:60]}…`; reports are files of these names, at most {LONGEST_ID} are possible",
        help="give dimensions and their values shorter names",
    )


def _diagnostic(problem: Problem, front: Front) -> Diagnostic:
    assert front.tree is not None
    return front.tree.diagnostic(
        _CODES[problem.what], problem.origin, problem.summary, label=problem.label, help=problem.help
    )
