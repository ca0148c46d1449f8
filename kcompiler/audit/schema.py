"""A document × the id of a published schema → the first problem, as one line."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from kcompiler import assets
from kcompiler.policy import conforms


@cache
def _schema(name: str) -> Any:
    return json.loads((assets.folder("schemas") / f"{name}.schema.json").read_text(encoding="utf-8"))


@cache
def _accepts(name: str) -> conforms.Accepts | None:
    return conforms.Compiler().of(_schema(name))


@cache
def _validator(name: str) -> Any:
    from runtime.contract.jsonschemas import Draft202012Validator

    return Draft202012Validator(_schema(name))


def problem_with(name: str, document: object) -> str:
    """What is wrong with a document by `schemas/<name>.schema.json`; "" when nothing is."""
    accepts = _accepts(name)
    if accepts is not None and accepts(document):
        return ""
    from runtime.contract.jsonschemas import best_match

    error = best_match(_validator(name).iter_errors(document))
    return "" if error is None else f"{error.json_path}: {error.message[:200]}"
