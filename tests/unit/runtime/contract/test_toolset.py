"""A registry is judged as it reads: what would be ignored, fetched or judged in another way is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import ecma, toolset
from runtime.contract.jsonschemas import Draft202012Validator

ROOT = Path(__file__).resolve().parents[4]
BFCL = ROOT / "tests" / "data" / "bfcl" / "functions.json"


def tool(name: str = "pay", **parameters: Any) -> dict[str, Any]:
    return {"name": name, "description": "", "parameters": {"type": "object", **parameters}}


def of(amount: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [tool(properties={"amount": amount}, **more)]


def allows(schema: dict[str, Any], value: Any, **more: Any) -> bool:
    tools = of(schema, **more)
    assert toolset.faults(tools) == []
    return bool(toolset.validators(tools)["pay"].is_valid({"amount": value}))


@pytest.mark.parametrize(
    ("tools", "place", "word"),
    [
        (of({"typ": "integer"}), "#/properties/amount", "did you mean `type`"),
        (of({"type": "integer", "minimun": 1}), "#/properties/amount", "did you mean `minimum`"),
        (of({"type": "string", "optional": True}), "#/properties/amount", "`optional`"),
        (of({"type": "object", "definitions": {}}), "#/properties/amount", "did you mean `$defs`"),
        ([tool(dependencies={"a": ["b"]})], "#", "did you mean `dependentRequired`"),
        (of({"anyOf": [{"type": "string"}, {"enmu": [1]}]}), "#/properties/amount/anyOf/1", "did you mean `enum`"),
        (of({"items": {"formt": "date"}}), "#/properties/amount/items", "did you mean `format`"),
        (of({}, **{"$schema": "http://json-schema.org/draft-07/schema#"}), "`$schema`", "only 2020-12"),
        (of({"$schema": toolset.DRAFT}), "#/properties/amount", "stands inside"),
        (of({"$id": "https://example.com/x"}), "#/properties/amount", "no address"),
        (of({"$ref": "#/$defs/money"}), "#/properties/amount", "leads to no schema"),
        (
            of({"$ref": "#/$defs/mony"}, **{"$defs": {"money": {}}}),
            "#/properties/amount",
            "did you mean `#/$defs/money`",
        ),
        (of({"$ref": "#/properties"}), "#/properties/amount", "leads to no schema"),
        (of({"$ref": "#money"}), "#/properties/amount", "leads to no schema"),
        (of({"$ref": "https://example.com/x"}), "#/properties/amount", "outside the file"),
        (of({"$ref": "other.json#/a"}), "#/properties/amount", "outside the file"),
        (of({"$ref": "#/properties/amount"}), "#/properties/amount", "without end"),
        (
            of(
                {"$ref": "#/$defs/a"},
                **{"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}},
            ),
            "#/$defs/",
            "without end",
        ),
        ([tool(dependentSchemas={"not": {"$ref": "#"}})], "#/dependentSchemas/not", "without end"),
        ([tool(dependentSchemas={"if": {"allOf": [{"$ref": "#"}]}})], "#/dependentSchemas/if/allOf/0", "without end"),
        (
            [tool(unevaluatedProperties=False, allOf=[{"patternProperties": {"^\\cA$": {}}}])],
            "`patternProperties`",
            "`additionalProperties`",
        ),
        (of({"format": "phone"}), "#/properties/amount", "is not asserted"),
        (of({"format": "int32"}), "#/properties/amount", "is not asserted"),
        (of({"format": "iri"}), "#/properties/amount", "date-time"),
        (of({"pattern": "(?i)a"}), "#/properties/amount", "opens no group"),
        (of({"pattern": "^[0-9"}), "#/properties/amount", "without `]`"),
        ([tool(patternProperties={"\\Z": {}})], "#", "no escape"),
        (of({"type": "int"}), "#/properties/amount/type", "no JSON Schema"),
        (of({"minimum": "1"}), "#/properties/amount/minimum", "no JSON Schema"),
        (of({"items": [{"type": "string"}]}), "#/properties/amount/items", "no JSON Schema"),
    ],
)
def test_what_would_not_be_judged_as_it_reads_is_refused(tools: Any, place: str, word: str):
    (found,) = toolset.faults(tools)
    assert found.startswith("tool 1: `pay`: ")
    assert place in found
    assert word in found


@pytest.mark.parametrize(
    "tools",
    [
        of({"type": "string", "x-origin": "crm", "examples": ["a"], "title": "t", "default": "a"}),
        of({"$ref": "#/$defs/a%20b"}, **{"$defs": {"a b": {"type": "string"}}}),
        of({"$ref": "#/$defs/a~1b"}, **{"$defs": {"a/b": {"type": "string"}}}),
        of({"$ref": "#money"}, **{"$defs": {"m": {"$anchor": "money", "type": "number"}}}),
        of({"type": "array", "items": {"$ref": "#"}}),
        of({"$ref": "#/$defs/tree"}, **{"$defs": {"tree": {"properties": {"left": {"$ref": "#/$defs/tree"}}}}}),
        [tool(properties={"$ref": {"type": "string"}, "typ": {"type": "string"}, "allOf": {"type": "string"}})],
        of({}, **{"$schema": toolset.DRAFT}),
        [tool(unevaluatedProperties=False, allOf=[{"properties": {"a": True}}])],
        [tool(properties={"not": {"$ref": "#"}, "if": {"$ref": "#"}})],
        of(True),  # type: ignore[arg-type]
    ],
)
def test_what_reads_as_it_is_judged_is_accepted(tools: Any):
    assert toolset.faults(tools) == []


def test_a_reference_is_followed():
    schema = {"$ref": "#/$defs/money"}
    defs = {"$defs": {"money": {"type": "number", "minimum": 0}}}
    assert allows(schema, 1, **defs)
    assert not allows(schema, -1, **defs)


@pytest.mark.parametrize(
    ("divisor", "value", "fits"),
    [
        (0.01, 19.99, True),
        (0.01, 0.07, True),
        (0.1, 0.3, True),
        (0.01, 19.999, False),
        (0.1, 0.35, False),
        (5, 10.0, True),
        (5, 12, False),
        (1e-300, 1e300, True),
        (0.5, 9007199254740991, True),
    ],
)
def test_multiples_are_exact_in_decimals(divisor: float, value: float, fits: bool):
    assert allows({"type": "number", "multipleOf": divisor}, value) == fits


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"^[0-9]+$", "12", True),
        (r"^[0-9]+$", "12\n", False),
        (r"^\d+$", "١٢", False),
        (r"^\w+$", "été", False),
        (r"^.$", "\r", False),
        (r"cat", "the cat", True),
        (r"^[\w.+-]+@[\w-]+\.[a-z]+$", "a.b+c@d-e.fr", True),
        (r"^\u{1F600}$", "\U0001f600", True),
        (r"^[^\s]$", "\u00a0", False),
        (r"^(?<year>\d{4})-\d\d$", "2026-11", True),
    ],
)
def test_patterns_are_those_of_ecma(pattern: str, text: str, matches: bool):
    assert allows({"type": "string", "pattern": pattern}, text) == matches


@pytest.mark.parametrize(
    "pattern",
    [
        "a{,3}", "a++", "(?i)a", r"\Z", r"\A", "(?P<x>a)", r"\p{L}", "[]", "a**", "*a", "{", "a}", "(", "a)", "(?#x)",
        "(?>a)", r"(a)\1", "[b-a]", r"\e", "a{3,2}", "\\", "[a", "^*", r"\b+", r"\u{110000}", r"[\d-z]", r"[a-\d]", r"\-",
    ],
)  # fmt: skip
def test_a_pattern_with_another_or_no_meaning_is_refused(pattern: str):
    with pytest.raises(ValueError, match=r"\S"):
        ecma.compiled(pattern)


@pytest.mark.parametrize("key", ["amount", "12\n"])
def test_patterns_of_names_are_those_of_ecma_as_well(key: str):
    tools = [tool(patternProperties={"^[0-9]+$": {"type": "integer"}}, additionalProperties=False)]
    assert toolset.faults(tools) == []
    validator = toolset.validators(tools)["pay"]
    assert not validator.is_valid({key: 1})
    assert validator.is_valid({"12": 1})
    assert not validator.is_valid({"12": "1"})


#: format → (texts that have it, texts that do not); from RFC 3339, 5321, 1123, 3986 and their errata
FORMATS = {
    "date": (["2024-02-29", "1999-12-31"], ["2023-02-29", "24-01-01", "2024-1-1", "2024-13-01", "tomorrow", "٢٠٢٤-01-01"]),
    "time": (["23:20:50.52Z", "08:30:06+00:20", "23:59:60Z", "15:59:60-08:00"],
             ["25:99", "12:00:00", "24:00:00Z", "22:59:60Z", "08:30:06 PST", "01:02:03+24:00", "12:00:60+01:00"]),
    "date-time": (["1990-12-31T23:59:60Z", "2026-11-27t08:00:00.1z"], ["tomorrow", "2026-11-27 08:00:00Z", "2026-11-27"]),
    "duration": (["P4DT12H30M5S", "P1Y", "PT36H", "P2W", "PT1M"], ["P", "PT", "P1YT", "P1D2H", "4D", "P2W1D", "P1Y2W"]),
    "email": (["joe.bloggs@example.com", "te~st@example.com"], ["2962", "@", ".a@b.c", "a..b@c.d", "a@b c", "a@-b.c"]),
    "hostname": (["www.example.com", "xn--4gbwdl.xn--wgbh1c", "a"], ["-a.example", "not_valid", "a" * 64, "", "a..b"]),
    "ipv4": (["192.168.0.1"], ["127.0.0.0.1", "256.1.1.1", "0x7f000001", "087.10.0.1", "1.2.3"]),
    "ipv6": (["::1", "::ffff:192.0.2.1"], ["12345::", "1:2:3:4:5:6:7:8:9", "fe80::a%eth1", "::laptop"]),
    "regex": (["([abc])+\\s+$"], ["^(abc]", "\\a"]),
    "uri": (["http://foo.bar/?baz=qux#quux", "urn:isbn:1", "http://[::1]/a"], ["//foo/abc", "abc", "http:// a", "a:%zz"]),
    "uuid": (["2eb8aa08-aa98-11ea-b4aa-73b441d16380"], ["2eb8aa08aa9811eab4aa73b441d16380", "2eb8aa08-aa98"]),
}  # fmt: skip


def test_every_format_that_is_accepted_is_tried():
    assert sorted(FORMATS) == sorted(toolset.FORMATS)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_format_is_asserted_whatever_is_installed(name: str):
    right, wrong = FORMATS[name]
    assert [text for text in right if not allows({"format": name}, text)] == []
    assert [text for text in wrong if allows({"format": name}, text)] == []
    assert allows({"format": name}, 12)


def test_functions_that_other_people_wrote_are_told_what_to_change_and_then_accepted():
    """Sixty functions of the Berkeley leaderboard: their types are Python's, which JSON Schema does not have."""
    functions = json.loads(BFCL.read_text())
    assert len(functions) == 60
    as_written = [{key: function[key] for key in toolset.FIELDS} for function in functions]
    refused = toolset.faults(as_written)
    assert len(refused) == 60
    assert all("parameters must have type object" in fault for fault in refused)
    converted = [{**function, "parameters": _json_schema(function["parameters"])} for function in as_written]
    assert [fault for fault in toolset.faults(converted) if "`optional`" not in fault] == []
    usable = [one for one in converted if not toolset.faults([one])]
    assert len(usable) > 50
    answers = {function["name"]: function["gold"] for function in functions}
    valid = toolset.validators(usable)
    wrong = [name for name, validator in valid.items() if not validator.is_valid(answers[name])]
    assert wrong == []


