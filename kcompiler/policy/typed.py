"""A tree of plain values × a closed model → the model, or every mistake at its place in the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from kcompiler import source
from kcompiler.diagnostic import Diagnostic, did_you_mean

Model = TypeVar("Model", bound=BaseModel)

_PACKS = "schemas/policy.schema.json describes packs and rules"


def typed(
    model: type[Model],
    tree: source.Tree | None,
    value: object = None,
    base: str = "",
    *,
    code: str = "KC6002",
    note: str = _PACKS,
) -> tuple[Model | None, list[Diagnostic]]:
    """The tree (or the part `value` of it that stands at `base`) as a model, or what is wrong with it.

    `code` is that of a wrong form, `note` says where the form is described.
    """
    if tree is None:
        return None, []
    try:
        return model.model_validate(tree.data if not base else value), []
    except ValidationError as error:
        return None, list(_problems(model, tree, base, error, code, note))


def _problems(
    model: type[BaseModel], tree: source.Tree, base: str, error: ValidationError, code: str, note: str
) -> Iterator[Diagnostic]:
    """Unknown keys first: a misspelt key is also a missing one, and says more."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    for item in sorted(errors, key=lambda one: one["type"] != "extra_forbidden"):
        pointer = base
        for part in item["loc"]:
            pointer = source.child(pointer, part)
        key = ".".join(str(part) for part in item["loc"]) or "this file"
        extra = item["type"] == "extra_forbidden"
        summary = f"`{key}`: {item['msg'].removeprefix('Value error, ')}"
        if extra:
            summary = f"unknown key `{item['loc'][-1]}`"
        elif item["type"] == "missing":
            summary = f"the key `{key}` is missing"
        yield tree.diagnostic(
            code,
            pointer,
            summary,
            on="key" if extra else "auto",
            help=did_you_mean(str(item["loc"][-1]), _fields(model, item["loc"][:-1])) if extra else "",
            notes=(note,),
        )


def _keys(model: type[BaseModel]) -> list[str]:
    """Keys of one model as they are written."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _fields(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Keys a model knows at a place, for suggestions; nothing below the first level of nesting."""
    if not loc:
        return _keys(model)
    field = model.model_fields.get(str(loc[0]))
    candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field is not None else []
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return _keys(candidate)
    return []
