"""Copies of a saved package with one thing changed: what the interpreter must notice or refuse."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coremltools.proto import Model_pb2

MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


def copied(source: Path, folder: Path) -> Path:
    """A copy of a package in a new folder."""
    return Path(shutil.copytree(source, folder / "copy.mlpackage"))


def edited(source: Path, folder: Path, edit: Callable[[Any, Any], None]) -> Path:
    """A copy whose model `edit(model, block of main)` has changed."""
    path = copied(source, folder)
    model = Model_pb2.Model()
    model.ParseFromString((path / MODEL).read_bytes())
    function = model.mlProgram.functions["main"]
    edit(model, function.block_specializations[function.opset])
    (path / MODEL).write_bytes(model.SerializeToString())
    return path


def op_of(block: Any, op_type: str) -> Any:
    """The first op of a type."""
    return next(operation for operation in block.operations if operation.type == op_type)
