"""Tensors that come one after the other → a safetensors file; never is more than one of them in memory."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from runtime.contract.spool import Spool, picked
from runtime.machine import durable
from runtime.models.pouring import bytes_of, pour

#: bytes of a tensor that are put aside, and read again, at a time
PIECE = 1 << 24


class Aside:
    """Tensors that are put aside, on the disk that the file will be on, until their names and shapes are all known:
    they are the head of the file, and stand before the numbers."""

    def __init__(self, path: Path, disk: durable.Disk = durable.DISK) -> None:
        disk.folder(path.parent)
        self._path, self._disk = path, disk
        self._spool = Spool(path.parent)
        #: name → its shape and type, without its numbers; and which pieces of the spool hold them
        self._kinds: dict[str, Tensor] = {}
        self._pieces: dict[str, range] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        """Put one tensor aside."""
        first = len(self._spool)
        if tensor.numel():
            held = bytes_of(tensor)
            for at in range(0, len(held), PIECE):
                self._spool.append(bytes(held[at : at + PIECE]))
        self._pieces[name] = range(first, len(self._spool))
        self._kinds[name] = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")

    def pour(self) -> str:
        """Write the file durably; its digest. Raises StorageFailed."""
        return pour(
            self._path, self._kinds, disk=self._disk, fetch=lambda name: picked(self._spool, self._pieces[name])
        )
