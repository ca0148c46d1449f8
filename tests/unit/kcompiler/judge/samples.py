"""Small reports, obligations, and the shape of a claim about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtime.contract import report as facts

HEX = {
    name: digit * 63 + "0"
    for name, digit in zip(("dataset", "tool_registry", "tokenizer", "prompt_wrapper", "model"), "12345", strict=True)
}


def report(data: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A report of kind `sample` by step `measure`; `changes` replace sections of the envelope."""
    made = {
        "kind": "sample",
        "schema_version": "1.0",
        "step": "measure",
        "subject": {"model": "sha256:" + HEX["model"]},
        "fingerprints": dict(HEX),
        "environment": {"forged": False, "backend": "torch", "versions": {"torch": "2.13.0"}},
        "data": dict(data),
    }
    return made | changes


def environment(**changes: Any) -> dict[str, Any]:
    return {"forged": False, "backend": "torch"} | changes


def obligation(params: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A blocking obligation of kind `bound` on `measure`; `changes` replace its fields (`from_` is `from`)."""
    made = {
        "rule": "lab/rule",
        "pack": "lab@1",
        "title": "A rule of the lab",
        "mode": "block",
        "reason": "",
        "report": "sample",
        "from": "step:measure",
        "kind": "bound@1",
        "params": dict(params),
        "expect": None,
        "remedy": "measure again",
    }
    return made | {key.rstrip("_"): value for key, value in changes.items()}


def bound(metric: str | list[str], op: str, threshold: object = None, unit: str = "1", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"metric": metric, "op": op, "unit": unit} | more
    return made if threshold is None else made | {"threshold": threshold}


@dataclass(frozen=True)
class Claim:
    """What the judge must say about `reports` under `obligations`."""

    claim: str
    reports: Mapping[str, Any]
    obligations: Sequence[Mapping[str, Any]]
    outcomes: Sequence[str]
    #: verdict and exit code
    says: tuple[str, int]
    #: fields the first outcome must have; a `reason` must be contained, or equal when it ends with a full stop
    first: Mapping[str, Any] = field(default_factory=dict)


PASS, FAIL, BROKEN, NOTHING = ("PASS", 0), ("FAIL", 1), ("FAIL", 2), ("NOTHING_EVALUATED", 3)
#: `says` of a single obligation by its outcome
ALONE = {
    "pass": PASS,
    "fail": FAIL,
    "inconclusive": ("INCONCLUSIVE", 1),
    "not_evaluated": NOTHING,
    "error": NOTHING,
    "skipped": NOTHING,
}


def one(claim: str, data: Mapping[str, Any], made: Mapping[str, Any], outcome: str, **first: Any) -> Claim:
    """A claim about one obligation on one report."""
    return Claim(claim, {"measure": report(data)}, [made], [outcome], ALONE[outcome], first)


def explains(outcome: Any, first: Mapping[str, Any]) -> list[str]:
    """The fields of an outcome that differ from what a claim says of them."""
    wrong = []
    for name, wanted in first.items():
        said = getattr(outcome, name)
        inside = name == "reason" and not wanted.endswith(".")
        if not (wanted in said if inside else f"{said}." == wanted if name == "reason" else said == wanted):
            wrong.append(f"{name}: {said!r}")
    return wrong


def number(value: float, unit: str = "1", **extra: Any) -> dict[str, Any]:
    return facts.measured(value, unit, **extra)


def share(value: float, **counts: Any) -> dict[str, Any]:
    """A rate or an F1 as a report might have it, with the counts behind it or without."""
    return number(value, "ratio", **counts)
