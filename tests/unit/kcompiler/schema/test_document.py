"""The published schema: what it promises, and to whom."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from kcompiler.schema import published, twin
from kcompiler.schema.document import document, fields
from kcompiler.spec import PLUGGED
from runtime import catalog

ROOT = Path(__file__).resolve().parents[4]
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
SCHEMA = published()
TWIN = twin(SCHEMA)


def nodes(node):
    yield node
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        if isinstance(item, dict | list):
            yield from nodes(item)


DIALECTS = ((SCHEMA, jsonschema.Draft202012Validator), (TWIN, jsonschema.Draft7Validator))


def test_both_dialects_are_schemas():
    for schema, validator in DIALECTS:
        validator.check_schema(schema)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_shipped_spec_is_valid_in_both_dialects(path):
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    data["student"]["parameters"] = str(data["student"]["parameters"])
    for schema, validator in DIALECTS:
        assert [error.message for error in validator(schema).iter_errors(data)] == []


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(colour="blue"),
        lambda data: data["training"]["stages"][0]["losses"][0].update(temprature=1.0),
        lambda data: data["training"]["stages"][0]["losses"][0].update(temperature=0),
        lambda data: data["teacher"].update(steps="300"),
        lambda data: data["teacher"].update(model="x"),
        lambda data: data["data"]["sources"][0]["params"].update(rowz=1),
        lambda data: data["data"]["sources"][0].update(path="x"),
        lambda data: data["student"]["architecture"].update(vocab_size=512),
        lambda data: data["training"]["stages"][0].update({"schedule": None}),
        lambda data: data.pop("budgets"),
    ],
)
def test_both_dialects_refuse_the_same(change):
    data = yaml.safe_load((ROOT / "specs/eight-ball.yaml").read_text(encoding="utf-8"))
    change(data)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(data)
    assert not jsonschema.Draft7Validator(twin(SCHEMA)).is_valid(data)


def test_unions_are_never_one_of():
    for schema in (SCHEMA, twin(SCHEMA)):
        assert not [node for node in nodes(schema) if isinstance(node, dict) and {"oneOf", "anyOf"} & set(node)]


def test_null_is_never_a_value():
    """Absence is written by leaving a key out; an empty value is somebody's forgotten one."""
    assert '"null"' not in json.dumps(SCHEMA)


def written_by_people():
    """(owner, key, field) of the schema, but for steps that a spec names by hand: those are left to the steps."""
    step_parts = {"Source", "Term", "Tried", "Recipe", "Rounding", "Shard", "Target", "Terms"} | {
        name for name in SCHEMA["$defs"] if name.startswith("steps.")
    }
    for owner, key, field in fields(SCHEMA):
        if owner.partition(".")[0] != "ExtraStep" and owner not in step_parts:
            yield owner, key, field


def test_every_field_of_a_spec_says_what_it_is_for():
    silent = [
        f"{owner}.{key}"
        for owner, key, field in written_by_people()
        if "description" not in field and "description" not in SCHEMA["$defs"].get(field.get("$ref", "")[8:], {})
    ]
    assert silent == []


def test_every_number_has_a_unit_and_editors_show_it():
    numbers = [
        (owner, key, field)
        for owner, key, field in written_by_people()
        if field.get("type") in ("integer", "number") or field.get("items", {}).get("type") in ("integer", "number")
    ]
    assert len(numbers) > 90
    assert [f"{owner}.{key}" for owner, key, field in numbers if "x-unit" not in field] == []
    shown = {(owner, key): field for owner, key, field in fields({**TWIN, "$defs": TWIN["definitions"]})}
    for owner, key, field in numbers:
        if field["x-unit"] != "1":
            assert shown[owner, key]["description"].endswith(f"Unit: {field['x-unit']}."), (owner, key)


def test_every_field_has_an_example_that_is_allowed():
    """But for those that list what they allow, say yes or no, or are described by parts that have examples."""
    lacking, wrong = [], []
    for owner, key, field in written_by_people():
        items = field.get("items", {})
        listed = {"enum", "const", "$ref", "allOf"} & ({*field, *items}) or field.get("type") == "boolean"
        if listed or "properties" in field or (field.get("type") == "object" and key in ("profiles", "matrix")):
            continue
        if not field.get("examples"):
            lacking.append(f"{owner}.{key}")
        whole = {"$schema": SCHEMA["$schema"], "$defs": SCHEMA["$defs"], **field}
        for example in field.get("examples", []):
            wrong += [
                f"{owner}.{key}: {e.message}" for e in jsonschema.Draft202012Validator(whole).iter_errors(example)
            ]
    assert (lacking, wrong) == ([], [])


def test_every_mapping_is_closed():
    open_ones = [
        name
        for name, definition in SCHEMA["$defs"].items()
        if definition.get("additionalProperties") is not False and "allOf" not in definition
    ]
    assert open_ones == []


@pytest.mark.parametrize("model", PLUGGED, ids=lambda model: model.room)
def test_every_built_in_plug_in_has_its_branch(model):
    built_in = [name for name in catalog.names(model.room) if catalog.distribution(model.room, name) is None]
    branches = SCHEMA["$defs"][model.__name__]["allOf"]
    assert [branch["if"]["properties"][model.key]["const"] for branch in branches] == built_in


@pytest.mark.parametrize(
    ("room", "name"),
    [(model.room, name) for model in PLUGGED if model.room != "steps" for name in catalog.names(model.room)],
)
def test_the_schema_accepts_what_the_parameters_of_a_plug_in_accept(room, name):
    """A plug-in with defaults for everything is accepted with its name alone."""
    model = next(model for model in PLUGGED if model.room == room)
    params = catalog.load(room, name).params
    if any(info.is_required() for info in params.model_fields.values()):
        return
    given = params().model_dump(mode="json", exclude_none=True)
    own = {"weight": 1.0, "name": "x", "kind": "generator", "license": "MIT", "id": "x"}
    needed = {
        key: value for key, value in own.items() if key in SCHEMA["$defs"][f"{model.__name__}.{name}"]["properties"]
    }
    instance = {model.key: name, **needed, **(given if model.inline else {"params": given})}
    whole = {**SCHEMA, "$ref": f"#/$defs/{model.__name__}"}
    for key in ("type", "properties", "additionalProperties", "if", "then", "else"):
        whole.pop(key)
    assert [error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(instance)] == []


def test_only_plug_ins_that_are_used_are_described():
    """Code of a plug-in runs when it is loaded, so a spec loads only what it names."""
    known = {room: ["alpha", "kl"] for room in ("losses", "teachers", "suites", "generators", "steps", "executors")}
    made = document(known, {"losses": ["kl"]})
    assert made["$defs"]["Loss"]["properties"]["term"]["enum"] == ["alpha", "kl"]
    assert [name for name in made["$defs"] if "." in name] == ["Loss.kl"]
