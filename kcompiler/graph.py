"""Nodes → Graph: kinds agree, every reference has one producer, no cycle. Order, queries and drawings.

The order is Kahn's algorithm over the declaration order, so that it is stable and linear in the number of edges;
networkx answers the questions people ask about a graph (cycles, critical path, neighbourhood).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.contract import Port


@dataclass(frozen=True, kw_only=True)
class Input:
    """A file or folder of the project that steps take, pinned by digest. `origin` is a JSON pointer into the spec."""

    name: str
    kind: str
    path: str
    digest: str
    bytes: int
    license: str
    origin: str


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step of the graph. `takes` maps a port to "input:NAME" or "step:ID#PORT"; `after` names preconditions."""

    id: str
    step: str
    version: int
    backend: str
    params: Mapping[str, Any]
    ports: Mapping[str, Port]
    takes: Mapping[str, str]
    gives: Mapping[str, Port]
    code: str
    promise: str
    seed: int
    origin: str
    #: of a statistical promise: what a repetition's figures may differ by
    tolerance: Mapping[str, Any] | None = None
    after: Sequence[str] = ()
    #: names of the params without effect on the result
    unkeyed: Sequence[str] = ()

    def upstream(self) -> Iterator[str]:
        """Ids of the steps this one waits for: what it takes, then its preconditions."""
        for reference in self.takes.values():
            if reference.startswith("step:"):
                yield reference[5:].partition("#")[0]
        yield from self.after


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why nodes do not make a graph; `origin` is the JSON pointer of the section at fault."""

    what: str
    origin: str
    summary: str
    label: str
    help: str


@dataclass(frozen=True, kw_only=True)
class Graph:
    nodes: Sequence[Node]
    inputs: Sequence[Input]
    _index: Mapping[str, Node] = field(default_factory=dict, repr=False, compare=False)

    def __getitem__(self, step_id: str) -> Node:
        return self._index[step_id]

    def __contains__(self, step_id: object) -> bool:
        return step_id in self._index

    def producers(self) -> dict[str, list[str]]:
        """Report kind → ids of the steps that make such a report, in order."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            for port in node.gives.values():
                if port.kind == "report":
                    found.setdefault(port.report, []).append(node.id)
        return found

    def downstream(self, step_id: str) -> set[str]:
        """Ids of everything that waits for a step, directly or not."""
        reached = {step_id}
        for node in self.nodes:  # nodes are in order, so one pass is enough
            if any(up in reached for up in node.upstream()):
                reached.add(node.id)
        return reached - {step_id}


def build(nodes: Sequence[Node], inputs: Sequence[Input]) -> tuple[Graph | None, list[Problem]]:
    """The graph, or every reason why there is none."""
    problems = [*_duplicates(nodes), *_dangling(nodes, inputs)]
    if problems:
        return None, problems
    order = _order(nodes)
    if len(order) < len(nodes):
        return None, [_cycle(nodes)]
    ordered = [nodes[position] for position in order]
    return Graph(nodes=ordered, inputs=list(inputs), _index={node.id: node for node in ordered}), []


def _duplicates(nodes: Iterable[Node]) -> Iterator[Problem]:
    seen: dict[str, Node] = {}
    for node in nodes:
        if node.id in seen:
            yield Problem(
                what="duplicate",
                origin=node.origin,
                summary=f"two steps are called `{node.id}`",
                label="this one",
                help="give one of them another id",
            )
        seen[node.id] = node


def _dangling(nodes: Sequence[Node], inputs: Sequence[Input]) -> Iterator[Problem]:
    index = {node.id: node for node in nodes}
    kinds = {entry.name: entry.kind for entry in inputs}
    for node in nodes:
        for port, wanted in node.ports.items():
            if port not in node.takes and not wanted.optional:
                yield _problem(
                    node,
                    "missing",
                    f"step `{node.id}` lacks `{port}`",
                    f"a {wanted.kind} is needed",
                    f"name a producer for `{port}`",
                )
        for port, reference in node.takes.items():
            if port not in node.ports:
                yield _problem(
                    node,
                    "unknown_port",
                    f"step `{node.id}` takes no `{port}`",
                    "unknown port",
                    f"its ports are {', '.join(sorted(node.ports)) or 'none'}",
                )
                continue
            yield from _check_reference(node, port, reference, index, kinds)
        for before in node.after:
            if before not in index:
                yield _problem(
                    node,
                    "dangling",
                    f"step `{node.id}` waits for `{before}`, which no section makes",
                    "no such step",
                    f"steps are {', '.join(sorted(index))}",
                )


