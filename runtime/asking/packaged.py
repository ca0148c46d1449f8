"""A saved package → a runner: in the MIL interpreter on any machine, or in Core ML on a Mac."""

from __future__ import annotations

from runtime.contract import Unavailable
from runtime.contract.asked import Asked
from runtime.contract.program import load as load_contract
from runtime.coreml import found
from runtime.coreml.predict import Predictor
from runtime.mil import package
from runtime.models import runners
from runtime.models import tokenizer as tokenizers
from runtime.models.runners import CoreMLRunner


def opened(asked: Asked) -> CoreMLRunner:
    """In the interpreter. Raises BrokenEvidence for a package that is none."""
    words = tokenizers.load(asked.takes["tokenizer"])
    return runners.saved_package(asked.name, asked.takes["model"], words, asked.told, variant=asked.params.variant)


def predicted(asked: Asked) -> CoreMLRunner:
    """In Core ML. Raises Unavailable where it is not (see `runtime.coreml.found`): nothing else predicts a package, and
    nobody pretends."""
    try:
        coreml = found.coreml()
    except Unavailable as reason:
        raise Unavailable(f"runner `{asked.name}` is not available: {reason}", needs=reason.needs) from None
    folder = asked.takes["model"]
    path, contract = folder / f"{asked.params.variant}.mlpackage", load_contract(folder)
    units = asked.params.compute_units or (contract.package.compute_units if contract.package else "all")
    functions = {
        name: Predictor(
            coreml,
            path,
            name,
            units,
            dtypes={value.name: value.dtype for value in one.inputs},
            states=[value.name for value in one.states or ()],
            watched=False,
        )
        for name, one in contract.functions.items()
    }
    words = tokenizers.load(asked.takes["tokenizer"])
    return CoreMLRunner(asked.name, package.open(path), contract, words, told=asked.told, functions=functions)
