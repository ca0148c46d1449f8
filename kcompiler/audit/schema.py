"""A document × the id of a published schema → the first problem, as one line."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from kcompiler import assets


@cache
def _validator(name: str) -> Any:
    from runtime.contract.jsonschemas import Draft202012Validator

    file = assets.folder("schemas") / f"{name}.schema.json"
    return Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))


def problem_with(name: str, document: object) -> str:
    """What is wrong with a document by `schemas/<name>.schema.json`; "" when nothing is."""
    from runtime.contract.jsonschemas import best_match

    error = best_match(_validator(name).iter_errors(document))
    return "" if error is None else f"{error.json_path}: {error.message[:200]}"
