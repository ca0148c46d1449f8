"""A function of a package → a flat list of steps over numbered slots, constants dequantized and folded beforehand (the
large ones narrow, or anew at each use: `runtime.mil.held`).

Everything that can be refused is refused here, before anything runs: unknown ops, parameters and dtypes, parameters
that should be constants and are not. Declared dtypes are compared with the ones MIL's rules give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

import numpy as np

from runtime.contract import BrokenEvidence
from runtime.mil import held
from runtime.mil.control import Inner, Nested, branch, fast, loop
from runtime.mil.description import shape_text
from runtime.mil.errors import UnsupportedOp
from runtime.mil.findings import Mismatch, Source, Watch
from runtime.mil.held import Held
from runtime.mil.numerics import BY_NAME, Array, Mode, inner_rounding, round16, round16_over, rounding, widen
from runtime.mil.ops.classifying import CLASSIFY, classified
from runtime.mil.ops.registry import Kernel, Op, Registry, find
from runtime.mil.ops.state import STATE_OPS
from runtime.mil.package import Package
from runtime.mil.program import BLOCKS, Argument, BlobRef, Block, Feature, Function, Literal, Operation, ValueType
from runtime.mil.step import (
    MISFITS,
    Output,
    Step,
    exact_integers,
    fast_call,
    misfit,
    raw_call,
    read_call,
    results,
    store_call,
    write_call,
)

_ABSENT = 0
#: ops whose result holds elements of their operands and nothing besides: no number of their own, and no reduction,
#: which of no elements gives an infinity
_CARRYING = frozenset(
    {
        "concat",
        "expand_dims",
        "gather",
        "gather_along_axis",
        "gather_nd",
        "identity",
        "reshape",
        "reverse",
        "slice_by_index",
        "slice_by_size",
        "split",
        "squeeze",
        "stack",
        "tile",
        "transpose",
    }
)


@dataclass
class Compiled:
    """A program ready to run: `base` holds the constants, one slot per value; those in `held` are None there."""

    base: list[Any]
    slots: dict[str, int]
    steps: list[Step]
    #: findings on constants and declared types, before any input is known
    watch: Watch
    #: float constants, with their place in the program, not looked at yet
    unwatched: list[tuple[int, Source]] = field(default_factory=list)
    constants: set[int] = field(default_factory=set)
    #: large constants, by slot
    held: dict[int, Held] = field(default_factory=dict)

    def value(self, slot: int) -> Any:
        """A constant's elements in their carrier dtype, or its text."""
        return self.held[slot].load() if slot in self.held else self.base[slot]


