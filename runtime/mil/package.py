"""A saved `.mlpackage` folder → its functions, its literals and an inventory of the weights as they are stored.

The protobuf classes are the ones coremltools ships, loaded file by file so that coremltools itself (seconds, and
warnings about its native library) is never imported; the weights are read by our own blob reader.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from runtime.contract import BrokenEvidence, Refusal, Unavailable
from runtime.mil.blob import BlobFile
from runtime.mil.numerics import BY_NAME, Array
from runtime.mil.program import BlobRef, Feature, Function, Literal, Message, Operation, functions

_PROTO = "_runtime_mil_proto"
_MANIFEST_LIMIT = 1 << 20
_MODEL_PATH = "@model_path/"


class Consumer(NamedTuple):
    """An op (or, with `op_type` "output", the function itself) that reads a value."""

    op_type: str
    op_name: str


@dataclass(frozen=True)
class StoredWeight:
    """One constant as it is stored: `name` is the MIL value, `op_type` the op that yields it.

    `dtype` is the stored one, `shape` the logical one. For quantized weights `scale_shape` is the shape of the scales
    (of the table for palettized ones), `granularity` is "per_tensor", "per_channel" (one scale along `axis` only) or
    "per_block", and `block` the block size per dimension. `bytes` counts data, scales, offsets and tables.
    """

    name: str
    op_type: str
    op_name: str
    dtype: str
    shape: tuple[int, ...]
    scale_shape: tuple[int, ...]
    axis: int | None
    granularity: str
    block: tuple[int, ...]
    bytes: int
    consumers: tuple[Consumer, ...]


@dataclass
class Package:
    """An opened package. `description` maps a function to the features its model description declares."""

    path: Path
    functions: Mapping[str, Function]
    description: Mapping[str, tuple[Feature, ...]]
    default_function: str
    specification_version: int
    metadata: Mapping[str, str]
    root: Path
    #: dequantized constants, shared by every interpreter of this package
    cache: dict[tuple[object, ...], object] = field(default_factory=dict, init=False)
    _files: dict[str, BlobFile] = field(default_factory=dict, init=False)

    def elements(self, literal: Literal) -> Array | str:
        """A literal's elements in its stored dtype and declared shape. Raises BrokenEvidence for a malformed blob."""
        if not isinstance(literal.data, BlobRef):
            return literal.data
        shape = tuple(size for size in literal.type.shape if size is not None)
        if len(shape) != len(literal.type.shape) or literal.type.dtype not in BY_NAME:
            raise BrokenEvidence("a stored constant without a static shape", subject=literal.data.file)
        stored = self._file(literal.data.file).read(literal.data.offset, literal.type.dtype, literal.count)
        return stored.reshape(shape)

    def weights(self, function: str) -> list[StoredWeight]:
        """Every stored constant of a function, in program order: constexpr weights, blob-stored consts and float
        consts of rank 1 or more."""
        program = self.functions[function]
        consumers: dict[str, list[Consumer]] = {}
        for operation in program.operations:
            for group in operation.inputs.values():
                for argument in group:
                    if isinstance(argument, str):
                        consumers.setdefault(argument, []).append(Consumer(operation.type, operation.name))
        for output in program.outputs:
            consumers.setdefault(output.name, []).append(Consumer("output", output.name))
        found = []
        for operation in program.operations:
            literals = {key: group[0] for key, group in operation.inputs.items() if isinstance(group[0], Literal)}
            if operation.type == "const" and _is_weight(literals["val"]):
                found.append(_plain(operation.name, operation.outputs[0][0], literals["val"], consumers))
            elif operation.type.startswith("constexpr_"):
                logical = tuple(size or 0 for size in operation.outputs[-1][1].shape)
                found.append(self._compressed(operation, logical, literals, consumers))
        return found

    def _compressed(
        self,
        operation: Operation,
        logical: tuple[int, ...],
        literals: Mapping[str, Literal],
        consumers: Mapping[str, list[Consumer]],
    ) -> StoredWeight:
        data = next(literals[key] for key in _DATA_PARAMETERS if key in literals)
        table = literals.get("scale", literals.get("lut"))
        scale = tuple(size or 0 for size in table.type.shape) if table else ()
        axis_literal = literals.get("axis")
        axis = int(np.asarray(self.elements(axis_literal))) if axis_literal else None
        # a palette has two more dimensions than its indices: entries and vector
        over = scale[: len(logical)] if table is literals.get("lut") and len(scale) == len(logical) + 2 else scale
        granularity, axis, block = _granularity(logical, over, axis)
        dtype = data.type.dtype
        if operation.type == "constexpr_lut_to_dense" and len(scale) == 1:
            # before iOS18 the packed indices are bytes; their width follows from the palette
            dtype = f"uint{max(1, (scale[0] - 1).bit_length())}"
        size = sum(item.bytes for key, item in literals.items() if key not in ("axis", "shape", "vector_axis"))
        name = operation.outputs[-1][0]
        return StoredWeight(
            name=name,
            op_type=operation.type,
            op_name=operation.name,
            dtype=dtype,
            shape=logical,
            scale_shape=scale,
            axis=axis,
            granularity=granularity,
            block=block,
            bytes=size,
            consumers=tuple(consumers.get(name, ())),
        )

    def _file(self, name: str) -> BlobFile:
        if name not in self._files:
            if not name.startswith(_MODEL_PATH):
                raise BrokenEvidence(f"weights file {name!r} is not relative to the model", subject=name)
            path = _inside(self.root, self.root / name.removeprefix(_MODEL_PATH))
            self._files[name] = BlobFile(path)
        return self._files[name]


