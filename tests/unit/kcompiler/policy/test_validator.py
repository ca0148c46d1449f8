"""Each subschema is made once, and what is refused, where and in which words is jsonschema's own."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from referencing import Registry, Resource

from kcompiler import assets
from kcompiler.policy.validator import Validators
from runtime.contract.jsonschemas import Draft202012Validator, best_match
from tests.longer import LONG
from tests.unit.kcompiler.policy import test_reports

SCHEMAS = {file.name: json.loads(file.read_text()) for file in sorted(assets.folder("schemas").glob("report*.json"))}
ENVELOPE = SCHEMAS["report.schema.json"]
REGISTRY: Registry[Any] = Registry().with_resource(ENVELOPE["$id"], Resource.from_contents(ENVELOPE))
OURS = Validators(ENVELOPE)
REPORTS = {report["kind"]: report for report in test_reports.REPORTS.values()}


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*above, key))


def damaged(report: dict[str, Any], place: tuple[Any, ...], how: Any) -> dict[str, Any]:
    changed = copy.deepcopy(report)
    *parents, last = place
    holder: Any = changed
    for key in parents:
        holder = holder[key]
    if how == "gone":
        del holder[last]
    elif how == "another":
        holder[last] = {"value": "x", "unit": "", "tag": "measured", "k": 1}
    else:
        holder[last] = how
    return changed


def said(validator: Any, report: Any) -> Any:
    errors = sorted((error.json_path, error.message, str(error.validator)) for error in validator.iter_errors(report))
    best = best_match(validator.iter_errors(report))
    return errors, best and (best.json_path, best.message)


@pytest.mark.parametrize("kind", sorted(REPORTS))
def test_it_says_what_jsonschema_says(kind: str) -> None:
    report = REPORTS[kind]
    schema = SCHEMAS[f"report.{kind}.schema.json"]
    ours, theirs = OURS.of(schema), Draft202012Validator(schema, registry=REGISTRY)
    assert said(ours, report) == ([], None)
    every = [place for place in places(report) if place]
    refused = 0
    for number, place in enumerate(every[:: max(1, len(every) // (9 if LONG else 4))]):
        for how in ("gone", "another", None, -1, [1, "a"])[number % 2 :: 2]:
            wrong = damaged(report, place, how)
            mine = said(ours, wrong)
            assert mine == said(theirs, wrong), (place, how)
            refused += bool(mine[0])
    assert refused > 3


def test_schemas_of_reports_name_nothing_below_their_top() -> None:
    """Within such a part the same reference would mean something else."""
    for name, schema in SCHEMAS.items():
        inner = [place for place in places(schema) if place and place[-1] in ("$id", "$anchor", "$dynamicRef")]
        assert all(len(place) == 1 or place[-2] == "properties" for place in inner), name


@pytest.mark.parametrize("types", ["integer", "number", "boolean", "string", "null", ["number", "null"], ["array", "object"]])  # fmt: skip
def test_types_and_items_are_those_of_jsonschema(types: str | list[str]) -> None:
    schema = {"$id": "https://example.com/a", "type": "array", "items": {"type": types}}
    values: list[Any] = [True, 1, 1.0, 1.5, "1", None, [1], {"a": 1}]
    mine, theirs = (
        [(error.message, error.json_path) for error in validator.iter_errors(given)]
        for given in (values,)
        for validator in (Validators().of(schema), Draft202012Validator(schema))
    )
    assert mine == theirs
    assert 0 < len(mine) < len(values)
    assert [error.message for error in Validators().of(schema).iter_errors(1)] == ["1 is not of type 'array'"]
