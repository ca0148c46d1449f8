"""An index of weights names files of its own folder, and a header speaks of the bytes that follow it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.contract import shards


def file_of(path: Path, header: object, data: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def tensor(start: object, end: object, shape: object = (2, 3)) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


def test_a_sound_header_gives_its_tensors(tmp_path: Path) -> None:
    path = file_of(
        tmp_path / "a", {"w": tensor(0, 24), "__metadata__": {"format": "pt"}, "b": tensor(24, 28, [1])}, b"\0" * 28
    )
    found = shards.header(path)
    assert isinstance(found, dict)
    assert sorted(found) == ["b", "w"]
    assert shards.elements(found) == 7


@pytest.mark.parametrize(
    ("header", "size", "words"),
    [
        ({"w": tensor(0, 24)}, 23, "speaks of 24 bytes, and 23 follow"),
        ({"w": tensor(0, 24)}, 25, "speaks of 24 bytes, and 25 follow"),
        ({}, 1, "speaks of 0 bytes, and 1 follow"),
        ({"w": {"dtype": "F32", "shape": [1]}}, 4, "does not say where"),
        ({"w": tensor(0, "4")}, 4, "does not say where"),
        ({"w": tensor(-4, 0)}, 0, "does not say where"),
        ({"w": 3}, 0, "does not say where"),
        ([1], 0, "no JSON object"),
    ],
)
def test_a_header_that_cannot_be_is_told(tmp_path: Path, header: object, size: int, words: str) -> None:
    found = shards.header(file_of(tmp_path / "a", header, b"\0" * size))
    assert isinstance(found, str)
    assert words in found


def test_an_empty_file_of_tensors_is_sound(tmp_path: Path) -> None:
    assert shards.header(file_of(tmp_path / "a", {}, b"")) == {}


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"weight_map": {"w": "one.safetensors"}}, ""),
        ({"weight_map": {"w": "../one.safetensors"}}, "leads out of the folder: w in '../one.safetensors'"),
        ({"weight_map": {"w": "/etc/passwd"}}, "leads out of the folder"),
        ({"weight_map": {"w": "deep/one.safetensors"}}, "leads out of the folder"),
        ({"weight_map": {"w": ".."}}, "leads out of the folder"),
        ({"weight_map": {"w": ""}}, "leads out of the folder"),
        ({"weight_map": {"w": 3}}, "leads out of the folder"),
        ({"weight_map": {"w": "two.safetensors"}}, "names two.safetensors, which is not here"),
        ({"weight_map": {}}, "has no weight_map"),
        ({"weight_map": ["one.safetensors"]}, "has no weight_map"),
        ([], "has no weight_map"),
    ],
)
def test_an_index_names_files_of_its_folder(tmp_path: Path, index: object, words: str) -> None:
    (tmp_path / "one.safetensors").write_bytes(b"")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.safetensors").write_bytes(b"")
    (tmp_path / shards.INDEX).write_text(json.dumps(index))
    found = shards.trouble(tmp_path)
    assert (words in found) if words else found == ""


def test_two_sets_of_weights_are_none(tmp_path: Path) -> None:
    assert shards.trouble(tmp_path) == ""
    (tmp_path / shards.INDEX).write_text("{")
    assert "is not JSON" in shards.trouble(tmp_path)
    (tmp_path / shards.WHOLE).write_bytes(b"")
    (tmp_path / shards.INDEX).write_text(json.dumps({"weight_map": {"w": shards.WHOLE}}))
    assert shards.trouble(tmp_path) == ""
    (tmp_path / "one.safetensors").write_bytes(b"")
    (tmp_path / shards.INDEX).write_text(json.dumps({"weight_map": {"v": shards.WHOLE, "w": "one.safetensors"}}))
    assert "two sets of weights" in shards.trouble(tmp_path)
