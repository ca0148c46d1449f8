"""Parts of a CycloneDX 1.6 document, as what is delivered and what is exported share them.

https://cyclonedx.org/docs/1.6/json/. No clock and no chance: the same facts give the same document.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any


def document(
    serial: uuid.UUID,
    made_by: Mapping[str, Any],
    model: Mapping[str, Any],
    parts: Sequence[Mapping[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """A bill of materials of one model, which depends on all `parts`. `more` stands in its metadata."""
    tool = {"type": "application", "name": made_by["name"], "version": made_by["version"]}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            **more,
            "component": {"type": "machine-learning-model", **model},
            "tools": {"components": [tool]},
        },
        "components": list(parts),
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }


def said(name: str, value: str) -> dict[str, str]:
    """A property of ours."""
    return {"name": f"kcompiler:{name}", "value": value}


def part(kind: str, ref: str, name: str, license: str, **more: Any) -> dict[str, Any]:
    """A component, with its licence where one is stated."""
    found: dict[str, Any] = {"type": kind, "bom-ref": ref, "name": name, **more}
    if license:
        found["licenses"] = [{"expression": license}]
    return found
