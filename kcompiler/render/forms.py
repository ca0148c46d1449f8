"""What people write in files beside a spec (`wanted` of a row, lines of fixtures) → the page that `explain` prints.

Names, limits, defaults and what is required come from what reads them: the published schema of a row, which tests hold
against its reader, and the tables of the reader of fixtures. What is said here besides is said of each of them, or the
page is not made; a field's example stands in a whole that its reader takes.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kcompiler import assets, diagnostic
from kcompiler.render.human_run import table
from kcompiler.render.index import Unknown
from runtime import catalog
from runtime.contract import conditions, expressions, fixture_set, fixtures, scenario, wanted

_WIDTH = 118


@dataclass(frozen=True)
class Part:
    """One field: its path below the form, what is said of it, and its value in an example."""

    path: str
    type: str
    text: str
    #: where it must stand and where it may, in the order of their lines; and what holds where it is left out
    stands: Mapping[str, str]
    example: Any


#: all that a row may want; each field's example is its value here
WANTED: Mapping[str, Any] = {
    "calls": [{"name": "buy", "args": {"item": ["pen", "Pen"], "count": [2]}, "optional": ["count"]}],
    "order": "given",
    "facts": [{"value": "12.5", "type": "number", "unit": "km", "key": "distance"}],
    "locale": "en",
    "forbidden": ["burn"],
    "state": {"stock": {"pen": 7}},
    "turns": 6,
    "required": ["12.5 km"],
    "reference_bytes": 120,
    "code_mode": True,
    "right": False,
}
#: what the published schema does not say
_WANTED_TEXTS = {
    "calls": "Calls that are right, each with every accepted value of its arguments; [] says that a call is wrong.",
    "calls.name": "Tool that must be called.",
    "facts": "What of tools' results the final answer must say.",
    "facts.value": "What must be said, as text.",
    "facts.type": "How a value is compared.",
    "facts.unit": "Unit that a number must have; only beside `type: number`.",
}
#: kind → a line of it; each field's example is its value in the first that has it
LINES: Mapping[str, Mapping[str, Any]] = {
    "exact": {
        "kind": "exact",
        "args": {"item": "ink"},
        "result": "3 in stock",
        "scope": "item:7",
        "review": "accepted",
        "provenance": {"file": "calls.jsonl", "item": "7", "trial": 0},
    },
    "error": {"kind": "error", "args": {"item": 3}, "result": "Error: an item has a name"},
    "matcher": {
        "kind": "matcher",
        "schema": {"type": "object", "properties": {"item": {"const": "gold"}}, "required": ["item"]},
        "result": "none in stock",
    },
    "ignore_args": {"kind": "ignore_args", "result": "noted"},
    "pure": {
        "kind": "pure",
        "checks": [{"unless": "args.count > 0", "result": "'Error: count from 1'"}],
        "answer": "str(args.count * 3)",
    },
    "stateful": {
        "kind": "stateful",
        "let": [["left", "world.stock[args.item] - args.count"]],
        "checks": [{"unless": "left >= 0", "result": "'Error: not enough'"}],
        "answer": "json({'left': left, 'shelf': [{'name': args.item, 'count': left}]})",
        "writes": [{"collection": "stock", "key": "args.item", "value": "left", "when": "args.count > 0"}],
        "learns": [
            {
                "collection": "stock",
                "each": "data.shelf",
                "key": "it.name",
                "value": "it.count + args.count",
                "when": "it.name == args.item",
            }
        ],
    },
}
#: a line of `world.jsonl`
WORLD: Mapping[str, Any] = {"collection": "stock", "key": "pen", "value": 9}
_REQUIRED = {"required": "always"}
_NONE, _RECORD = "none", "`kcompiler fixtures record` writes it"
#: field → type, what it is, and what holds without it; "" of what is never left out
_FIXTURE_TEXTS: Mapping[str, tuple[str, str, str]] = {
    "header.format": ("number", "Format of the file.", ""),
    "header.tool": ("text", "Tool that the file's lines answer; one file a tool.", ""),
    "header.registry": (
        "text",
        "Fingerprint of the registry of tools. A declared file leaves it out.",
        f"where it is declared: of the registry that --tools names; else required, and {_RECORD}",
    ),
    "header.schema": (
        "text",
        "Digest of the tool's parameters. A declared file leaves it out.",
        f"where it is declared: of the tool in that registry; else required, and {_RECORD}",
    ),
    "header.normalise": (
        "object: argument (or *) → list of names",
        "What does not matter when two calls are compared: "
        + ", ".join((*fixture_set.NORMALISERS, *fixture_set.OMITTED))
        + ".",
        _NONE,
    ),
    "kind": ("text", f"One of {', '.join(fixtures.KINDS)}.", ""),
    "scope": ("text", "Where the line holds: `suite`, or `item:<id>` for one row.", "suite"),
    "review": (
        "text",
        "`unreviewed` or `accepted`, which `kcompiler fixtures accept` writes; a declared line begins unreviewed.",
        "unreviewed",
    ),
    "provenance": ("any value", f"Where a line comes from; of what was recorded, {_RECORD}.", _NONE),
    "args": ("object", "The arguments of the call that was answered.", ""),
    "result": ("text", "What the tool answers, word for word.", ""),
    "schema": ("object", "JSON Schema (2020-12) of the arguments that the line answers.", ""),
    "answer": ("expression", "What the tool answers: a text; write str(…) or json(…) of anything else.", ""),
    "let": (
        f"list of [name, expression], at most {fixtures.MOST_PARTS}",
        "Names for what later expressions of the line read; each is worked out where it is read.",
        _NONE,
    ),
    "checks": (
        f"list of objects, at most {fixtures.MOST_PARTS}",
        "What must hold before the tool answers, one after the other: the first that does not hold ends the call.",
        _NONE,
    ),
    "checks.unless": ("expression", "Condition, true or false; where it is false, `result` is answered.", ""),
    "checks.result": ("expression", "What is answered then, a text: 'Error: …' in quotes of its own.", ""),
    "writes": (
        f"list of objects, at most {fixtures.MOST_PARTS}",
        "What a call that came to its end changes in the small world.",
        _NONE,
    ),
    "writes.collection": ("text", "Collection of the world that changes.", ""),
    "writes.key": ("expression", "Key of the entry.", ""),
    "writes.value": ("expression", "Its new value.", ""),
    "writes.when": ("expression", "Whether it changes.", "always"),
    "learns": (
        f"list of objects, at most {fixtures.MOST_PARTS}",
        "What a recorded result tells of the world as it was before the item changed it.",
        _NONE,
    ),
    "learns.collection": ("text", "Collection of the world that gets an entry.", ""),
    "learns.key": ("expression", "Key of the entry.", ""),
    "learns.value": ("expression", "Its value.", ""),
    "learns.when": ("expression", "Whether it is learnt.", "always"),
    "learns.each": ("expression", "A list of which each item, `it`, tells one entry.", "one entry a call"),
    "world.collection": ("text", "Collection of the world.", ""),
    "world.key": ("text", "Key of an entry; what a collection does not hold is unknown.", ""),
    "world.value": ("any value", "Its value before anything is called.", ""),
    "world.review": ("text", "As of a line.", "unreviewed"),
    "world.provenance": ("any value", "As of a line.", _NONE),
}


def wanted_parts() -> list[Part]:
    """Every field that a row may have below `wanted`."""
    path = assets.folder("schemas") / "dataset-row.schema.json"
    node = json.loads(path.read_text(encoding="utf-8"))["properties"]["wanted"]
    return list(_below(node, "", WANTED))


def _below(node: Mapping[str, Any], prefix: str, whole: Mapping[str, Any]) -> Iterator[Part]:
    for name, inner in node["properties"].items():
        path = f"{prefix}{name}"
        text = inner.get("description") or _WANTED_TEXTS[path]
        needed = name in node.get("required", ())
        yield Part(path, _typed(inner), text, _REQUIRED if needed else {"default": _left_out(path)}, whole[name])
        item = inner.get("items", {})
        if "properties" in item:
            yield from _below(item, f"{path}.", whole[name][0])


def _left_out(path: str) -> str:
    """What holds where a row does not say: asked of what reads it."""
    fact = {one.name: one.default for one in dataclasses.fields(wanted.Fact)}
    if path == "turns":
        held = catalog.load("suites", "scenarios").params.model_fields["turns"].default
        return f"parameter `turns` of suite scenarios, {held}"
    if path.startswith("facts."):
        return str(fact[path.removeprefix("facts.")]) or _NONE
    return {
        "calls": "the row's own response is the one right answer; in a scenario no call is needed",
        "calls.optional": "none: every argument is needed",
        "order": wanted.order_of({}),
        "facts": _NONE,
        "locale": wanted.locale_of({}),
        "forbidden": _NONE,
        "state": "what the row's own path changes, and no more",
        "required": _NONE,
        "reference_bytes": "nothing is measured by it",
        "code_mode": "false",
        "right": "nothing is said of the answer, and every term may learn from it",
    }[path]


def _typed(node: Mapping[str, Any]) -> str:
    """A schema in words."""
    if "enum" in node:
        return f"one of {', '.join(node['enum'])}"
    kind, low, high = node.get("type"), node.get("minItems", 0), node.get("maxItems")
    if kind == "array":
        of = f" of {_typed(node['items']).partition(',')[0]}s" if "items" in node else ""
        return f"list{of}" + (f", {low} to {high}" if high else f", at least {low}" if low else "")
    if kind == "object":
        if isinstance(node.get("additionalProperties"), dict):
            return f"object: name → {_typed(node['additionalProperties'])}"
        return "object, not empty" if node.get("minProperties") else "object"
    if kind == "boolean":
        return "true or false"
    if kind == "integer":
        return f"whole number from {node['minimum']} to {node['maximum']}"
    return "text, not empty" if "pattern" in node or node.get("minLength") else "text"


def fixture_parts() -> list[Part]:
    """Every field of a header, of a line of each kind and of its lists, and of a line of the world."""
    tool = {"name": "buy", "parameters": {"type": "object", "properties": {"item": {"type": "string"}}}}
    header = {**fixtures.header(tool, [tool]), "normalise": {"item": ["strip", "casefold"]}}
    parts = [_fixture_part(f"header.{name}", value) for name, value in header.items()]
    kinds = [name for needs, may in fixtures.NEEDS.values() for name in (*sorted(needs), *sorted(may))]
    for name in dict.fromkeys(("kind", *sorted(fixtures.COMMON), *kinds)):
        example = next(line[name] for line in LINES.values() if name in line)
        parts.append(_fixture_part(name, example))
        for inner in (field for fields in fixtures.PARTS.get(name, ()) for field in sorted(fields)):
            entry = next(one for line in LINES.values() for one in line.get(name, ()) if inner in one)
            parts.append(_fixture_part(f"{name}.{inner}", entry[inner]))
    needs, may = fixtures.WORLD_LINE
    whole = {"review": "accepted", "provenance": {"file": "calls.jsonl"}, **WORLD}
    return parts + [_fixture_part(f"world.{name}", whole[name]) for name in (*sorted(needs), *sorted(may))]


def _fixture_part(path: str, example: Any) -> Part:
    kind, text, default = _FIXTURE_TEXTS[path]
    held = [name for name, (_, may) in fixtures.NEEDS.items() if path in may]
    needed = [name for name, (needs, _) in fixtures.NEEDS.items() if path in needs]
    stands = {"required": f"in {', '.join(needed)}"} if needed else {} if default else _REQUIRED
    stands = {**stands, **({"may stand in": ", ".join(held)} if held else {})}
    return Part(path, kind, text, {**stands, **({"default": default} if default else {})}, example)


def _wanted_page() -> list[str]:
    told = [*_doc(wanted), "", *_doc(scenario), "", *_doc(conditions)]
    return [*told, "", "an example of all fields", f"  {_json({'wanted': WANTED})}"]


def _fixtures_page() -> list[str]:
    kinds = [
        [name, "recorded" if name in fixtures.RECORDED else "declared", f"needs {', '.join(sorted(needs))}"]
        for name, (needs, _) in fixtures.NEEDS.items()
    ]
    reads, state, each = ("`, `".join(sorted(one)) for one in (fixtures.READS, fixtures.STATE, fixtures.EACH))
    learnt = "`, `".join(sorted(fixtures.READS | fixtures.STATE | fixtures.LEARNT))
    told = (
        f"An expression has Python's syntax and JSON's values. It reads `{reads}`; in a stateful line `{state}`, too, "
        f"and what `let` names before it; in `learns` `{learnt}` (`data` is the recorded answer `result` as JSON) "
        f"and beside `each` also `{each}`, and no name of `let`. Functions: {', '.join(expressions.FUNCTIONS)}."
    )
    header = {"format": fixtures.FORMAT, "tool": "buy"}
    return [
        *_doc(fixtures),
        "",
        "`kcompiler fixtures record CONVERSATIONS --tools TOOLS --to FOLDER --declare DECLARED` takes from DECLARED a",
        f"file TOOL.jsonl per tool: the header {_json(header)} and lines of a kind that may be declared.",
        "",
        "kinds",
        *table(kinds),
        "",
        *textwrap.wrap(told, _WIDTH),
        "",
        "an example of each kind",
        *(f"  {_json(line)}" for line in LINES.values()),
        "an example of `world.jsonl`",
        f"  {_json(WORLD)}",
    ]


@dataclass(frozen=True)
class _Form:
    title: str
    parts: Callable[[], list[Part]]
    #: what its page says before its fields
    told: Callable[[], list[str]]


_FORMS = {
    "fixtures": _Form(
        "lines of a folder of fixtures, and of what `kcompiler fixtures record --declare` takes",
        fixture_parts,
        _fixtures_page,
    ),
    "wanted": _Form("what a row wants beyond its own response: field `wanted` of a row", wanted_parts, _wanted_page),
}


def titles() -> dict[str, str]:
    """Name of a form → what it is."""
    return {name: form.title for name, form in _FORMS.items()}


def names() -> list[str]:
    """Every form, and every field of one."""
    return [*_FORMS, *(f"{name}.{one.path}" for name, form in _FORMS.items() for one in form.parts())]


def page(subject: str) -> str:
    """The page of a form, or of one of its fields with what is below it. Raises Unknown."""
    name, _, path = subject.partition(".")
    if name not in _FORMS:
        raise Unknown(f"no form is called `{name}`; {diagnostic.did_you_mean(name, _FORMS)}")
    form = _FORMS[name]
    every = form.parts()
    shown = [one for one in every if not path or f"{one.path}.".startswith(f"{path}.")]
    if not shown:
        known = dict.fromkeys(one.path for one in every)
        raise Unknown(f"no such field: `{subject}`; {diagnostic.did_you_mean(path, known)}")
    lines = [] if path else [f"{name}: {form.title}", "", *form.told(), "", "fields", ""]
    for one in shown:
        lines += [f"{name}.{one.path}", *textwrap.wrap(one.text, _WIDTH, initial_indent="  ", subsequent_indent="  ")]
        lines += [f"  type: {one.type}", *(f"  {key}: {value}" for key, value in one.stands.items())]
        lines += [f"  example: {_json(one.example)}"]
    return "\n".join(lines) + "\n"


def _doc(module: Any) -> list[str]:
    """What a reader says of what it reads, without its title."""
    return (inspect.getdoc(module) or "").splitlines()[2:]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
