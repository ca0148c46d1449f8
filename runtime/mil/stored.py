"""The artifact `stored`: matrices in stored forms that were chosen elsewhere, by the name of their tensor.

`stored.safetensors` holds the parts of each form as `NAME:PART`, a name with the parts that make the form; and of a
layer that reads integers (W8A8) `NAME:input_scale`, by the name of its weight, the scale of what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.contract import BrokenEvidence
from runtime.mil.lazy import LazyTensors
from runtime.mil.quantize import Form, Palette, Quantized

FILE, INPUT = "stored.safetensors", "input_scale"
#: where nothing was chosen
NOTHING: Mapping[str, Form] = MappingProxyType({})
_FORMS: tuple[type[Quantized] | type[Palette], ...] = (Quantized, Palette)


def parts(name: str, form: Form) -> dict[str, NDArray[Any]]:
    """A form's arrays, each under its name in the file."""
    return {f"{name}:{part}": getattr(form, part) for part in form._fields}


class Stored(Mapping[str, Form]):
    """Form by the name of its tensor, each read when it is asked for. Raises BrokenEvidence for a file whose parts
    make no form."""

    def __init__(self, folder: Path) -> None:
        self._tensors = LazyTensors(folder / FILE)
        found: dict[str, set[str]] = {}
        for key in self._tensors:
            name, _, part = key.rpartition(":")
            if part != INPUT:
                found.setdefault(name, set()).add(part)
        self._forms = {name: _form(name, held) for name, held in sorted(found.items())}

    def inputs(self) -> dict[str, np.float16]:
        """Weight of each layer that reads integers → the scale of what it reads. Raises BrokenEvidence for what is no
        scale: one positive, finite number of float16."""
        found = {
            key.removesuffix(f":{INPUT}"): self._tensors[key] for key in self._tensors if key.endswith(f":{INPUT}")
        }
        for name, held in found.items():
            if held.shape != (1,) or held.dtype != np.float16 or not 0 < held[0] < np.inf:
                raise BrokenEvidence(f"the scale of what `{name}` reads is none", subject=FILE)
        return {name: held[0] for name, held in found.items()}

    def __getitem__(self, name: str) -> Form:
        form = self._forms[name]
        return form(*(self._tensors[f"{name}:{part}"] for part in form._fields))

    def __iter__(self) -> Iterator[str]:
        return iter(self._forms)

    def __len__(self) -> int:
        return len(self._forms)


def _form(name: str, held: set[str]) -> type[Quantized] | type[Palette]:
    for form in _FORMS:
        if set(form._fields) == held:
            return form
    raise BrokenEvidence(
        f"the stored form of `{name}` has parts {', '.join(sorted(held))}, which make none", subject=FILE
    )


def scales(held: Stored, layers: Sequence[str]) -> dict[str, np.float16]:
    """Scale of what each layer reads, by the name of its weight. Raises BrokenEvidence where one was not chosen, or one
    was for another layer."""
    found = held.inputs()
    if odd := sorted(found.keys() ^ set(layers)):
        what = "no scale was chosen for" if odd[0] in layers else "a scale was chosen, and none is asked for, for"
        raise BrokenEvidence(f"{what} what `{odd[0]}` reads", subject=FILE)
    return {name: found[name] for name in layers}
