"""A compiled package's MLComputePlan → which device each operation is to run on. Constants are no operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.contract import ondevice
from runtime.coreml.api import DEVICES, CoreML, Operation, Plan
from runtime.coreml.predict import NotPredicted
from runtime.mil.program import Function, walk

#: an output's name → (the operation's type, its device, "" where the plan does not say, its cost or None)
Placed = Mapping[str, tuple[str, str, float | None]]


def placed(coreml: CoreML, compiled: str, function: Function, units: str) -> dict[str, Any]:
    """The part of one function in section `residency`; see `runtime.contract.ondevice.placed`. Every operation of the
    saved package counts, also one that the plan leaves out. Raises NotPredicted where there is no plan."""
    try:
        found = _read(coreml.plans.load_from_path(compiled, compute_units=coreml.units[units]), function.name)
    except Exception as error:  # coremltools raises whatever its native library does
        raise NotPredicted(f"the compute plan of {function.name} was not read: {error}") from error
    types = {one.outputs[0][0]: one.type for one in walk(function.operations) if one.outputs and _computes(one.type)}
    devices = {name: device for name, (_, device, _) in found.items() if device}
    costs = [(name, cost) for name, (_, _, cost) in found.items() if name in types and cost is not None]
    total = sum(cost for _, cost in costs)
    target = ondevice.TARGETS[units]
    share = sum(cost for name, cost in costs if devices.get(name) in target) / total if total > 0 else None
    return ondevice.placed(function.name, units, devices, types, share)


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
