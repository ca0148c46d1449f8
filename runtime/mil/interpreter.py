"""A saved package × inputs → outputs and findings: the MIL reference interpreter.

It executes the semantics of the saved program in numpy, independently of the converter and of PyTorch, on any machine.
It says nothing about kernels, residency or latency of a device. Section 5 of the Core ML note is its design.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from runtime.contract import Refusal
from runtime.mil import held
from runtime.mil.compile import Compiled, Compiler
from runtime.mil.control import Nested
from runtime.mil.description import excluded, shape_text
from runtime.mil.errors import DoesNotFit
from runtime.mil.findings import Findings, Source, Watch
from runtime.mil.items import Items
from runtime.mil.numerics import BY_NAME, MODES, Array, Mode, rounding
from runtime.mil.ops import registry as _registry
from runtime.mil.package import Package
from runtime.mil.program import Feature, ValueType
from runtime.mil.step import MISFITS, State, Step, Values, exact_integers, misfit, results

__all__ = ["Findings", "Interpreter", "Result"]


@dataclass(frozen=True)
class Result:
    """`outputs` by name, floats as float32 whatever their declared dtype; `findings.checked` says whether it was. A
    classifier's label is an array of one; what it says of every label, float64 in the order of its labels."""

    outputs: dict[str, Array]
    findings: Findings


