"""The models of packs, rules and kinds → `schemas/policy.schema.json`, so that editors know what a rule may say.

Derived, never edited: a test compares the file with this document.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from kcompiler.policy import kinds
from kcompiler.policy.rule import Pack, Rule


def _model(model: type[BaseModel], name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a model; the models inside it go to `definitions`, under names that begin with `name`."""
    made = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
    for inner, schema in made.pop("$defs", {}).items():
        definitions[f"{name}.{inner}"] = schema
    return made


def document() -> dict[str, Any]:
    """One schema for both files: what has an `id` is a rule, anything else a pack."""
    definitions: dict[str, Any] = {}
    rule = _model(Rule, "rule", definitions)
    choices = []
    for name in kinds.names():
        definitions[f"params.{name}"] = _model(kinds.load(name).params, f"params.{name}", definitions)
        choices.append(
            {
                "if": {"properties": {"kind": {"const": name}}},
                "then": {"properties": {"params": {"$ref": f"#/$defs/params.{name}"}}},
            }
        )
    rule["properties"]["kind"] = {"enum": list(kinds.names()), "description": "Which check decides."}
    rule["allOf"] = choices
    definitions |= {"rule": rule, "pack": _model(Pack, "pack", definitions)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "policy.schema.json",
        "title": "Policy pack",
        "description": "pack.yaml, or a rule.yaml beside its cases. Unknown keys are refused.",
        "if": {"required": ["id"]},
        "then": {"$ref": "#/$defs/rule"},
        "else": {"$ref": "#/$defs/pack"},
        "$defs": dict(sorted(definitions.items())),
    }
