"""Section models and the catalog → the JSON Schema of a spec (2020-12), and its draft-07 twin for editors.

A part of a spec whose keys depend on a plug-in is a list of `if` (the plug-in's name) `then` (one closed object), so
that a mistake is reported against the plug-in that was named, never against all of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from kcompiler.spec import PLUGGED, Spec
from kcompiler.spec.base import ROOM, Plugged
from kcompiler.spec.plugins import WIDTH
from kcompiler.spec.student import CHECKPOINTS, FROM_CHECKPOINT, FROM_CUT
from runtime import catalog
from runtime.contract.signals import WHICH
from runtime.contract.units import UNIT

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DRAFT_07 = "http://json-schema.org/draft-07/schema#"
ID = "urn:kcompiler:schema:spec:v1"


#: what a spec says itself, whatever it includes
_OWN = ("apiVersion", "kind", "metadata")


def published() -> Json:
    """The schema with every built-in plug-in: the same on every machine, whatever else is installed there.

    It is for the text of a spec: one that includes fragments may leave whole sections to them.
    """
    rooms = {model.room for model in PLUGGED} | {"executors"}
    names = {room: [n for n in catalog.names(room) if catalog.distribution(room, n) is None] for room in rooms}
    whole = document(names, names)
    required = whole.pop("required")
    _left_to_folders(whole["$defs"])
    return {
        **whole,
        "if": {"required": ["include"]},
        "then": {"required": list(_OWN)},
        "else": {"required": required, "properties": _released(whole)},
    }


def _left_to_folders(defs: dict[str, Json]) -> None:
    """What a spec may leave to the folders it names, and is written out before it is checked (facts/derived.py)."""
    shape = defs["Student"]["properties"].pop("architecture")
    defs["Student"]["properties"]["architecture"] = {
        "description": f"{shape['description']} `{FROM_CHECKPOINT}` takes the shape of the weights to start from, "
        f"`{FROM_CUT}` what student.cut leaves of the teacher's.",
        "if": {"type": "string"},
        "then": {"enum": [FROM_CHECKPOINT, FROM_CUT]},
        "else": {"$ref": shape["$ref"]},
        "examples": [FROM_CHECKPOINT, FROM_CUT],
    }
    for section, name in (("Student", "architecture"), ("Tokenizer", "vocab_size")):
        defs[section]["required"] = [one for one in defs[section]["required"] if one != name]


def _released(whole: Json) -> Json:
    """Section → the keys it requires, taken out of its definition: fragments may bring them."""
    found = {}
    for name, section in whole["properties"].items():
        definition = whole["$defs"].get(str(section.get("$ref", "")).removeprefix("#/$defs/"), {})
        if name not in _OWN and "properties" in definition and "allOf" not in definition and "required" in definition:
            found[name] = {"required": definition.pop("required")}
    return found


def document(known: Mapping[str, Collection[str]], used: Mapping[str, Collection[str]]) -> Json:
    """The schema that allows the plug-ins `known` and describes those of them that are `used`. Only these are loaded.

    Raises Refusal, ImportError or AttributeError for a used plug-in that is broken.
    """
    root: Json = json.loads(_sections())
    defs: dict[str, Json] = root.pop("$defs")
    defs.pop("Params", None)
    _without_width(defs)
    _checkpoints(defs)
    for model in PLUGGED:
        defs[model.__name__] = _by_plugin(model, defs, used.get(model.room, ()))
    whole = {"$schema": DIALECT, "$id": ID, "title": "kcompiler spec", **root, "$defs": defs}
    return _tidy(whole, {room: sorted(names) for room, names in known.items()})


@cache
def _sections() -> str:
    """The schema of the section models, which depends on no plug-in: most of the work, and the same every time. A text,
    so that everybody has one of their own to change."""
    return json.dumps(Spec.model_json_schema(by_alias=True))


def _checkpoints(defs: dict[str, Json]) -> None:
    """A checkpoint by its source; one that names none is a folder."""
    written = defs["Student"]["properties"]["checkpoint"]
    source = defs[CHECKPOINTS["hf"]]["properties"]["source"]
    defs["Student"]["properties"]["checkpoint"] = {
        "description": written["description"],
        "type": "object",
        "properties": {"source": {**source, "description": "What the weights are.", "enum": sorted(CHECKPOINTS)}},
        "allOf": [
            {
                # without `required`, this holds of one that leaves it out as well
                "if": {"properties": {"source": {"const": name}}, **({} if name == "hf" else {"required": ["source"]})},
                "then": {"$ref": f"#/$defs/{model}"},
            }
            for name, model in sorted(CHECKPOINTS.items())
        ],
    }
    del defs["Student"]["properties"]["checkpoint"]["properties"]["source"]["const"]


def _without_width(defs: dict[str, Json]) -> None:
    """In a spec an architecture has no vocabulary width: the tokenizer decides it."""
    architecture = defs.get("Architecture")
    if architecture is not None:
        architecture["properties"].pop(WIDTH, None)
        architecture["required"] = [name for name in architecture["required"] if name != WIDTH]


def _by_plugin(model: type[Plugged], defs: dict[str, Json], names: Collection[str]) -> Json:
    """The open object that names a plug-in; each plug-in's closed object is added to `defs`."""
    own = defs[model.__name__]
    own["properties"].pop("params")
    own["required"] = [name for name in own["required"] if name != "params"]
    branches = []
    for name in sorted(names):
        title = f"{model.__name__}.{name}"
        defs[title] = _closed(model, own, name, defs)
        named = {"properties": {model.key: {"const": name}}, "required": [model.key]}
        branches.append({"if": named, "then": {"$ref": f"#/$defs/{title}"}})
    return {
        "type": "object",
        "description": own["description"],
        "properties": {model.key: own["properties"][model.key]},
        "required": [model.key],
        **({"allOf": branches} if branches else {}),
    }


