"""Facts → bom.cdx.json, an ML-BOM of CycloneDX 1.6: what the model was made of and made with, and what was measured.

https://cyclonedx.org/docs/1.6/json/. Inputs and licences are those that the lock pins, numbers those of the reports;
the model's own licence is for its makers to decide, and is not in here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.cyclonedx import document, part, said
from kcompiler.export.facts import MODELS, Facts
from kcompiler.export.measures import measures

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "kcompiler/export/bom")
_MODEL = "model"


def bom(facts: Facts) -> dict[str, Any]:
    """The document."""
    parts = [*_inputs(facts), *_toolchain(facts)]
    told = {"plan": facts.digest, "verdict": str(facts.verdict["verdict"]), "released": facts.released}
    told |= {f"artifact:{place}": artifact for place, artifact in facts.artifacts(*MODELS).items()}
    datasets = [{"ref": one["bom-ref"]} for one in parts if one["type"] == "data"]
    model = {
        "bom-ref": _MODEL,
        "name": facts.name,
        "properties": [said(name, value) for name, value in sorted(told.items())],
        "modelCard": {
            "modelParameters": {"task": "text-generation", **({"datasets": datasets} if datasets else {})},
            "quantitativeAnalysis": {"performanceMetrics": [*_metrics(facts)]},
            "considerations": {"technicalLimitations": [*_limits(facts)]},
        },
    }
    serial = uuid.uuid5(_NAMESPACE, facts.head + facts.digest)
    return document(
        serial, facts.plan["made_by"], model, parts, **({"timestamp": facts.closed} if facts.closed else {})
    )


def _inputs(facts: Facts) -> Iterator[dict[str, Any]]:
    """What the lock pins, and data that were generated on the way, by the report on the data."""
    for one in facts.plan["inputs"]:
        more: dict[str, Any] = {"properties": [said("path", one["path"]), said("digest", one["digest"])]}
        if one["kind"] == "file":
            more["hashes"] = [{"alg": "SHA-256", "content": one["digest"].removeprefix("sha256:")}]
        kind = "data" if one["name"].startswith("source_") else "file"
        yield part(kind, f"input/{one['name']}", one["name"], str(one["license"]).strip(), **more)
    pinned = {str(one["name"]) for one in facts.plan["inputs"]}
    for step, report in facts.real.items():
        for name, source in sorted(_sources(report).items()):
            if f"source_{name}" not in pinned:
                yield part("data", f"{step}/{name}", name, str(source.get("license", "")).strip())


def _sources(report: Mapping[str, Any]) -> Mapping[str, Any]:
    found = report["data"].get("sources") if report["kind"] == "data.splits" else None
    return found if isinstance(found, dict) else {}


def _toolchain(facts: Facts) -> Iterator[dict[str, Any]]:
    for name, version in sorted(facts.plan["toolchain"].items()):
        purl = f"pkg:pypi/{name.replace('_', '-').lower()}@{version}"
        yield part("library", purl, name, "", version=version, purl=purl)
    for one in facts.plan["plugins"]:
        ref = f"plugin/{one['room']}/{one['name']}"
        yield part("library", ref, one["name"], "", properties=[said("code", one["code"])])


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
