"""A disagreement between a value and the schema → diagnostics that say what was meant to stand there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kcompiler.diagnostic import Diagnostic, did_you_mean, suggest
from kcompiler.source import Tree, child, described
from kcompiler.spec.base import FORM, ROOM

if TYPE_CHECKING:
    from jsonschema import ValidationError

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}
#: keys that people write where another section decides
_ELSEWHERE = {
    "vocab_size": "`tokenizer.vocab_size` decides the width of every model",
    "strategy": "`export.strategy` decides whether each length is a function of its own",
    "heads": "`student.heads` names what a student says beside the next token",
    "runners": "`evaluation.runners` names what else answers",
}
_YAML_1_1_BOOLS = frozenset({"yes", "no", "on", "off", "y", "n"})
#: whoever has more unknown keys in one mapping has given another kind of file
_MOST_KEYS = 100


class _Error(NamedTuple):
    """What the validator says: `wanted` is the keyword's value in `schema`, `value` what stands in the spec."""

    keyword: str
    wanted: Any
    value: Any
    schema: Mapping[str, Any]
    message: str


class Explained(NamedTuple):
    diagnostics: list[Diagnostic]
    foreign: frozenset[str] = frozenset()


def explain(tree: Tree, error: ValidationError) -> Explained:
    """Every diagnostic of one error of the validator, and the unknown keys among them that resemble no known key."""
    pointer = "".join(child("", part) for part in error.absolute_path)
    schema: Any = error.schema
    said = _Error(str(error.validator), error.validator_value, error.instance, schema, error.message)
    if "propertyNames" in list(error.absolute_schema_path)[-2:]:
        return Explained([_key(tree, pointer, said)])
    if said.keyword == "additionalProperties":
        return _unknown(tree, pointer, said)
    describe = _BY_KEYWORD.get(said.keyword)
    if describe is None:
        return Explained(
            [tree.diagnostic("KC2110", pointer, f"refused: {error.message[:200]}", notes=(described(pointer),))]
        )
    return Explained(list(describe(tree, pointer, said)))


def dotted(pointer: str) -> str:
    """`/training/stages/0/name` → `training.stages[0].name`, as people say it."""
    said = ""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        said += f"[{part}]" if part.isdecimal() else f".{part}" if said else part
    return said or "the spec"


def _name(pointer: str) -> str:
    said = dotted(pointer)
    return said.rpartition(".")[2]


def _owner(pointer: str, schema: Mapping[str, Any]) -> str:
    title = schema.get("title", "")
    return title if "`" in title else f"`{dotted(pointer)}`" if pointer else "the spec"