def _closed(model: type[Plugged], own: Json, name: str, defs: dict[str, Json]) -> Json:
    plugin = catalog.load(model.room, name)
    params = _params(plugin.params, f"{model.room}.{name}", defs, model.room == "teachers")
    named = {key: value for key, value in own["properties"][model.key].items() if key != ROOM}
    properties = {**own["properties"], model.key: {**named, "const": name}}
    if model.room == "teachers":
        properties["signals"] = {**properties["signals"], "default": sorted(plugin.signals)}
    required = list(own["required"])
    if model.inline:
        clash = sorted(set(properties) & set(params["properties"]))
        if clash:
            raise AttributeError(f"its parameter `{clash[0]}` has the name of a key of every {model.noun}")
        properties |= params["properties"]
        required += params.get("required", [])
    else:
        properties["params"] = {**params, "description": f"Parameters of the {model.noun}."}
        required += ["params"] if params.get("required") else []
    return {
        "title": f"{model.noun} `{name}`",
        "description": _purpose(plugin.params),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _params(model: type[BaseModel], owner: str, defs: dict[str, Json], narrow: bool) -> Json:
    """The closed object of a plug-in's parameters; what it refers to joins `defs`, renamed where names collide."""
    schema: Json = model.model_json_schema(by_alias=True)
    inner: dict[str, Json] = schema.pop("$defs", {})
    if narrow:
        _without_width(inner)
    names = {}
    for name, definition in inner.items():
        names[name] = name if defs.get(name, definition) == definition else f"{owner}.{name}"
    for name, definition in inner.items():
        defs[names[name]] = _renamed(definition, names)
    schema.setdefault("properties", {})
    schema["title"] = f"parameters of `{owner.partition('.')[2]}`"
    return _renamed(schema, names)


def _renamed(schema: Json, names: Mapping[str, str]) -> Json:
    def rename(node: Json) -> Json:
        reference = node.get("$ref")
        if isinstance(reference, str):
            node["$ref"] = "#/$defs/" + names.get(reference.removeprefix("#/$defs/"), "")
        return node

    renamed: Json = _mapped(schema, rename)
    return renamed


def _purpose(model: type[BaseModel]) -> str:
    """First paragraph of the module that declares a plug-in: what it turns into what."""
    text = getattr(sys.modules.get(model.__module__), "__doc__", None) or model.__doc__ or ""
    return " ".join(text.strip().split("\n\n")[0].split())


def _tidy(schema: Json, names: Mapping[str, Collection[str]]) -> Json:
    """One plain form: no generated titles, no null, no oneOf, names of plug-ins enumerated."""

    def tidy(node: Json) -> Json:
        if isinstance(node.get("title"), str) and "`" not in node["title"] and node["title"] != "kcompiler spec":
            del node["title"]
        if node.get("default", ...) is None:
            # absence is written by leaving a key out, never as null
            del node["default"]
        if "oneOf" in node and "discriminator" in node:
            node = _if_then(node)
        if "anyOf" in node:
            node = _without_null(node)
        if node.get(ROOM) in names:
            node = {**node, "enum": list(names[node[ROOM]])}
        return node

    tidied: Json = _mapped(schema, tidy)
    return tidied


def _if_then(node: Json) -> Json:
    key = node["discriminator"]["propertyName"]
    mapping: dict[str, str] = node["discriminator"]["mapping"]
    rest = {name: value for name, value in node.items() if name not in ("oneOf", "discriminator", WHICH)}
    words = {"description": node[WHICH]} if WHICH in node else {}
    return {
        **rest,
        "type": "object",
        "properties": {key: {"enum": sorted(mapping), **words}},
        "required": [key],
        "allOf": [
            {"if": {"properties": {key: {"const": name}}, "required": [key]}, "then": {"$ref": reference}}
            for name, reference in sorted(mapping.items())
        ],
    }


def _without_null(node: Json) -> Json:
    choices = [choice for choice in node["anyOf"] if choice != {"type": "null"}]
    if len(choices) != 1:
        return node
    rest = {name: value for name, value in node.items() if name != "anyOf"}
    return {**choices[0], **rest}


def _mapped(node: Any, change: Callable[[Json], Json]) -> Any:
    """`change` applied to every schema object, innermost first; maps from names to schemas are left as they are."""
    if isinstance(node, list):
        return [_mapped(item, change) for item in node]
    if not isinstance(node, dict):
        return node
    made: Json = {}
    for name, item in node.items():
        if name in ("properties", "$defs", "definitions"):
            made[name] = {key: _mapped(value, change) for key, value in item.items()}
        elif name in ("default", "enum", "const", "required", "examples"):
            made[name] = item
        else:
            made[name] = _mapped(item, change)
    return change(made)


def twin(schema: Json) -> Json:
    """The same schema in draft-07, which editors read: references may have no neighbours there.

    Editors show descriptions, defaults and examples, and no keyword of ours: units join the descriptions.
    """

    def older(node: Json) -> Json:
        if node.get(UNIT, "1") != "1":
            node = {**node, "description": f"{node.get('description', '')} Unit: {node[UNIT]}.".strip()}
        if isinstance(node.get("$ref"), str):
            reference = {"$ref": node["$ref"].replace("#/$defs/", "#/definitions/")}
            rest = {name: value for name, value in node.items() if name != "$ref"}
            node = {**rest, "allOf": [reference]} if rest else reference
        if "$defs" in node:
            node = {("definitions" if name == "$defs" else name): value for name, value in node.items()}
        return node

    made: Json = _mapped(schema, older)
    return {**made, "$schema": DRAFT_07, "$id": ID + ":draft-07"}


def fields(schema: Json) -> Iterator[tuple[str, str, Json]]:
    """(definition, key, field) of every property of the schema, for reference pages and tests.

    A field that is an object by itself, such as the parameters of a generator, is followed by its own.
    """
    for name, definition in {"": schema, **schema["$defs"]}.items():
        for key, field in definition.get("properties", {}).items():
            yield name, key, field
            for inner, part in field.get("properties", {}).items():
                yield f"{name}.{key}", inner, part
