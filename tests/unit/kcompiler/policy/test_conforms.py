"""What the compiled schemas accept is what jsonschema accepts, neither more nor less."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompiler.audit import schema as audited
from kcompiler.policy import conforms, evidence
from kcompiler.policy.validator import Validators
from runtime.contract import strict_json
from tests.unit.kcompiler.policy.test_validator import ENVELOPE, OURS, REPORTS, SCHEMAS, damaged, places

#: what may stand anywhere in a report, and seldom should
ODD: tuple[Any, ...] = (
    *("gone", "another", None, True, 1, 1.0, -1, 0.5, "", "a\n", [], {}, [1, "a"]),
    {"value": 1, "unit": "ratio", "tag": "measured"},
    {"value": None, "unit": "s", "tag": "unavailable"},
    {"value": 1.0, "unit": "s", "tag": "estimated", "by": 3},
)


def test_every_schema_of_a_report_is_compiled() -> None:
    """One that is not would be slow, and stay so unnoticed."""
    compiler = conforms.Compiler(ENVELOPE)
    assert [name for name, schema in SCHEMAS.items() if compiler.of(schema) is None] == []


@pytest.mark.parametrize("kind", sorted(REPORTS))
def test_damaged_reports_are_refused_as_jsonschema_refuses_them(kind: str) -> None:
    """Each place with some of what may stand there; the choice is the same in every run."""
    report, schema, chance = REPORTS[kind], SCHEMAS[f"report.{kind}.schema.json"], random.Random(kind)
    ours, theirs = conforms.Compiler(ENVELOPE).of(schema), OURS.of(schema)
    assert ours is not None
    assert ours(report)
    every = [place for place in places(report) if place]
    answers = []
    for place in chance.sample(every, min(len(every), 20)):
        how = chance.choice(ODD)
        wrong = strict_json.loads(json.dumps(damaged(report, place, how)))
        answers.append(ours(wrong))
        assert answers[-1] is (next(theirs.iter_errors(wrong), None) is None), (place, how)
    assert not all(answers)


SCALARS = st.none() | st.booleans() | st.sampled_from([0, 1, 2, 3, -1, 1.0, 0.5, 2.5, "", "a", "b", "ab", "a\n"])
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below, max_size=3)
)
NAMES = st.lists(st.sampled_from("abc"), max_size=2, unique=True)
TYPES = st.sampled_from(["object", "array", "string", "boolean", "null", "number", "integer"])
COUNT = st.integers(0, 3)


def _keywords(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "const": SCALARS,
            "enum": st.lists(SCALARS, min_size=1, max_size=3),
            "pattern": st.sampled_from(["a$", "^a", "b", "^$"]),
            "multipleOf": st.sampled_from([1, 2]),
            "minimum": st.sampled_from([0, 1, 0.5]),
            "exclusiveMinimum": st.sampled_from([0, 1, 0.5]),
            "maximum": st.sampled_from([0, 1, 0.5]),
            **dict.fromkeys(("minLength", "minItems", "maxItems", "minProperties"), COUNT),
            "required": NAMES,
            "properties": st.dictionaries(st.sampled_from("abc"), below, max_size=2),
            "additionalProperties": below,
            "propertyNames": below,
            "dependentRequired": st.dictionaries(st.sampled_from("abc"), NAMES, max_size=2),
            "items": below,
            **dict.fromkeys(("if", "then", "else"), below),
            **dict.fromkeys(("allOf", "anyOf"), st.lists(below, min_size=1, max_size=2)),
            "$ref": st.sampled_from(["#/$defs/one", "other#/$defs/one", "other"]),
        },
    ).map(_read_together)


def _read_together(schema: dict[str, Any]) -> dict[str, Any]:
    """`then` and `else` without `if` are left to jsonschema."""
    return schema if "if" in schema else {key: one for key, one in schema.items() if key not in ("then", "else")}


BELOW = st.recursive(st.booleans() | _keywords(st.booleans()), _keywords, max_leaves=6)


@given(_keywords(BELOW), BELOW, st.lists(VALUES, min_size=3, max_size=6))
@settings(max_examples=25, deadline=None)
def test_any_schema_of_known_keywords_means_what_it_means_to_jsonschema(
    schema: dict[str, Any], one: Any, values: list[Any]
) -> None:
    ref = {"$ref": "#/$defs/one"}
    other = {"$id": "other", "anyOf": [{"type": "object"}, ref], "$defs": {"one": {"additionalProperties": ref}}}
    whole = {**copy.deepcopy(schema), "$id": "whole", "$defs": {"one": _without_references(one)}}
    known = conforms.Compiler(other).of(whole)
    assert known is not None
    theirs = Validators(other).of(whole)
    for value in values:
        assert known(value) is (next(theirs.iter_errors(value), None) is None), (whole, value)


def _without_references(node: Any) -> Any:
    """A definition that refers to itself at the same value has no end in jsonschema either."""
    if isinstance(node, dict):
        return {key: _without_references(item) for key, item in node.items() if key != "$ref"}
    return [_without_references(item) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize("values", [[], [1, 1.0], [1, True], [0, False, None, ""], [[1], [True]], [[1], [1.0]], ["a", "b", "a"], [{"a": 1}, {"a": 1.0}], [{"a": 1}, {"b": 1}], "aa"], ids=str)  # fmt: skip
def test_equal_items_are_those_of_jsonschema(values: Any) -> None:
    for said in (True, False):
        schema = {"$id": "a", "uniqueItems": said}
        known = conforms.Compiler().of(schema)
        assert known is not None
        assert known(values) is (next(Validators().of(schema).iter_errors(values), None) is None)


@pytest.mark.parametrize("name", ["plan", "verdict"])
def test_what_an_auditor_reads_whole_is_compiled(name: str) -> None:
    assert audited._accepts(name) is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": [True]},
        {"not": False},
        {"patternProperties": {"a": True}},
        {"prefixItems": [True]},
        {"format": "date"},
        {"const": [1]},
        {"enum": [{}]},
        {"multipleOf": 0.5},
        {"properties": {"a": {"then": True}}},
        {"$ref": "elsewhere"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#anchor"},
        {"items": {"unevaluatedItems": False}},
    ],
    ids=str,
)
def test_what_is_not_known_is_left_to_jsonschema(schema: dict[str, Any]) -> None:
    assert conforms.Compiler().of({"$id": "a", **schema}) is None


def test_a_schema_that_is_not_known_spoils_no_other() -> None:
    """What was made on the way to it is not used: it may stand for what was never made."""
    compiler = conforms.Compiler({"$id": "s", "$defs": {"bad": {"items": {"$ref": "s#/$defs/good"}, "not": True}, "good": {"items": {"$ref": "s#/$defs/bad"}}}})  # fmt: skip
    assert compiler.of({"$id": "a", "$ref": "s#/$defs/bad"}) is None
    assert compiler.of({"$id": "b", "$ref": "s#/$defs/good"}) is None


def test_a_right_report_is_read_without_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(name: str) -> Any:
        raise AssertionError(name)

    monkeypatch.setattr(evidence, "_worded", never)
    evidence._read.cache_clear()
    found = [evidence.read(report).problem for report in REPORTS.values()]
    # the samples were put together by hand: some say two things of one number, none has a wrong form
    assert [why for why in found if "satisfy" in why] == []
    assert len(found) >= 10


def test_a_schema_that_only_jsonschema_knows_still_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    report = REPORTS["data.splits"]
    monkeypatch.setattr(conforms.Compiler, "of", lambda *_: None)
    for one in (evidence._schema, evidence._read):
        one.cache_clear()
    assert evidence.read(report).problem == ""
    wrong = damaged(report, ("data",), "gone")
    assert "'data' is a required property" in evidence.read(wrong).problem
    evidence._schema.cache_clear()
