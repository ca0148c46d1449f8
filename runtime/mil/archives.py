"""ExportedProgram ↔ `.pt2` file: weights are written one after another, and read where they lie in the file.

A `.pt2` is a ZIP archive whose records are stored as they are. `torch.export.save` into memory would hold the whole
file, and `torch.export.load` holds every weight. Of a program that is loaded here only those take memory that are
looked at, and the system takes it back when it needs it.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from runtime.contract import BrokenEvidence
from runtime.machine import durable

_WEIGHTS = PurePosixPath("data/weights")
#: what stands before a record: 26 bytes, the length of its name and of what follows it
_LOCAL = struct.Struct("<26xHH")


def file_of(package: str, function: str) -> str:
    """What the archive of a function is called, without its ending; `package` as in a contract's pieces."""
    return f"{package}.{function}" if package else function


class _Sink(io.RawIOBase):
    """A file that is written to the end, whatever fails: an exception in torch's writer ends the whole process."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failed: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        """What torch asks of a buffer. It writes from the beginning to the end, and then seeks the beginning."""
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Nobody writes afterwards."""
        return offset

    def write(self, data: Any) -> int:
        """Nothing is written after a failure."""
        self._try(self._file.write, data)
        return len(data)

    def settle(self) -> None:
        """Raises the OSError of the first failure."""
        self._try(self._file.flush)
        if self.failed is not None:
            raise self.failed

    def _try(self, call: Callable[..., Any], *arguments: Any) -> None:
        try:
            if self.failed is None:
                call(*arguments)
        except OSError as error:
            self.failed = error


def save(program: ExportedProgram, path: Path) -> None:
    """Write one `.pt2`; the same program gives the same bytes. Raises StorageFailed."""

    def fill(file: BinaryIO) -> None:
        sink = _Sink(file)
        torch.export.save(program, cast(Any, sink))
        sink.settle()

    durable.made(path, fill)


def load(path: Path) -> ExportedProgram:
    """The program of a `.pt2` file. Its weights are mapped: they may be written to, and the file stays as it is.

    Raises BrokenEvidence for what is no such file.
    """
    try:
        light, config, places = _without_weights(path)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, struct.error) as error:
        raise BrokenEvidence(f"no exported program: {error}", subject=path.name) from error
    program = torch.export.load(light)
    mapped: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="c")
    for name, known in program.state_dict.items():
        start, size = places[config[name]["path_name"]]
        meta = config[name]["tensor_meta"]
        flat = torch.from_numpy(mapped[start : start + size]).view(known.dtype)
        strides = [one["as_int"] for one in meta["strides"]]
        found: Tensor = flat.as_strided(known.shape, strides, meta["storage_offset"]["as_int"])
        is_weight = isinstance(known, torch.nn.Parameter)
        program.state_dict[name] = torch.nn.Parameter(found, known.requires_grad) if is_weight else found
    return program


def _without_weights(path: Path) -> tuple[io.BytesIO, dict[str, Any], dict[str, tuple[int, int]]]:
    """(the archive with one element of each weight, laid with strides of zero; what it says of each weight; record →
    first byte in the file, bytes)."""
    light, places = io.BytesIO(), {}
    config: dict[str, Any] = {}
    with zipfile.ZipFile(path) as full, zipfile.ZipFile(light, "w") as rest, path.open("rb") as file:
        for record in full.infolist():
            place = PurePosixPath(*PurePosixPath(record.filename).parts[1:])
            if place.parent != _WEIGHTS:
                rest.writestr(record.filename, full.read(record))
            elif place.suffix == ".json":
                config = json.loads(full.read(record))["config"]
                rest.writestr(record.filename, json.dumps({"config": {name: _one(of) for name, of in config.items()}}))
            else:
                if record.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"record {place} is compressed")
                file.seek(record.header_offset)
                name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
                places[place.name] = (record.header_offset + _LOCAL.size + name + extra, record.file_size)
                # as many bytes as the widest element has
                rest.writestr(record.filename, bytes(min(16, record.file_size)))
    light.seek(0)
    return light, config, places


def _one(of: dict[str, Any]) -> dict[str, Any]:
    """A weight's description, of which one element is stored."""
    meta = of["tensor_meta"]
    if of["use_pickle"]:
        raise ValueError("a weight is pickled")
    zeros = [{"as_int": 0} for _ in meta["strides"]]
    return of | {"tensor_meta": meta | {"strides": zeros, "storage_offset": {"as_int": 0}}}
