"""Saved packages of one artifact, which declare what their contract says → what they store, read out of themselves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.contract import BrokenEvidence
from runtime.contract import program as contracts
from runtime.mil import interface_readback
from runtime.mil import package as packages


def described(folder: Path, variants: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Variant → name of each of its packages → its specification version and stored elements by type.

    Raises BrokenEvidence for a package that does not declare what the artifact's contract says, and what opening a
    package raises.
    """
    contract = contracts.load(folder)
    found: dict[str, dict[str, Any]] = {variant: {} for variant in variants}
    for part in contracts.parts(contract):
        due = contracts.part(contract, part)
        for variant in variants:
            name = contracts.filename(variant, part)
            opened = packages.open(folder / name)
            wrong = interface_readback.interface(opened, due)
            strange = sorted(opened.functions.keys() - due.functions.keys())
            if wrong or strange:
                what = wrong[0].message if wrong else f"a function {strange[0]} that the contract has not"
                raise BrokenEvidence(f"{name} is not as its contract says: {what}", subject=name)
            found[variant][part] = {
                "specification_version": opened.specification_version,
                "stored": _stored(opened),
            }
    return found


def _stored(package: packages.Package) -> Mapping[str, int]:
    """Element type → elements of the default function; the other functions share its weights."""
    count: Counter[str] = Counter()
    for weight in package.weights(package.default_function):
        count[weight.dtype] += math.prod(weight.shape)
    return dict(sorted(count.items()))
