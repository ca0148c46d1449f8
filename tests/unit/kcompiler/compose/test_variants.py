"""A sweep's graphs united: what cells share stands once, what differs is named by what makes the difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from kcompiler.compose.variants import Cell, belongs, unite
from kcompiler.graph import Input, Node, build
from runtime.contract import Port
from tests.unit.kcompiler.compiling import made

PORT = Port(kind="file")


def node(name: str, params: dict[str, Any], *, takes: str = "", after: tuple[str, ...] = ()) -> Node:
    return Node(
        id=name,
        step="s",
        version=1,
        backend="python",
        params=params,
        ports={"x": PORT} if takes else {},
        takes={"x": takes} if takes else {},
        gives={"out": PORT},
        code="c",
        promise="bitwise",
        seed=1,
        origin="",
        after=after,
    )


def cells(grid: dict[str, list[str]], nodes: Any) -> list[Cell]:
    """One cell per combination; `nodes` makes the nodes of one from its labels."""
    found: list[dict[str, str]] = [{}]
    for name in sorted(grid):
        found = [{**one, name: value} for one in found for value in grid[name]]
    return [Cell(tuple(sorted(one.items())), nodes(one), []) for one in found]


def test_a_single_form_keeps_its_names():
    nodes = [node("a", {})]
    assert unite([Cell((), nodes, [])]) == (nodes, [])


def test_a_step_is_named_by_the_dimensions_that_matter_to_it():
    def nodes(cell: dict[str, str]) -> list[Node]:
        return [
            node("data", {}),
            node("train", {"seed": cell["seed"]}, takes="step:data#out"),
            node("convert", {"recipe": cell["recipe"]}, takes="step:train#out", after=("data", "train")),
            node("lint", {"recipe": cell["recipe"]}, takes="step:data#out"),
        ]

    nodes_of_all, inputs_of_all = unite(cells({"seed": ["1", "2"], "recipe": ["a", "b"]}, nodes))
    assert sorted(one.id for one in nodes_of_all) == [
        "convert@recipe=a,seed=1",
        "convert@recipe=a,seed=2",
        "convert@recipe=b,seed=1",
        "convert@recipe=b,seed=2",
        "data",
        "lint@recipe=a",
        "lint@recipe=b",
        "train@seed=1",
        "train@seed=2",
    ]
    by_id = {one.id: one for one in nodes_of_all}
    assert by_id["convert@recipe=a,seed=2"].takes == {"x": "step:train@seed=2#out"}
    assert by_id["convert@recipe=a,seed=2"].after == ("data", "train@seed=2")
    first = (("recipe", "a"), ("seed", "1"))
    assert {one for one in by_id if belongs(one, first)} == {
        "data",
        "train@seed=1",
        "lint@recipe=a",
        "convert@recipe=a,seed=1",
    }
    graph, problems = build(nodes_of_all, inputs_of_all)
    assert graph is not None, problems


def test_a_step_that_some_cells_lack_is_named_by_who_has_it():
    nodes_of_all, _ = unite(
        cells({"kd": ["no", "yes"]}, lambda cell: [node("a", {}), *([node("b", {})] if cell["kd"] == "yes" else [])])
    )
    assert [one.id for one in nodes_of_all] == ["a", "b@kd=yes"]
    assert [belongs("b@kd=yes", (("kd", label),)) for label in ("no", "yes")] == [False, True]


def test_inputs_are_shared_or_named_like_steps():
    def cell(label: str, digest: str) -> Cell:
        entry = Input(name="rows", kind="file", path="p", digest=digest, bytes=1, license="", origin="")
        same = replace(entry, name="tools", digest="same")
        return Cell(
            (("d", label),), [node("a", {}, takes="input:rows"), node("t", {}, takes="input:tools")], [entry, same]
        )

    nodes_of_all, inputs_of_all = unite([cell("x", "1"), cell("y", "2")])
    assert [one.name for one in inputs_of_all] == ["rows@d=x", "rows@d=y", "tools"]
    assert {one.id: one.takes["x"] for one in nodes_of_all} == {
        "a@d=x": "input:rows@d=x",
        "a@d=y": "input:rows@d=y",
        "t": "input:tools",
    }


@given(st.lists(st.sets(st.sampled_from(["p", "q", "r"])), min_size=1, max_size=6), st.data())
def test_every_cell_is_its_own_graph_again(depends, data):
    """Taking one cell's steps out of the union, without the labels, gives back that cell's graph."""
    edges = [data.draw(st.integers(0, i - 1)) if i and data.draw(st.booleans()) else None for i in range(len(depends))]

    def nodes(cell: dict[str, str]) -> list[Node]:
        return [
            node(
                f"n{i}",
                {name: cell[name] for name in needs},
                takes=f"step:n{edges[i]}#out" if edges[i] is not None else "",
            )
            for i, needs in enumerate(depends)
        ]

    given_cells = cells({"p": ["1", "2"], "q": ["1", "2"], "r": ["1", "2", "3"]}, nodes)
    nodes_of_all, _ = unite(given_cells)
    by_id = {one.id: one for one in nodes_of_all}
    assert len(by_id) == len(nodes_of_all)
    for cell in given_cells:
        steps = [name for name in by_id if belongs(name, cell.labels)]
        plain = {
            name.partition("@")[0]: {
                port: ref.partition("@")[0].partition("#")[0] for port, ref in by_id[name].takes.items()
            }
            for name in steps
        }
        assert plain == {one.id: {port: ref.partition("#")[0] for port, ref in one.takes.items()} for one in cell.nodes}
        for one in cell.nodes:
            mine = next(by_id[name] for name in steps if name.partition("@")[0] == one.id)
            assert mine.params == one.params
    # two steps of one name differ, or they would be one
    for one in nodes_of_all:
        for other in nodes_of_all:
            if one.id < other.id and one.id.partition("@")[0] == other.id.partition("@")[0]:
                assert replace(one, id="") != replace(other, id="")


def test_rules_are_about_the_steps_of_their_own_cell(tmp_path: Path):
    def sweep(data: dict[str, Any]) -> None:
        data["matrix"] = {"lengths": {"long": {"shapes.prefill": [32, 64]}, "short": {"shapes.prefill": [64]}}}

    found, problems = made(tmp_path, sweep)
    assert found is not None, problems
    expected = {
        one["from"]: one["expect"] for one in found["obligations"] if one["rule"] == "caws/core/parity-every-shape"
    }
    assert expected == {
        "step:verify@lengths=long": ["prefill_32", "prefill_64"],
        "step:verify@lengths=short": ["prefill_64"],
    }


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)])
def test_an_id_has_at_most_200_characters(tmp_path: Path, more: int, fits: bool):
    """`evaluate-answers@<dimension>=1` is the longest id of this spec."""
    dimension = "s" * (200 - len("evaluate-answers@=1") + more)

    def sweep(data: dict[str, Any]) -> None:
        data["matrix"] = {dimension: {str(i): {"execution.seed": i} for i in (1, 2)}}

    found, problems = made(tmp_path, sweep)
    assert [item.code for item in problems] == ([] if fits else ["KC2120"])
    if found is not None:
        assert max(len(step["id"]) for step in found["steps"]) == 200
