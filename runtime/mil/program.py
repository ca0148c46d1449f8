"""A parsed MIL protobuf → typed, immutable functions: inputs, states, outputs and operations in execution order.

Reads only the messages generated from Apple's `MIL.proto`; nothing of the converter is used. What the interpreter does
not model (variadic dimensions, unknown attributes and dtypes) raises `UnsupportedOp`; what contradicts
itself raises `BrokenEvidence`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from runtime.contract import BrokenEvidence
from runtime.mil.blob import unpack
from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import BY_NAME, DTYPES, Array

#: a message of a generated protobuf module, which has no static types
Message = Any

#: None is a dimension known only when the function runs
Shape = tuple[int | None, ...]

_OPSET = re.compile(r"CoreML(\d+)\Z")
#: control-flow ops → how many blocks they hold: (then, else) and (condition, body)
BLOCKS = {"cond": 2, "while_loop": 2}
#: opsets whose ops are modelled: CoreML5 = iOS15, 6 = iOS16, 7 = iOS17, 8 = iOS18, 9 = iOS26
OPSETS = range(5, 10)


class ValueType(NamedTuple):
    """Declared type of a value. `state` marks a reference to a buffer of that type; `form` is "list" for a list of
    tensors of that type, however many, and "string dictionary" or "int64 dictionary" for numbers by labels."""

    dtype: str
    shape: Shape
    state: bool = False
    form: str = ""

    @property
    def kind(self) -> str:
        """Its dtype, and what it is a list of."""
        return f"{self.form} of {self.dtype}" if self.form else self.dtype


class Feature(NamedTuple):
    """A function's input, state or output."""

    name: str
    shape: Shape
    dtype: str


class BlobRef(NamedTuple):
    """Where a literal stands: `file` relative to the folder of model.mlmodel, `offset` of its metadata in bytes."""

    file: str
    offset: int


@dataclass(frozen=True)
class Literal:
    """A constant written in the program: its type and its elements (str for a string, labels for a list of them), or
    where they are stored."""

    type: ValueType
    data: Array | str | BlobRef | tuple[str | int, ...]

    @cached_property
    def key(self) -> tuple[object, ...]:
        """Equal for literals that hold the same elements."""
        data = self.data.tobytes() if isinstance(self.data, np.ndarray) else self.data
        return (self.type.dtype, self.type.shape, data)

    @property
    def count(self) -> int:
        """Number of elements."""
        return prod(size for size in self.type.shape if size is not None)

    @property
    def bytes(self) -> int:
        """Bytes its elements take as stored."""
        return (self.count * BY_NAME[self.type.dtype].bits + 7) // 8


#: an operand: the name of a value, or a literal written in place
Argument = str | Literal


@dataclass(frozen=True)
class Operation:
    """One op: `inputs` maps a parameter to its operands (several for a variadic one), `outputs` are named and typed."""

    type: str
    name: str
    inputs: Mapping[str, tuple[Argument, ...]]
    outputs: tuple[tuple[str, ValueType], ...]
    #: programs inside a control-flow op; they read the values around them, and nothing around them reads theirs
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Block:
    """A program inside an op: its inputs, its operations in order and the names of its outputs."""

    inputs: Mapping[str, ValueType]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]

    @cached_property
    def types(self) -> Mapping[str, ValueType]:
        """Declared type of its inputs and of its operations' results, without those of blocks inside it."""
        return dict(self.inputs) | {name: kind for operation in self.operations for name, kind in operation.outputs}


def walk(operations: Iterable[Operation]) -> Iterator[Operation]:
    """Every operation, those inside an op before it."""
    for operation in operations:
        for block in operation.blocks:
            yield from walk(block.operations)
        yield operation


@dataclass(frozen=True)
class Function:
    """One function of a package; `opset` is the number in "CoreML8"."""

    name: str
    opset: int
    inputs: tuple[Feature, ...]
    states: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    operations: tuple[Operation, ...]

    @cached_property
    def types(self) -> Mapping[str, ValueType]:
        """Declared type of every value: inputs, states and op results."""
        found = {name: ValueType(dtype, shape) for name, shape, dtype in self.inputs}
        found |= {name: ValueType(dtype, shape, state=True) for name, shape, dtype in self.states}
        return found | {name: kind for operation in self.operations for name, kind in operation.outputs}


