"""Copies of a saved package with one thing changed: what the interpreter must notice or refuse."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coremltools.proto import MIL_pb2, Model_pb2

MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


def copied(source: Path, folder: Path) -> Path:
    """A copy of a package in a new folder."""
    return Path(shutil.copytree(source, folder / "copy.mlpackage"))


def edited(source: Path, folder: Path, edit: Callable[[Any, Any], None]) -> Path:
    """A copy whose model `edit(model, block of main)` has changed."""
    path = copied(source, folder)
    rewrite(path, edit)
    return path


def rewrite(package: Path, edit: Callable[[Any, Any], None], function: str = "main") -> None:
    """Let `edit(model, block of the function)` change a package in place."""
    model = Model_pb2.Model()
    model.ParseFromString((package / MODEL).read_bytes())
    held = model.mlProgram.functions[function]
    edit(model, held.block_specializations[held.opset])
    (package / MODEL).write_bytes(model.SerializeToString())


def followed(block: Any, output: str, op_type: str, axes: list[int]) -> None:
    """Let an op with `axes` (reverse, …) stand between what made an output of the function and that output."""
    maker = next(op for op in block.operations if any(value.name == output for value in op.outputs))
    declared = next(value for value in maker.outputs if value.name == output)
    added = block.operations.add(type=op_type)
    added.outputs.add().CopyFrom(declared)
    added.attributes["name"].CopyFrom(maker.attributes["name"])
    added.attributes["name"].immediateValue.tensor.strings.values[0] = f"{output}_{op_type}"
    declared.name = f"{output}_before"
    added.inputs["x"].arguments.add(name=declared.name)
    value = added.inputs["axes"].arguments.add().value
    value.type.tensorType.dataType = MIL_pb2.INT32
    value.type.tensorType.rank = 1
    value.type.tensorType.dimensions.add().constant.size = len(axes)
    value.immediateValue.tensor.ints.values.extend(axes)


def op_of(block: Any, op_type: str) -> Any:
    """The first op of a type."""
    return next(operation for operation in block.operations if operation.type == op_type)
