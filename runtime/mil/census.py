"""A parsed ML Program → every op it holds, counted, also where the interpreter could not read the program as a whole.

Reads the protobuf messages as they stand, blocks inside ops too: one unknown op must not hide the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.mil.ops import registry
from runtime.mil.ops.classifying import CLASSIFY
from runtime.mil.ops.state import STATE_OPS
from runtime.mil.program import BLOCKS, Message

#: ops that are no arithmetic and have no entry in the registry
_OTHER = {"const": 5, CLASSIFY: 5} | dict.fromkeys(BLOCKS, 5) | {name: op.since for name, op in STATE_OPS.items()}


@dataclass(frozen=True)
class Used:
    """How often an op stands in a function, its blocks included. `opset` is the function's, in Apple's spelling;
    `modelled` says whether the interpreter has the op in that opset (a form of its parameters it may still refuse)."""

    function: str
    op: str
    opset: str
    count: int
    modelled: bool


def census(program: Message) -> list[Used]:
    """The ops of every function of a `MILSpec.Program`, by function and name."""
    found = []
    for name, function in sorted(program.functions.items()):
        for opset, block in sorted(function.block_specializations.items()):
            counted = Counter(_types(block))
            found += [Used(name, op, opset, counted[op], modelled(op, opset)) for op in sorted(counted)]
    return found


def modelled(op: str, opset: str) -> bool:
    """Whether the interpreter has the op in an opset such as "CoreML8"."""
    number = opset.removeprefix("CoreML")
    if not number.isdecimal():
        return False
    known = [since for name, since in (*registry.REGISTRY, *_OTHER.items()) if name == op]
    return any(since <= int(number) for since in known)


def _types(block: Message) -> Iterator[str]:
    for operation in block.operations:
        yield str(operation.type)
        for inner in operation.blocks:
            yield from _types(inner)