def functions(program: Message) -> dict[str, Function]:
    """Every function of a `MILSpec.Program` message, by name."""
    if program.version != 1:
        raise BrokenEvidence(f"MIL program version {program.version}, expected 1", subject="model.mlmodel")
    unknown = set(program.attributes) - {"buildInfo"}
    if unknown:
        raise UnsupportedOp(f"program attribute {sorted(unknown)[0]!r} is not modelled", op="program")
    return {name: _function(name, message) for name, message in sorted(program.functions.items())}


def _function(name: str, message: Message) -> Function:
    match = _OPSET.match(message.opset)
    if not match or int(match[1]) not in OPSETS:
        raise UnsupportedOp(f"function {name}: opset {message.opset!r} is not modelled", op="function", place=name)
    if message.opset not in message.block_specializations:
        raise BrokenEvidence(f"function {name} has no block for its opset {message.opset}", subject="model.mlmodel")
    block = message.block_specializations[message.opset]
    if message.attributes or block.attributes or block.inputs:
        raise UnsupportedOp(f"function {name}: function or block attributes are not modelled", op="function")
    inputs: list[Feature] = []
    states: list[Feature] = []
    defined: dict[str, ValueType] = {}
    for item in message.inputs:
        kind = _face(value_type(item.type, place=f"{name}.{item.name}"), item.name, name)
        (states if kind.state else inputs).append(Feature(item.name, kind.shape, kind.dtype))
        _define(defined, item.name, kind, name)
    operations = _operations(block.operations, defined, name)
    missing = [output for output in block.outputs if output not in defined]
    if missing:
        raise _broken(f"output {missing[0]!r} is never defined", name)
    leaving = [(output, _face(defined[output], output, name, leaves=True)) for output in block.outputs]
    outputs = tuple(Feature(output, kind.shape, kind.dtype) for output, kind in leaving)
    return Function(name, int(match[1]), tuple(inputs), tuple(states), outputs, operations)


def _face(kind: ValueType, name: str, function: str, *, leaves: bool = False) -> ValueType:
    """The type of an input or output of a function: a list is none, and a label or what is said of it only leaves."""
    labelled = kind.dtype in ("string", "int64") or bool(kind.form)
    if labelled and (kind.form == "list" or not leaves):
        text = f"function {function}: {name!r} is a {kind.kind}, which no caller can {'hold' if leaves else 'give'}"
        raise UnsupportedOp(text, op="type", place=f"{function}.{name}")
    return kind


def _operations(messages: Iterable[Message], defined: dict[str, ValueType], function: str) -> tuple[Operation, ...]:
    """The operations in order; their results join `defined`, which holds what they may read."""
    operations = []
    for item in messages:
        operation = _operation(item, function, defined)
        for argument in (argument for group in operation.inputs.values() for argument in group):
            if isinstance(argument, str) and argument not in defined:
                raise _broken(f"op {operation.name} reads {argument!r} before it is defined", function)
        for output, kind in operation.outputs:
            _define(defined, output, kind, function)
        operations.append(operation)
    return tuple(operations)


def _block(message: Message, around: Mapping[str, ValueType], function: str, op_name: str) -> Block:
    """A block of the op `op_name`, which may read what is defined `around` it."""
    if message.attributes:
        raise UnsupportedOp(f"op {op_name}: block attributes are not modelled", op="block", place=function)
    defined, inputs = dict(around), {}
    for item in message.inputs:
        kind = inputs[item.name] = value_type(item.type, place=f"{function}.{item.name}")
        _define(defined, item.name, kind, function)
    operations = _operations(message.operations, defined, function)
    missing = [output for output in message.outputs if output not in defined]
    if missing:
        raise _broken(f"op {op_name}: output {missing[0]!r} of a block is never defined", function)
    return Block(inputs, operations, tuple(message.outputs))


