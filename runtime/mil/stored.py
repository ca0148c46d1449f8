"""The artifact `stored`: matrices in stored forms that were chosen elsewhere, by the name of their tensor.

`stored.safetensors` holds the parts of each form as `NAME:PART`, a name with the parts that make the form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from runtime.contract import BrokenEvidence
from runtime.mil.lazy import LazyTensors
from runtime.mil.quantize import Form, Palette, Quantized

FILE = "stored.safetensors"
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
            found.setdefault(name, set()).add(part)
        self._forms = {name: _form(name, held) for name, held in sorted(found.items())}

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
