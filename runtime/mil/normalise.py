"""A model specification and its weights file → an `.mlpackage` folder whose bytes depend on nothing else.

coremltools writes random ids into Manifest.json, the date of conversion into the model's metadata and protobuf maps
in whatever order they have. Here ids are derived from what they name, the metadata is given by the caller, maps are
sorted, and nothing else lies in the folder (no debug mapping with paths of the converting machine).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.machine import durable

AUTHOR = "com.apple.CoreML"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "kcompiler/mlpackage")


def _identifier(path: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, path)).upper()


def manifest() -> str:
    """Manifest.json of a package with one model and one weights folder: the same text for every package."""
    items = {
        f"{AUTHOR}/model.mlmodel": ("CoreML Model Specification", "model.mlmodel"),
        f"{AUTHOR}/weights": ("CoreML Model Weights", "weights"),
    }
    entries = {
        _identifier(path): {"author": AUTHOR, "description": text, "name": name, "path": path}
        for path, (text, name) in items.items()
    }
    value = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": _identifier(f"{AUTHOR}/model.mlmodel"),
    }
    return json.dumps(value, indent=4, sort_keys=True) + "\n"


def write(spec: Any, weights: Path, package: Path, metadata: Mapping[str, str]) -> int:
    """Write `package` from a protobuf `Model` and the weights file; returns its size in bytes.

    `spec` loses all user-defined metadata but `metadata`. Raises FileExistsError when `package` exists.
    """
    spec.description.metadata.userDefined.clear()
    for name in sorted(metadata):
        spec.description.metadata.userDefined[name] = metadata[name]
    data = package / "Data" / AUTHOR
    if package.exists():
        raise FileExistsError(package)
    durable.write(data / "model.mlmodel", spec.SerializeToString(deterministic=True))
    durable.copy(weights, data / "weights" / "weight.bin")
    durable.write(package / "Manifest.json", manifest())
    return sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
