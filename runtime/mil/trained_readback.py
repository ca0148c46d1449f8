"""Saved package → which matrices hold the very integers and scales that were trained (quantization-aware training).

What was trained is known by digests alone, of the report of the training. A matrix that stands in a package several
times, as embedding and head or in several functions, is held to them each time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime.contract import BrokenEvidence, strict_json
from runtime.contract import program as contracts
from runtime.contract.qat import KIND
from runtime.contract.report import hex_of
from runtime.mil.older import AFFINE_OP
from runtime.mil.package import Package, StoredWeight
from runtime.mil.program import Operation
from runtime.mil.quantize import Quantized, digests
from runtime.mil.readback import PARTS, SCALED_OP, Finding, elements, tensor_of


class Digests(NamedTuple):
    """Of a matrix: SHA-256 of its integers and of its scales (`runtime.mil.quantize.digests`)."""

    codes: str
    scales: str


def of_report(folder: Path, tensors: Collection[str], checkpoint: str) -> dict[str, Digests]:
    """Matrix → what was trained of it, by the report of the training. Raises BrokenEvidence for a report that is about
    another checkpoint, or about others than these tensors."""
    report: Any = strict_json.loads((folder / "report.json").read_bytes())
    if report["kind"] != KIND or report["fingerprints"].get("model") != hex_of(checkpoint):
        raise BrokenEvidence("the report of the training is about another checkpoint", subject="report.json")
    told = report["data"].get("qat", {"matrices": []})["matrices"]
    if sorted(one["tensor"] for one in told) != sorted(tensors):
        raise BrokenEvidence("the report of the training knows of other rounded matrices", subject="report.json")
    return {one["tensor"]: Digests(one["codes_sha256"], one["scales_sha256"]) for one in told}


@dataclass(frozen=True)
class Trained:
    """Findings; the matrices that were found, and those that are not what was trained."""

    findings: list[Finding]
    found: frozenset[str]
    wrong: frozenset[str]


def trained(package: Package, contract: contracts.Contract, asked: Mapping[str, Digests]) -> Trained:
    """A function that is not there is `readback.recipe`'s to find, as is a matrix that is nowhere."""
    findings = list(_findings(package, contract, asked))
    held = (tensor for _, _, tensor in _held(package, contract))
    found = frozenset(tensor for tensor in held if tensor in asked)
    return Trained(findings, found, frozenset(one.subject for one in findings))


def _held(package: Package, contract: contracts.Contract) -> Iterator[tuple[str, StoredWeight, str]]:
    """(function, constant, tensor) of all that the functions hold of the checkpoint."""
    for name, declared in contract.functions.items():
        for stored in package.weights(name) if name in package.functions else ():
            if (tensor := tensor_of(stored, declared)) is not None:
                yield name, stored, tensor


def _findings(package: Package, contract: contracts.Contract, asked: Mapping[str, Digests]) -> Iterator[Finding]:
    operations = {name: {one.name: one for one in function.operations} for name, function in package.functions.items()}
    for name, stored, tensor in _held(package, contract):
        if tensor in asked and (why := _wrong(package, stored, operations[name][stored.op_name], asked[tensor])):
            yield Finding("trained", name, tensor, why)


def _wrong(package: Package, stored: StoredWeight, operation: Operation, due: Digests) -> str:
    """What of a stored matrix was not trained, or ""."""
    if stored.op_type not in (SCALED_OP, AFFINE_OP):
        return f"is stored by {stored.op_type}, and was trained in integers"
    codes, scales, offset = (elements(package, operation, part) for part in PARTS[stored.op_type])
    if codes is None or scales is None:
        return "holds no integers or no scales"
    if offset is not None and offset.any():
        return "has an offset, and was trained without one"
    # a head that is computed in float32 has its scales so, each a float16
    held = Quantized(codes.astype(np.int8), scales.astype(np.float16))
    exact = np.array_equal(held.data, codes), np.array_equal(held.scale, scales)
    same = (one == other for one, other in zip(digests(held), due, strict=True))
    wrong = [what for what, *told in zip(("integers", "scales"), exact, same, strict=True) if not all(told)]
    return f"its {' and '.join(wrong)} are not, bit for bit, those that were trained" if wrong else ""
