"""A saved package → a runner: in the MIL interpreter on any machine, or in Core ML on a Mac."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.contract import Unavailable
from runtime.contract.asked import Asked
from runtime.contract.program import load as load_contract
from runtime.mil import package
from runtime.models import runners
from runtime.models import tokenizer as tokenizers
from runtime.models.runners import CoreMLRunner


def opened(asked: Asked) -> CoreMLRunner:
    """In the interpreter. Raises BrokenEvidence for a package that is none."""
    words = tokenizers.load(asked.takes["tokenizer"])
    return runners.saved_package(asked.name, asked.takes["model"], words, asked.told, variant=asked.params.variant)


@dataclass(frozen=True)
class Predicted:
    """What one call of a function gave."""

    outputs: Mapping[str, Any]


class Function:
    """One function of a package, predicted by Core ML."""

    def __init__(self, path: Path, name: str, units: str) -> None:
        import coremltools

        chosen = getattr(coremltools.ComputeUnit, units.upper())
        self._model = coremltools.models.MLModel(str(path), function_name=name, compute_units=chosen)

    def run(self, inputs: Mapping[str, Any]) -> Predicted:
        return Predicted(self._model.predict(dict(inputs)))


def predicted(asked: Asked) -> CoreMLRunner:
    """In Core ML. Raises Unavailable anywhere but on a Mac: nothing else predicts a package, and nobody pretends."""
    if sys.platform != "darwin":
        raise Unavailable(
            f"runner `{asked.name}` is not available: Core ML predicts on a Mac, and this is {sys.platform}",
            needs="a Mac; `use: mil` executes the same package anywhere",
        )
    folder = asked.takes["model"]
    path, contract = folder / f"{asked.params.variant}.mlpackage", load_contract(folder)
    functions = {name: Function(path, name, asked.params.compute_units) for name in contract.functions}
    words = tokenizers.load(asked.takes["tokenizer"])
    return CoreMLRunner(asked.name, package.open(path), contract, words, told=asked.told, functions=functions)
