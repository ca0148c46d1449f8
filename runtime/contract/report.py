"""Measured facts → the one report envelope. Standard library only.

Every number is a *datum*: `{"value", "unit", "tag"}` and, behind a rate, `k` of `n`. A tag says how the number came
to be: `measured` here and now, `estimated` by a formula, `unavailable` with the reason. A value that is not finite is
never written: it becomes `unavailable`, so that no comparison can pass on it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA_VERSION = "1.0"
#: what a report is bound to; `judge` is the model behind a server whose word it is, or that it is about
FINGERPRINTS = ("dataset", "tool_registry", "tokenizer", "prompt_wrapper", "model", "judge")
_HEX = re.compile(r"[0-9a-f]{64}\Z")


def measured(value: float | int | bool, unit: str, *, n: int | None = None, **extra: Any) -> dict[str, Any]:
    """A datum measured in this step. `n` items stand behind it; `extra` may hold an interval `low`/`high`."""
    if not isinstance(value, bool) and not math.isfinite(value):
        return unavailable(f"not finite: {value}", unit)
    datum: dict[str, Any] = {"value": value, "unit": unit, "tag": "measured"}
    if n is not None:
        datum["n"] = n
    for name, item in extra.items():
        if isinstance(item, float) and not math.isfinite(item):
            return unavailable(f"{name} is not finite: {item}", unit)
        datum[name] = item
    return datum


def rate(k: int, n: int) -> dict[str, Any]:
    """k of n as a datum with its counts; without items there is no rate."""
    if n == 0:
        return unavailable("no items", "ratio")
    return measured(k / n, "ratio", n=n, k=k)


def estimated(value: float | int, unit: str, *, by: str) -> dict[str, Any]:
    """A datum computed from a formula or a model of the machine, not observed."""
    if not math.isfinite(value):
        return unavailable(f"not finite: {value}", unit)
    return {"value": value, "unit": unit, "tag": "estimated", "by": by}


def unavailable(reason: str, unit: str) -> dict[str, Any]:
    """A datum that could not be had, and why. No gate passes on it."""
    return {"value": None, "unit": unit, "tag": "unavailable", "reason": reason}


def hex_of(digest: str) -> str:
    """ "sha256:…" → the 64 hexadecimal digits."""
    return digest.removeprefix("sha256:")


def envelope(
    *,
    kind: str,
    step: str,
    subject: Mapping[str, str],
    fingerprints: Mapping[str, str],
    environment: Mapping[str, Any],
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """The common envelope. Raises ValueError for a fingerprint that is not 64 hexadecimal digits."""
    for name, value in fingerprints.items():
        if name not in FINGERPRINTS:
            raise ValueError(f"no such fingerprint: {name}")
        if not _HEX.match(value):
            raise ValueError(f"fingerprint {name} is not 64 hexadecimal digits: {value!r}")
    return {
        "kind": kind,
        "schema_version": SCHEMA_VERSION,
        "step": step,
        "subject": dict(subject),
        "fingerprints": dict(fingerprints),
        "environment": dict(environment),
        "data": dict(data),
    }


def dump(report: Mapping[str, Any]) -> str:
    """Stable text: sorted keys, LF, no NaN."""
    return json.dumps(report, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def fingerprints(folders: Mapping[str, Path], digests: Mapping[str, str], *, model: str = "") -> dict[str, str]:
    """The fingerprints that artifacts carry: `dataset` and `tokenizer` by digest, the tool registry and the prompt
    wrapper from their manifests, the model by the digest of port `model`. What is not taken is not claimed."""
    found: dict[str, str] = {}
    if "dataset" in folders:
        found["dataset"] = hex_of(digests["dataset"])
        found["tool_registry"] = json.loads((folders["dataset"] / "manifest.json").read_text())["tool_registry_sha256"]
    if "tokenizer" in folders:
        found["tokenizer"] = hex_of(digests["tokenizer"])
        found["prompt_wrapper"] = json.loads((folders["tokenizer"] / "contract.json").read_text())["template_sha256"]
    if model:
        found["model"] = hex_of(digests[model])
    return found
