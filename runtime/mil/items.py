"""MIL's lists → immutable values: tensors of one type by position, of which none, some or all were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from runtime.mil.numerics import BY_NAME, Array


@dataclass(frozen=True, eq=False)
class Items:
    """A list of tensors of `shape` and dtype `dtype`. A position that was never written holds zeros. `grows`: a
    position behind the end may be written; the list then ends there."""

    dtype: str
    shape: tuple[int | None, ...]
    grows: bool
    elements: tuple[Array | None, ...]

    def read(self, index: int) -> Array:
        """The tensor at a position. Raises ValueError outside the list, and where nothing says how large the tensor is
        that was never written."""
        if not 0 <= index < len(self.elements):
            raise ValueError(f"position {index} of a list of {len(self.elements)}")
        found = self.elements[index]
        if found is not None:
            return found
        if None in self.shape:
            raise ValueError(f"position {index} of a list was never written, and its shape is not known")
        return np.zeros([size or 0 for size in self.shape], BY_NAME[self.dtype].carrier)

    def written(self, index: int, value: Array) -> Items:
        """The list with `value` at a position. Raises ValueError for a place it cannot have, or a shape that is not its
        own."""
        if index < 0 or (index >= len(self.elements) and not self.grows):
            raise ValueError(f"position {index} of a list of {len(self.elements)} that does not grow")
        if not self._fits(value.shape):
            raise ValueError(f"a tensor of shape {value.shape} for a list of {self.shape}")
        room = (*self.elements, *(None,) * (index + 1 - len(self.elements)))
        return replace(self, elements=(*room[:index], value, *room[index + 1 :]))

    def gathered(self, indices: Sequence[int]) -> Array:
        """The tensors at several positions, in a new first axis."""
        if indices:
            return np.stack([self.read(index) for index in indices])
        return np.zeros([0, *(size or 0 for size in self.shape)], BY_NAME[self.dtype].carrier)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(
            want in (None, size) for want, size in zip(self.shape, shape, strict=True)
        )

    def holds(self, test: np.ufunc) -> bool:
        """Whether an element of a tensor that was written passes the test."""
        return any(value is not None and bool(test(value).any()) for value in self.elements)
