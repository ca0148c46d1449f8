"""What a conversion made → the contract of the packages, and its report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from runtime import digest
from runtime.contract import program as contracts
from runtime.contract import report as facts
from runtime.contract.activations import plain
from runtime.contract.chunks import HIDDEN
from runtime.contract.recipe import SIZED, Weights
from runtime.mil.errata import Done
from runtime.steps.convert import ConvertParams

Declared = TypeVar("Declared", contracts.Function, contracts.Piece)


@dataclass
class Made:
    """What one package, or several, came to: bytes by variant, operations by function, places changed by erratum."""

    sizes: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    done: Done = field(default_factory=Done)

    def __add__(self, other: Made) -> Made:
        return Made(self.sizes + other.sizes, self.operations + other.operations, self.done + other.done)


def typed(one: Declared, islands: Sequence[str]) -> Declared:
    """A function or a piece with the types that a package has for it: every float input and output is float16, but for
    a residual stream that is an island, which goes from chunk to chunk as it is."""

    def narrowed(value: contracts.Value) -> contracts.Value:
        wide = value.name.startswith(HIDDEN) and "residual" in islands
        return value if value.dtype != "float32" or wide else value.model_copy(update={"dtype": "float16"})

    sides = {"inputs": list(map(narrowed, one.inputs)), "outputs": list(map(narrowed, one.outputs))}
    return one.model_copy(update=sides)


def packaged(
    contract: contracts.Contract, params: ConvertParams, toolchain: dict[str, str], integers: Sequence[str] = ()
) -> contracts.Contract:
    """The program's contract with the types the package has (`typed`), and with the cache where the package has it."""

    def typed_as_asked(one: Any) -> Any:
        return typed(one, params.islands)

    functions = {
        name: typed_as_asked(f).model_copy(update={"pieces": f.pieces and list(map(typed_as_asked, f.pieces))})
        for name, f in contract.functions.items()
    }
    made = contracts.Packaged(
        deployment=params.deployment,
        compute_units=params.compute_units,
        strategy=params.strategy,
        islands=params.islands,
        activations=list(map(plain, integers)),
        recipe_sha256=facts.hex_of(digest.of_value(params.recipe.model_dump(mode="json"), "kc.recipe.v1")),
        toolchain=toolchain,
    )
    packaged = contract.model_copy(update={"stage": "package", "functions": functions, "package": made})
    kept = contracts.stateful(packaged) if params.cache == "state" else packaged
    return contracts.apart(kept, params.deployment)


def report(contract: contracts.Contract, plan: Mapping[str, Weights], each: Mapping[str, Made]) -> dict[str, Any]:
    """Data of report `conversion`, but for the errata. `each`: package → what it came to."""
    made, whole = contract.package, sum(each.values(), Made())
    assert made is not None
    elements = {tensor.name: math.prod(tensor.shape) for tensor in contract.tensors}
    quantized = [name for name, asked in plan.items() if asked.weights != "fp16"]
    total = sum(elements.values())
    return {
        "deployment": made.deployment,
        "strategy": made.strategy,
        "islands": made.islands,
        **({"activations": made.activations} if made.activations else {}),
        "toolchain": made.toolchain,
        "functions": [
            {
                "function": name,
                "length": facts.measured(function.length, "token"),
                "operations": facts.measured(whole.operations[name], "operation"),
                "inputs": [value.model_dump() for value in function.inputs],
                "outputs": [value.model_dump() for value in function.outputs],
                **({"states": [value.model_dump() for value in function.states]} if function.states else {}),
            }
            for name, function in contract.functions.items()
        ],
        "requested": [{"tensor": t.name, "shape": t.shape, **_requested(plan[t.name])} for t in contract.tensors],
        "parameters": facts.measured(total, "parameter"),
        "quantized_parameters": facts.rate(sum(elements[name] for name in quantized), total),
        "packages": [
            {"variant": name, "bytes": facts.measured(size, "byte"), **_parts(name, each)}
            for name, size in whole.sizes.items()
        ],
    }


def _parts(variant: str, each: Mapping[str, Made]) -> dict[str, Any]:
    """Every package of a variant that has several."""
    if len(each) == 1:
        return {}
    return {
        "parts": [
            # beside the decode that has a package of its own
            {"package": name or "prefill", "bytes": facts.measured(one.sizes[variant], "byte")}
            for name, one in each.items()
        ]
    }


def _requested(asked: Weights) -> dict[str, Any]:
    """What the recipe asks for one tensor, its sizes as data."""
    sizes = {
        key: facts.measured(size, "channel") for key in SIZED.values() if (size := getattr(asked, key)) is not None
    }
    part = {} if asked.density is None else {"density": facts.measured(asked.density, "1")}
    return asked.model_dump() | sizes | part