def _define(defined: dict[str, ValueType], name: str, kind: ValueType, function: str) -> None:
    if name in defined:
        raise _broken(f"value {name!r} is defined twice", function)
    defined[name] = kind


def _broken(message: str, function: str) -> BrokenEvidence:
    return BrokenEvidence(f"function {function}: {message}", subject="model.mlmodel")


def _operation(message: Message, function: str, defined: Mapping[str, ValueType]) -> Operation:
    attributes = dict(message.attributes)
    name = attributes.pop("name", None)
    label = _string(name) if name is not None else (message.outputs[0].name if message.outputs else message.type)
    place = f"{function}.{label}"
    if message.blocks and message.type not in BLOCKS:
        raise UnsupportedOp(f"op {message.type} ({place}) has nested blocks", op=message.type, place=place)
    if len(message.blocks) != BLOCKS.get(message.type, 0):
        raise _broken(f"op {message.type} ({label}) has {len(message.blocks)} blocks", function)
    inputs = {
        parameter: tuple(_argument(binding, message.type, place) for binding in group.arguments)
        for parameter, group in sorted(message.inputs.items())
    }
    # const and, up to iOS17, constexpr ops write their parameters as attributes; any other attribute is unknown.
    if message.type == "const" or message.type.startswith("constexpr_"):
        inputs |= {key: (literal(value, place),) for key, value in sorted(attributes.items())}
    elif attributes:
        raise UnsupportedOp(
            f"op {message.type} ({place}): attribute {sorted(attributes)[0]!r} is not modelled",
            op=message.type,
            place=place,
        )
    empty = [parameter for parameter, group in inputs.items() if not group]
    if empty or (message.type == "const" and (set(inputs) != {"val"} or len(message.outputs) != 1)):
        raise _broken(f"op {message.type} ({label}) has parameters {sorted(inputs)}", function)
    outputs = tuple((item.name, value_type(item.type, place=place)) for item in message.outputs)
    blocks = tuple(_block(block, defined, function, label) for block in message.blocks)
    return Operation(message.type, label, inputs, outputs, blocks)


def _argument(binding: Message, op: str, place: str) -> Argument:
    match binding.WhichOneof("binding"):
        case "name":
            return str(binding.name)
        case "value":
            return literal(binding.value, place)
        case _:
            raise UnsupportedOp(f"op {op} ({place}): an operand without a binding", op=op, place=place)


def value_type(message: Message, *, place: str) -> ValueType:
    """A `ValueType` message → the type. Tuples, dictionaries that are no classifier's, lists of what is no tensor and
    variadic dimensions are not modelled."""
    form = message.WhichOneof("type")
    if form == "stateType":
        return value_type(message.stateType.wrappedType, place=place)._replace(state=True)
    if form == "listType" and message.listType.type.WhichOneof("type") == "tensorType":
        return value_type(message.listType.type, place=place)._replace(form="list")
    if form == "dictionaryType":
        return _dictionary(message.dictionaryType, place)
    if form != "tensorType":
        raise UnsupportedOp(f"{place}: values of {form or 'no type'} are not modelled", op="type", place=place)
    tensor = message.tensorType
    dtype = DTYPES.get(_dtype_name(message, tensor.dataType))
    if dtype is None or dtype.name == "float64" or (dtype.name == "int64" and tensor.rank):
        raise UnsupportedOp(
            f"{place}: dtype {_dtype_name(message, tensor.dataType)} is not modelled", op="type", place=place
        )
    if tensor.rank != len(tensor.dimensions) or tensor.attributes:
        raise BrokenEvidence(f"{place}: rank {tensor.rank} but {len(tensor.dimensions)} dimensions", subject=place)
    return ValueType(dtype.name, tuple(_dimension(item, place) for item in tensor.dimensions))


def _dictionary(message: Message, place: str) -> ValueType:
    """What a classifier says: a float64 for every label, in the order of its labels."""
    key, value = value_type(message.keyType, place=place), message.valueType
    known = value.WhichOneof("type") == "tensorType" and _dtype_name(value, value.tensorType.dataType) == "FLOAT64"
    if key not in (ValueType("string", ()), ValueType("int64", ())) or not known or value.tensorType.rank:
        raise UnsupportedOp(f"{place}: a dictionary that is no classifier's is not modelled", op="type", place=place)
    return ValueType("float64", (None,), form=f"{key.dtype} dictionary")


