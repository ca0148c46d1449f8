"""A safetensors file that is written tensor by tensor is the library's, and takes no second copy of what it holds."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from runtime import digest
from runtime.machine import durable
from runtime.mil.lazy import LazyTensors
from runtime.models import aside as asides
from runtime.models.aside import Aside
from runtime.models.pouring import laid_out, pour

#: of every type, shape and layout that a model or an optimiser has
TENSORS = {
    "ä": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
    "scalar": torch.tensor(3.5),
    "empty": torch.zeros(0, 4),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "bytes": torch.arange(7, dtype=torch.uint8),
    "longs": torch.tensor([1, -1]),
    "grows": torch.ones(2, requires_grad=True),
    "flags": torch.tensor([True, False, True]),
    "wide": torch.ones(1, dtype=torch.float64),
    "ints": torch.ones(1, dtype=torch.int32),
    "shorts": torch.ones(3, dtype=torch.int16),
    "small": torch.ones(3, dtype=torch.int8),
    "fp16": torch.ones(5, dtype=torch.float16),
}


def test_the_library_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "made" / "file.safetensors"
    said = pour(path, TENSORS, {"format": "pt", "by": "us"})
    assert said == digest.of_file(path)
    read = load_file(path)
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor.detach())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", "by": "us"}


def test_its_numbers_lie_where_the_librarys_own_do(tmp_path: Path) -> None:
    """Each on a multiple of its width, the widest first."""
    plain = {name: tensor.detach().contiguous() for name, tensor in TENSORS.items()}
    ours = tmp_path / "ours"
    pour(ours, plain, {"format": "pt"})

    def places(data: bytes) -> dict[str, list[int]]:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}

    found = places(ours.read_bytes())
    assert all(found[name][0] % tensor.element_size() == 0 for name, tensor in plain.items())
    theirs = places(save(plain, {"format": "pt"}))
    assert {name: end - begin for name, (begin, end) in found.items()} == {
        name: end - begin for name, (begin, end) in theirs.items()
    }
    assert max(end for _, end in found.values()) == max(end for _, end in theirs.values())


def test_it_is_narrowed_as_it_is_written(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(2).double()}
    pour(tmp_path / "file", tensors, dtype=torch.bfloat16)
    read = load_file(tmp_path / "file")
    assert all(torch.equal(read[name], tensor.to(torch.bfloat16)) for name, tensor in tensors.items())
    assert laid_out(tensors, dtype=torch.bfloat16)[0] == (tmp_path / "file").stat().st_size


def test_without_room_nothing_is_begun(tmp_path: Path) -> None:
    class Full(durable.Disk):
        def free(self, folder: Path) -> int:
            return 10

    with pytest.raises(durable.StorageFailed, match="10 bytes are free"):
        pour(tmp_path / "file", TENSORS, disk=Full())
    aside = Aside(tmp_path / "file", Full())
    aside.add("one", TENSORS["ints"])
    with pytest.raises(durable.StorageFailed, match="10 bytes are free"):
        aside.pour()
    assert list(tmp_path.iterdir()) == []


def test_no_second_copy_is_held(tmp_path: Path) -> None:
    """48 MB: memory grows by less than a fourth of it."""
    tensors = {f"t{i}": torch.ones(1_000_000) for i in range(12)}
    pour(tmp_path / "warm", {"t": torch.ones(1)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pour(tmp_path / "big", tensors)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 12_000_000


@pytest.mark.parametrize("piece", [3, asides.PIECE])
def test_what_was_put_aside_is_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    """It never knows all of its tensors; its file is byte for byte that of one who does, and nothing is left."""
    monkeypatch.setattr(asides, "PIECE", piece)
    said = pour(tmp_path / "whole", TENSORS)
    aside = Aside(tmp_path / "aside")
    for name, tensor in reversed(TENSORS.items()):
        aside.add(name, tensor)
    assert aside.pour() == said
    assert (tmp_path / "aside").read_bytes() == (tmp_path / "whole").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "aside"}


def test_a_tensor_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    pour(tmp_path / "file", {name: value for name, value in TENSORS.items() if name != "half"})
    lazy = LazyTensors(tmp_path / "file")
    assert set(lazy) == TENSORS.keys() - {"half"}
    assert lazy["ä"].tolist() == TENSORS["ä"].tolist()
    assert "half" not in lazy
    with pytest.raises(KeyError):
        lazy["half"]
    (tmp_path / "file").write_bytes(b"no such file")
    with pytest.raises(SafetensorError):
        LazyTensors(tmp_path / "file")
