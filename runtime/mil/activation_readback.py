"""Saved package → which layers really read integers, and by which scale, compared with what was chosen.

Every declared layer reads the result of a `dequantize` of a `quantize` to int8 of the stored scale, and no other
operator reads one: what is left over, shared with a stranger or rounded otherwise is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.contract import program as contracts
from runtime.contract.activations import plain
from runtime.mil.activation_ops import PRODUCTS
from runtime.mil.islands import stem
from runtime.mil.package import Package
from runtime.mil.program import Argument, Function, Literal, Operation, walk
from runtime.mil.readback import Finding


@dataclass(frozen=True)
class Rounded:
    """Findings; and over all functions, the layers that are to read integers, and those that do as was chosen."""

    findings: list[Finding]
    asked: int
    held: int


def activations(package: Package, contract: contracts.Contract, scales: Mapping[str, np.float16]) -> Rounded:
    """`scales`: of what each declared layer reads, by the name of its weight; without any, nothing may be rounded. A
    function that is not there is `readback.recipe`'s to find."""
    findings: list[Finding] = []
    asked, held = 0, 0
    for name, declared in contract.functions.items():
        asked += len(scales.keys() & set(declared.parameters.values()))
        if name in package.functions:
            one = _Function(package, package.functions[name], declared)
            findings += one.findings(scales)
            held += one.held
    return Rounded(findings, asked, held)


_PAIR = ("quantize", "dequantize")


def _graph_input(value: str) -> str:
    """Of the value that a stored constant is: the graph input that it came from."""
    return stem(value.removesuffix("_quantized"))


class _Function:
    def __init__(self, package: Package, function: Function, declared: contracts.Function) -> None:
        self._package, self._function, self._declared = package, function, declared
        self._makers = {value: operation for operation in function.operations for value, _ in operation.outputs}
        self.held = 0

    def findings(self, scales: Mapping[str, np.float16]) -> Iterator[Finding]:
        name = self._function.name
        layers = {id(operation): tensor for operation, tensor in self._layers()}
        for tensor in scales:
            if tensor in self._declared.parameters.values() and tensor not in layers.values():
                yield Finding("activation", name, plain(tensor), "is multiplied by nothing that reads `x`")
        # values between and behind pairs that stand where they are declared
        passed: set[str] = set()
        for operation in self._function.operations:
            tensor = layers.get(id(operation), "")
            if tensor not in scales:
                continue
            why, values = self._pair(operation, scales[tensor])
            passed |= values
            if why:
                yield Finding("activation", name, plain(tensor), why)
            self.held += not why
        for operation in walk(self._function.operations):
            tensor = layers.get(id(operation), "")
            if operation.type in _PAIR:
                if not any(value in passed for value, _ in operation.outputs):
                    yield Finding("activation", name, operation.name, f"{operation.type} before no declared layer")
            elif tensor not in scales and any(map(self._rounded, operation.inputs.values())):
                subject = plain(tensor) if tensor else operation.name
                yield Finding("activation", name, subject, "reads integers, and is not declared to")

    def _rounded(self, group: Sequence[Argument]) -> bool:
        """Whether any of some operands comes from one of a pair."""
        makers = (self._makers.get(one) for one in group if isinstance(one, str))
        return any(made is not None and made.type in _PAIR for made in makers)

    def _layers(self) -> Iterator[tuple[Operation, str]]:
        """Products, each with the tensor that it multiplies by."""
        for operation in self._function.operations:
            for argument in operation.inputs.get("weight", ()) if operation.type in PRODUCTS else ():
                held = isinstance(argument, str) and self._declared.parameters.get(_graph_input(argument))
                if held:
                    yield operation, held

    def _pair(self, layer: Operation, due: np.float16) -> tuple[str, set[str]]:
        """(what is wrong with the pair before a layer, or ""; the values that it gives)."""
        restoring = self._made(layer, "x", "dequantize")
        if restoring is None:
            return "reads float16, not int8", set()
        rounding = self._made(restoring, "input", "quantize")
        if rounding is None:
            return "reads a dequantize of no quantize", set()
        values = {value for one in (rounding, restoring) for value, _ in one.outputs}
        for operation in (rounding, restoring):
            found = self._constant(operation, "scale")
            if found is None or found.dtype != np.float16 or found.size != 1 or found.tobytes() != due.tobytes():
                text = "none" if found is None else ", ".join(f"{one:.8g}" for one in found.reshape(-1)[:3])
                return f"{operation.type} by scale {text}, calibration chose {float(due):.8g}", values
            offset = self._constant(operation, "zero_point")
            if "zero_point" in operation.inputs and (offset is None or offset.any()):
                return f"{operation.type} has an offset; int8 is symmetric", values
        dtype = rounding.outputs[0][1].dtype
        return ("" if dtype == "int8" else f"is rounded to {dtype}, not to int8"), values

    def _made(self, operation: Operation, parameter: str, kind: str) -> Operation | None:
        """The operation of a kind that makes what another reads."""
        (argument,) = operation.inputs.get(parameter, (None,))
        found = self._makers.get(argument) if isinstance(argument, str) else None
        return found if found is not None and found.type == kind else None

    def _constant(self, operation: Operation, parameter: str) -> Any:
        """The elements of a constant that an operation reads, with their own type; None for what is none."""
        argument: Any = next(iter(operation.inputs.get(parameter, ())), None)
        if isinstance(argument, str):
            made = self._makers.get(argument)
            argument = made.inputs["val"][0] if made is not None and made.type == "const" else None
        if not isinstance(argument, Literal):
            return None
        held = self._package.elements(argument)
        if isinstance(held, str):
            return None
        return np.asarray(held, np.float16) if argument.type.dtype == "float16" else np.asarray(held)
