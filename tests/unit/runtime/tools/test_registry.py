"""A registry is a list of named tools with self-contained JSON Schemas, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal, toolset
from runtime.tools import registry

ROOT = Path(__file__).resolve().parents[4]
TOOL: dict[str, Any] = {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}


def test_the_shipped_registry_has_the_types_of_the_toy():
    """At least eight tools; integers, strings, enums, booleans, arrays, and an optional object inside."""
    tools = registry.load(ROOT / "specs" / "tools" / "registry.json")
    assert len(tools) >= 8
    text = json.dumps(tools)
    for word in ('"integer"', '"string"', '"enum"', '"boolean"', '"array"'):
        assert word in text
    inner = [p for tool in tools for p in tool["parameters"]["properties"].values() if p.get("type") == "object"]
    assert inner
    assert all(tool["parameters"]["additionalProperties"] is False for tool in tools)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ([], "at least one tool"),
        ({}, "at least one tool"),
        ([TOOL, TOOL], "`f` is also tool 1"),
        ([{**TOOL, "name": "f g"}], "its name must be letters"),
        ([{**TOOL, "name": ""}], "its name must be letters"),
        ([{**TOOL, "extra": 1}], "exactly the fields"),
        ([{**TOOL, "description": 1}], "description must be a string"),
        ([{**TOOL, "parameters": {"type": "string"}}], "type object"),
        ([{**TOOL, "parameters": {"type": "object", "properties": {"a": {"type": "int"}}}}], "no JSON Schema"),
        ([{**TOOL, "parameters": {"type": "object", "$ref": "https://example.com/x"}}], "leads outside the file"),
        ([TOOL] * (toolset.MAX_TOOLS + 1), "at most 4096"),
    ],
)
def test_anything_else_is_refused(value: Any, word: str):
    with pytest.raises(Refusal) as caught:
        registry.checked(value, "tools.json")
    assert word in caught.value.message
    assert caught.value.place.startswith("tools.json")


def test_a_file_that_is_no_strict_json_is_refused(tmp_path: Path):
    path = tmp_path / "tools.json"
    path.write_text('[{"name":"f","name":"g"}]')
    with pytest.raises(Refusal, match="duplicate key"):
        registry.load(path)


def test_the_fingerprint_is_of_the_content_not_of_the_spelling(tmp_path: Path):
    path = tmp_path / "tools.json"
    path.write_text(json.dumps([dict(reversed(TOOL.items()))], indent=4))
    assert registry.fingerprint(registry.load(path)) == registry.fingerprint(registry.checked([TOOL], ""))
    assert registry.fingerprint([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
