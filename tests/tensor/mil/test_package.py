"""What is unknown, malformed or outside the package is refused with a reason; nothing is skipped, nothing crashes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.contract import BrokenEvidence, MachineError, Refusal
from runtime.mil import compared, package
from runtime.mil.errors import UnsupportedOp
from runtime.mil.interpreter import Interpreter
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.tamper import MODEL, WEIGHTS, copied, edited, op_of

FLOAT64, BFLOAT16 = 12, 13


def rename_op(_: Any, block: Any) -> None:
    op_of(block, "silu").type = "mish"


def add_parameter(_: Any, block: Any) -> None:
    operation = op_of(block, "softmax")
    operation.inputs["temperature"].CopyFrom(operation.inputs["axis"])


def add_attribute(_: Any, block: Any) -> None:
    operation = op_of(block, "softmax")
    operation.attributes["approximate"].CopyFrom(operation.attributes["name"])


def add_block(_: Any, block: Any) -> None:
    op_of(block, "softmax").blocks.add()


def variable_axis(_: Any, block: Any) -> None:
    op_of(block, "softmax").inputs["axis"].arguments[0].name = "input_ids"


def unmodelled_dtype(_: Any, block: Any) -> None:
    op_of(block, "softmax").outputs[0].type.tensorType.dataType = BFLOAT16


def integer_operand(_: Any, block: Any) -> None:
    op_of(block, "silu").inputs["x"].arguments[0].name = "input_ids"


def newer_opset(model: Any, block: Any) -> None:
    function = model.mlProgram.functions["main"]
    function.block_specializations["CoreML12"].CopyFrom(block)
    function.opset = "CoreML12"


def variadic_dimension(_: Any, block: Any) -> None:
    op_of(block, "softmax").outputs[0].type.tensorType.dimensions[0].unknown.variadic = True


UNKNOWN: list[tuple[Callable[[Any, Any], None], str]] = [
    (rename_op, "op mish of opset CoreML8 is not modelled"),
    (add_parameter, "op softmax: parameter 'temperature' is not modelled"),
    (add_attribute, "op softmax .*attribute 'approximate' is not modelled"),
    (add_block, "op softmax .*nested blocks"),
    (variable_axis, "op softmax: 'axis' is computed, a constant is expected"),
    (unmodelled_dtype, "dtype BFLOAT16 is not modelled"),
    (integer_operand, "op silu: 'x' of dtype int32 is not modelled"),
    (newer_opset, "opset 'CoreML12' is not modelled"),
    (variadic_dimension, "variadic dimension"),
]


@pytest.mark.parametrize(("edit", "message"), UNKNOWN, ids=[edit.__name__ for edit, _ in UNKNOWN])
def test_what_is_not_modelled_is_refused_by_name(
    zoo: Zoo, tmp_path: Path, edit: Callable[[Any, Any], None], message: str
) -> None:
    path = edited(zoo.package("llama", "prefill").path, tmp_path, edit)
    with pytest.raises(UnsupportedOp, match=message) as caught:
        Interpreter(package.open(path))
    assert caught.value.code == "KR0610"


def undefined_operand(_: Any, block: Any) -> None:
    op_of(block, "silu").inputs["x"].arguments[0].name = "nowhere"


def defined_twice(_: Any, block: Any) -> None:
    op_of(block, "silu").outputs[0].name = op_of(block, "softmax").outputs[0].name


def missing_parameter(_: Any, block: Any) -> None:
    del op_of(block, "linear").inputs["weight"]


def short_literal(_: Any, block: Any) -> None:
    value = op_of(block, "const").attributes["val"]
    value.ClearField("blobFileValue")
    value.immediateValue.tensor.ints.values.append(1)


def two_results(_: Any, block: Any) -> None:
    operation = op_of(block, "softmax")
    operation.outputs.add().CopyFrom(operation.outputs[0])
    operation.outputs[1].name = "second"


def outside_file(_: Any, block: Any) -> None:
    constants = [op for op in block.operations if op.type == "const"]
    stored = next(op for op in constants if op.attributes["val"].HasField("blobFileValue"))
    stored.attributes["val"].blobFileValue.fileName = "@model_path/../../../../weight.bin"


BROKEN: list[tuple[Callable[[Any, Any], None], str]] = [
    (undefined_operand, "reads 'nowhere' before it is defined"),
    (defined_twice, "is defined twice"),
    (missing_parameter, "op linear lacks 'weight'"),
    (short_literal, "literal does not hold|not hold exactly"),
    (two_results, "op softmax .*cannot be executed|declares 2 results"),
    (outside_file, "not a file inside the package"),
]


@pytest.mark.parametrize(("edit", "message"), BROKEN, ids=[edit.__name__ for edit, _ in BROKEN])
def test_a_program_that_contradicts_itself_is_broken_evidence(
    zoo: Zoo, tmp_path: Path, edit: Callable[[Any, Any], None], message: str
) -> None:
    path = edited(zoo.package("llama", "prefill").path, tmp_path, edit)
    with pytest.raises(BrokenEvidence, match=message):
        Interpreter(package.open(path)).run(zoo.sample("llama", "prefill").inputs)


def first_blob(path: Path) -> int:
    """Offset of the first metadata record."""
    return (path / WEIGHTS).read_bytes().index(struct.pack("<I", 0xDEADBEEF))


def patch(path: Path, offset: int, form: str, value: int) -> None:
    content = bytearray((path / WEIGHTS).read_bytes())
    struct.pack_into(form, content, offset, value)
    (path / WEIGHTS).write_bytes(content)


#: place within a metadata record, format, value, message
BLOBS = {
    "sentinel": (0, "<I", 0xDEADBEE0, "sentinel"),
    "dtype": (4, "<I", 3, "stores uint8, declared"),
    "unmodelled-dtype": (4, "<I", 5, "dtype code 5"),
    "size": (8, "<Q", 3, "do not hold exactly"),
    "offset": (16, "<Q", 1 << 40, "outside the file"),
    "unaligned": (16, "<Q", 129, "not aligned"),
}


@pytest.mark.parametrize("damage", sorted(BLOBS))
def test_a_damaged_blob_is_refused(zoo: Zoo, tmp_path: Path, damage: str) -> None:
    place, form, value, message = BLOBS[damage]
    path = copied(zoo.package("llama", "prefill").path, tmp_path)
    patch(path, first_blob(path) + place, form, value)
    with pytest.raises(BrokenEvidence, match=message):
        Interpreter(package.open(path))


def test_a_blob_file_of_another_version_or_cut_short_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    path = copied(zoo.package("llama", "prefill").path, tmp_path)
    whole = (path / WEIGHTS).read_bytes()
    for content, message in [
        (whole[:4] + struct.pack("<I", 1) + whole[8:], "version 1"),
        (whole[:40], "too few"),
        (whole[: len(whole) // 2], "outside the file|not the offset"),
    ]:
        (path / WEIGHTS).write_bytes(content)
        with pytest.raises(BrokenEvidence, match=message):
            Interpreter(package.open(path))


def test_nothing_outside_the_folder_is_read(zoo: Zoo, tmp_path: Path) -> None:
    path = copied(zoo.package("llama", "prefill").path, tmp_path)
    outside = tmp_path / "weight.bin"
    (path / WEIGHTS).replace(outside)
    (path / WEIGHTS).symlink_to(outside)
    with pytest.raises(BrokenEvidence, match="not a file inside"):
        Interpreter(package.open(path))
    manifest = json.loads((path / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = "../../weight.bin"
    (path / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BrokenEvidence, match="not a file inside"):
        package.open(path)


def test_a_link_inside_the_folder_has_no_stable_meaning(zoo: Zoo, tmp_path: Path) -> None:
    path = copied(zoo.package("llama", "prefill").path, tmp_path)
    (path / WEIGHTS).replace((path / WEIGHTS).with_name("other.bin"))
    (path / WEIGHTS).symlink_to("other.bin")
    with pytest.raises(BrokenEvidence, match="symbolic link"):
        Interpreter(package.open(path))


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", '{"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": 3}}}']
)
def test_a_manifest_without_a_root_model_is_broken(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "Manifest.json").write_text(manifest)
    with pytest.raises(BrokenEvidence, match=r"Manifest\.json"):
        package.open(tmp_path)


def test_a_folder_that_is_no_package_and_a_model_that_is_no_program_are_refused(zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"not an \.mlpackage"):
        package.open(tmp_path)

    def edit(model: Any, _: Any) -> None:
        model.neuralNetwork.SetInParent()

    with pytest.raises(Refusal, match="not an ML Program"):
        package.open(edited(zoo.package("llama", "prefill").path, tmp_path, edit))


def test_inputs_must_be_the_declared_ones(zoo: Zoo) -> None:
    interpreter, good = Interpreter(zoo.package("llama", "decode")), zoo.sample("llama", "decode").inputs
    for change, message in [
        ({"position": None}, "missing or unknown: position"),
        ({"other": np.zeros(1)}, "missing or unknown: other"),
        ({"position": np.zeros((2,), np.int32)}, r"shape \(2\), the package declares \(1\)"),
        ({"position": np.zeros((1,), np.float32)}, "dtype float32, declared int32"),
        ({"position": np.array([1 << 40])}, "outside int32"),
        ({"key_cache": np.zeros(good["key_cache"].shape, np.int32)}, "declared float16"),
    ]:
        inputs = {name: value for name, value in {**good, **change}.items() if value is not None}
        with pytest.raises(Refusal, match=message):
            interpreter.run(inputs)


def test_unknown_functions_modes_and_values_are_refused(zoo: Zoo) -> None:
    opened = zoo.package("llama", "decode")
    with pytest.raises(Refusal, match="no function 'prefill'"):
        Interpreter(opened, "prefill")
    with pytest.raises(Refusal, match="no numeric mode"):
        Interpreter(opened, "main", "fp8")  # type: ignore[arg-type]
    with pytest.raises(Refusal, match="no value 'nothing'"):
        Interpreter(opened).values(zoo.sample("llama", "decode").inputs, ["nothing"])


@pytest.mark.parametrize("which", [MODEL, WEIGHTS])
@settings(max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_damage_is_refused_or_harmless(
    zoo: Zoo, tmp_path_factory: pytest.TempPathFactory, which: str, data: st.DataObject
) -> None:
    """Whatever bytes are overwritten or cut, only our own errors come out."""
    source = zoo.package("llama", "decode").path
    path = copied(source, tmp_path_factory.mktemp("damage"))
    content = bytearray((path / which).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # weights: mostly the metadata records, which are all multiples of 64
        place = data.draw(st.integers(0, len(content) - 1))
        place = place // 64 * 64 + place % 32 if which == WEIGHTS else place
        content[min(place, len(content) - 1)] = data.draw(st.integers(0, 255))
    if data.draw(st.integers(0, 9)) == 0:
        content = content[: data.draw(st.integers(0, len(content)))]
    (path / which).write_bytes(content)
    try:
        opened = package.open(path)
        for name in opened.functions:
            opened.weights(name)
            Interpreter(opened, name).run(zoo.sample("llama", "decode").inputs)
    except MachineError:
        pass


def test_a_weights_file_whose_name_no_system_takes_is_refused(zoo: Zoo) -> None:
    opened = zoo.opened("named", zoo.model("llama", "prefill"))
    with pytest.raises(BrokenEvidence, match="is not relative to the model"):
        opened._file("@model_path/weights/we\0ght.bin")


def test_a_label_is_the_same_or_as_far_as_can_be() -> None:
    numbers, labels = np.array([1.0, 2.0]), np.array(["cat", "dog"])
    assert compared.distance(labels, labels.copy()) == (0.0, "")
    for reference, found in ((labels, labels[::-1]), (labels, numbers), (numbers + 1j, numbers)):
        assert compared.distance(reference, found)[0] == float("inf")