class Interpreter:
    """One function of a package, compiled once and run many times.

    `mode` is one of `runtime.mil.numerics.MODES`. With `check` every run compares declared with actual types and looks
    for NaN, infinities, saturation and headroom; without it a run only computes. `streamed`: large constants are read,
    and dequantized, anew at each use, and none stays in memory (None: where they would take more than half of what is
    free); the results are the same bits. `registry` replaces the modelled ops.
    Raises UnsupportedOp when the function uses what is not modelled, BrokenEvidence when it contradicts itself.
    """

    def __init__(
        self,
        package: Package,
        function: str = "",
        mode: Mode = "fp16_round",
        *,
        check: bool = True,
        streamed: bool | None = None,
        registry: _registry.Registry = _registry.REGISTRY,
    ) -> None:
        if mode not in MODES:
            raise Refusal(f"no numeric mode {mode!r}", action=f"use one of {', '.join(MODES)}")
        self.package, self.mode, self.check = package, mode, check
        self.function = package.function(function)
        self.streamed = held.is_too_much(held.bytes_of(self.function)) if streamed is None else streamed
        compiler = Compiler(package, self.function, mode, registry, streamed=self.streamed)
        self._compiled: Compiled = compiler.compile()
        #: slots of arrays that nobody else has: what was rounded is new, unless a state keeps it
        self._own = {
            output.slot
            for step in (() if self.function.states else self._compiled.steps)
            for output in step.outputs
            if output.rounding is not None
        }
        #: the buffers that runs use when they are given none
        self.state: State = self.make_state()

    def make_state(self) -> State:
        """Zeroed buffers, one per state of the function. Functions that share a state may be given the same dict."""
        found: State = {}
        for name, shape, dtype in self.function.states:
            if None in shape:
                raise Refusal(f"state {name} has no static shape", place=self.function.name)
            found[name] = np.zeros([size or 0 for size in shape], dtype=BY_NAME[dtype].carrier)
        return found

    def run(self, inputs: Mapping[str, Array], *, state: State | None = None, check: bool | None = None) -> Result:
        """Execute the function once. `state` (default: the interpreter's own) is updated in place.

        Raises Refusal for inputs that are not what the function declares, BrokenEvidence when an op cannot take its
        operands.
        """
        values, findings = self._execute(inputs, state, self.check if check is None else check)
        exported = {name: self._export(values, name, dtype, own=True) for name, _, dtype in self.function.outputs}
        return Result(exported, findings)

    def values(
        self, inputs: Mapping[str, Array], names: Sequence[str] | None = None, *, state: State | None = None
    ) -> dict[str, Array]:
        """Named intermediate values of one run (all but texts and lists when None), floats as float32. Runs on a copy
        of the state. Raises Refusal for a name the function does not define, or of a list."""
        return self.run_keeping(inputs, names, state=dict(self.state if state is None else state))[1]

    def run_keeping(
        self, inputs: Mapping[str, Array], names: Sequence[str] | None = None, *, state: State | None = None
    ) -> tuple[Result, dict[str, Array]]:
        """One run that checks nothing, as `run`, and its named intermediate values, as `values`."""
        types = self.function.types
        every = [name for name in self._compiled.slots if types[name].dtype != "string" and types[name].form != "list"]
        wanted = every if names is None else names
        unknown = [name for name in wanted if name not in self._compiled.slots]
        if unknown:
            raise Refusal(f"function {self.function.name} defines no value {unknown[0]!r}")
        listed = [name for name in wanted if types[name].form == "list"]
        if listed:
            raise Refusal(
                f"{listed[0]!r} is a {types[listed[0]].kind}: name what is read of it", place=self.function.name
            )
        kept = frozenset(self._compiled.slots[name] for name in wanted)
        found, findings = self._execute(inputs, state, False, keep=kept)
        outputs = {name: self._export(found, name, dtype) for name, _, dtype in self.function.outputs}
        return Result(outputs, findings), {name: self._export(found, name, types[name].dtype) for name in wanted}

    def _execute(
        self, inputs: Mapping[str, Array], state: State | None, check: bool, *, keep: Set[int] = frozenset()
    ) -> tuple[Values, Findings]:
        values: Values = self._compiled.base.copy()
        watch = self._watch() if check else None
        buffers = self.state if state is None else state
        if state is not None:
            self._enter_state(buffers)
        with np.errstate(all="ignore"):
            self._enter(values, inputs, watch)
            step: Step | None = None
            try:
                for step in self._compiled.steps:
                    rooms = self._load(step, values) if step.loads else ()
                    if watch is None:
                        step.fast(values, buffers)
                    else:
                        self._watched(step, values, buffers, watch)
                    if step.loads:
                        self._drop(step, values, rooms)
                    for slot in step.dead:
                        if slot not in keep:
                            values[slot] = None
            except MISFITS as error:
                op_type, op_name = (step.op_type, step.op_name) if step else ("", "")
                raise misfit(op_type, op_name, self.function.name, error, DoesNotFit) from error
        return values, watch.findings() if watch else Findings()

    def _load(self, step: Step, values: Values) -> list[Array]:
        """Load the large constants that a step reads. Gives the memory that may serve others afterwards."""
        rooms = []
        for slot, large in step.loads:
            room = None
            if step.op_type in held.CONSUMING and isinstance(large, held.Narrow | held.Stored):
                room = self.package.rooms.take(large.count)
                rooms.append(room)
            values[slot] = large.load(room)
        return rooms

    def _drop(self, step: Step, values: Values, rooms: Sequence[Array]) -> None:
        for slot, _ in step.loads:
            values[slot] = None
        for room in rooms:
            if not any(np.may_share_memory(room, values[output.slot]) for output in step.outputs):
                self.package.rooms.give(room)

    def _watch(self) -> Watch:
        """A watch that knows the constants, which are looked at once, on the first checked run."""
        for position, source in self._compiled.unwatched:
            self._compiled.watch.position = position
            large = self._compiled.held.get(source.slot)
            if large is None or not large.finite():
                self._compiled.watch.constant(self._compiled.value(source.slot), source)
        self._compiled.unwatched.clear()
        return self._compiled.watch.branch()

    def _watched(self, step: Step, values: Values, buffers: State, watch: Watch) -> None:
        watch.position = step.position
        if isinstance(step, Nested):
            step.drive(values, lambda inner: self._watched_inside(inner, values, buffers, watch))
            for output in step.outputs:
                watch.result(values[output.slot], output.source)
            return
        found = results(step.raw(values, buffers))
        if step.op_type == "cast":
            watch.cast(values[step.operands[0]], step.outputs[0].source)
        for output, raw, exact in zip(step.outputs, found, exact_integers(step, values, buffers), strict=False):
            watch.integers(raw, exact, output.source)
        for output, raw in zip(step.outputs, found, strict=True):
            values[output.slot] = watch.result(raw, output.source, output.rounding)

    def _watched_inside(self, step: Step, values: Values, buffers: State, watch: Watch) -> None:
        """A step of a block, whose inputs may hold what an earlier round made."""
        for slot in step.operands:
            value = values[slot]
            watch.entered(slot, value if isinstance(value, Items) else np.asarray(value))
        self._watched(step, values, buffers, watch)

    def _enter(self, values: Values, inputs: Mapping[str, Array], watch: Watch | None) -> None:
        declared = {feature.name for feature in self.function.inputs}
        if set(inputs) != declared:
            differing = ", ".join(sorted(set(inputs) ^ declared))
            raise Refusal(
                f"inputs missing or unknown: {differing}",
                place=self.function.name,
                action="give exactly the declared inputs",
            )
        given = {name: np.asarray(value) for name, value in inputs.items()}
        offered = self.package.description.get(self.function.name, ())
        why = excluded([(item, given[item.name].shape) for item in offered if item.name in declared])
        if why:
            raise Refusal(why, place=self.function.name, action="give inputs of a shape that the package declares")
        for feature in self.function.inputs:
            raw = _entry(feature, given[feature.name], self.function.name)
            slot = self._compiled.slots[feature.name]
            if watch is not None:
                watch.position = -1
                watch.result(
                    raw, Source(feature.name, ValueType(feature.dtype, feature.shape), slot, "input", feature.name)
                )
            # what was float16 is so already; a cache is millions of numbers, entered for every token
            fits = given[feature.name].dtype == np.float16
            how = None if fits else rounding(self.mode, feature.dtype)
            values[slot] = raw if how is None else how(raw)

    def _enter_state(self, buffers: State) -> None:
        for name, shape, dtype in self.function.states:
            if name not in buffers or buffers[name].shape != shape:
                raise Refusal(f"state {name} must be given with shape {shape}", place=self.function.name)
            how = rounding(self.mode, dtype)
            carried = buffers[name].astype(BY_NAME[dtype].carrier, copy=False)
            buffers[name] = carried if how is None else how(carried)

    def _export(self, values: Values, name: str, dtype: str, *, own: bool = False) -> Array:
        """A value for whoever asked: a copy, unless it is the run's `own` and would be dropped."""
        slot = self._compiled.slots[name]
        value = self._compiled.value(slot) if slot in self._compiled.held else values[slot]
        carrier = None if dtype == "string" else BY_NAME[dtype].carrier
        copied: Array = np.array(value, dtype=carrier, copy=None if own and slot in self._own else True)
        return copied


def _entry(feature: Feature, given: Array, function: str) -> Array:
    """One input in its carrier dtype. Raises Refusal when shape, kind or range are not the declared ones."""
    name, shape, dtype = feature
    place = f"{function}.{name}"
    if given.ndim != len(shape) or any(want not in (None, size) for want, size in zip(shape, given.shape, strict=True)):
        text = f"input {name} has shape {shape_text(given.shape)}, the program declares {shape_text(shape)}"
        raise Refusal(text, place=place)
    info = BY_NAME[dtype]
    kinds = {"float": "f", "int": "iu", "bool": "b"}[info.kind]
    if given.dtype.kind not in kinds:
        raise Refusal(f"input {name} has dtype {given.dtype}, declared {dtype}", place=place)
    if info.kind == "int" and given.size and (given.min() < info.low or given.max() > info.high):
        raise Refusal(f"input {name} holds {given.min()}…{given.max()}, outside {dtype}", place=place)
    return given.astype(info.carrier, copy=False)
