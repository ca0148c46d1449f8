"""Raw sections → the same with each plug-in's parameters as an instance of the plug-in's own model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from kcompiler.diagnostic import Diagnostic
from kcompiler.source import Tree, child, described
from kcompiler.spec.base import Plugged
from runtime import catalog
from runtime.contract import Params, Refusal
from runtime.contract.architecture import Architecture

#: a model that refuses more than this has been given something else
_MOST = 100
#: not a field of a spec: the width of every vocabulary is the tokenizer's
WIDTH = "vocab_size"


@dataclass
class Resolved:
    """`data` is a copy of the tree's; `failed` are top-level sections that cannot be trusted."""

    data: dict[str, Any]
    diagnostics: list[Diagnostic] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)


def own_fields(model: type[Plugged]) -> set[str]:
    """Keys that belong to the section itself, as they are written."""
    return {info.alias or name for name, info in model.model_fields.items() if name != "params"}


def places(data: Any, pattern: str) -> Iterator[tuple[str, Any, str | int, Any]]:
    """(pointer, parent, key, value) of everything below `data` that `pattern` names; `*` is any index."""
    found = [("", None, "", data)]
    for part in pattern.split("/")[1:]:
        step: list[tuple[str, Any, Any, Any]] = []
        for pointer, _, _, value in found:
            if part == "*" and isinstance(value, list):
                step += [(child(pointer, i), value, i, item) for i, item in enumerate(value)]
            elif isinstance(value, dict) and part in value:
                step.append((child(pointer, part), value, part, value[part]))
        found = step
    yield from found


def resolve(tree: Tree, models: tuple[type[Plugged], ...], ignoring: frozenset[str]) -> Resolved:
    """Parameters of plug-ins in their own models. `ignoring` are pointers of keys that are left out."""
    resolved = Resolved(_copy(tree.data, "", ignoring))
    tokenizer = resolved.data.get("tokenizer")
    width = tokenizer.get(WIDTH) if isinstance(tokenizer, dict) else None
    for pointer, _, _, value in list(places(resolved.data, "/student/architecture")):
        _give_width(value, width, resolved, pointer)
    for model in models:
        for pointer, parent, key, value in list(places(resolved.data, model.pattern)):
            if isinstance(value, dict) and model.key in value:
                parent[key] = _plug(model, value, pointer, width, tree, resolved)
    return resolved


def _copy(value: Any, pointer: str, ignoring: frozenset[str]) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if child(pointer, key) not in ignoring}
        return {key: _copy(item, child(pointer, key), ignoring) for key, item in kept.items()}
    if isinstance(value, list):
        return [_copy(item, f"{pointer}/{i}", ignoring) for i, item in enumerate(value)]
    return value


def _give_width(value: Any, width: Any, resolved: Resolved, pointer: str) -> None:
    section = pointer.split("/")[1]
    if isinstance(value, dict):
        if not isinstance(width, int) or isinstance(width, bool) or WIDTH in value:
            # without a width the section has no model, and the reason is reported where the width stands
            resolved.failed.add(section)
        value.setdefault(WIDTH, width)


def _plug(
    model: type[Plugged], value: dict[str, Any], pointer: str, width: Any, tree: Tree, resolved: Resolved
) -> dict[str, Any]:
    name, own = value[model.key], own_fields(model)
    section = pointer.split("/")[1]
    if not isinstance(name, str) or name not in catalog.names(model.room):
        resolved.failed.add(section)
        return value
    try:
        plugin = catalog.load(model.room, name)
    except (Refusal, ImportError, AttributeError) as error:
        resolved.failed.add(section)
        resolved.diagnostics.append(broken(tree, model, pointer, name, error))
        return value
    given = {key: item for key, item in value.items() if key not in own} if model.inline else value.get("params", {})
    kept = {key: item for key, item in value.items() if key in own or not (model.inline or key == "params")}
    if model.room == "teachers":
        for key, info in plugin.params.model_fields.items():
            if info.annotation is Architecture and key in given:
                _give_width(given[key], width, resolved, f"{pointer}/{key}")
    params = _params(plugin.params, given, pointer if model.inline else f"{pointer}/params", tree, resolved)
    if model.room == "teachers" and params is not None:
        kept.setdefault("signals", sorted(plugin.gives(params) if plugin.gives else plugin.signals))
    return {**kept, "params": params} if params is not None else value


def _params(model: type[Params], given: Any, pointer: str, tree: Tree, resolved: Resolved) -> Params | None:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        resolved.failed.add(pointer.split("/")[1])
        resolved.diagnostics += problems(tree, error, pointer)
        return None


def broken(tree: Tree, model: type[Plugged], pointer: str, name: str, error: Exception) -> Diagnostic:
    """A plug-in that is installed and cannot be used."""
    action = error.action if isinstance(error, Refusal) else "reinstall the distribution that brings it"
    # Python ends such a message with the path of a file on this machine
    reason = re.sub(r" \([^()]*\)$", "", str(error))[:300]
    return tree.diagnostic(
        "KC2111", child(pointer, model.key), f"{model.noun} `{name}` is installed but broken", label=reason, help=action
    )


def problems(tree: Tree, error: ValidationError, base: str) -> Iterator[Diagnostic]:
    """What a model refuses, each at the nearest place in the text."""
    for item in error.errors(include_url=False, include_context=False)[:_MOST]:
        pointer = base
        for part in item["loc"]:
            # parts that stand for no text (the tag of a union, the model of a plug-in) are passed over
            below = child(pointer, part)
            if below in tree.values:
                pointer = below
        missing = item["type"] == "missing"
        message = item["msg"].removeprefix("Value error, ")
        name = str(item["loc"][-1]) if item["loc"] else ""
        yield tree.diagnostic(
            "KC2110",
            pointer,
            f"missing key `{name}`" if missing else f"refused: {message}",
            label="" if missing else f"given: {json.dumps(item['input'], default=str, ensure_ascii=False)[:80]}",
            help=described(pointer),
        )
