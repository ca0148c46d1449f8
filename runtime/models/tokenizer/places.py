"""A tokenizer × where a text stands → the tokenizer for that place: some put a space before what begins a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from tokenizers import Tokenizer as Backend

#: where a text stands: at the start of everything, right after a control token, or right after other text
Place = Literal["start", "section", "inside"]
SECTION: Place = "section"


def _without(rule: Any, kinds: Mapping[str, Any]) -> Any:
    """A normaliser, pre-tokenizer or decoder with the settings of `kinds` (type → changed keys, None to drop it)."""
    if isinstance(rule, list):
        return [item for item in (_without(item, kinds) for item in rule) if item is not None]
    if not isinstance(rule, dict):
        return rule
    if rule.get("type") in kinds:
        change = kinds[rule["type"]]
        change = change(rule) if callable(change) else change
        return None if change is None else {**rule, **change}
    return {key: _without(value, kinds) if isinstance(value, dict | list) else value for key, value in rule.items()}


def _prefixes(rules: Any) -> set[str]:
    """The rules that put a space before a text: "first", "always", "Prepend", "ByteLevel"."""
    if isinstance(rules, list):
        return {found for item in rules for found in _prefixes(item)}
    if not isinstance(rules, dict):
        return set()
    found = {found for value in rules.values() for found in _prefixes(value)}
    if rules.get("type") == "Metaspace" and rules.get("prepend_scheme") in ("first", "always"):
        found.add(str(rules["prepend_scheme"]))
    if rules.get("type") == "ByteLevel" and rules.get("add_prefix_space") is True:
        found.add("ByteLevel")
    if rules.get("type") == "Prepend":
        found.add("Prepend")
    return found


def spaces(backend: Backend) -> set[str]:
    """The rules by which a tokenizer puts a space before a text that has none."""
    whole = json.loads(backend.to_str())
    return _prefixes([whole["normalizer"], whole["pre_tokenizer"]])


def standing(backend: Backend, place: Place) -> Backend:
    """The tokenizer for a text that stands at `place`: what it would make of that part of a longer text.

    A tokenizer with `prepend_scheme: first` (Mistral) puts a space before the start of a text alone, one with a
    normaliser `Prepend` (Llama 2) or `add_prefix_space` also before each piece that follows a control token; none puts
    one into the middle. A decoder that takes the space away again does so only where one was put.
    """
    whole = json.loads(backend.to_str())
    rules = _prefixes([whole["normalizer"], whole["pre_tokenizer"]])
    gone = rules if place == "inside" else rules & {"first"} if place == "section" else set()
    schemes = gone & {"first", "always"}
    kinds: dict[str, Any] = {
        "Metaspace": lambda rule: {"prepend_scheme": "never"} if rule.get("prepend_scheme") in schemes else {},
        "ByteLevel": {"add_prefix_space": False} if "ByteLevel" in gone else {},
        "Prepend": None if "Prepend" in gone else {},
    }
    made = {**whole, **{name: _without(whole[name], kinds) for name in ("normalizer", "pre_tokenizer")}}
    if gone == rules:
        made["decoder"] = _without(whole["decoder"], {"Metaspace": {"prepend_scheme": "never"}, "Strip": {"start": 0}})
    if made == whole:
        return backend
    found = Backend.from_str(json.dumps(made))
    found.encode_special_tokens = True
    return found
