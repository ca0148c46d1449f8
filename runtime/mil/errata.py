"""Known defects of the toolchain → how a conversion avoided each, where, and in how many places it changed something.

The table of them is the compiler's (`kcompiler/tables/errata.yaml`); a plan names those that touch its coremltools.
A defect is avoided in one of two ways: the construct is not in the exported graph, because a rule of the graph linter
refuses it and no program with a finding is converted; or the conversion does something, and says how often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from runtime.contract import program as contracts
from runtime.contract import report as facts
from runtime.contract.errata import ABSENT, CHANGED, LEFT_OUT
from runtime.mil.islands import stem

#: erratum → places that were changed for it
Done = Counter[str]


def counted(
    functions: Collection[tuple[Any, contracts.Function]], contract: contracts.Contract, narrowed: Done
) -> Done:
    """Places of float16 functions, each with what it is declared as, of which `narrowed` counted what was changed on
    the way."""
    operations = [(declared, op) for function, declared in functions for op in function.operations]
    gelus = [op for _, op in operations if op.op_type == "gelu"]
    held = [
        (declared, op)
        for declared, op in operations
        if op.op_type == "const" and isinstance(op.outputs[0].val, np.ndarray)
    ]
    others = [op for declared, op in held if stem(op.name) not in declared.parameters]
    return narrowed + Done(
        {
            "constants-quantized": sum(op.outputs[0].val.ndim > 0 for op in others),
            "tied-embedding-exemption": sum(bool(tensor.aliases) for tensor in contract.tensors),
            "multifunction-quantization": len(functions),
            "gelu-tanh": sum(op.mode is not None and op.mode.val == "TANH_APPROXIMATION" for op in gelus),
            "training-dialect": len(functions),
            "quantizer-import": len(contract.tensors),
            "palettize-skipped-divided": len(contract.tensors),
        }
    )


def recorded(
    asked: Sequence[str],
    contract: contracts.Contract,
    done: Done,
    left_out: frozenset[str],
    toolchain: Mapping[str, str],
) -> dict[str, Any]:
    """Section `errata` of the report: an entry for each erratum of `asked` that this conversion avoided, and how many
    of all those that is. `left_out` are the passes that were not run."""
    ways: Mapping[str, Callable[[str], tuple[str, str, int] | None]] = {
        **dict.fromkeys(ABSENT, lambda name: _absent(name, contract)),
        **dict.fromkeys(LEFT_OUT, lambda name: _left_out(name, contract, left_out)),
        **dict.fromkeys(CHANGED, lambda name: (*CHANGED[name], done[name])),
    }
    found = {name: way for name in asked if name in ways and (way := ways[name](name)) is not None}
    return {
        "recorded": facts.rate(len(found), len(asked)),
        "entries": [
            {
                "id": name,
                "how": how,
                "where": where,
                "coremltools": toolchain["coremltools"],
                "places": facts.measured(places, "place"),
            }
            for name, (how, where, places) in found.items()
        ],
        "unknown": [name for name in asked if name not in found],
    }


def _absent(name: str, contract: contracts.Contract) -> tuple[str, str, int] | None:
    if contract.lint.violations:
        return None
    return f"absent: {ABSENT[name]} finds nothing", "runtime/models/fxlint.py", 0


def _left_out(name: str, contract: contracts.Contract, left_out: frozenset[str]) -> tuple[str, str, int] | None:
    passes = LEFT_OUT[name]
    if not left_out.issuperset(passes):
        return None
    return f"left out: {', '.join(passes)}", "runtime/mil/convert.py", len(passes) * len(contract.functions)
