"""Compressed constants decompress to what coremltools materializes, in every form and width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from coremltools.converters.mil.mil import types
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import BrokenEvidence
from runtime.mil.interpreter import Interpreter
from runtime.mil.numerics import Array
from runtime.mil.program import Feature, Function, Operation, ValueType
from tests.tensor.mil import cases
from tests.tensor.mil.cases import Draw
from tests.tensor.mil.support import Declared, by_coremltools, literal, package

#: how coremltools marks integers narrower than a byte
NARROW = {"int4": types.np_int4_dtype, "uint4": types.np_uint4_dtype} | {
    f"uint{bits}": getattr(types, f"np_uint{bits}_dtype") for bits in (1, 2, 3, 6)
}


def stored(draw: Draw, dtype: str, shape: tuple[int, ...]) -> Array:
    """Integers of a stored dtype over its whole range, as coremltools wants them."""
    bits = int(dtype.lstrip("uint"))
    low, high = (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return cases.integers(draw, shape, low, high).astype(NARROW.get(dtype, dtype))


def decompress(op_type: str, opset: int, given: dict[str, tuple[Any, str]], kinds: list[Declared]) -> dict[str, Array]:
    """Results of one constexpr op over literals, checked for type mismatches."""
    outputs = tuple((f"result_{index}", ValueType(*kind)) for index, kind in enumerate(kinds))
    arguments = {name: (literal(value, dtype),) for name, (value, dtype) in given.items()}
    function = Function(
        name="main",
        opset=opset,
        inputs=(),
        states=(),
        outputs=tuple(Feature(name, kind.shape, kind.dtype) for name, kind in outputs),
        operations=(Operation(op_type, "weight", arguments, outputs),),
    )
    result = Interpreter(package({"main": function}), "main", "exact32").run({})
    assert result.findings.mismatches == ()
    return result.outputs


def affine(draw: Draw) -> dict[str, tuple[Any, str]]:
    shape, dtype = cases.shapes(draw), draw(st.sampled_from(["int8", "uint8"]))
    axis = cases.axis_of(draw, len(shape))
    vector = draw(st.booleans())
    zero = stored(draw, dtype, (shape[axis],))
    scale = cases.positive(draw, (shape[axis],))
    return {
        "quantized_data": (stored(draw, dtype, shape), dtype),
        "zero_point": (zero if vector else zero[0], dtype),
        "scale": (scale if vector else scale[0], ""),
        "axis": (np.int32(axis), ""),
    }


def blockwise(draw: Draw) -> dict[str, tuple[Any, str]]:
    parts = cases.shapes(draw, 1, 3, 3)
    shape = tuple(size * draw(st.integers(1, 3)) for size in parts)
    dtype = draw(st.sampled_from(["int4", "uint4", "int8", "uint8"]))
    found: dict[str, tuple[Any, str]] = {
        "data": (stored(draw, dtype, shape), dtype),
        "scale": (cases.positive(draw, parts), ""),
    }
    if draw(st.booleans()):
        found["offset"] = (stored(draw, dtype, parts), dtype)
    return found


def palette_ios16(draw: Draw) -> dict[str, tuple[Any, str]]:
    bits, shape = draw(st.sampled_from([1, 2, 4, 6, 8])), cases.shapes(draw)
    indices = stored(draw, "uint8", (int(np.prod(shape)),)) & (2**bits - 1)
    flags = np.unpackbits(indices.astype(np.uint8)[:, None], axis=1, bitorder="little")[:, :bits]
    return {
        "indices": (np.packbits(flags.reshape(-1), bitorder="little"), ""),
        "lut": (cases.floats(draw, (2**bits,)), ""),
        "shape": (np.array(shape, np.uint32), ""),
    }


def palette_ios18(draw: Draw) -> dict[str, tuple[Any, str]]:
    bits = draw(st.sampled_from([1, 2, 3, 4, 6, 8]))
    parts = cases.shapes(draw, 1, 3, 2)
    shape = tuple(size * draw(st.integers(1, 3)) for size in parts)
    vector = draw(st.integers(1, 3))
    found: dict[str, tuple[Any, str]] = {
        "indices": (stored(draw, f"uint{bits}", shape), f"uint{bits}"),
        "lut": (cases.floats(draw, (*parts, 2**bits, vector)), ""),
    }
    if vector > 1:
        found["vector_axis"] = (np.int32(draw(st.integers(0, len(shape) - 1))), "")
    return found


def sparse_ios16(draw: Draw) -> dict[str, tuple[Any, str]]:
    shape = cases.shapes(draw)
    mask = cases.booleans(draw, (int(np.prod(shape)),))
    mask[0] = True
    return {
        "nonzero_data": (cases.floats(draw, (int(mask.sum()),)), ""),
        "mask": (np.packbits(mask, bitorder="little"), ""),
        "shape": (np.array(shape, np.uint32), ""),
    }


def sparse_ios18(draw: Draw) -> dict[str, tuple[Any, str]]:
    mask = cases.booleans(draw, cases.shapes(draw)).astype(NARROW["uint1"])
    mask.reshape(-1)[0] = 1
    return {"nonzero_data": (cases.floats(draw, (int(mask.sum()),)), ""), "mask": (mask, "uint1")}


def sparse_palette(draw: Draw) -> dict[str, tuple[Any, str]]:
    dense = palette_ios18(draw)
    indices, dtype = dense.pop("indices")
    mask = cases.booleans(draw, indices.shape).astype(NARROW["uint1"])
    mask.reshape(-1)[0] = 1
    kept = indices[mask != 0].astype(indices.dtype)
    return {"indices_mask": (mask, "uint1"), "indices_nonzero_data": (kept, dtype), **dense}


def sparse_blockwise(draw: Draw) -> dict[str, tuple[Any, str]]:
    dense = blockwise(draw)
    data, dtype = dense.pop("data")
    mask = cases.booleans(draw, data.shape).astype(NARROW["uint1"])
    mask.reshape(-1)[0] = 1
    return {"data_mask": (mask, "uint1"), "nonzero_data": (data[mask != 0].astype(data.dtype), dtype), **dense}


FORMS: list[tuple[str, int, Callable[[Draw], dict[str, tuple[Any, str]]]]] = [
    ("constexpr_affine_dequantize", 6, affine),
    ("constexpr_blockwise_shift_scale", 8, blockwise),
    ("constexpr_lut_to_dense", 7, palette_ios16),
    ("constexpr_lut_to_dense", 8, palette_ios18),
    ("constexpr_sparse_to_dense", 7, sparse_ios16),
    ("constexpr_sparse_to_dense", 8, sparse_ios18),
    ("constexpr_lut_to_sparse", 8, sparse_palette),
    ("constexpr_sparse_blockwise_shift_scale", 8, sparse_blockwise),
]


@pytest.mark.parametrize(("op_type", "opset", "make"), FORMS, ids=[f"{name}-{opset}" for name, opset, _ in FORMS])
@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_decompression_is_coremltools_s(
    op_type: str, opset: int, make: Callable[[Draw], dict[str, tuple[Any, str]]], data: st.DataObject
) -> None:
    given_ = make(data.draw)
    wanted = by_coremltools(op_type, opset, {name: value for name, (value, _) in given_.items()})
    found = decompress(op_type, opset, given_, [kind for _, kind in wanted])
    for (value, _), result in zip(wanted, found.values(), strict=True):
        np.testing.assert_allclose(result, value.astype(result.dtype), rtol=1e-6)


def test_constexpr_cast_widens() -> None:
    half = np.array([1.5, 65504], np.float16)
    found = decompress(
        "constexpr_cast", 8, {"source_val": (half, ""), "output_dtype": ("fp32", "")}, [("float32", (2,))]
    )
    np.testing.assert_array_equal(found["result_0"], half.astype(np.float32))


@pytest.mark.parametrize(
    ("op_type", "bad"),
    [
        (
            "constexpr_blockwise_shift_scale",
            {"data": (np.ones((4,), np.int8), ""), "scale": (np.ones(3, np.float32), "")},
        ),
        (
            "constexpr_lut_to_dense",
            {"indices": (np.ones((4,), np.uint8), ""), "lut": (np.ones((3, 256, 1), np.float32), "")},
        ),
        (
            "constexpr_sparse_to_dense",
            {"nonzero_data": (np.ones(3, np.float32), ""), "mask": (np.ones(2, np.uint8), "uint1")},
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(op_type: str, bad: dict[str, tuple[Any, str]]) -> None:
    """Blocks that do not divide a dimension, palettes that do not, a mask with another number of bits."""
    with pytest.raises(BrokenEvidence, match=op_type):
        decompress(op_type, 8, bad, [("float32", (4,))])
