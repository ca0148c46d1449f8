"""A saved package → a runner: in the MIL interpreter on any machine, or in Core ML on a Mac."""

from __future__ import annotations

from runtime.contract import Unavailable
from runtime.contract import program as programs
from runtime.contract.asked import Asked
from runtime.coreml import found
from runtime.coreml.predict import Predictor
from runtime.mil import pieces
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
    variant, contract = asked.params.variant, programs.load(folder)
    units = asked.params.compute_units or (contract.package.compute_units if contract.package else "all")
    made = pieces.runs(
        contract,
        lambda piece: Predictor(
            coreml,
            folder / programs.filename(variant, piece.package),
            piece.function,
            units,
            dtypes={value.name: value.dtype for value in piece.inputs},
            states=[value.name for value in piece.states or ()],
            watched=False,
        ),
    )
    functions = pieces.functions(contract, made)
    words = tokenizers.load(asked.takes["tokenizer"])
    return CoreMLRunner(
        asked.name, pieces.opened(folder, variant, contract), contract, words, told=asked.told, functions=functions
    )
