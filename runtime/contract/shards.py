"""Headers and index of the safetensors files of a Transformers folder → their tensors, or why they cannot be read.

Whoever loads the folder follows its index. It names files, and a name may lead out of the folder, past everything that
its digest covers; so the index is read here first, by the compiler and by the machine.
"""

from __future__ import annotations

from math import prod
from pathlib import Path

from runtime.contract.strict_json import Json, loads

INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
#: bytes of the length before a header, and the longest header that the format allows
HEADER_LENGTH, LARGEST_HEADER = 8, 100_000_000


def header(path: Path) -> dict[str, Json] | str:
    """The header of a safetensors file, name → description of a tensor, or why it is none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER_LENGTH)
        length = int.from_bytes(head, "little")
        if len(head) < HEADER_LENGTH or not 2 <= length <= min(LARGEST_HEADER, size - HEADER_LENGTH):
            return "its first bytes are no header length"
        try:
            found = loads(file.read(length))
        except ValueError:
            return "its header is not JSON"
    if not isinstance(found, dict):
        return "its header is no JSON object"
    tensors = {name: tensor for name, tensor in found.items() if name != "__metadata__"}
    ends = [_end(tensor) for tensor in tensors.values()]
    if None in ends:
        return "its header does not say where each tensor lies"
    held = size - HEADER_LENGTH - length
    if max((end for end in ends if end is not None), default=0) != held:
        return f"its header speaks of {max((end for end in ends if end), default=0)} bytes, and {held} follow"
    return tensors


def _end(tensor: Json) -> int | None:
    offsets = tensor.get("data_offsets") if isinstance(tensor, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(one) is int and one >= 0 for one in offsets):
        return None
    end = offsets[1]
    return end if isinstance(end, int) else None


def elements(tensors: dict[str, Json]) -> int:
    """How many numbers the tensors of a header hold."""
    shapes = [tensor.get("shape") for tensor in tensors.values() if isinstance(tensor, dict)]
    return sum(prod(one for one in shape if isinstance(one, int)) for shape in shapes if isinstance(shape, list))


def trouble(folder: Path) -> str:
    """Why the index of a folder does not say which files to read; "" where it does, or where there is none."""
    path = folder / INDEX
    if not path.is_file():
        return ""
    try:
        found = loads(path.read_bytes())
    except ValueError as error:
        return f"{INDEX} is not JSON: {error}"
    named = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(named, dict) or not named:
        return f"{INDEX} has no weight_map"
    for tensor, file in named.items():
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".."):
            return f"{INDEX} leads out of the folder: {tensor} in {file!r}"
        if not (folder / file).is_file():
            return f"{INDEX} names {file}, which is not here"
    if (folder / WHOLE).is_file() and set(named.values()) != {WHOLE}:
        return f"{INDEX} names other files, and {WHOLE} stands beside it: two sets of weights"
    return ""
