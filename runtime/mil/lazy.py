"""A safetensors file → its tensors, each read when it is asked for and kept by nobody here."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray
from safetensors import safe_open

from runtime.contract.heads import FILE


def of_checkpoint(folder: Path) -> Mapping[str, NDArray[Any]]:
    """The tensors of a student's checkpoint, and of the heads that lie beside it."""
    own, beside = folder / "model.safetensors", folder / FILE
    files = [own, beside] if beside.is_file() else [own]
    return ChainMap(*(cast(Any, LazyTensors(path)) for path in files))


class LazyTensors(Mapping[str, NDArray[Any]]):
    """Tensor by name. The file is mapped only while one of them is read, so that no page of it stays in memory.

    Raises SafetensorError for what is no such file, KeyError for a name that it has not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with safe_open(path, framework="numpy") as held:
            self._names = tuple(held.keys())
        self._known = frozenset(self._names)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._known:
            raise KeyError(name)
        with safe_open(self._path, framework="numpy") as held:
            found: NDArray[Any] = held.get_tensor(name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
