"""A compiled package's MLComputePlan → which device each operation is to run on. Constants are no operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from runtime.contract import ondevice
from runtime.coreml.api import DEVICES, CoreML, Operation, Plan
from runtime.coreml.predict import NotPredicted
from runtime.mil.program import Function, walk

#: an output's name → (the operation's type, its device, "" where the plan does not say, its cost or None)
Placed = Mapping[str, tuple[str, str, float | None]]


class Part(NamedTuple):
    """What runs a function, or some of its layers: where a package was compiled to, and its function as it is saved;
    `name` tells it from the others."""

    name: str
    compiled: str
    function: Function


def placed(coreml: CoreML, name: str, parts: Sequence[Part], units: str) -> dict[str, Any]:
    """The part of one function in section `residency`; see `runtime.contract.ondevice.placed`. Every operation of the
    saved packages counts, also one that the plan leaves out. Raises NotPredicted where there is no plan."""
    types: dict[str, str] = {}
    devices: dict[str, str] = {}
    costs: dict[str, float] = {}
    for part in parts:
        here, prefix = part.function, f"{part.name}/"
        try:
            found = _read(coreml.plans.load_from_path(part.compiled, compute_units=coreml.units[units]), here.name)
        except Exception as error:  # coremltools raises whatever its native library does
            raise NotPredicted(f"the compute plan of {name} was not read: {error}") from error
        types |= {
            prefix + one.outputs[0][0]: one.type for one in walk(here.operations) if one.outputs and _computes(one.type)
        }
        devices |= {prefix + output: device for output, (_, device, _) in found.items() if device}
        costs |= {prefix + output: cost for output, (_, _, cost) in found.items() if cost is not None}
    costs = {output: cost for output, cost in costs.items() if output in types}
    total, target = sum(costs.values()), ondevice.TARGETS[units]
    share = sum(cost for one, cost in costs.items() if devices.get(one) in target) / total if total > 0 else None
    return ondevice.placed(name, units, devices, types, share)


def _read(plan: Plan, function: str) -> Placed:
    program = plan.model_structure.program
    if program is None:
        raise ValueError("it is of no ML Program")
    if function not in program.functions:
        raise ValueError(f"it has no function {function}, only {', '.join(program.functions) or 'none'}")
    return {one.outputs[0].name: _of(plan, one) for one in _all(program.functions[function].block.operations)}


def _all(operations: Any) -> Iterator[Operation]:
    for one in operations:
        for block in one.blocks:
            yield from _all(block.operations)
        if one.outputs and _computes(one.operator_name.rpartition(".")[2]):
            yield one


def _of(plan: Plan, operation: Operation) -> tuple[str, str, float | None]:
    usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
    cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
    device = "" if usage is None else DEVICES.get(type(usage.preferred_compute_device).__name__, "")
    return operation.operator_name.rpartition(".")[2], device, None if cost is None else float(cost.weight)


def _computes(kind: str) -> bool:
    """Whether an operation of this type is one at run time: weights are laid out when the model is loaded."""
    return kind != "const" and not kind.startswith("constexpr_")
