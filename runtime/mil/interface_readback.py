"""Saved package × contract → inputs, states, outputs, version and opsets that are not those declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from runtime.contract import program as contracts
from runtime.contract.targets import TARGETS
from runtime.mil.description import Described, shape_text
from runtime.mil.ops.state import STATE_OPS
from runtime.mil.package import Package
from runtime.mil.program import Function, Operation
from runtime.mil.readback import Finding


def _target(package: Package, contract: contracts.Contract) -> Iterator[Finding]:
    """Version and opsets are exactly the target's: newer ones do not load there, older ones are another package."""
    if contract.package is None:
        return
    name, due = contract.package.deployment, TARGETS[contract.package.deployment]
    if package.specification_version != due.specification:
        text = f"specification version {package.specification_version}, {name} has {due.specification}"
        yield Finding("target", "", name, text)
    for function in package.functions.values():
        if function.opset != due.opset:
            yield Finding("target", function.name, name, f"opset CoreML{function.opset}, {name} has CoreML{due.opset}")


def interface(package: Package, contract: contracts.Contract) -> list[Finding]:
    """Inputs, states and outputs of each function, as program and as description, against the contract; a state that
    nothing is written to is found, too, and a package that is for other systems.

    Of a function for several lengths the description must enumerate the contract's shapes, all of them and no others,
    the shortest by default.
    """
    findings = list(_target(package, contract))
    for name, declared in contract.functions.items():
        function = package.functions.get(name)
        if function is None:
            findings.append(Finding("missing", name, name, "the package has no such function"))
            continue
        given, made = [*declared.inputs, *(declared.states or ())], declared.outputs
        held = (*function.inputs, *function.states, *function.outputs)
        features = package.description.get(name, ())
        for source, values, due in (
            ("program", {(v.name, shape_text(v.shape), v.dtype) for v in held}, map(_programmed, [*given, *made])),
            ("description", {(v.name, v.declared, v.dtype) for v in features}, _described(given, made)),
        ):
            for value in sorted(values ^ (wanted_values := set(due)), key=str):
                side = "contract" if value in wanted_values else source
                findings.append(Finding("interface", name, value[0], f"{value[1]} {value[2]} only in the {side}"))
        findings += _defaults(name, features, declared)
        findings += _states(function, declared.states or ())
    return findings


#: name, shapes in words, type
_Face: TypeAlias = tuple[str, str, str]


def _programmed(value: contracts.Value) -> _Face:
    """A value as a program has it, which leaves open what is not the same at every length."""
    sizes = zip(*(value.shapes or [value.shape]), strict=True)
    return value.name, shape_text(each[0] if len(set(each)) == 1 else None for each in sizes), value.dtype


def _described(given: Sequence[contracts.Value], made: Sequence[contracts.Value]) -> Iterator[_Face]:
    """Values as a description has them: shapes of an input enumerated, and no shape of an output that has several."""
    for value in given:
        yield value.name, " or ".join(map(shape_text, value.shapes or [value.shape])), value.dtype
    for value in made:
        yield value.name, shape_text(() if value.shapes else value.shape), value.dtype


def _defaults(name: str, features: Sequence[Described], declared: contracts.Function) -> Iterator[Finding]:
    """An input of several shapes has the shortest by default."""
    due = {value.name: tuple(value.shapes[0]) for value in declared.inputs if value.shapes}
    for feature in features:
        shape = due.get(feature.name, feature.default)
        if feature.default != shape:
            text = f"{shape_text(feature.default)} by default, not {shape_text(shape)}"
            yield Finding("interface", name, feature.name, text)


def _states(function: Function, declared: Sequence[contracts.Value]) -> Iterator[Finding]:
    """A state is a state in the program, and something is written to it: that it is the right thing, numbers say."""
    states = {feature.name for feature in function.states}
    contracted = {value.name for value in declared}
    for name in sorted(states ^ contracted):
        side = "contract" if name in contracted else "program"
        yield Finding("interface", function.name, name, f"is a state only in the {side}")
    written = {_written(operation) for operation in function.operations if operation.type in STATE_OPS}
    for name in sorted((states & contracted) - written):
        yield Finding("interface", function.name, name, "is a state that nothing is written to")


def _written(operation: Operation) -> str:
    """The state that a state op writes, "" for one that only reads."""
    form = STATE_OPS[operation.type]
    return str(operation.inputs[form.state][0]) if form.data else ""