def _check_reference(
    node: Node, port: str, reference: str, index: Mapping[str, Node], kinds: Mapping[str, str]
) -> Iterator[Problem]:
    wanted = node.ports[port].kind
    if reference.startswith("input:"):
        given = kinds.get(reference[6:])
    else:
        producer, _, out = reference.removeprefix("step:").partition("#")
        gives = index[producer].gives if producer in index else {}
        given = gives[out].kind if out in gives else None
    if given == wanted:
        return
    if given is None:
        # listed only here: a list of every port for every reference makes a large graph quadratic
        ports = sorted(f"{p}#{o}" for p, n in index.items() for o in n.gives)[:12]
        known = ", ".join(sorted(kinds) if reference.startswith("input:") else ports) or "none"
        yield _problem(
            node,
            "dangling",
            f"`{reference}`, taken by step `{node.id}` as `{port}`, is made by nothing",
            "no producer",
            f"what can be taken: {known}",
        )
    else:
        yield _problem(
            node,
            "kind",
            f"step `{node.id}` wants a {wanted} as `{port}`, but `{reference}` is a {given}",
            f"a {given}",
            f"name a producer of a {wanted}",
        )


def _problem(node: Node, what: str, summary: str, label: str, action: str) -> Problem:
    return Problem(what=what, origin=node.origin, summary=summary, label=label, help=action)


def _order(nodes: Sequence[Node]) -> list[int]:
    position = {node.id: i for i, node in enumerate(nodes)}
    waiting = [0] * len(nodes)
    followers: list[list[int]] = [[] for _ in nodes]
    for i, node in enumerate(nodes):
        for up in set(node.upstream()):
            followers[position[up]].append(i)
            waiting[i] += 1
    ready = [i for i, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for follower in followers[i]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, follower)
    return order


def _cycle(nodes: Sequence[Node]) -> Problem:
    # imported here: networkx costs 0.1 s and a graph without a cycle never needs it
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph((up, node.id) for node in nodes for up in node.upstream())
    ring = [edge[0] for edge in networkx.find_cycle(graph)]
    first = next(node for node in nodes if node.id in ring)
    return Problem(
        what="cycle",
        origin=first.origin,
        summary=f"steps wait for each other: {' → '.join([*ring, ring[0]])}",
        label="part of the cycle",
        help="remove one of these references",
    )


def critical_path(waits: Mapping[str, Iterable[str]], weights: Mapping[str, float]) -> list[str]:
    """The heaviest way through an acyclic graph, first step first. `waits`: id → ids it waits for; weights ≥ 0."""
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(waits)
    # a step's own weight is on each line that leads to it, and on one from a common start, so that the first counts too
    graph.add_weighted_edges_from(("", name, weights[name]) for name in waits)
    graph.add_weighted_edges_from((up, name, weights[name]) for name, before in waits.items() for up in before)
    return list(networkx.dag_longest_path(graph))[1:]


def neighbourhood(waits: Mapping[str, Iterable[str]], focus: str, depth: int) -> set[str]:
    """`focus` and every step at most `depth` lines before or after it. Raises KeyError: there is no such step."""
    import networkx

    if focus not in waits:
        raise KeyError(focus)
    graph: networkx.DiGraph[str] = networkx.DiGraph((up, name) for name, before in waits.items() for up in before)
    graph.add_node(focus)
    near = networkx.single_source_shortest_path_length
    return {*near(graph, focus, cutoff=depth), *near(graph.reverse(copy=False), focus, cutoff=depth)}