def _json_schema(schema: Any) -> Any:
    names = {"dict": "object", "float": "number", "tuple": "array"}
    if isinstance(schema, list):
        return [_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _json_schema(value) for key, value in schema.items()}
    if isinstance(made.get("type"), str):
        made["type"] = names.get(made["type"], made["type"])
        if made["type"] == "any":
            del made["type"]
    return made


SIMPLE = [
    {},
    {"type": "integer"},
    {"type": "number", "minimum": 0.5, "maximum": 3},
    {"type": "integer", "multipleOf": 2, "title": "x", "default": "y"},
    {"type": "boolean", "description": "x"},
    {"type": ["string", "null"]},
    {"type": "string", "minLength": 1, "maxLength": 2, "examples": ["abc"]},
    {"enum": ["a", 1, True, None]},
    {"type": "string", "enum": ["a"], "pattern": "b"},
    {"minimum": 1, "minLength": 2},
    {"multipleOf": 0.5},
    {"type": "array", "items": {"type": "integer"}},
    {"type": "object", "properties": {"a": {"type": "integer", "maximum": 1}}},
    {"not": {"type": "integer"}, "type": "integer"},
    {"const": "a"},
    {"x-note": 1, "type": "string"},
]
VALUES = [
    None,
    True,
    False,
    0,
    1,
    2,
    3,
    1.0,
    1.5,
    -0.0,
    4.0,
    "",
    "a",
    "b",
    "abc",
    [],
    [1],
    ["1"],
    {},
    {"a": 1},
    {"a": 2},
]


@pytest.mark.parametrize("schema", [*SIMPLE, True, False], ids=json.dumps)
def test_plain_values_are_judged_as_the_library_judges_them(schema: Any):
    """What is seen at a glance to fit is not looked at again: it is what the library finds nothing wrong with."""
    whole = {"type": "object", "properties": {"a": schema}}
    for value in VALUES:
        found = toolset.validator(whole).iter_errors({"a": value, "b": 1})
        right = Draft202012Validator(whole).iter_errors({"a": value, "b": 1})
        seen = [(list(error.absolute_path), list(error.absolute_schema_path), error.validator) for error in found]
        assert seen == [(list(e.absolute_path), list(e.absolute_schema_path), e.validator) for e in right], value
