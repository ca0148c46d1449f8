"""Nodes → a graph in a stable order, or every reason why there is none, each with the section at fault."""

from __future__ import annotations

import random

import pytest

from kcompiler.graph import Graph, Input, Node, Problem, build
from runtime.contract import Params, Port

DATASET, CHECKPOINT = Port(kind="dataset"), Port(kind="checkpoint")
PIN = "sha256:" + "0" * 64
FILE = Input(name="rows", kind="file", path="rows.jsonl", digest=PIN, bytes=1, license="MIT", origin="/data/sources/0")


def node(
    id: str,
    takes: dict[str, str] | None = None,
    *,
    ports: dict[str, Port] | None = None,
    gives: dict[str, Port] | None = None,
    after: tuple[str, ...] = (),
) -> Node:
    """A step that takes datasets and gives one, unless said otherwise."""
    return Node(
        id=id,
        step="some",
        version=1,
        backend="python",
        params=Params().model_dump(),
        ports=dict.fromkeys(takes or {}, DATASET) if ports is None else ports,
        takes=takes or {},
        gives={"out": DATASET} if gives is None else gives,
        code="sha256:0",
        promise="bitwise",
        seed=0,
        origin=f"/steps/{id}",
        after=after,
    )


def graph(*nodes: Node, inputs: tuple[Input, ...] = ()) -> Graph:
    found, problems = build(nodes, inputs)
    assert found is not None, problems
    return found


def problem(*nodes: Node, inputs: tuple[Input, ...] = ()) -> Problem:
    """The one problem these nodes have."""
    found, problems = build(nodes, inputs)
    assert found is None
    assert len(problems) == 1, problems
    return problems[0]


class TestOrder:
    def test_producers_come_first_else_the_declared_order_stays(self) -> None:
        nodes = [node("d", {"in": "step:b#out"}), node("a"), node("b"), node("c", {"in": "step:a#out"})]
        assert [item.id for item in graph(*nodes).nodes] == ["a", "b", "d", "c"]

    def test_a_precondition_orders_like_an_artifact(self) -> None:
        assert [item.id for item in graph(node("late", after=("early",)), node("early")).nodes] == ["early", "late"]

    def test_every_declaration_order_gives_a_valid_order(self) -> None:
        chain = [node("s0"), *(node(f"s{i}", {"in": f"step:s{i - 1}#out"}) for i in range(1, 12))]
        for seed in range(20):
            shuffled = random.Random(seed).sample(chain, len(chain))
            assert [item.id for item in graph(*shuffled).nodes] == [item.id for item in chain]

    def test_a_chain_of_ten_thousand_is_no_deep_recursion(self) -> None:
        chain = [node("s0"), *(node(f"s{i}", {"in": f"step:s{i - 1}#out"}) for i in range(1, 10_000))]
        assert [item.id for item in graph(*chain[::-1]).nodes] == [item.id for item in chain]


class TestQueries:
    def test_downstream_is_everything_that_waits_directly_or_not(self) -> None:
        found = graph(
            node("a"),
            node("b", {"in": "step:a#out"}),
            node("c", after=("b",)),
            node("other"),
            node("d", {"x": "step:c#out", "y": "step:other#out"}),
        )
        assert found.downstream("a") == {"b", "c", "d"}
        assert found.downstream("other") == {"d"}
        assert found.downstream("d") == set()

    def test_producers_of_a_report_kind_are_named_in_order(self) -> None:
        report = {"report": Port(kind="report", report="eval.answers"), "out": DATASET}
        found = graph(node("second", after=("first",), gives=report), node("first", gives=report), node("third"))
        assert found.producers() == {"eval.answers": ["first", "second"]}

    def test_a_node_is_found_by_its_id(self) -> None:
        found = graph(node("a"))
        assert found["a"].id == "a"
        assert "a" in found
        assert "b" not in found


class TestProblems:
    def test_two_steps_of_one_name(self) -> None:
        found = problem(node("a"), node("a"))
        assert (found.what, found.origin) == ("duplicate", "/steps/a")
        assert "`a`" in found.summary

    def test_a_port_without_a_producer(self) -> None:
        found = problem(node("a", ports={"model": CHECKPOINT}))
        assert (found.what, found.origin) == ("missing", "/steps/a")
        assert "`model`" in found.summary
        assert "checkpoint" in found.label

    def test_an_optional_port_may_stay_open(self) -> None:
        graph(node("a", ports={"model": Port(kind="checkpoint", optional=True)}))

    def test_a_port_the_step_does_not_have(self) -> None:
        found = problem(
            node("a"), node("b", {"wrong": "step:a#out"}, ports={"right": Port(kind="dataset", optional=True)})
        )
        assert (found.what, found.origin) == ("unknown_port", "/steps/b")
        assert "right" in found.help

    @pytest.mark.parametrize("reference", ["step:nobody#out", "step:a#nothing", "input:nowhere"])
    def test_a_reference_to_what_nobody_makes(self, reference: str) -> None:
        found = problem(node("a"), node("b", {"in": reference}), inputs=(FILE,))
        assert (found.what, found.origin) == ("dangling", "/steps/b")
        assert f"`{reference}`" in found.summary
        assert ("rows" if reference.startswith("input:") else "a#out") in found.help

    def test_a_precondition_that_no_section_makes(self) -> None:
        found = problem(node("a", after=("nobody",)))
        assert (found.what, found.origin) == ("dangling", "/steps/a")
        assert "`nobody`" in found.summary

    @pytest.mark.parametrize("reference", ["step:a#out", "input:rows"])
    def test_an_artifact_of_another_kind(self, reference: str) -> None:
        found = problem(node("a"), node("b", {"in": reference}, ports={"in": CHECKPOINT}), inputs=(FILE,))
        assert (found.what, found.origin) == ("kind", "/steps/b")
        assert "wants a checkpoint" in found.summary
        assert ("is a dataset" if reference.startswith("step:") else "is a file") in found.summary

    @pytest.mark.parametrize("length", [1, 2, 7])
    def test_a_cycle_is_shown_as_a_ring(self, length: int) -> None:
        ring = [node(f"r{i}", {"in": f"step:r{(i - 1) % length}#out"}) for i in range(length)]
        found = problem(node("outside"), *ring, node("behind", {"in": "step:r0#out"}))
        assert found.what == "cycle"
        assert found.origin.startswith("/steps/r")
        shown = found.summary.partition(": ")[2].split(" → ")
        assert shown[0] == shown[-1]
        assert set(shown) == {item.id for item in ring}

    def test_a_precondition_can_close_a_cycle(self) -> None:
        assert problem(node("a", after=("b",)), node("b", {"in": "step:a#out"})).what == "cycle"

    def test_all_problems_are_found_at_once(self) -> None:
        found, problems = build([node("a"), node("a"), node("b", {"in": "step:x#out"}, after=("y",))], ())
        assert found is None
        assert sorted(item.what for item in problems) == ["dangling", "dangling", "duplicate"]
        assert all(item.help and item.label for item in problems)
