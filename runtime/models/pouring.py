"""Tensors → a safetensors file, written durably and one by one: what is saved never exists a second time in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    fetch: Callable[[str], Iterable[bytes]] | None = None,
) -> tuple[int, Iterator[bytes | memoryview]]:
    """Size in bytes and pieces of a safetensors file (https://huggingface.co/docs/safetensors, format); as in the
    library's own files the widest numbers stand first, then names decide. One tensor at a time is brought to the host
    and to `dtype`. With `fetch`, `tensors` say shapes and types only, and the bytes of each are
    fetched when its turn has come."""
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
            if fetch is not None:
                yield from fetch(name)
            elif tensors[name].numel():
                yield bytes_of(tensors[name], dtype)

    return 8 + len(text) + end, pieces()


def bytes_of(tensor: Tensor, dtype: torch.dtype | None = None) -> memoryview:
    """A tensor's numbers, on the host and as `dtype`, in the order of a file."""
    flat = tensor.detach().to("cpu", dtype or tensor.dtype).contiguous().flatten()
    return memoryview(flat.view(torch.uint8).numpy())


def pour(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
    disk: durable.Disk = durable.DISK,
    fetch: Callable[[str], Iterable[bytes]] | None = None,
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