class Compiler:
    """Compiles one function; `compile()` is its only use. `streamed`: no large constant stays in memory."""

    def __init__(
        self, package: Package, function: Function, mode: Mode, registry: Registry, *, streamed: bool = False
    ) -> None:
        self.package, self.function, self.mode, self.registry = package, function, mode, registry
        self.streamed = streamed
        self.types = function.types
        self.states = {feature.name: feature for feature in function.states}
        self.out = Compiled(base=[None], slots={}, steps=[], watch=Watch())
        self.out.constants.add(_ABSENT)

    def compile(self) -> Compiled:
        """Raises UnsupportedOp or BrokenEvidence."""
        for feature in self.function.inputs:
            self._slot(feature.name)
        self._check_description()
        with np.errstate(all="ignore"):
            for position, operation in enumerate(self.function.operations):
                self.out.watch.position = position
                self._operation(position, operation)
        self._mark_dead()
        return self.out

    def _slot(self, name: str) -> int:
        self.out.base.append(None)
        self.out.slots[name] = len(self.out.base) - 1
        return self.out.slots[name]

    def _check_description(self) -> None:
        """The model description must declare what the function declares."""
        described = {feature.name: feature for feature in self.package.description.get(self.function.name, ())}
        for feature in (*self.function.inputs, *self.function.outputs, *self.function.states):
            other, kind = described.get(feature.name), self.types[feature.name].kind
            if other is None or not other.fits(feature._replace(dtype=kind)):
                actual = "absent" if other is None else f"{other.dtype} {other.declared}"
                declared = f"{kind} {shape_text(feature.shape)}"
                self.out.watch.mismatch(Mismatch(feature.name, "", "", "description", declared, actual))

    def _operation(self, position: int, operation: Operation) -> None:
        self._place = f"{self.function.name}.{operation.name}"
        try:
            self._dispatch(position, operation)
        except MISFITS as error:
            raise misfit(operation.type, operation.name, self.function.name, error) from error

    def _dispatch(self, position: int, operation: Operation) -> None:
        if operation.type == "const":
            self._const(operation)
        elif operation.type in BLOCKS:
            self._control(position, operation)
        elif operation.type in STATE_OPS:
            self._state_op(position, operation)
        elif operation.type == CLASSIFY:
            self._classify(position, operation)
        else:
            self._op(position, operation)

    def _const(self, operation: Operation) -> None:
        ((name, declared),) = operation.outputs
        (value,) = operation.inputs["val"]
        if not isinstance(value, Literal) or value.type != declared:
            raise BrokenEvidence(f"const {self._place} does not hold its declared type", subject="model.mlmodel")
        slot = self._slot(name)
        self._lift(slot, value)
        if BY_NAME[declared.dtype].kind == "float":
            source = Source(name, declared, slot, "const", operation.name, computes=False)
            self.out.unwatched.append((self.out.watch.position, source))

    def _lift(self, slot: int, value: Literal) -> None:
        """A literal's elements in their carrier dtype; small float16 ones are widened once per package."""
        self.out.constants.add(slot)
        if isinstance(value.data, BlobRef) and value.count >= held.LARGE:
            self._hold(slot, value)
        elif value.type.dtype == "float16":
            key = ("literal", value.key)
            if key not in self.package.cache:
                self.package.cache[key] = np.asarray(self.package.elements(value)).astype(np.float32)
            self.out.base[slot] = self.package.cache[key]
        else:
            self.out.base[slot] = self.package.elements(value)

    def _hold(self, slot: int, value: Literal) -> None:
        """A large literal: float16 and float32 stay mapped, everything that is streamed or unpacked in its file."""
        if not self.streamed and value.type.dtype in ("float16", "float32"):
            found = self.package.array(value, mapped=True)
            self._keep(slot, held.Narrow(found) if found.dtype == np.float16 else found)
            return
        self.package.located(value)
        self._keep(slot, held.Stored(self.package, value))

    def _keep(self, slot: int, value: Any) -> None:
        if held.is_held(value):
            self.out.held[slot] = value
        else:
            self.out.base[slot] = value

    # --- operands ------------------------------------------------------------------------------------------------

    def _operand(self, argument: Argument, form: str = "") -> tuple[int, str]:
        """(slot, declared dtype) of an operand of that form; a literal gets a slot of its own."""
        kind = self._kind(argument)
        if kind.form != form:
            text = f"{kind.kind} where a {form or 'tensor'} is expected ({self._place})"
            raise BrokenEvidence(text, subject="model.mlmodel")
        if isinstance(argument, Literal):
            self.out.base.append(None)
            self._lift(len(self.out.base) - 1, argument)
            return len(self.out.base) - 1, argument.type.dtype
        if argument in self.states:
            raise UnsupportedOp(f"state {argument!r} used as a value", op="state", place=self._place)
        return self.out.slots[argument], kind.dtype

    def _op(self, position: int, operation: Operation) -> None:
        op = find(self.registry, operation.type, self.function.opset, self._place)
        self._check_parameters(op, operation)
        forms = {name: domain.form for name, domain in op.tensors.items()}
        groups = {
            name: [self._operand(item, forms.get(name, "")) for item in items]
            for name, items in operation.inputs.items()
        }
        every = tuple(slot for group in groups.values() for slot, _ in group)
        static = {name: self._static(op, name, groups[name]) for name in op.static if name in groups}
        dtypes = self._dtypes(op, operation, {name: group for name, group in groups.items() if name in op.tensors})
        outputs = self._outputs(op, operation, dtypes, static, every)
        self._check_limits(op, groups, outputs[0].source)
        kernel, arguments = self._bind(op, groups, static, outputs)
        if op.name in held.PICKING:
            kernel, arguments = self._picked(kernel, arguments)
        operands = tuple(slot for item in arguments for slot in (item if isinstance(item, tuple) else (item,)))
        step = Step(
            position=position,
            op_type=operation.type,
            op_name=operation.name,
            operands=operands,
            outputs=outputs,
            raw=raw_call(kernel, arguments),
            fast=fast_call(kernel, arguments, outputs),
        )
        if self.out.constants.issuperset(operands):
            self._fold(step, self._cache_key(op, operation))
        else:
            self.out.steps.append(step)

    def _check_limits(self, op: Op, groups: Mapping[str, Sequence[tuple[int, str]]], source: Source) -> None:
        """Integer arithmetic with a constant at the end of its dtype; to select or compare with one is usual."""
        if op.moves or BY_NAME[source.declared.dtype].kind != "int":
            return
        for slot, dtype in (
            item for name, domain in op.tensors.items() if domain.same for item in groups.get(name, ())
        ):
            if slot in self.out.constants:
                self.out.watch.limit(np.asarray(self.out.value(slot)), dtype, source)

    def _check_parameters(self, op: Op, operation: Operation) -> None:
        for name in operation.inputs:
            known = name in op.tensors or name in op.static or name in op.ignores
            if not known or op.added.get(name, 0) > self.function.opset:
                raise UnsupportedOp(
                    f"op {op.name}: parameter {name!r} is not modelled in opset CoreML{self.function.opset}"
                    f" ({self._place})",
                    op=op.name,
                    place=self._place,
                )
        missing = op.required - set(operation.inputs)
        if missing:
            raise BrokenEvidence(f"op {op.name} lacks {sorted(missing)[0]!r} ({self._place})", subject="model.mlmodel")

    def _static(self, op: Op, name: str, group: Sequence[tuple[int, str]]) -> Any:
        ((slot, _),) = group
        if slot not in self.out.constants:
            raise UnsupportedOp(
                f"op {op.name}: {name!r} is computed, a constant is expected ({self._place})",
                op=op.name,
                place=self._place,
            )
        return _as_static(op.static[name], self.out.value(slot))

    def _dtypes(self, op: Op, operation: Operation, groups: Mapping[str, Sequence[tuple[int, str]]]) -> dict[str, str]:
        """Declared dtype of each tensor parameter; refuses dtypes the op is not modelled for."""
        shared: dict[str, str] = {}
        for name, group in groups.items():
            domain = op.tensors[name]
            for _, dtype in group:
                if dtype not in domain.dtypes:
                    raise UnsupportedOp(
                        f"op {op.name}: {name!r} of dtype {dtype} is not modelled ({self._place})",
                        op=op.name,
                        place=self._place,
                    )
                if domain.same and self.function.opset < op.loose:
                    shared.setdefault(dtype, name)
        if len(shared) > 1:
            text = ", ".join(f"{name}: {dtype}" for dtype, name in shared.items())
            self._mismatch(operation, operation.outputs[0][0], "operands", "one dtype", text)
        return {name: group[0][1] for name, group in groups.items()}

    def _outputs(
        self,
        op: Op,
        operation: Operation,
        dtypes: Mapping[str, str],
        static: Mapping[str, Any],
        operands: tuple[int, ...],
    ) -> tuple[Output, ...]:
        actual = op.result_dtypes(dtypes, static)
        if len(actual) != len(operation.outputs):
            raise BrokenEvidence(
                f"op {op.name} declares {len(operation.outputs)} results, yields {len(actual)} ({self._place})",
                subject="model.mlmodel",
            )
        found = []
        for (name, declared), dtype in zip(operation.outputs, actual, strict=True):
            if declared.form != op.form:
                raise BrokenEvidence(
                    f"op {op.name} declares a {declared.kind} ({self._place})", subject="model.mlmodel"
                )
            if declared.dtype != dtype:
                self._mismatch(operation, name, "dtype", declared.dtype, dtype)
            # moving representable elements keeps them representable
            kept = op.moves and dtype == declared.dtype
            how = None if kept or BY_NAME[dtype].kind != "float" else rounding(self.mode, declared.dtype)
            if how is round16 and op.name in held.CONSUMING:
                how = round16_over
            slot = self._slot(name)
            # a dequantized weight is judged as a constant
            computes = not op.moves and not op.name.startswith("constexpr_")
            carries = op.name in _CARRYING and bool(operands)
            source = Source(name, declared, slot, operation.type, operation.name, operands, computes, carries)
            found.append(Output(slot, how, source))
        return tuple(found)

    def _bind(
        self,
        op: Op,
        groups: Mapping[str, Sequence[tuple[int, str]]],
        static: Mapping[str, Any],
        outputs: Sequence[Output],
    ) -> tuple[Kernel, list[int | tuple[int, ...]]]:
        """The op's function with its static parameters bound, and the slots of its positional operands."""
        flexible = {name for name, domain in op.tensors.items() if domain.flexible}
        sizes = {name: groups[name][0][0] for name in flexible if name in groups}
        planned = op.plan is not None and self.out.constants.issuperset(sizes.values())
        if planned and op.plan is not None:
            kernel = op.plan(**{name: np.atleast_1d(self.out.value(slot)) for name, slot in sizes.items()}, **static)
        else:
            inner = {"inner": inner_rounding(self.mode, outputs[0].source.declared.dtype)} if op.takes_inner else {}
            kernel = partial(op.kernel, **static, **inner) if static or inner else op.kernel
        arguments: list[int | tuple[int, ...]] = []
        for name, domain in op.tensors.items():
            if planned and name in flexible:
                continue
            group = groups.get(name, [(_ABSENT, "")])
            if len(group) != 1 and not domain.variadic:
                raise BrokenEvidence(f"op {op.name}: {len(group)} operands for {name!r}", subject="model.mlmodel")
            arguments.append(tuple(slot for slot, _ in group) if domain.variadic else group[0][0])
        while arguments and arguments[-1] == _ABSENT:
            arguments.pop()
        return kernel, arguments

    def _picked(
        self, kernel: Kernel, arguments: list[int | tuple[int, ...]]
    ) -> tuple[Kernel, list[int | tuple[int, ...]]]:
        """An op that picks elements of its first operand: of a large float16 table it widens what it has picked."""
        table, *rest = arguments
        large = self.out.held.get(table) if isinstance(table, int) else None
        narrow = large.narrow() if large is not None else None
        if narrow is None:
            return kernel, arguments
        self.out.base.append(narrow)
        self.out.constants.add(len(self.out.base) - 1)
        return lambda x, *others: widen(kernel(x, *others)), [len(self.out.base) - 1, *rest]

    # --- constants and states ------------------------------------------------------------------------------------

    def _cache_key(self, op: Op, operation: Operation) -> tuple[object, ...] | None:
        """What a dequantized constant depends on, when it depends on literals only."""
        literals = [(name, group[0]) for name, group in operation.inputs.items()]
        if not op.name.startswith("constexpr_") or not all(isinstance(item, Literal) for _, item in literals):
            return None
        rounds = rounding(self.mode, operation.outputs[-1][1].dtype) is not None
        return (op.kernel, rounds, *((name, item.key) for name, item in literals if isinstance(item, Literal)))

    def _fold(self, step: Step, key: tuple[object, ...] | None) -> None:
        """Compute a step now; its results become constants."""
        given = _Loaded(self.out.value)
        if step.op_type == "cast":
            self.out.watch.cast(np.asarray(given[step.operands[0]]), step.outputs[0].source)
        cached = self.package.cache.get(key) if key is not None else None
        raw = results(step.raw(given, {}) if cached is None else tuple(map(_elements, cached)))
        for output, value in zip(step.outputs, raw, strict=True):
            self.out.constants.add(output.slot)
            self.out.watch.result(value, output.source)
        for output, value, exact in zip(step.outputs, raw, exact_integers(step, given, {}), strict=False):
            self.out.watch.integers(value, exact, output.source)
        if cached is None:
            cached = tuple(self._kept(step, place, value) for place, value in enumerate(raw))
        for output, kept in zip(step.outputs, cached, strict=True):
            self._keep(output.slot, kept)
        if key is not None and not self.streamed:
            self.package.cache[key] = cached

    def _kept(self, step: Step, place: int, raw: Any) -> Any:
        """A result of a folded step as it waits for its readers."""
        output = step.outputs[place]
        if not held.is_large(raw):
            return raw if output.rounding is None else output.rounding(raw)
        if self.streamed:
            return held.Remade(partial(self._again, step, place))
        on_grid = output.source.declared.dtype == "float16" and self.mode != "exact32"
        return (on_grid and held.narrowed(raw)) or (raw if output.rounding is None else output.rounding(raw))

    def _again(self, step: Step, place: int) -> Array:
        with np.errstate(all="ignore"):
            raw = results(step.raw(_Loaded(self.out.value), {}))[place]
            how = step.outputs[place].rounding
            return raw if how is None else how(raw)

    # --- blocks --------------------------------------------------------------------------------------------------

    def _control(self, position: int, operation: Operation) -> None:
        """A `cond` or `while_loop`. Its results are its blocks' outputs, and have their dtypes."""
        parameter = "pred" if operation.type == "cond" else "loop_vars"
        if set(operation.inputs) != {parameter}:
            raise UnsupportedOp(
                f"op {operation.type}: parameters {sorted(operation.inputs)}", op=operation.type, place=self._place
            )
        forms = [self._kind(item) for item in operation.inputs[parameter]]
        given = zip(operation.inputs[parameter], forms, strict=True)
        variables = [self._operand(item, kind.form)[0] for item, kind in given]
        kinds, declared = [kind.kind for kind in forms], [kind.kind for _, kind in operation.outputs]
        first, second = (self._block(position, block) for block in operation.blocks)
        (asked, _), (made, wanted) = first, second
        if operation.type == "cond":
            wrong = kinds != ["bool"] or asked.inputs or made.inputs or first[1] != wanted
        else:
            entered = [[kind.kind for kind in block.inputs.values()] for block in operation.blocks]
            wrong = entered != [kinds, kinds] or first[1] != ["bool"] or wanted != kinds
        if wrong or declared != wanted:
            raise BrokenEvidence(
                f"op {operation.type} ({self._place}): its blocks do not fit its operands or results",
                subject="model.mlmodel",
            )
        operands = tuple(sorted({*variables, *asked.reads(), *made.reads()}))
        outputs = []
        for name, kind in operation.outputs:
            slot = self._slot(name)
            made_of = (*operands, *asked.outputs, *made.outputs)
            source = Source(name, kind, slot, operation.type, operation.name, made_of, computes=False)
            outputs.append(Output(slot, None, source))
        targets = [output.slot for output in outputs]
        if operation.type == "cond":
            drive = branch(variables[0], asked, made, targets)
        else:
            drive = loop(variables, asked, made, targets)
        step = Nested(
            position=position,
            op_type=operation.type,
            op_name=operation.name,
            operands=operands,
            outputs=tuple(outputs),
            raw=lambda _values, _state: None,
            fast=fast(drive),
            drive=drive,
        )
        self.out.steps.append(step)

    def _kind(self, argument: Argument) -> ValueType:
        return argument.type if isinstance(argument, Literal) else self.types[argument]

    def _block(self, position: int, block: Block) -> tuple[Inner, list[str]]:
        """The compiled block and its outputs' kinds. Its names are known inside it only."""
        around, place = (self.types, self.out.slots, self.out.steps), self._place
        self.types = {**self.types, **block.types}
        self.out.slots, self.out.steps = dict(self.out.slots), []
        try:
            inputs = tuple(self._slot(name) for name in block.inputs)
            for operation in block.operations:
                self._operation(position, operation)
            outputs = tuple(self.out.slots[name] for name in block.outputs)
            inner = Inner(inputs, tuple(self.out.steps), outputs)
            return inner, [self.types[name].kind for name in block.outputs]
        finally:
            (self.types, self.out.slots, self.out.steps), self._place = around, place

    def _classify(self, position: int, operation: Operation) -> None:
        """`classify`: a label, and what is said of every label. It is no op of the registry: its types follow from its
        labels."""
        if set(operation.inputs) != {"probabilities", "classes"} or any(
            len(one) != 1 for one in operation.inputs.values()
        ):
            raise UnsupportedOp(f"op classify: parameters {sorted(operation.inputs)}", op=CLASSIFY, place=self._place)
        ((given,), (classes,)) = operation.inputs["probabilities"], operation.inputs["classes"]
        probabilities, dtype = self._operand(given)
        labels = self.out.base[self._operand(classes, "list")[0]]
        if not isinstance(labels, tuple):
            raise UnsupportedOp(
                "op classify: 'classes' is computed, a constant is expected", op=CLASSIFY, place=self._place
            )
        if dtype != "float32":
            raise UnsupportedOp(f"op classify: 'probabilities' of dtype {dtype}", op=CLASSIFY, place=self._place)
        label, kinds = self._kind(classes).dtype, [kind.kind for _, kind in operation.outputs]
        if kinds != [label, f"{label} dictionary of float64"]:
            text = f"op classify declares {kinds} of labels of {label} ({self._place})"
            raise BrokenEvidence(text, subject="model.mlmodel")
        outputs = []
        for name, declared in operation.outputs:
            slot = self._slot(name)
            source = Source(name, declared, slot, operation.type, operation.name, (probabilities,), computes=False)
            outputs.append(Output(slot, None, source))
        raw = raw_call(partial(classified, labels), [probabilities])
        step = Step(
            position=position,
            op_type=operation.type,
            op_name=operation.name,
            operands=(probabilities,),
            outputs=tuple(outputs),
            raw=raw,
            fast=store_call(raw, outputs),
        )
        self.out.steps.append(step)

    def _state_op(self, position: int, operation: Operation) -> None:
        form = STATE_OPS[operation.type]
        if form.since > self.function.opset:
            raise UnsupportedOp(f"op {operation.type} before CoreML{form.since}", op=operation.type, place=self._place)
        names = {form.state, form.data} - {""}
        if set(operation.inputs) != names or any(len(group) != 1 for group in operation.inputs.values()):
            raise UnsupportedOp(
                f"op {operation.type}: parameters {sorted(operation.inputs)}", op=operation.type, place=self._place
            )
        ((state,),) = (operation.inputs[form.state],)
        if not isinstance(state, str) or state not in self.states:
            raise BrokenEvidence(f"op {operation.type} names no state ({self._place})", subject="model.mlmodel")
        source = self._operand(operation.inputs[form.data][0])[0] if form.data else None
        operands = () if source is None else (source,)
        outputs = self._state_outputs(operation, self.states[state], operands)
        raw = write_call(state, source, outputs) if source is not None else read_call(state)
        step = Step(
            position=position,
            op_type=operation.type,
            op_name=operation.name,
            operands=operands,
            outputs=outputs,
            raw=raw,
            fast=store_call(raw, outputs),
        )
        self.out.steps.append(step)

    def _state_outputs(self, operation: Operation, state: Feature, operands: tuple[int, ...]) -> tuple[Output, ...]:
        found = []
        for name, declared in operation.outputs:
            if declared.dtype != state.dtype:
                self._mismatch(operation, name, "dtype", declared.dtype, state.dtype)
            slot = self._slot(name)
            source = Source(name, declared, slot, operation.type, operation.name, operands, computes=False)
            found.append(Output(slot, None, source))
        return tuple(found)

    def _mark_dead(self) -> None:
        keep = self.out.constants | {self.out.slots[feature.name] for feature in self.function.outputs}
        seen: set[int] = set(keep)
        for step in reversed(self.out.steps):
            touched = {*step.operands, *(output.slot for output in step.outputs)}
            step.dead = tuple(sorted(touched - seen))
            seen |= touched
            step.loads = tuple((slot, self.out.held[slot]) for slot in sorted(set(step.operands)) if self._loads(slot))

    def _loads(self, slot: int) -> bool:
        """Whether an op that runs must load this operand. What is not streamed and cannot be narrow stays as it is."""
        large = self.out.held.get(slot)
        if large is None or self.streamed or isinstance(large, held.Narrow):
            return large is not None
        self.out.base[slot] = self.out.held.pop(slot).load()
        return False

    def _mismatch(self, operation: Operation, name: str, what: str, declared: str, actual: str) -> None:
        self.out.watch.mismatch(Mismatch(name, operation.type, operation.name, what, declared, actual))


class _Loaded(dict[int, Any]):
    """Constants of one op by their slots, loaded when they are asked for."""

    def __init__(self, load: Callable[[int], Any]) -> None:
        super().__init__()
        self._load = load

    def __missing__(self, slot: int) -> Any:
        self[slot] = self._load(slot)
        return self[slot]


def _elements(value: Any) -> Any:
    return value.load() if held.is_held(value) else value


def _as_static(hint: Any, value: Any) -> Any:
    """A constant as the Python value a kernel's annotation asks for."""
    kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not type(None)]
    if isinstance(value, str):
        return value
    if get_args(hint) and any(kind is Ellipsis or getattr(kind, "__origin__", None) is tuple for kind in kinds):
        element = bool if "bool" in str(hint) else int
        return tuple(element(item) for item in np.ravel(value))
    return kinds[0](np.asarray(value).item())
