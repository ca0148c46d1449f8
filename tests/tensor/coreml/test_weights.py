"""Weights in files and stand-ins change nothing of a package, and nothing that a pass makes of a stand-in is saved."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb

from runtime import digest
from runtime.contract import BrokenEvidence
from runtime.contract import program as contracts
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.machine.durable import StorageFailed
from runtime.mil import archives, convert, convertible, package, quantize, weights
from runtime.mil.quiet import quiet
from tests.longer import longer
from tests.tensor.coreml.conftest import Converted

RECIPE = Recipe(
    default=Weights(weights="int8"),
    rules=[
        Rule(match="*norm*", weights="fp16"),
        Rule(match="*.q_proj", weights="int4", granularity="per_block", block=32),
        Rule(match="*.up_proj", weights="lut4", granularity="per_tensor"),
        Rule(match="*.down_proj", weights="sparse", granularity="per_tensor", density=0.5),
    ],
)


def decode(converted: Converted) -> tuple[Any, contracts.Function]:
    """The decode function, converted anew, and what its contract says."""
    function = contracts.load(converted.program).functions["decode"]
    with quiet():
        return convert.converted(archives.load(converted.program / "decode.pt2"), function), function


def told(path: Path) -> tuple[str, list[str]]:
    """The weights' digest and the operations of a package. Which of several equal texts coremltools keeps, it decides
    anew within a process."""
    lines = [
        f"{op.type} {op.name} {op.inputs} {op.outputs}" for op in package.open(path).functions["decode"].operations
    ]
    return digest.of_folder(path / "Data/com.apple.CoreML/weights"), [
        re.sub(r"cast_\d+_dtype_0", "dtype", line) for line in lines
    ]


def made(converted: Converted, root: Path, aside: Path | None) -> Mapping[str, tuple[str, list[str]]]:
    """The float16 and the quantized package of the decode function; one of its tensors has numbers that are tiny."""
    program, function = decode(converted)
    shelf = weights.Shelf(aside)
    contract = contracts.load(converted.program)
    plan = convertible.check(contract, convert.ConvertParams(recipe=RECIPE, islands=["rms_norm"]))
    exported = archives.load(converted.program / "decode.pt2")
    op = next(one for one in program.functions["main"].operations if one.name.endswith("gate_proj_weight"))
    small = op.outputs[0].val.copy()
    small[0, :4] = -1e-9, 1e-9, 0.0, -0.0
    op.outputs[0]._sym_val.val = op.val._sym_val.val = small
    with quiet():
        convert.narrow(program, function, ["rms_norm", "logits"], shelf)
        whole = convert.joined({"decode": program}, "decode")
        convert.save(whole, root / "fp16.mlpackage", {})
        convert.compress(whole, {"decode": function}, plan, convert.weights_of(exported), shelf=shelf)
        convert.save(whole, root / "quantized.mlpackage", {})
    return {path.name: told(path) for path in root.iterdir()}


@longer
def test_packages_are_the_same_bytes_whether_weights_are_large_or_not(
    converted: Converted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "aside").mkdir()
    found = []
    for number, (least, aside) in enumerate(((1 << 40, None), (1 << 9, tmp_path / "aside"))):
        monkeypatch.setattr(weights, "LARGE", least)
        monkeypatch.setattr(convert, "LARGE", least)
        found.append(made(converted, tmp_path / str(number), aside))
    assert sorted(found[0]) == ["fp16.mlpackage", "quantized.mlpackage"]
    assert found[0] == found[1]
    assert len(list((tmp_path / "aside").iterdir())) > 10


def test_whatever_a_pass_makes_of_a_stand_in_stops_the_conversion(
    converted: Converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, function = decode(converted)
    block = program.functions["main"]
    found = weights.stand_in(program, function.parameters)
    assert found
    assert all(one.size >= weights.LARGE for one in found.values())
    first = next(op for op in block.operations if op.name in found)
    with block:
        reader = first.outputs[0].child_ops[0]
        twice = mb.mul(x=first.outputs[0], y=np.float32(2), before_op=reader)
        made = mb.const(val=twice.val, name="twice", before_op=reader)
    with pytest.raises(RuntimeError, match="has made twice of a weight"):
        weights.restore(program, found, weights.Shelf(), function.parameters)
    block.remove_ops([made.op, twice.op])
    again(block, found)
    with pytest.raises(RuntimeError, match="has replaced gone"):
        weights.restore(program, {**found, "gone": np.zeros(3)}, weights.Shelf(), function.parameters)
    again(block, found)
    weights.restore(program, found, weights.Shelf(), function.parameters)
    for op in block.operations:
        if op.name in found:
            assert op.outputs[0].val is found[op.name] is op.val.val


def again(block: Any, found: Mapping[str, Any]) -> None:
    """The stand-ins, once more."""
    for op in block.operations:
        if op.name in found:
            stood = weights.StandIn(found[op.name].shape, found[op.name].dtype)
            op.outputs[0]._sym_val.val = op.val._sym_val.val = stood


@pytest.mark.parametrize("value", [70000.0, -70000.0, np.inf, -np.inf, np.nan])
def test_numbers_that_float16_cannot_hold_are_not_stood_in_for(value: float) -> None:
    with quiet():
        program = two_weights(value)
    assert sorted(weights.stand_in(program, {"plain": "a", "wide": "b"})) == ["plain"]


def two_weights(value: float) -> Any:
    """x (1, 160) → x · plain · wide; `wide` holds `value`."""
    plain, wide = np.ones((160, 160), np.float32), np.ones((160, 160), np.float32)
    wide[-1, -1] = value

    @mb.program(input_specs=[mb.TensorSpec((1, 160))])
    def program(x: Any) -> Any:
        x = mb.linear(x=x, weight=mb.const(val=plain, name="plain"))
        return mb.linear(x=x, weight=mb.const(val=wide, name="wide"))

    return program


def test_a_shelf_keeps_what_it_was_given(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(300, 200)).astype(np.float32)
    x[0, :4] = -1e-9, 1e-9, 0.0, -0.0
    wanted = x.astype(np.float16)
    wanted[0, :2] = 0
    for shelf in (weights.Shelf(tmp_path), weights.Shelf()):
        half = shelf.half("w", x)
        assert half.dtype == np.float16
        assert half.tobytes() == wanted.tobytes()
        assert shelf.half("w", x) is half
        assert shelf.array("other", x).tobytes() == x.tobytes()
        assert shelf.array("small", x[:2]) is not None
        assert np.array_equal(shelf.array("small", x[:2]), x[:2])
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "asked",
    [Weights(weights="int8"), Weights(weights="int4", granularity="per_block", block=16)],
    ids=["per_channel", "per_block"],
)
def test_rows_that_are_quantized_by_and_by_are_the_same(asked: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(2).normal(size=(37, 64)).astype(np.float32)
    x[3] = 0
    whole = quantize.quantize(x, asked)
    monkeypatch.setattr(quantize, "_PART", 64 * 5)
    parts = quantize.quantize(x, asked)
    for one, other in zip(whole, parts, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_a_program_is_loaded_as_torch_loads_it_and_its_file_stays(converted: Converted, tmp_path: Path) -> None:
    path = converted.program / "decode.pt2"
    before = digest.of_file(path)
    ours, theirs = archives.load(path), torch.export.load(path)
    assert list(ours.state_dict) == list(theirs.state_dict)
    for name, wanted in theirs.state_dict.items():
        found = ours.state_dict[name]
        assert (type(found), found.dtype, found.stride()) == (type(wanted), wanted.dtype, wanted.stride())
        assert found.requires_grad == wanted.requires_grad
        assert torch.equal(found, wanted)
    written = io.BytesIO()
    torch.export.save(ours, written)
    archives.save(ours, tmp_path / "again.pt2")
    assert written.getvalue() == (tmp_path / "again.pt2").read_bytes()
    with torch.no_grad():
        next(iter(ours.state_dict.values())).zero_()
    assert digest.of_file(path) == before


def test_a_file_that_is_no_program_is_broken_evidence(converted: Converted, tmp_path: Path) -> None:
    whole = (converted.program / "decode.pt2").read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        (tmp_path / "decode.pt2").write_bytes(content)
        with pytest.raises(BrokenEvidence, match="no exported program"):
            archives.load(tmp_path / "decode.pt2")


def test_a_disk_that_fills_up_fails_the_step_and_leaves_no_file(
    converted: Converted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's writer would end the whole process."""
    program = archives.load(converted.program / "decode.pt2")
    plain = archives._Sink.__init__
    # unbuffered: each write fails at once, and nothing is left to be flushed when it is closed
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(archives._Sink, "__init__", lambda self, _: plain(self, full))
        with pytest.raises(StorageFailed, match="no space is left"):
            archives.save(program, tmp_path / "decode.pt2")
    assert not (tmp_path / "decode.pt2").exists()
