"""Tensors → a safetensors file, written durably and one by one: what is saved never exists a second time in memory."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.machine import durable

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def laid_out(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
    fetch: Callable[[str], Tensor] | None = None,
) -> tuple[int, Iterator[bytes | memoryview]]:
    """Size in bytes and pieces of a safetensors file (https://huggingface.co/docs/safetensors, format); as in the
    library's own files the widest numbers stand first, then names decide. One tensor at a time is brought to the host
    and to `dtype`. With `fetch`, `tensors` say shapes and types only, and each is fetched when its turn has come."""
    ordered = sorted(tensors, key=lambda name: (-(dtype or tensors[name].dtype).itemsize, name))
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name in ordered:
        tensor = tensors[name]
        kind = dtype or tensor.dtype
        begin, end = end, end + tensor.numel() * kind.itemsize
        header[name] = {"dtype": _TYPES[kind], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def pieces() -> Iterator[bytes | memoryview]:
        yield len(text).to_bytes(8, "little") + text
        for name in ordered:
            tensor = tensors[name] if fetch is None else fetch(name)
            flat = tensor.detach().to("cpu", dtype or tensor.dtype).contiguous().flatten()
            if flat.numel():
                yield memoryview(flat.view(torch.uint8).numpy())

    return 8 + len(text) + end, pieces()


def pour(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
    disk: durable.Disk = durable.DISK,
    fetch: Callable[[str], Tensor] | None = None,
) -> str:
    """Write a safetensors file durably; its digest. Raises StorageFailed, before anything is written where the disk has
    no room."""
    disk.folder(path.parent)
    size, pieces = laid_out(tensors, metadata, dtype, fetch)
    disk.require(path, size)
    hashed = hashlib.sha256()

    def hashing() -> Iterator[bytes | memoryview]:
        for piece in pieces:
            hashed.update(piece)
            yield piece

    disk.pour(path, hashing(), size)
    return f"sha256:{hashed.hexdigest()}"


class Spool:
    """Tensors that are put aside one after the other, on the disk that the file will be on, until their names and
    shapes are all known and the file can be written: in memory there is never more than one of them.

    Numbers of any type and shape; a context manager, at whose end what was put aside is gone.
    """

    def __init__(self, path: Path, disk: durable.Disk = durable.DISK) -> None:
        self.path, self.disk = path, disk
        #: name → its shape and type, without its numbers
        self.kinds: dict[str, Tensor] = {}
        self._starts: dict[str, int] = {}

    def __enter__(self) -> Spool:
        self.disk.folder(self.path.parent)
        self._file = tempfile.TemporaryFile(dir=self.path.parent)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, name: str, tensor: Tensor) -> None:
        """Put one tensor aside. Raises StorageFailed where the disk is full."""
        flat = tensor.detach().to("cpu").contiguous()
        try:
            self._starts[name] = self._file.seek(0, 2)
            self._file.write(memoryview(flat.flatten().view(torch.uint8).numpy()) if flat.numel() else b"")
            self._file.flush()
        except OSError as error:
            raise durable.StorageFailed("write", self.path, error) from error
        self.kinds[name] = torch.empty(flat.shape, dtype=flat.dtype, device="meta")

    def fetch(self, name: str) -> Tensor:
        """What was put aside under a name."""
        kind = self.kinds[name]
        if not kind.numel():
            return torch.empty(kind.shape, dtype=kind.dtype)
        self._file.seek(self._starts[name])
        held = bytearray(kind.numel() * kind.dtype.itemsize)
        if self._file.readinto(held) != len(held):
            raise durable.StorageFailed("read", self.path, OSError(f"{name} was put aside and is not all there"))
        return torch.frombuffer(held, dtype=kind.dtype).reshape(kind.shape)

    def pour(self) -> str:
        """Write the file durably; its digest. Raises StorageFailed."""
        return pour(self.path, self.kinds, disk=self.disk, fetch=self.fetch)
