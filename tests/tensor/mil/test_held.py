"""Large constants are narrow, or in their file, until an op reads them, and no bit of a result says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

from runtime.machine import scarce
from runtime.mil import held, package
from runtime.mil.interpreter import Interpreter
from runtime.mil.numerics import Array, narrow, round16, round16_over, widen
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.holding import agree, agrees_however_held, large, without_torch

EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def bits(x: Array) -> Array:
    """NaN of any payload as one."""
    return np.where(np.isnan(x), np.float32(np.nan), x).view(np.uint32)


@pytest.mark.parametrize("torch", [True, False])
def test_every_float16_is_widened_as_numpy_does(torch: bool) -> None:
    """In one part with infinities and NaN, in parts without, and with both signs of zero."""
    finite = EVERY[np.isfinite(EVERY)]
    cases = [EVERY.copy(), np.tile(finite, 3), finite[:70].copy(), EVERY[:0].copy(), np.tile(EVERY, 2)]
    for x in cases:
        if torch:
            found = widen(x)
        else:
            with without_torch():
                found = widen(x)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(bits(found), bits(x.astype(np.float32)))


@pytest.mark.parametrize("torch", [True, False])
def test_a_narrow_array_is_widened_in_its_order_and_in_the_room_it_is_given(torch: bool) -> None:
    x = np.random.default_rng(3).normal(size=(60, 70, 4)).astype(np.float16)
    room = np.full(x.size + 5, 7, np.float32)
    for laid in (x, x.T, x.swapaxes(0, 1)):
        if torch:
            found, there = widen(laid), widen(laid, room)
        else:
            with without_torch():
                found, there = widen(laid), widen(laid, room)
        for one in (found, there):
            np.testing.assert_array_equal(one, laid.astype(np.float32))
            assert one.strides == laid.astype(np.float32).strides
        assert np.may_share_memory(there, room) == (laid is not x.swapaxes(0, 1) and laid.flags.forc)
    assert (room[x.size :] == 7).all()


@pytest.mark.parametrize("torch", [True, False])
def test_narrowed_is_what_rounding_gives_and_overwriting_too(torch: bool) -> None:
    draw = np.random.default_rng(4)
    x = (draw.normal(size=(700, 500)) * 10.0 ** draw.integers(-9, 6, size=(700, 500))).astype(np.float32)
    x[0, :4] = 0.0, -0.0, np.inf, -1e-30
    wanted = bits(x.astype(np.float16).astype(np.float32))
    if torch:
        found = widen(narrow(x)), round16(x), round16_over(x.copy()), widen(narrow(x.T)).T
    else:
        with without_torch():
            found = widen(narrow(x)), round16(x), round16_over(x.copy()), widen(narrow(x.T)).T
    for one in found:
        np.testing.assert_array_equal(bits(one), wanted)


def saved(zoo: Zoo, name: str, program: Any) -> package.Package:
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16,
        skip_model_load=True,
    )
    return zoo.opened(name, model)


@pytest.fixture(scope="module")
def tower(zoo: Zoo) -> package.Package:
    """ids (1, 4) → a row of a table of 4 MB, through 4 matrices of 2 MB; x @ transpose of a constant; the table again."""
    draw = np.random.default_rng(1)
    table = draw.normal(size=(2048, 1024)).astype(np.float16)
    weights = [(draw.normal(size=(1024, 1024)) / 32).astype(np.float16) for _ in range(4)]

    @mb.program(input_specs=[mb.TensorSpec((1, 4), types.int32)], opset_version=ct.target.iOS18)
    def program(ids: Any) -> Any:
        x = mb.gather(x=table, indices=ids, axis=0)
        for weight in weights[:3]:
            x = mb.linear(x=x, weight=weight)
        x = mb.matmul(x=x, y=weights[3])
        return mb.linear(x=x, weight=table, name="logits")

    return saved(zoo, "tower", program)


IDS = {"ids": np.array([[0, 7, 2047, 7]], np.int32)}


def test_a_tower_is_the_same_however_its_weights_wait(tower: package.Package) -> None:
    agrees_however_held(tower, IDS)
    with without_torch():
        agrees_however_held(tower, IDS)


def test_what_waits_is_what_is_large_and_it_is_loaded_for_its_reader_alone(tower: package.Package) -> None:
    machine = Interpreter(tower, streamed=False)
    held_there = machine._compiled.held
    assert {type(one) for one in held_there.values()} == {held.Narrow}
    assert len(held_there) == 5
    loads = {step.op_name: [slot for slot, _ in step.loads] for step in machine._compiled.steps}
    assert sorted(slot for slots in loads.values() for slot in slots) == sorted(held_there)
    streamed = Interpreter(tower, streamed=True)
    assert {type(one) for one in streamed._compiled.held.values()} == {held.Stored}


def test_memory_that_a_result_still_shows_serves_nobody_else(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice at a computed place is a view of its constant: the next constant must not be widened over it."""
    draw = np.random.default_rng(2)
    first, second = (draw.normal(size=(160, 160)).astype(np.float16) for _ in range(2))

    @mb.program(
        input_specs=[mb.TensorSpec((2,), types.int32), mb.TensorSpec((1, 160), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(at: Any, x: Any) -> Any:
        part = mb.slice_by_size(x=first, begin=at, size=[160, 160])
        return mb.matmul(x=mb.linear(x=x, weight=second), y=part, name="product")

    opened = saved(zoo, "view", program)
    inputs = {"at": np.zeros(2, np.int32), "x": draw.normal(size=(1, 160)).astype(np.float16)}
    with large(1 << 20):
        wanted = Interpreter(opened).run(inputs)
    monkeypatch.setattr(held, "CONSUMING", held.CONSUMING | {"slice_by_size"})
    for streamed in (True, False):
        machine = Interpreter(opened, streamed=streamed)
        assert len(machine._compiled.held) == 2
        agree(machine.run(inputs), wanted)


def test_a_run_keeps_no_array_that_it_gave_away(tower: package.Package) -> None:
    machine = Interpreter(tower)
    first = machine.run(IDS).outputs["logits"]
    kept = first.copy()
    other = machine.run({"ids": np.array([[5, 6, 8, 9]], np.int32)}).outputs["logits"]
    np.testing.assert_array_equal(first, kept)
    first[...] = 0
    np.testing.assert_array_equal(machine.run({"ids": np.array([[5, 6, 8, 9]], np.int32)}).outputs["logits"], other)


def test_a_constant_that_is_not_finite_is_found_however_it_waits(zoo: Zoo) -> None:
    weight = np.ones((160, 160), np.float16)
    weight[3, 4], weight[5, 6] = np.inf, np.nan

    @mb.program(input_specs=[mb.TensorSpec((1, 160), types.fp16)], opset_version=ct.target.iOS18)
    def program(x: Any) -> Any:
        return mb.linear(x=x, weight=weight, name="product")

    opened = saved(zoo, "not_finite", program)
    inputs = {"x": np.ones((1, 160), np.float16)}
    agrees_however_held(opened, inputs)
    findings = Interpreter(opened, streamed=True).run(inputs).findings
    assert [count.elements for count in (*findings.nan, *findings.inf)] == [1, 1]


def test_streaming_is_chosen_where_memory_is_scarce(tower: package.Package, monkeypatch: pytest.MonkeyPatch) -> None:
    size = held.bytes_of(tower.function())
    assert 12.5e6 < size < 12.7e6
    for left, wanted in ((2 * size - 2, True), (2 * size, False)):
        monkeypatch.setattr(scarce, "limits", lambda left=left: [scarce.Limit("the machine", 1 << 40, left)])
        assert Interpreter(tower).streamed is wanted
    monkeypatch.setattr(scarce, "limits", lambda: [])
    assert not Interpreter(tower).streamed
    assert Interpreter(tower, streamed=True).streamed


PEAK = """
import json, re, sys
from pathlib import Path
import numpy as np
from runtime.mil import package
from runtime.mil.interpreter import Interpreter
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
ids = {"ids": np.array([[0, 7, 2047, 7]], np.int32)}
opened = package.open(Path(sys.argv[1]))
before = peak()
machine = Interpreter(opened, streamed=sys.argv[2] == "streamed")
machine.run(ids)
print(json.dumps(peak() - before))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
def test_memory_at_most_is_bounded(tower: package.Package) -> None:
    """Above the opened package: 2.2 of its bytes, and streamed its largest tensor as float32 and half a layer."""
    size = sum(file.stat().st_size for file in tower.path.rglob("*") if file.is_file())
    largest = 2048 * 1024 * 4
    for how, most in (("kept", 2.2 * size), ("streamed", 1.5 * largest + 4e6)):
        command = [sys.executable, "-c", PEAK, str(tower.path), how]
        root = Path(package.__file__).parents[2]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
        assert json.loads(done.stdout) < most, how
