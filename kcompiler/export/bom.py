"""Facts → bom.cdx.json, an ML-BOM of CycloneDX 1.6: what the model was made of and made with, and what was measured.

https://cyclonedx.org/docs/1.6/json/. Inputs and licences are those that the lock pins, numbers those of the reports;
the model's own licence is for its makers to decide, and is not in here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.export.facts import MODELS, Facts
from kcompiler.export.measures import measures

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "kcompiler/export/bom")
_MODEL = "model"


def bom(facts: Facts) -> dict[str, Any]:
    """The document."""
    parts = [*_inputs(facts), *_toolchain(facts)]
    made_by, verdict = facts.plan["made_by"], facts.verdict
    told = {"plan": facts.digest, "verdict": str(verdict["verdict"]), "released": facts.released}
    told |= {f"artifact:{place}": artifact for place, artifact in facts.artifacts(*MODELS).items()}
    datasets = [{"ref": one["bom-ref"]} for one in parts if one["type"] == "data"]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, facts.head + facts.digest)}",
        "version": 1,
        "metadata": {
            **({"timestamp": facts.closed} if facts.closed else {}),
            "component": {
                "type": "machine-learning-model",
                "bom-ref": _MODEL,
                "name": facts.name,
                "properties": [_property(name, value) for name, value in sorted(told.items())],
                "modelCard": {
                    "modelParameters": {"task": "text-generation", **({"datasets": datasets} if datasets else {})},
                    "quantitativeAnalysis": {"performanceMetrics": [*_metrics(facts)]},
                    "considerations": {"technicalLimitations": [*_limits(facts)]},
                },
            },
            "tools": {"components": [{"type": "application", "name": made_by["name"], "version": made_by["version"]}]},
        },
        "components": parts,
        "dependencies": [
            {"ref": _MODEL, "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"kcompiler:{name}", "value": value}


def _part(kind: str, ref: str, name: str, license: str, **more: Any) -> dict[str, Any]:
    part: dict[str, Any] = {"type": kind, "bom-ref": ref, "name": name, **more}
    if license:
        part["licenses"] = [{"expression": license}]
    return part


def _inputs(facts: Facts) -> Iterator[dict[str, Any]]:
    """What the lock pins, and data that were generated on the way, by the report on the data."""
    for one in facts.plan["inputs"]:
        more: dict[str, Any] = {"properties": [_property("path", one["path"]), _property("digest", one["digest"])]}
        if one["kind"] == "file":
            more["hashes"] = [{"alg": "SHA-256", "content": one["digest"].removeprefix("sha256:")}]
        kind = "data" if one["name"].startswith("source_") else "file"
        yield _part(kind, f"input/{one['name']}", one["name"], str(one["license"]).strip(), **more)
    pinned = {str(one["name"]) for one in facts.plan["inputs"]}
    for step, report in facts.real.items():
        for name, source in sorted(_sources(report).items()):
            if f"source_{name}" not in pinned:
                yield _part("data", f"{step}/{name}", name, str(source.get("license", "")).strip())


def _sources(report: Mapping[str, Any]) -> Mapping[str, Any]:
    found = report["data"].get("sources") if report["kind"] == "data.splits" else None
    return found if isinstance(found, dict) else {}


def _toolchain(facts: Facts) -> Iterator[dict[str, Any]]:
    for name, version in sorted(facts.plan["toolchain"].items()):
        purl = f"pkg:pypi/{name.replace('_', '-').lower()}@{version}"
        yield _part("library", purl, name, "", version=version, purl=purl)
    for one in facts.plan["plugins"]:
        ref = f"plugin/{one['room']}/{one['name']}"
        yield _part("library", ref, one["name"], "", properties=[_property("code", one["code"])])


def _metrics(facts: Facts) -> Iterator[dict[str, Any]]:
    """Numbers of a model card are texts: each as its report writes it."""
    for one in measures(facts):
        found: dict[str, Any] = {"type": one.path, "value": json.dumps(one.datum["value"]), "slice": one.step}
        if "low" in one.datum and "high" in one.datum:
            ends = {"lowerBound": json.dumps(one.datum["low"]), "upperBound": json.dumps(one.datum["high"])}
            found["confidenceInterval"] = ends
        yield found


def _limits(facts: Facts) -> Iterator[str]:
    """What did not pass, and was let through."""
    for one in facts.verdict["outcomes"]:
        if one["outcome"] not in ("pass", "skipped"):
            yield f"{one['rule']} on {one['step']}: {one['outcome']}, {one['reason']}"
