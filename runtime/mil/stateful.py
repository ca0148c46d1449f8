"""A converted function whose cache goes in and out → the same function with the cache in Core ML states, in place.

The exported program knows no state: its decode reads both caches as inputs and gives one key and value to be written,
its prefill gives those of a whole prompt. Here, on the MIL program that coremltools made of it, the caches become
states (iOS18 `StateType`) and what was given is written into them by `slice_update` and `coreml_update_state`: a
prefill to the first slots, a decode to slot `position`. A state is read once, before anything is written, and is
float16, as Core ML demands. The functions of a package name the same states, so that one state object serves them all
(ANEMLL's chat hands the state that its prefill made to its decode).

Nothing else of the function changes. Slots that nobody wrote, and those of padding, are masked by `position`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtime.contract import program as contracts
from runtime.contract.program import WRITTEN

#: axis of LHCD along which tokens stand
_SLOTS = 2


def keep(program: Any, function: contracts.Function, cache: contracts.Cache) -> None:
    """Make the cache of a converted function states, in place; call inside `quiet()`.

    `function` and `cache` are those of the exported program.
    """
    block = program.functions["main"]
    shape = (cache.layers, cache.heads, cache.context, cache.head_dim)
    # as in `convert.joined`: what is added here has no stack trace of torch
    block._essential_scope_sources.clear()
    if function.kind == "decode" and "position" not in block.inputs:
        _place(block)
    given = {variable.name: variable for variable in block.outputs}
    for state, output in WRITTEN[function.kind].items():
        before = _entered(block, state, shape)
        _written(block, function, state, before, given[output])
    _forget(block, WRITTEN[function.kind])


def _place(block: Any) -> None:
    """The slot to write as an input of a function whose masks and angles are inputs: it has not known its position."""
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    placeholder = mb.placeholder((1,), dtype=types.int32, name="position")
    placeholder.set_name("position")
    block.placeholder_inputs["position"] = placeholder
    block.inputs["position"] = placeholder.outputs[0]
    block.set_input_types((*block.input_types, ct.TensorType(name="position", shape=(1,), dtype=np.int32)))


def _entered(block: Any, state: str, shape: tuple[int, ...]) -> Any:
    """The state as an input of the function, in the place of the cache if there is one; its content at the start."""
    from coremltools.converters.mil.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    old = block.inputs.get(state)
    placeholder = mb.state_tensor_placeholder(shape, dtype=types.fp16)
    placeholder.set_name(state)
    block.placeholder_inputs[state] = placeholder
    block.inputs[state] = placeholder.outputs[0]
    with block:
        content = mb.read_state(input=placeholder.outputs[0], name=f"{state}_read", before_op=block.operations[0])
    if old is not None:
        block.replace_uses_of_var_after_op(anchor_op=content.op, old_var=old, new_var=content)
    return content


def _written(block: Any, function: contracts.Function, state: str, before: Any, new: Any) -> None:
    """The state with `new_LHTD` in its slots, written at the end of the function."""
    from coremltools.converters.mil.mil import Builder as mb

    begin: Any = np.zeros(4, np.int32)
    end: Any = np.array(new.shape, np.int32)
    with block:
        if function.kind == "decode":
            zero = np.zeros(1, np.int32)
            parts = [zero, zero, block.inputs["position"], zero]
            begin = mb.concat(values=parts, axis=0, name=f"{state}_begin")
            end = mb.add(x=begin, y=end, name=f"{state}_end")
        content = mb.slice_update(x=before, update=new, begin=begin, end=end, name=f"{state}_new")
        mb.coreml_update_state(state=block.inputs[state], value=content, name=f"{state}_written")


def _forget(block: Any, written: Mapping[str, str]) -> None:
    """What is written into a state is no output any more; what was said of inputs and outputs follows."""
    left = [place for place, variable in enumerate(block.outputs) if variable.name not in written.values()]
    types = block.output_types
    block.set_outputs([block.outputs[place] for place in left])
    if types is not None:
        block.set_output_types([types[place] for place in left])
    block.set_input_types(tuple(one for one in block.input_types if one.name not in written))
