"""A GGUF file's header is read whole, or refused with what is wrong and where; nothing it claims is allocated first."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest

from runtime.contract import gguf
from tests import gguf_files as made

KEY, NAME = "general.architecture", "output_norm.weight"
PLAIN = {KEY: "llama"}


def wrong(data: bytes, tmp_path: Path) -> str:
    (tmp_path / "it.gguf").write_bytes(data)
    with pytest.raises(gguf.Broken) as caught:
        gguf.read(tmp_path / "it.gguf")
    return str(caught.value)


def header(data: bytes, tmp_path: Path) -> gguf.Header:
    (tmp_path / "it.gguf").write_bytes(data)
    return gguf.read(tmp_path / "it.gguf")


def test_a_whole_file_is_read(tmp_path):
    data = made.small()
    found = header(data, tmp_path)
    assert dict(found.metadata) == {
        key: struct.unpack("f", struct.pack("f", one))[0] if isinstance(one, float) else one
        for key, one in made.keys().items()
    }
    assert {name: one.shape for name, one in found.tensors.items()} == made.shapes()
    last = max(found.tensors.values(), key=lambda one: one.offset)
    assert (found.size, last.offset + last.bytes) == (len(data), len(data))
    first = found.tensors["token_embd.weight"]
    count = first.elements
    assert data[first.offset : first.offset + first.bytes] == made.floats("token_embd.weight", count)


@pytest.mark.parametrize("version", [2, 3])
def test_versions_two_and_three_are_read(version, tmp_path):
    assert header(made.written(PLAIN, version=version), tmp_path).version == version


def test_every_kind_of_value_is_read(tmp_path):
    kinds = {"u8": b"\0\0\0\0\xff", "i8": b"\1\0\0\0\xff", "u16": b"\2\0\0\0\xff\xff", "i16": b"\3\0\0\0\xff\xff",
             "i32": b"\5\0\0\0\xff\xff\xff\xff", "no": False, "yes": True, "i64": struct.pack("<Iq", 11, -5),
             "u64": struct.pack("<IQ", 10, 2**63), "f64": struct.pack("<Id", 12, 0.1),
             "bools": struct.pack("<IIQBB", 9, 7, 2, 1, 0), "none": struct.pack("<IIQ", 9, 4, 0)}  # fmt: skip
    assert dict(header(made.written(kinds), tmp_path).metadata) == {
        "u8": 255, "i8": -1, "u16": 65535, "i16": -1, "i32": -1, "no": False, "yes": True, "i64": -5, "u64": 2**63,
        "f64": 0.1, "bools": [True, False], "none": [],
    }  # fmt: skip


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path):
    data = made.small()
    for end in [*range(0, 400), *range(400, len(data), 997), len(data) - 1]:
        assert "it" in wrong(data[:end], tmp_path), end
    assert "it was cut short" in wrong(data[:-1], tmp_path)
    assert "ends inside a key" in wrong(made.written(PLAIN)[:40], tmp_path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ends inside its first four bytes"),
        (b"GGML" + bytes(40), "begins with b'GGML'"),
        (b"PK\x03\x04" + bytes(40), "a zip archive, such as a pickled PyTorch file"),
        (b"\x80\x02}q\x00." + bytes(40), "a pickle, and loading one runs code"),
        (b"\x80\x04\x95" + bytes(40), "a pickle, and loading one runs code"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"lmgg" + bytes(40), "ggml's older form"),
        (made.written(PLAIN, version=1), "of version 1"),
        (made.written(PLAIN, version=4), "of version 4"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(40), "big-endian"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_named(data, says, tmp_path):
    assert says in wrong(data, tmp_path)


def nested() -> bytes:
    return struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQI", 4, 1, 7)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (made.written(PLAIN, counts=(None, 2**63)), "claims 9,223,372,036,854,775,808 keys, at most 4,096"),
        (made.written(PLAIN, counts=(2**63, None)), "tensors, at most 65,536"),
        (made.written(PLAIN, counts=(None, gguf.MOST_KEYS)), "claims 4,096 keys, and "),
        (made.written(PLAIN, counts=(gguf.MOST_TENSORS, None)), "claims 65,536 tensors, and "),
        (made.written({"x": struct.pack("<IQ", 8, 2**62)}), "`x` claims 4,611,686,018,427,387,904 bytes"),
        (made.written({"x": struct.pack("<IQ", 8, gguf.LONGEST_TEXT)}), "ends inside `x`"),
        (made.written({"x": struct.pack("<IIQ", 9, 4, 2**61)}), "items in `x`, at most"),
        (made.written({"x": struct.pack("<IIQ", 9, 4, gguf.MOST_ITEMS)}), "items in `x`, and "),
        (made.written({"x": struct.pack("<IIQ", 9, 8, gguf.MOST_ITEMS)}), "texts in `x`, and "),
        (made.written({"x" * 1025: 1}), "a key claims 1,025 bytes"),
        (made.written({"x": nested()}), "`x` is a list of lists"),
        (made.written({"x": struct.pack("<II", 13, 1)}), "`x` is of type 13"),
        (made.written({"x": struct.pack("<IIQ", 9, 13, 1)}), "items of `x` are of type 13"),
        (made.written({"x": struct.pack("<IB", 7, 2)}), "truth value that is neither"),
        (made.written({"x": struct.pack("<IQ", 8, 2) + b"\xff\xfe"}), "`x` at byte "),
        (made.written([("x", 1), ("x", 2)]), "key `x` stands twice"),
        (made.written({"x\x1b[31m": struct.pack("<I", 13)}), "`x\ufffd[31m` is of type"),
        (made.written({"general.alignment": 48}), "alignment is 48, no power of two"),
        (made.written({"general.alignment": 0}), "alignment is 0"),
        (made.written({"general.alignment": 1 << 17}), "alignment is 131072"),
        (made.written({"general.alignment": "32"}), "alignment is '32'"),
    ],
)  # fmt: skip
def test_a_forged_count_or_value_is_refused_before_anything_is_allocated(data, says, tmp_path):
    tracemalloc.start()
    try:
        assert says in wrong(data, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def tensor(*, shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0, name: str = NAME) -> bytes:
    return made.written(PLAIN, {NAME: (32,)}, entries={NAME: made.entry(name, shape, kind, offset)})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (tensor(offset=32), "would end at byte"),
        (tensor(offset=2**63), "would end at byte"),
        (tensor(shape=(2**40, 2**40)), "would end at byte"),
        (tensor(shape=(33,)), "would end at byte"),
        (tensor(shape=(0, 32)), "has dimensions [32, 0]"),
        (tensor(shape=(31,), kind=8), "rows of Q8_0 hold 32 elements each"),
        (tensor(shape=(2, 16), kind=8), "rows of Q8_0 hold 32 elements each"),
        (tensor(kind=24), "is stored as type 24"),
        (tensor(kind=4), "is stored as type 4"),
        (tensor(offset=4), "begins at 4, which is no multiple of 32"),
        (tensor(shape=(1, 1, 1, 1, 32)), "has 5 dimensions"),
        (tensor(shape=()), "has 0 dimensions"),
        (tensor(name="x" * 257), "claims 257 bytes"),
    ],
)
def test_a_tensor_lies_inside_the_file(data, says, tmp_path):
    assert says in wrong(data, tmp_path)


def test_tensors_lie_apart_and_have_names_of_their_own(tmp_path):
    two = {"a": (32,), "b": (32,)}
    overlap = made.written(PLAIN, two, entries={"b": made.entry("b", (32,), 0, 96)})
    assert "tensor `b` overlaps `a`" in wrong(overlap, tmp_path)
    assert header(made.written(PLAIN, two), tmp_path).tensors["b"].offset % 32 == 0
    twice = made.written(PLAIN, two, entries={"b": made.entry("a", (32,), 0, 128)})
    assert "tensor `a` stands twice" in wrong(twice, tmp_path)


def test_alignment_is_obeyed(tmp_path):
    data = made.written({"general.alignment": 64}, {"a": (3,), "b": (5,)}, alignment=64)
    found = header(data, tmp_path).tensors
    assert [one.offset % 64 for one in found.values()] == [0, 0]
    assert data[found["b"].offset : found["b"].offset + 20] == made.floats("b", 5)


def test_metadata_has_an_end(tmp_path, monkeypatch):
    data = made.written({"x": "y" * 100}).rstrip(b"\0")
    monkeypatch.setattr(gguf, "MOST_METADATA", len(data))
    assert header(data, tmp_path).metadata == {"x": "y" * 100}
    monkeypatch.setattr(gguf, "MOST_METADATA", len(data) - 1)
    assert "MiB of metadata" in wrong(data, tmp_path)


def test_a_value_may_be_the_last_of_a_file(tmp_path):
    """What fits to the last byte is read; one byte less is not there."""
    for last in ("llama", [0x07070707] * 3):
        data = made.written({"x": last}).rstrip(b"\0")
        assert header(data, tmp_path).metadata == {"x": last}
        assert "`x`" in wrong(data[:-1], tmp_path)


def test_numbers_and_names_in_messages():
    assert gguf.same_float32(1e-5, 9.999999747378752e-06)
    assert not gguf.same_float32(1e-5, 1.0001e-5)
    assert (gguf.same_float32(1e300, 1e300), gguf.same_float32(1e300, 2e300)) == (True, False)
    assert gguf.shown("x" * 60) == "x" * 60
    assert gguf.shown("x" * 61) == "x" * 59 + "…"


def test_block_sizes_are_those_of_the_library():
    constants = pytest.importorskip("gguf", reason="needs pip install '.[gguf]'")
    for number, kind in gguf.TYPES.items():
        theirs = constants.GGMLQuantizationType(number)
        assert (kind.name, (kind.elements, kind.bytes)) == (theirs.name, constants.GGML_QUANT_SIZES[theirs])
