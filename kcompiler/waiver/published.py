"""The model of a waiver → `schemas/waiver.schema.json`, for editors. Derived, never edited: a test compares them."""

from __future__ import annotations

from typing import Any

from kcompiler.waiver.file import Waiver


def document() -> dict[str, Any]:
    """The schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "waiver.schema.json",
        **Waiver.model_json_schema(),
        "title": "Waiver",
        "description": "waivers/<id>.yaml: an approved, expiring exception. Unknown keys are refused.",
    }
