"""A subject (code, spec field, plug-in, rule) → the page `explain` prints."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from kcompiler import assets, diagnostic

#: prefix of a subject → room of the catalog
ROOMS = {
    "step": "steps",
    "loss": "losses",
    "suite": "suites",
    "teacher": "teachers",
    "generator": "generators",
    "backend": "backends",
}


class Unknown(Exception):
    """No page for a subject; the message says what there is."""


def explain(subject: str) -> str:
    """The page of a subject. Raises Unknown."""
    prefix, colon, rest = subject.partition(":")
    if not colon:
        return _code(subject)
    if prefix == "field":
        return _field(rest)
    if prefix == "rule":
        return _rule(rest)
    if prefix in ROOMS:
        return _plugin(ROOMS[prefix], rest)
    raise Unknown(
        f"no such kind of subject: `{prefix}`; say a code, or one of field:, rule:, "
        + ", ".join(f"{name}:" for name in ROOMS)
    )


def _code(number: str) -> str:
    try:
        page = diagnostic.explain(number)
    except KeyError:
        help_line = diagnostic.did_you_mean(number.upper(), diagnostic.codes())
        raise Unknown(f"no such code: `{number}`; {help_line}") from None
    return f"{page.number}: {page.title}\n\n{page.page}"


def _field(path: str) -> str:
    from kcompiler.schema import published

    schema = published()
    node: dict[str, Any] = schema
    for part in path.split("."):
        properties = _properties(_deref(node, schema), schema)
        if part not in properties:
            raise Unknown(f"no such field: `{path}`; {diagnostic.did_you_mean(part, properties)}")
        node = properties[part]
    return _show_field(path, node, _deref(node, schema), schema)


def _deref(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        elif "items" in node and isinstance(node["items"], dict):
            node = node["items"]
        elif "anyOf" in node:
            node = next(item for item in node["anyOf"] if item.get("type") != "null")
        else:
            return node


def _properties(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    found = dict(node.get("properties", {}))
    for branch in node.get("allOf", []):
        found |= _properties(_deref(branch.get("then", {}), schema), schema)
    return found


def _show_field(path: str, node: dict[str, Any], target: dict[str, Any], schema: dict[str, Any]) -> str:
    lines = [path, "", node.get("description") or target.get("description") or ""]
    for key in ("type", "enum", "const", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "pattern"):
        value = node.get(key, target.get(key))
        if value is not None:
            lines.append(f"  {key}: {value}")
    if "default" in node:
        lines.append(f"  default: {node['default']}")
    inner = _properties(target, schema)
    if inner:
        lines.append(f"  keys: {', '.join(inner)}")
    return "\n".join(lines) + "\n"


def _plugin(room: str, name: str) -> str:
    from runtime import catalog

    try:
        plugin = catalog.load(room, name)
    except KeyError:
        raise Unknown(
            f"nothing in room `{room}` is called `{name}`; " + diagnostic.did_you_mean(name, catalog.names(room))
        ) from None
    function = next((getattr(plugin, key) for key in ("run", "value", "rows") if hasattr(plugin, key)), None)
    module = sys.modules[function.__module__ if function else f"runtime.{room}.{name}"]
    lines = [f"{name}@{plugin.version}", "", inspect.getdoc(module) or ""]
    params = getattr(plugin, "params", None)
    if params is not None and params.model_fields:
        lines.append("\nparameters")
        for field, info in params.model_fields.items():
            default = "required" if info.is_required() else f"default {info.get_default(call_default_factory=True)!r}"
            lines.append(f"  {field}: {default}. {info.description or ''}".rstrip())
    for key, value in getattr(plugin, "semantics", {}).items():
        lines.append(f"  {key}: {value}")
    return "\n".join(lines) + "\n"


def _rule(name: str) -> str:
    from kcompiler import policy

    roots = [assets.folder("policies")]
    pack_name = name.rpartition("/")[0]
    packs = policy.load([pack_name], roots).packs
    for pack in packs:
        for loaded in pack.rules:
            if loaded.name == name:
                return _show_rule(loaded)
    known = [rule.name for item in policy.load(policy.available(roots), roots).packs for rule in item.rules]
    raise Unknown(f"no such rule: `{name}`; {diagnostic.did_you_mean(name, known)}")


def _show_rule(loaded: Any) -> str:
    rule = loaded.rule
    lines = [f"{loaded.name}: {rule.title}", "", f"  on: {rule.on}", f"  mode: {rule.mode}", f"  kind: {loaded.kind}"]
    lines += [f"  {key}: {value}" for key, value in loaded.params.model_dump(by_alias=True).items()]
    if rule.expect is not None:
        lines.append(f"  expect: {rule.expect.model_dump(by_alias=True, exclude_none=True)}")
    return "\n".join([*lines, f"  remedy: {rule.remedy}"]) + "\n"
