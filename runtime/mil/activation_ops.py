"""A MIL program in memory × scales → the same with `quantize` and `dequantize` before the layers that read integers.

They stand on what a layer reads and nothing else: layers that read one value by one scale share a pair, everything else
that reads the value reads it as before. No pass runs afterwards, so that none can fold, move or merge them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from runtime.contract import Refusal
from runtime.contract import program as contracts
from runtime.contract.activations import plain
from runtime.mil.islands import stem

#: operators that multiply what they read, `x`, by a stored `weight`
PRODUCTS = ("linear", "conv")
#: how the pair of a layer's operator is named
QUANTIZED, RESTORED = "_input_int8", "_input_restored"


def _layers(block: Any, function: contracts.Function, scales: Mapping[str, np.float16]) -> Iterator[tuple[Any, str]]:
    """(operator, tensor that it multiplies by) of all layers that read integers."""
    for op in block.operations:
        weight = op.inputs.get("weight") if op.op_type in PRODUCTS else None
        tensor = function.parameters.get(stem(weight.op.name)) if weight is not None and weight.op is not None else None
        if tensor in scales:
            yield op, str(tensor)


def round_inputs(
    program: Any, functions: Mapping[str, contracts.Function], scales: Mapping[str, np.float16]
) -> dict[str, int]:
    """Let every layer in `scales`, by the name of its weight, read int8 by its scale, in place and before weights are
    compressed. Returns the operators added to each function. Call inside `quiet()`.

    Raises Refusal for a layer that is none of a function that holds its weight.
    """
    from coremltools.converters.mil.mil import Builder as mb

    added = {}
    for name, block in program.functions.items():
        function, pairs = functions[name], dict[tuple[Any, bytes], Any]()
        found = list(_layers(block, function, scales))
        lost = [one for one in scales if one in function.parameters.values() and one not in {held for _, held in found}]
        if lost:
            raise Refusal(
                f"`{plain(lost[0])}` is no linear layer of {name} as coremltools converts it, and cannot read integers",
                place="quantization.activations",
                action="name the layers more closely",
            )
        with block:
            for op, tensor in found:
                read, scale = op.inputs["x"], scales[tensor]
                if (read, scale.tobytes()) not in pairs:
                    at = {"before_op": op}
                    whole = mb.quantize(
                        input=read, scale=scale, output_dtype="int8", name=f"{op.name}{QUANTIZED}", **at
                    )
                    pairs[read, scale.tobytes()] = mb.dequantize(
                        input=whole, scale=scale, name=f"{op.name}{RESTORED}", **at
                    )
                op.set_inputs(x=pairs[read, scale.tobytes()])
        added[name] = 2 * len(pairs)
    return added
