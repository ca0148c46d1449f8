"""Islands of precision in a MIL program: which ops stay float32, and how the weights they read are kept as they are
stored.

Casts leave an island's ops alone (`op_selector`), and a weight that such an op reads would then be stored in float32,
whatever the recipe says. It is stored in float16 all the same and widened as a constant (`constexpr_cast`); a form with
scales or a palette gives float32 by itself, by float32 scales or palettes of the same values. No constant is computed
while the model runs, which `linear` and `layer_norm` do not allow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runtime.contract import Refusal
from runtime.contract import program as contracts
from runtime.contract.recipe import Weights
from runtime.mil.quantize import Form, Palette, Quantized
from runtime.mil.weights import Shelf

ISLANDS = ("rms_norm", "layer_norm", "residual", "softmax", "logits")
#: how coremltools names the float16 twin of a constant, and how the constant that widens it is named here
NARROWED, WIDENED = "_to_fp16", "_to_fp32"


def island_names(function: contracts.Function, kinds: Sequence[str]) -> frozenset[str]:
    """Graph nodes of one function whose arithmetic stays float32."""
    return frozenset(node for kind in kinds for nodes in function.modules[kind].values() for node in nodes)


def stem(name: str) -> str:
    """The graph input that a constant of a narrowed program holds: what both of its twins are named after."""
    return name.removesuffix(NARROWED).removesuffix(WIDENED)


def store_narrow(program: Any, function: contracts.Function, shelf: Shelf) -> int:
    """Store the checkpoint's tensors that islands read in float16, each widened by a constant op, in place; large ones
    go on the shelf. Returns how many."""
    from coremltools.converters.mil.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    block, stored = program.functions["main"], 0
    with block:
        for op in list(block.operations):
            if op.op_type != "const" or op.name not in function.parameters or op.outputs[0].dtype != types.fp32:
                continue
            held = shelf.half(function.parameters[op.name], op.outputs[0].val)
            wide = mb.constexpr_cast(source_val=held, output_dtype="fp32", name=op.name + WIDENED, before_op=op)
            replace(block, op, wide)
            stored += 1
    return stored


def replace(block: Any, op: Any, new: Any) -> None:
    """Let everything that reads a constant read `new` instead, and remove it with what only it was made of."""
    made_of = [var.op for var in op.inputs.values()]
    block.replace_uses_of_var_after_op(anchor_op=op, old_var=op.outputs[0], new_var=new, force_replace=True)
    block.remove_ops([op])
    block.remove_ops([one for one in made_of if not one.outputs[0].child_ops])


def check_forms(contract: contracts.Contract, plan: Mapping[str, Weights], islands: Sequence[str]) -> None:
    """Raises Refusal for a tensor that an island reads and that has no float32 form."""
    heads = [t.name for t in contract.tensors if any(name.startswith("lm_head.") for name in (t.name, *t.aliases))]
    if "logits" in islands and (sparse := [name for name in heads if plan[name].weights == "sparse"]):
        raise Refusal(
            f"`{sparse[0]}` is sparse, and the island `logits` computes with it in float32",
            place="quantization.islands",
            action="store the head in another form, or remove the island",
        )


def widened(stored: Form) -> Form:
    """The same values, to be read by an island: float32 scales, or a float32 palette."""
    if isinstance(stored, Quantized):
        return stored._replace(scale=stored.scale.astype(np.float32))
    if isinstance(stored, Palette):
        return stored._replace(lut=stored.lut.astype(np.float32))
    raise TypeError("a sparse tensor is not read by an island")
