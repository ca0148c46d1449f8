"""A saved `.mlpackage` folder → its functions, its literals and an inventory of the weights as they are stored.

The protobuf classes are the ones coremltools ships, loaded file by file so that coremltools itself (seconds, and
warnings about its native library) is never imported; the weights are read by our own blob reader.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runtime.contract import BrokenEvidence, Refusal, Unavailable
from runtime.mil.blob import BlobFile
from runtime.mil.description import Described, described
from runtime.mil.held import Rooms
from runtime.mil.inventory import Consumer, StoredWeight, stored_weights
from runtime.mil.numerics import BY_NAME, Array
from runtime.mil.program import BlobRef, Function, Literal, Message, functions

__all__ = ["Consumer", "Package", "StoredWeight", "open", "parsed"]

_PROTO = "_runtime_mil_proto"
_MANIFEST_LIMIT = 1 << 20
_MODEL_PATH = "@model_path/"


@dataclass
class Package:
    """An opened package. `description` maps a function to the features its model description declares."""

    path: Path
    functions: Mapping[str, Function]
    description: Mapping[str, tuple[Described, ...]]
    default_function: str
    specification_version: int
    metadata: Mapping[str, str]
    root: Path
    #: dequantized constants, shared by every interpreter of this package
    cache: dict[tuple[object, ...], Any] = field(default_factory=dict, init=False)
    #: where its interpreters widen large constants, one after another
    rooms: Rooms = field(default_factory=Rooms, init=False)
    _files: dict[str, BlobFile] = field(default_factory=dict, init=False)

    def function(self, name: str = "") -> Function:
        """A function by its name, the default one for "". Raises Refusal."""
        found = self.functions.get(name or self.default_function)
        if found is None:
            raise no_function(self.path.name, name or self.default_function, self.functions)
        return found

    def elements(self, literal: Literal, *, mapped: bool | None = None) -> Array | str:
        """A literal's elements in its stored dtype and declared shape. `mapped`: as the file has them (False: in memory
        of their own; None: mapped where they are float32, which nobody need widen). Raises BrokenEvidence for a
        malformed blob."""
        if not isinstance(literal.data, BlobRef):
            return literal.data
        return self.array(literal, mapped=literal.type.dtype == "float32" if mapped is None else mapped)

    def array(self, literal: Literal, *, mapped: bool) -> Array:
        """The same of a literal that stands in a blob file."""
        file, offset = self.located(literal)
        shape = tuple(size for size in literal.type.shape if size is not None)
        return file.read(offset, literal.type.dtype, literal.count, mapped=mapped).reshape(shape)

    def parts(self, literal: Literal) -> Iterator[Array]:
        """The same, flat and some at a time, of one whose elements have whole bytes."""
        file, offset = self.located(literal)
        return file.parts(offset, literal.type.dtype, literal.count)

    def located(self, literal: Literal) -> tuple[BlobFile, int]:
        """Where a literal stands in a blob file. Raises BrokenEvidence where it does not stand there as declared."""
        if not isinstance(literal.data, BlobRef):
            raise BrokenEvidence("a constant that is not stored in a file", subject=self.path.name)
        if None in literal.type.shape or literal.type.dtype not in BY_NAME:
            raise BrokenEvidence("a stored constant without a static shape", subject=literal.data.file)
        file = self._file(literal.data.file)
        file.located(literal.data.offset, literal.type.dtype, literal.count)
        return file, literal.data.offset

    def weights(self, function: str) -> list[StoredWeight]:
        """Every stored constant of a function, in program order; see `runtime.mil.inventory`."""
        return stored_weights(self.functions[function], self.elements)

    def _file(self, name: str) -> BlobFile:
        if name not in self._files:
            if not name.startswith(_MODEL_PATH) or "\0" in name:
                raise BrokenEvidence(f"weights file {name!r} is not relative to the model", subject=name)
            path = _inside(self.root, self.root / name.removeprefix(_MODEL_PATH))
            self._files[name] = BlobFile(path)
        return self._files[name]


def no_function(place: str, name: str, known: Iterable[str]) -> Refusal:
    """What is said of a function that a package has not."""
    return Refusal(
        f"the package has no function {name!r}", place=place, action=f"use one of {', '.join(sorted(known)) or 'none'}"
    )


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


def open(path: Path) -> Package:
    """Open a saved package.

    Raises Refusal when `path` is no ML Program package, BrokenEvidence when a file is missing, malformed or outside the
    folder, UnsupportedOp when the program uses what is not modelled, Unavailable without the protobuf classes.
    """
    model_path, model = parsed(path)
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


def parsed(path: Path) -> tuple[Path, Message]:
    """The model file of a saved package, and its `Model` message, which is an ML Program.

    Raises Refusal when `path` is no ML Program package, BrokenEvidence when its model is missing or malformed,
    Unavailable without the protobuf classes.
    """
    model_path = _root_model(path)
    model = _model_class()()
    from google.protobuf.message import DecodeError

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
    return model_path, model


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


def _description(message: Message, only: str) -> dict[str, tuple[Described, ...]]:
    """Features per function as the model description declares them; a single function has no section of its own."""
    sections = {item.name: item for item in message.functions} or {only: message}
    return {
        name: tuple(described(item) for item in [*section.input, *section.output, *section.state])
        for name, section in sections.items()
    }
