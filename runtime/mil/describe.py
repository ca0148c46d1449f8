"""Saved packages of one artifact → what they declare and store, read out of the packages themselves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.contract import BrokenEvidence
from runtime.contract import program as contracts
from runtime.mil import package as packages
from runtime.mil import readback
from runtime.mil.program import Feature


def described(folder: Path, variants: Sequence[str]) -> dict[str, Any]:
    """What every variant declares alike (`functions`: name → inputs, outputs, states, each with name, shape and dtype),
    and per variant its specification version and stored elements by type.

    Raises BrokenEvidence for packages that disagree with each other or with the artifact's contract, and what opening a
    package raises.
    """
    contract = contracts.load(folder)
    functions: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for variant in variants:
        name = f"{variant}.mlpackage"
        opened = packages.open(folder / name)
        wrong = readback.interface(opened, contract)
        strange = sorted(opened.functions.keys() - contract.functions.keys())
        if wrong or strange:
            what = wrong[0].message if wrong else f"a function {strange[0]} that the contract has not"
            raise BrokenEvidence(f"{name} is not as its contract says: {what}", subject=name)
        declared = {
            key: {"inputs": _values(f.inputs), "outputs": _values(f.outputs), "states": _values(f.states)}
            for key, f in opened.functions.items()
        }
        if functions and declared != functions:
            raise BrokenEvidence(f"{name} has other functions than {variants[0]}.mlpackage", subject=name)
        functions = declared
        found[variant] = {"specification_version": opened.specification_version, "stored": _stored(opened)}
    return {"functions": functions, "packages": found}


def _values(features: Iterable[Feature]) -> list[dict[str, Any]]:
    return [{"name": name, "shape": list(shape), "dtype": dtype} for name, shape, dtype in features]


def _stored(package: packages.Package) -> Mapping[str, int]:
    """Element type → elements of the default function; the other functions share its weights."""
    count: Counter[str] = Counter()
    for weight in package.weights(package.default_function):
        count[weight.dtype] += math.prod(weight.shape)
    return dict(sorted(count.items()))
