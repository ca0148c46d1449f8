"""Each request has the one call that answers it, valid under the registry, with its spans."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from runtime.contract import Refusal, calls, rows
from runtime.contract.strict_json import Json
from runtime.generators.toy_tools import ASKS, GENERATOR, ToyToolsParams
from runtime.tools import registry

ROOT = Path(__file__).resolve().parents[4]
TOOLS = registry.load(ROOT / "specs" / "tools" / "registry.json")
PARAMS = ToyToolsParams(rows=1500)
ALL = [rows.checked(row, "") for row in GENERATOR.rows(PARAMS, TOOLS, 4)]
MADE = [row for row in ALL if row["class"] != "control"]


def test_requests_are_distinct_and_ask_for_every_tool():
    assert len({row["prompt"] for row in ALL}) == 1500
    assert set(Counter(row["class"] for row in MADE)) == {tool["name"] for tool in TOOLS}


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 150), (0.5, 750)])
def test_a_declared_share_of_the_requests_fits_no_tool(share: float, count: int):
    made = GENERATOR.rows(ToyToolsParams(rows=1500, controls=share), TOOLS, 4)
    assert len({row["prompt"] for row in made}) == 1500
    controls = [row for row in made if row["class"] == "control"]
    assert len(controls) == count
    names = [tool["name"] for tool in TOOLS]
    for row in controls:
        silent = calls.parse(row["response"], names)
        assert isinstance(silent, calls.Fault)
        assert (silent.kind, row["spans"]) == ("no_call", {})
    # evenly between the calls, so that every part of the rows has its share
    places = [number for number, row in enumerate(made) if row["class"] == "control"]
    assert all(after - before in (1, 2, 10) for before, after in pairwise(places))


def test_no_control_is_a_request_for_a_tool():
    """How people begin to ask for a tool, in two words or more, stands in no control."""
    starts = [form.split("{")[0].lower() for ask in ASKS.values() for form in ask.forms]
    starts = [start for start in starts if len(start.split()) > 1]
    assert len(starts) > 10
    for row in ALL:
        if row["class"] == "control":
            assert "{" not in row["prompt"]
            assert not any(start in row["prompt"].lower() for start in starts), row["prompt"]


def test_every_response_is_the_one_spelling_of_a_valid_call():
    valid = registry.validators(TOOLS)
    for row in MADE:
        call = calls.parse(row["response"])
        assert isinstance(call, calls.Call)
        assert calls.render(call) == row["response"]
        assert calls.invalid(call, valid) is None
        assert call.name == row["class"]


def test_spans_cut_out_name_and_arguments():
    for row in MADE:
        (name,), (args,) = row["spans"]["tool_name"], row["spans"]["json_args"]
        assert rows.text_of(row["response"], name) == row["class"]
        assert calls.parse(f'tool.call{{"name":"x","args":{rows.text_of(row["response"], args)}}}')


def leaves(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


def test_every_value_is_said_in_the_request():
    """A model can only learn to copy what is there: numbers and words of the call stand in the prompt."""
    for row in MADE:
        call = calls.parse(row["response"])
        assert isinstance(call, calls.Call)
        said = row["prompt"].lower()
        for value in leaves(call.args):
            if not isinstance(value, bool):
                assert str(value).lower() in said, (row["prompt"], row["response"])


def test_optional_arguments_are_sometimes_there():
    for tool in TOOLS:
        required = set(tool["parameters"]["required"])
        optional = set(tool["parameters"]["properties"]) - required
        seen = [
            set(call.args) for row in MADE if row["class"] == tool["name"] and (call := calls.parse(row["response"]))
        ]
        for name in optional:
            assert 0 < sum(name in args for args in seen) < len(seen)
        assert all(required <= args for args in seen)


def test_the_seed_decides_everything():
    assert GENERATOR.rows(PARAMS, TOOLS, 4) == GENERATOR.rows(PARAMS, TOOLS, 4)
    assert GENERATOR.rows(PARAMS, TOOLS, 5) != GENERATOR.rows(PARAMS, TOOLS, 4)


def test_a_registry_it_has_no_words_for_is_refused():
    other = [*TOOLS, {"name": "fly", "description": "", "parameters": {"type": "object"}}]
    with pytest.raises(Refusal, match="no wording for fly"):
        GENERATOR.rows(PARAMS, other, 1)
    with pytest.raises(Refusal, match="fewer than two tools"):
        GENERATOR.rows(PARAMS, [], 1)


def test_a_registry_with_other_arguments_is_refused():
    other = copy.deepcopy(TOOLS)
    del other[0]["parameters"]["properties"]["city"]
    with pytest.raises(Refusal, match="`get_weather`"):
        GENERATOR.rows(PARAMS, other, 1)


def test_a_schema_that_refuses_its_own_examples_is_refused():
    other = copy.deepcopy(TOOLS)
    other[0]["parameters"]["properties"]["city"]["maxLength"] = 2
    with pytest.raises(Refusal, match="too long"):
        GENERATOR.rows(PARAMS, other, 1)


def test_more_requests_than_there_are_is_refused():
    few = copy.deepcopy([tool for tool in TOOLS if tool["name"] in ("lock_door", "start_timer")])
    few[0]["parameters"]["properties"]["minutes"]["maximum"] = 3
    few[1]["parameters"]["properties"]["delay"]["maximum"] = 3
    few[1]["parameters"]["properties"]["door"]["enum"] = ["front"]
    with pytest.raises(Refusal, match="distinct requests"):
        GENERATOR.rows(ToyToolsParams(rows=2000), few, 1)
