"""Rounding is float16's, bit for bit; blobs are read as coremltools writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coremltools.libmilstoragepython import _BlobStorageWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.mil.blob import BlobFile
from runtime.mil.interpreter import Interpreter
from runtime.mil.numerics import BY_NAME, Array, exact, inner_rounding, round16, rounding, total
from tests.tensor.mil.support import program

quick = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def bits(x: Array) -> Array:
    return x.view(np.uint32)


def edges() -> Array:
    """Every float16, the midpoints between neighbours, and what lies just beside those."""
    half = np.arange(1 << 16).astype(np.uint16).view(np.float16)
    line = np.unique(half[np.isfinite(half)].astype(np.float64))
    middle = ((line[1:] + line[:-1]) / 2).astype(np.float32)
    sides = [np.nextafter(middle, np.float32(end)) for end in (-np.inf, np.inf)]
    return np.concatenate([line.astype(np.float32), middle, *sides, np.float32([0.0, -0.0])])


def test_large_arrays_round_like_numpy_at_every_edge() -> None:
    x = edges()
    np.testing.assert_array_equal(bits(round16(x)), bits(x.astype(np.float16).astype(np.float32)))


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 65520.0, 1e30])
def test_special_values_survive_among_many(special: float) -> None:
    x = np.append(edges(), np.float32(special))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(round16(x), x.astype(np.float16).astype(np.float32))


@quick
@given(st.integers(0, 2**32 - 1), st.integers(-40, 18))
def test_random_magnitudes_round_like_numpy(seed: int, exponent: int) -> None:
    x = (np.random.default_rng(seed).normal(size=4000) * 2.0**exponent).astype(np.float32)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(bits(round16(x)), bits(x.astype(np.float16).astype(np.float32)))
        np.testing.assert_array_equal(bits(round16(x[::2])), bits(x[::2].astype(np.float16).astype(np.float32)))


def test_only_float16_is_rounded_and_not_in_exact32() -> None:
    assert rounding("exact32", "float16") is None
    assert rounding("fp16_round", "float32") is None
    assert rounding("fp16_round", "float16") is round16
    assert inner_rounding("fp16_round", "float16") is exact
    assert inner_rounding("fp16_strict", "float16") is round16
    assert inner_rounding("fp16_strict", "float32") is exact


@quick
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_strict_sum_rounds_every_partial_sum(seed: int, keep_dims: bool) -> None:
    """Pairs of halves, rounded at each level, over the last and over two other axes."""

    def pairwise(values: list[float]) -> np.float16:
        while len(values) > 1:
            half = len(values) // 2
            pairs = [np.float16(np.float32(values[i]) + np.float32(values[half + i])) for i in range(half)]
            values = [*map(float, pairs), *values[2 * half :]]
        return np.float16(values[0])

    x = np.random.default_rng(seed).normal(size=(3, 5, 7)).astype(np.float16).astype(np.float32)
    found = total(x, (-1,), keep_dims, round16)
    assert found.shape == ((3, 5, 1) if keep_dims else (3, 5))
    for place in np.ndindex(3, 5):
        assert found.reshape(3, 5)[place] == pairwise(list(x[place]))
    crossed = total(x, (0, 2), keep_dims, round16)
    for place in range(5):
        assert crossed.reshape(5)[place] == pairwise(list(x[:, place].reshape(-1)))


def test_a_strict_sum_loses_what_float16_cannot_hold() -> None:
    x = np.array([2048, 1, 1, 1], np.float32)
    assert total(x, None, False, exact) == 2051
    assert total(x, None, False, round16) == 2050


WRITERS = {
    "float32": "float",
    "float16": "fp16",
    **{name: name for name in ("uint8", "int8", "uint16", "int16", "int32", "uint32", "int4")},
    **{f"uint{width}": f"uint{width}" for width in (1, 2, 3, 4, 6)},
}


@quick
@given(
    st.lists(st.tuples(st.sampled_from(sorted(WRITERS)), st.integers(1, 70)), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_blobs_written_by_coremltools_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, int]], seed: int
) -> None:
    path: Path = tmp_path_factory.mktemp("blob") / "weight.bin"
    writer, generator, written = _BlobStorageWriter(str(path)), np.random.default_rng(seed), []
    for dtype, count in parts:
        info = BY_NAME[dtype]
        if info.kind == "float":
            values = generator.normal(size=count).astype(info.stored)
        else:
            values = generator.integers(info.low, info.high + 1, size=count).astype(info.stored)
        raw = values.view(np.uint16) if dtype == "float16" else values
        written.append((getattr(writer, f"write_{WRITERS[dtype]}_data")(raw), dtype, values))
    del writer
    blob = BlobFile(path)
    assert blob.count == len(parts)
    for offset, dtype, values in written:
        for mapped in (False, True):
            np.testing.assert_array_equal(blob.read(offset, dtype, values.size, mapped=mapped), values)


def test_an_input_is_what_float16_can_hold_whichever_way_it_is_given() -> None:
    """A cache in float16 is not rounded again; numbers finer than float16 are, as a device would."""
    x = np.random.default_rng(5).normal(size=(1, 4000)).astype(np.float32)
    assert (x != round16(x)).any()
    half = x.astype(np.float16)
    made, _ = program("identity", 8, {"x": half}, {}, [("float16", x.shape)])
    for offered in (x, half):
        found = Interpreter(made).run({"x_0": offered}).outputs["result_0"]
        np.testing.assert_array_equal(bits(found), bits(half.astype(np.float32)))