def _dtype_name(message: Message, code: int) -> str:
    values = message.tensorType.DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number
    return str(values[code].name) if code in values else f"code {code}"


def _dimension(message: Message, place: str) -> int | None:
    if message.WhichOneof("dimension") == "constant":
        return int(message.constant.size)
    if message.unknown.variadic:
        raise UnsupportedOp(f"{place}: a variadic dimension is not modelled", op="type", place=place)
    return None


def _string(message: Message) -> str:
    values = message.immediateValue.tensor.strings.values
    return str(values[0]) if len(values) == 1 else ""


def literal(message: Message, place: str) -> Literal:
    """A `Value` message → a literal. Raises BrokenEvidence when its elements do not fill its declared type."""
    kind = value_type(message.type, place=place)
    if kind.form == "list" and message.immediateValue.WhichOneof("value") == "list":
        return Literal(kind, _labels(message, kind, place))
    if message.WhichOneof("value") == "blobFileValue" and not kind.form:
        return Literal(kind, BlobRef(message.blobFileValue.fileName, message.blobFileValue.offset))
    if message.WhichOneof("value") != "immediateValue" or message.immediateValue.WhichOneof("value") != "tensor":
        raise UnsupportedOp(f"{place}: only tensor literals are modelled", op="const", place=place)
    if None in kind.shape:
        raise BrokenEvidence(f"{place}: a literal with an unknown dimension", subject=place)
    try:
        return Literal(kind, _elements(message.immediateValue.tensor, kind))
    except ValueError as error:
        raise BrokenEvidence(
            f"{place}: literal does not hold {kind.dtype} {kind.shape}: {error}", subject=place
        ) from None


def _labels(message: Message, kind: ValueType, place: str) -> tuple[str | int, ...]:
    """The labels of a list of texts or of whole numbers."""
    every = [literal(value, place) for value in message.immediateValue.list.values]
    length = message.type.listType.length
    fits = length.WhichOneof("dimension") != "constant" or length.constant.size == len(every)
    if not fits or any(one.type != kind._replace(form="") for one in every):
        raise BrokenEvidence(f"{place}: a list does not hold its {kind.dtype} elements", subject=place)
    if kind not in (ValueType("string", (), form="list"), ValueType("int64", (), form="list")):
        raise UnsupportedOp(f"{place}: a constant {kind.kind} is not modelled", op="const", place=place)
    return tuple(_label(one, place) for one in every)


def _label(one: Literal, place: str) -> str | int:
    """A text or a whole number. Raises UnsupportedOp for one that does not stand in the program itself."""
    match one.data:
        case str():
            return one.data
        case np.ndarray():
            return int(one.data)
    raise UnsupportedOp(f"{place}: labels that do not stand in the program are not modelled", op="const", place=place)


def _elements(tensor: Message, kind: ValueType) -> Array | str:
    """Decode one `TensorValue`. Narrow floats and integers come as little-endian bytes, the rest as repeated fields."""
    field = tensor.WhichOneof("value")
    info = BY_NAME[kind.dtype]
    shape = tuple(size for size in kind.shape if size is not None)
    if kind.dtype == "string":
        (text,) = tensor.strings.values
        return str(text)
    if field == "bytes":
        raw = np.frombuffer(tensor.bytes.values, dtype=np.uint8)
        if info.bits < 8:
            return unpack(raw, info.bits, prod(shape), signed=not kind.dtype.startswith("u")).reshape(shape)
        return np.frombuffer(raw, dtype=np.dtype(info.stored).newbyteorder("<")).reshape(shape)
    fields = {
        "floats": ("float32",),
        "ints": ("int32", "int16", "uint16", "uint32"),
        "bools": ("bool",),
        "longInts": ("int64",),
    }
    if field is None or kind.dtype not in fields.get(field, ()):
        raise ValueError(f"elements stand in field {field}")
    return np.array(getattr(tensor, field).values, dtype=info.stored).reshape(shape)
