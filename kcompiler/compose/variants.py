"""The graphs of a sweep's cells → one graph: what cells share stands once, what differs says in its id by what.

A step is shared by all cells in which it has the same parameters and takes the same things; its id then carries only
the dimensions that make a difference: `train-kd@seed=2`, `convert@recipe=int8,seed=2`, and `data` for all cells.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from kcompiler.graph import Input, Node

T = TypeVar("T", Node, Input)

#: (dimension, value) of each dimension, sorted by dimension
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cell:
    """What one form of the spec lowers to."""

    labels: Labels
    nodes: Sequence[Node]
    inputs: Sequence[Input]


def belongs(step: str, cell: Labels) -> bool:
    """Whether a step is one of a cell's own: its id contradicts nothing of what the cell is called."""
    return {tuple(pair.split("=", 1)) for pair in step.partition("@")[2].split(",") if pair} <= set(cell)


def unite(cells: Sequence[Cell]) -> tuple[list[Node], list[Input]]:
    """All nodes and inputs of the cells, each once. Nodes of a single cell without labels are left as they are."""
    if len(cells) == 1 and not cells[0].labels:
        return list(cells[0].nodes), list(cells[0].inputs)
    names: list[dict[str, str]] = [{} for _ in cells]
    inputs: dict[str, Input] = {}
    for name in dict.fromkeys(entry.name for cell in cells for entry in cell.inputs):
        found = [next((entry for entry in cell.inputs if entry.name == name), None) for cell in cells]
        for i, entry, label in _labelled(cells, found):
            inputs[name + label] = replace(entry, name=name + label)
            names[i][f"input:{name}"] = f"input:{name}{label}"
    nodes: dict[str, Node] = {}
    by_id = [{node.id: node for node in cell.nodes} for cell in cells]
    for name in _order(by_id):
        renamed = [_renamed(index[name], names[i]) if name in index else None for i, index in enumerate(by_id)]
        for i, node, label in _labelled(cells, renamed):
            nodes.setdefault(name + label, replace(node, id=name + label))
            names[i][name] = name + label
    return list(nodes.values()), list(inputs.values())


def _order(by_id: Sequence[Mapping[str, Node]]) -> list[str]:
    """Ids so that each comes after all that any cell's node of that name waits for; ties as first declared."""
    waits: dict[str, dict[str, None]] = {}
    for index in by_id:
        for node in index.values():
            waits.setdefault(node.id, {}).update(dict.fromkeys(up for up in node.upstream() if up in index))
    try:
        return list(graphlib.TopologicalSorter(waits).static_order())
    except graphlib.CycleError:
        # a cycle is reported by the graph, with its steps; here any order serves
        return list(waits)


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    """A node whose references are those of its cell."""
    takes = {}
    for port, reference in node.takes.items():
        step, mark, rest = reference.removeprefix("step:").partition("#")
        if reference.startswith("step:"):
            takes[port] = f"step:{names.get(step, step)}{mark}{rest}"
        else:
            takes[port] = names.get(reference, reference)
    return replace(node, takes=takes, after=tuple(names.get(step, step) for step in node.after))


def _labelled(cells: Sequence[Cell], found: Sequence[T | None]) -> Iterator[tuple[int, T, str]]:
    """(cell, thing, suffix) of each cell that has it; the suffix names as few dimensions as tell the things apart."""
    dimensions = [name for name, _ in cells[0].labels]
    kept = list(dimensions)
    for name in dimensions:
        fewer = [one for one in kept if one != name]
        if _tells(cells, found, fewer):
            kept = fewer
    for i, thing in enumerate(found):
        if thing is not None:
            suffix = ",".join(f"{name}={label}" for name, label in cells[i].labels if name in kept)
            yield i, thing, f"@{suffix}" if suffix else ""


def _tells(cells: Sequence[Cell], found: Sequence[T | None], kept: Sequence[str]) -> bool:
    """Whether cells that agree in these dimensions have the same thing, or all lack it."""
    seen: dict[Labels, T | None] = {}
    for cell, thing in zip(cells, found, strict=True):
        key = tuple(pair for pair in cell.labels if pair[0] in kept)
        if seen.setdefault(key, thing) != thing:
            return False
    return True