def _given(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    return "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "a mapping"


def _type(tree: Tree, pointer: str, error: _Error) -> Iterator[Diagnostic]:
    wanted = error.wanted if isinstance(error.wanted, list) else [error.wanted]
    choices = error.schema.get("enum", ()) if error.value is not None else ()
    yield _mistyped(tree, pointer, error.value, [str(name) for name in wanted], _purpose(pointer, error), choices)


def _mistyped(
    tree: Tree, pointer: str, value: Any, wanted: list[str], purpose: str, choices: Sequence[object] = ()
) -> Diagnostic:
    expected = " or ".join(_KINDS.get(name, name) for name in wanted)
    return tree.diagnostic(
        "KC2101",
        pointer,
        f"`{_name(pointer)}` must be {expected}" if pointer else f"a spec must be {expected}",
        label=f"this is {_given(value)}",
        help=_choices_help(choices) or _type_help(tree, pointer, value, wanted) or purpose,
    )


def _choices_help(choices: Sequence[object]) -> str:
    """Quotes make no choice of a number: the choices do."""
    return f"choose one of {', '.join(map(str, choices))}" if choices else ""


def _type_help(tree: Tree, pointer: str, value: Any, wanted: list[str]) -> str:
    if value is None:
        return "write a value, or remove the key"
    if "string" in wanted and isinstance(value, bool | int | float):
        return f'put it in quotes: "{tree.written(pointer)}"'
    if isinstance(value, str):
        if "boolean" in wanted and value.casefold() in _YAML_1_1_BOOLS:
            meant = "true" if value.casefold() in ("yes", "on", "y") else "false"
            return f"`{value}` is text in YAML 1.2; write {meant}"
        if {"integer", "number"} & set(wanted):
            if "_" in value:
                return "underscores may only group digits in threes, as in 623_000"
            if re.fullmatch(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?", value):
                return f"remove the quotes: {value}"
    if "array" in wanted and isinstance(value, str | int | float):
        return f"write a list: [{value}]"
    if "integer" in wanted and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if "array" in wanted and isinstance(value, dict):
        return "start each item with `- `"
    return ""


def _required(tree: Tree, pointer: str, error: _Error) -> Iterator[Diagnostic]:
    # the validator reports one error per missing key and names the key only in its text
    name = next(key for key in error.wanted if error.message.startswith(f"{key!r} is"))
    known = error.schema.get("properties", {})
    misspelt = _misspelt(name, error.value, list(known))
    closed = error.schema.get("additionalProperties") is False
    if misspelt and closed:  # the wrong name is reported as an unknown key, with this suggestion
        return
    field = known.get(name, {})
    if misspelt:
        help = f"did you mean `{name}` where `{misspelt}` stands?"
    elif field.get("description"):
        help = f"`{name}`: {field['description']}"
    else:
        help = _choices_help(field.get("enum", ())) or described(child(pointer, name))
    yield tree.diagnostic(
        "KC2102",
        child(pointer, misspelt) if misspelt else pointer,
        f"missing key `{name}` in {_owner(pointer, error.schema)}",
        on="key",
        label=f"`{name}` is required here",
        help=help,
    )


def _misspelt(name: str, instance: Any, known: list[str]) -> str:
    """The key under whose wrong name a missing one stands, or an empty text.

    Where only some keys are known (those that decide the rest), a foreign key is one that resembles a known one.
    """
    free = [key for key in known if key not in instance]
    unknown = [key for key in instance if key not in known][:_MOST_KEYS]
    return next((key for key in unknown if name in suggest(key, free)), "")


def _unknown(tree: Tree, pointer: str, error: _Error) -> Explained:
    known: list[str] = list(error.schema.get("properties", {}))
    # a key that already stands here was not meant by a second, misspelt one
    free = [name for name in known if name not in error.value]
    found, foreign = [], set()
    for key in [key for key in error.value if key not in known][:_MOST_KEYS]:
        place = child(pointer, key)
        if key in _ELSEWHERE:
            help = f"remove it: {_ELSEWHERE[key]}"
        else:
            # an overlay names a key that is there, and a slip may stand beside the right one
            near = free if suggest(key, free) else suggest(key, known) or known
            help = did_you_mean(key, near) or f"known here: {', '.join(sorted(known))}"
        if not suggest(key, free):
            foreign.add(place)
        found.append(
            tree.diagnostic(
                "KC2104",
                place,
                f"unknown key `{key}` in {_owner(pointer, error.schema)}",
                on="key",
                label="no such key here",
                help=help,
                notes=(described(pointer),),
            )
        )
    return Explained(found, frozenset(foreign))


def _choice(tree: Tree, pointer: str, error: _Error) -> Iterator[Diagnostic]:
    choices = error.wanted if error.keyword == "enum" else [error.wanted]
    value, name = error.value, _name(pointer)
    if not isinstance(value, str):
        if "type" not in error.schema:  # else the keyword `type` has reported it
            yield _mistyped(tree, pointer, value, ["string"], _purpose(pointer, error))
        return
    room = error.schema.get(ROOM)
    help = did_you_mean(value, [str(choice) for choice in choices])
    if room:
        yield tree.diagnostic(
            "KC2106",
            pointer,
            f"no plug-in `{value}` in the room `{room}`",
            label="unknown plug-in",
            help=help or f"none is installed; a file runtime/{room}/{value}.py would be one",
        )
    else:
        yield tree.diagnostic(
            "KC2103", pointer, f"`{name}` cannot be `{value}`", label="not one of the choices", help=help
        )


_BOUNDS: Mapping[str, Callable[[Any], str]] = {
    "minimum": lambda bound: f"at least {bound:,}",
    "maximum": lambda bound: f"at most {bound:,}",
    "exclusiveMinimum": lambda bound: f"more than {bound:,}",
    "exclusiveMaximum": lambda bound: f"less than {bound:,}",
    "multipleOf": lambda bound: "a whole number" if bound == 1 else f"a multiple of {bound}",
    "minItems": lambda bound: f"a list of at least {bound} item{'s' if bound > 1 else ''}",
    "minProperties": lambda bound: f"a mapping of at least {bound} key{'s' if bound > 1 else ''}",
    "maxItems": lambda bound: f"a list of at most {bound:,} items",
    "minLength": lambda bound: "not empty" if bound == 1 else f"at least {bound} characters long",
    "maxLength": lambda bound: f"at most {bound:,} characters long",
}


def _bound(tree: Tree, pointer: str, error: _Error) -> Iterator[Diagnostic]:
    expected = _BOUNDS[error.keyword](error.wanted)
    yield tree.diagnostic(
        "KC2105",
        pointer,
        f"`{_name(pointer)}` must be {expected}",
        label=f"must be {expected}",
        help=_purpose(pointer, error),
    )


def _pattern(tree: Tree, pointer: str, error: _Error) -> Iterator[Diagnostic]:
    form = error.schema.get(FORM) or f"a match of {error.wanted}"
    yield tree.diagnostic(
        "KC2107",
        pointer,
        f"`{_name(pointer)}` is not written as it must be",
        label=f"must be {form}",
        help=_purpose(pointer, error),
    )


def _purpose(pointer: str, error: _Error) -> str:
    """What a field is for, in the words of the schema."""
    text = error.schema.get("description", "")
    return f"`{_name(pointer)}`: {text}" if text else described(pointer)


def _twice(tree: Tree, pointer: str, error: _Error) -> Iterator[Diagnostic]:
    items: list[Any] = list(error.value)
    for i, item in enumerate(items):
        first = items.index(item)
        if first < i:
            yield tree.diagnostic(
                "KC2108",
                f"{pointer}/{i}",
                f"the same item twice in `{_name(pointer)}`",
                label="again",
                help="remove one of the two",
                related=(tree.related(f"{pointer}/{first}", "first here"),),
            )


def _key(tree: Tree, pointer: str, error: _Error) -> Diagnostic:
    """`propertyNames`: the keys of a mapping are themselves a choice, or have a form."""
    key, choices = str(error.value), [str(choice) for choice in error.schema.get("enum", [])]
    if error.keyword == "pattern":
        form = error.schema.get(FORM) or f"a match of {error.wanted}"
        return tree.diagnostic(
            "KC2107",
            child(pointer, key),
            f"the key `{key}` of `{dotted(pointer)}` is not written as it must be",
            on="key",
            label=f"must be {form}",
            help=described(pointer),
        )
    return tree.diagnostic(
        "KC2104",
        child(pointer, key),
        f"unknown key `{key}` in `{dotted(pointer)}`",
        on="key",
        label="no such key here",
        help=did_you_mean(key, choices),
    )


_BY_KEYWORD: Mapping[str, Callable[[Tree, str, _Error], Iterator[Diagnostic]]] = {
    "type": _type,
    "required": _required,
    "enum": _choice,
    "const": _choice,
    "pattern": _pattern,
    "uniqueItems": _twice,
    **dict.fromkeys(_BOUNDS, _bound),
}
