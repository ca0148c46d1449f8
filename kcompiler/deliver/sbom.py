"""Spec × lock → sbom.cdx.json: what the student was made of and made with (CycloneDX 1.6, JSON).

https://cyclonedx.org/docs/1.6/json/. No clock and no chance: the same plan gives the same text. A licence is what the
spec states of each part; the student's own is for its makers to decide, and is not in here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.cyclonedx import document, part, said
from kcompiler.spec import Spec

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "kcompiler/sbom")
_STUDENT = "student"


def sbom(lock: Mapping[str, Any], spec: Spec, plan_sha256: str, packages: Mapping[str, str]) -> str:
    """The document's text. `packages` maps the path of each delivered package to its tree digest in hex."""
    parts = [*_models(spec), *_data(lock, spec), *_toolchain(lock)]
    model = {
        "bom-ref": _STUDENT,
        "name": lock["asked"]["name"],
        "properties": [
            said("plan", plan_sha256),
            *(said(f"tree:{path}", digest) for path, digest in sorted(packages.items())),
        ],
    }
    made = document(uuid.uuid5(_NAMESPACE, plan_sha256), lock["made_by"], model, parts)
    return json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _models(spec: Spec) -> Iterator[dict[str, Any]]:
    """The teacher, and the weights that the student starts from."""
    params = spec.teacher.params
    for ref, source, model, license in (
        ("teacher", spec.teacher.source, params, spec.teacher.license),
        ("checkpoint", "checkpoint", spec.student.checkpoint, getattr(spec.student.checkpoint, "license", "")),
    ):
        if model is None:
            continue
        stated = {key: getattr(model, key, None) for key in ("model", "distribution", "file", "revision")}
        found = {key: str(value) for key, value in stated.items() if value}
        name = found.get("model") or found.get("distribution") or f"{spec.metadata.name}-{ref}"
        properties = [said("source", source), *(said(key, value) for key, value in sorted(found.items()))]
        yield part("machine-learning-model", ref, name, license.strip(), properties=properties)


def _data(lock: Mapping[str, Any], spec: Spec) -> Iterator[dict[str, Any]]:
    pins = {entry["name"]: entry["digest"] for entry in lock["inputs"] if entry["kind"] == "file"}
    for source in spec.data.sources:
        more: dict[str, Any] = {"properties": [said("kind", str(source.kind)), said("split", source.split)]}
        pin = pins.get(f"source_{source.name}")
        if pin is not None:
            more["hashes"] = [{"alg": "SHA-256", "content": pin.removeprefix("sha256:")}]
        yield part("data", f"data/{source.name}", source.name, source.license.strip(), **more)


def _toolchain(lock: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, version in sorted(lock["toolchain"].items()):
        purl = f"pkg:pypi/{name.replace('_', '-')}@{version}"
        yield part("library", purl, name, "", version=version, purl=purl)
    for plugin in lock["plugins"]:
        ref = f"plugin/{plugin['room']}/{plugin['name']}"
        yield part("library", ref, plugin["name"], "", properties=[said("code", plugin["code"])])