_DATA_PARAMETERS = ("quantized_data", "data", "indices", "nonzero_data", "indices_nonzero_data", "source_val", "mask")


def _is_weight(value: Literal) -> bool:
    return isinstance(value.data, BlobRef) or (BY_NAME[value.type.dtype].kind == "float" and len(value.type.shape) > 0)


def _plain(op_name: str, name: str, value: Literal, consumers: Mapping[str, list[Consumer]]) -> StoredWeight:
    shape = tuple(size or 0 for size in value.type.shape)
    readers = tuple(consumers.get(name, ()))
    return StoredWeight(name, "const", op_name, value.type.dtype, shape, (), None, "none", (), value.bytes, readers)


def _granularity(
    shape: tuple[int, ...], scale: tuple[int, ...], axis: int | None
) -> tuple[str, int | None, tuple[int, ...]]:
    """How finely scales follow a weight: (name, axis of a per-channel scale, block size per dimension)."""
    if not scale or all(size == 1 for size in scale):
        return "per_tensor", None, shape
    if len(scale) == 1 and axis is not None:
        where = axis % len(shape)
        return "per_channel", where, tuple(1 if index == where else size for index, size in enumerate(shape))
    if len(scale) != len(shape):
        return "per_tensor", None, shape
    block = tuple(size // parts for size, parts in zip(shape, scale, strict=True))
    split = [index for index, parts in enumerate(scale) if parts > 1]
    if len(split) == 1 and block[split[0]] == 1:
        return "per_channel", split[0], block
    return "per_block", None, block


def _inside(root: Path, path: Path) -> Path:
    """`path`, or BrokenEvidence when it leaves `root`, passes through a link, or is no plain file."""
    if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
        raise BrokenEvidence(f"{path.name} is not a file inside the package", subject=path.name)
    if any(part.is_symlink() for part in (path, *path.parents) if part.is_relative_to(root) and part != root):
        raise BrokenEvidence(f"{path.name} is reached through a symbolic link", subject=path.name)
    return path


@cache
def _model_class() -> type[Message]:
    """The protobuf class of a Core ML model, without importing coremltools."""
    distribution = importlib.util.find_spec("coremltools")
    if distribution is None or not distribution.submodule_search_locations:
        raise Unavailable("the protobuf classes of Core ML models are not installed", needs="coremltools")
    module = importlib.util.module_from_spec(ModuleSpec(_PROTO, None, is_package=True))
    module.__path__ = [str(Path(folder) / "proto") for folder in distribution.submodule_search_locations]
    sys.modules[_PROTO] = module
    model: type[Message] = importlib.import_module(f"{_PROTO}.Model_pb2").Model
    return model


def open(path: Path) -> Package:  # noqa: A001 (read as `package.open`)
    """Open a saved package.

    Raises Refusal when `path` is no ML Program package, BrokenEvidence when a file is missing, malformed or outside the
    folder, UnsupportedOp when the program uses what is not modelled, Unavailable without the protobuf classes.
    """
    model_path = _root_model(path)
    model_class = _model_class()
    from google.protobuf.message import DecodeError  # noqa: PLC0415 (protobuf comes with coremltools)

    model = model_class()
    try:
        model.ParseFromString(model_path.read_bytes())
    except DecodeError as error:
        raise BrokenEvidence(f"{model_path.name} is not a Core ML model: {error}", subject=model_path.name) from None
    if model.WhichOneof("Type") != "mlProgram":
        raise Refusal(
            f"{path.name} is a {model.WhichOneof('Type') or 'model of no type'}, not an ML Program",
            place=path.name,
            action='convert with convert_to="mlprogram"',
        )
    found = functions(model.mlProgram)
    if not found:
        raise BrokenEvidence("the package has no function", subject=model_path.name)
    return Package(
        path=path,
        functions=MappingProxyType(found),
        description=MappingProxyType(_description(model.description, next(iter(found)))),
        default_function=model.description.defaultFunctionName or next(iter(found)),
        specification_version=model.specificationVersion,
        metadata=MappingProxyType(dict(model.description.metadata.userDefined)),
        root=model_path.parent,
    )


def _root_model(path: Path) -> Path:
    """The model file that Manifest.json names as the root."""
    manifest_path = path / "Manifest.json"
    if not manifest_path.is_file() or manifest_path.stat().st_size > _MANIFEST_LIMIT:
        raise Refusal(f"{path.name} is not an .mlpackage folder", place=path.name, action="give a saved package")
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        relative = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenEvidence(f"Manifest.json names no root model: {error!r}", subject="Manifest.json") from None
    if not isinstance(relative, str):
        raise BrokenEvidence("Manifest.json: the root model's path is not a text", subject="Manifest.json")
    data = path / "Data"
    return _inside(data, data / relative)


def _description(message: Message, only: str) -> dict[str, tuple[Feature, ...]]:
    """Features per function as the model description declares them; a single function has no section of its own."""
    sections = {item.name: item for item in message.functions} or {only: message}
    return {
        name: tuple(_feature(item) for item in [*section.input, *section.output, *section.state])
        for name, section in sections.items()
    }


_ARRAY_DTYPES = {65568: "float32", 65552: "float16", 131104: "int32", 131080: "int8", 65600: "float64"}


def _feature(message: Message) -> Feature:
    kind = message.type
    array = kind.stateType.arrayType if kind.WhichOneof("Type") == "stateType" else kind.multiArrayType
    flexible = array.WhichOneof("ShapeFlexibility") is not None
    shape = tuple(None if flexible else int(size) for size in array.shape)
    return Feature(message.name, shape, _ARRAY_DTYPES.get(array.dataType, f"code {array.dataType}"))
