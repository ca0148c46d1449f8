"""Classifiers: the label and what is said of every label are those of PyTorch's softmax; broken ones are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

from kcompiler.cli import _main
from runtime.contract import BrokenEvidence, Refusal
from runtime.mil import package
from runtime.mil.errors import UnsupportedOp
from runtime.mil.interpreter import Interpreter
from tests.tensor.mil.models import saved

WEIGHT = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
LABELS: tuple[list[Any], ...] = (["cat", "dog", "Ärger"], [7, -5, 2**40])


def classifier(labels: list[Any], precision: Any = ct.precision.FLOAT32) -> Any:
    @mb.program(input_specs=[mb.TensorSpec((1, 4), dtype=types.fp32)], opset_version=ct.target.iOS17)
    def made(x: Any) -> Any:
        return mb.softmax(x=mb.linear(x=x, weight=WEIGHT), name="probs")

    return ct.convert(
        made,
        skip_model_load=True,
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=precision,
        classifier_config=ct.ClassifierConfig(labels),
    )


@pytest.mark.parametrize("labels", LABELS, ids=["texts", "numbers"])
@pytest.mark.parametrize("precision", [ct.precision.FLOAT32, ct.precision.FLOAT16])
def test_a_classifier_says_what_pytorch_s_softmax_says(
    labels: list[Any], precision: Any, tmp_path: Path, converter_folders: None
) -> None:
    opened = package.open(saved(classifier(labels, precision), tmp_path / "c.mlpackage"))
    rows = np.concatenate([WEIGHT * 3, -WEIGHT]).astype(np.float32)
    met = set()
    for check in (True, False):
        interpreter = Interpreter(opened, check=check)
        for row in rows:
            result = interpreter.run({"x": row[None]})
            wanted = torch.softmax(torch.from_numpy(WEIGHT @ row), -1).numpy()
            assert result.findings.clean == check
            assert result.outputs["classLabel"].item() == labels[int(wanted.argmax())]
            met.add(result.outputs["classLabel"].item())
            found = result.outputs["classLabel_probs"]
            assert found.dtype == np.float64
            np.testing.assert_allclose(found, wanted, atol=1e-6 if precision is ct.precision.FLOAT32 else 2e-3)
    assert len(met) > 1


def test_the_verbs_read_a_classifier(
    tmp_path: Path, converter_folders: None, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(saved(classifier(LABELS[0]), tmp_path / "c.mlpackage"))
    assert _main(["mil", "ops", where]) == 0
    assert "classify" in capsys.readouterr().out
    assert _main(["mil", "check", where]) == 0
    assert "coremltools reads the same: " in capsys.readouterr().out
    out = tmp_path / "out.npz"
    asked = ["mil", "run", where, "--random", "1", "--value", "*", "--out", str(out), "--format", "json"]
    assert _main(asked) == 0
    said = json.loads(capsys.readouterr().out)["outputs"]["classLabel"]
    assert said["text"] in LABELS[0]
    with np.load(out) as held:
        assert held["classLabel"].item() == said["text"]
        assert held["classLabel_probs"].shape == (3,)
    assert _main(["mil", "bisect", where, str(out)]) == 0
    assert _main(["mil", "diff", where, where]) == 0
    capsys.readouterr()
    # another label of the same probabilities is told
    with np.load(out) as held:
        arrays = dict(held)
    np.savez(out, **{**arrays, "classLabel": np.array("another")})
    assert _main(["mil", "bisect", where, str(out)]) == 1
    assert "classLabel" in capsys.readouterr().out
    assert _main(asked[:5]) == 0
    assert f"text   {said['text']}" in capsys.readouterr().out


Edit = Callable[[Any, Any], None]


def op(block: Any) -> Any:
    return next(one for one in block.operations if one.type == "classify")


def classes(block: Any) -> Any:
    """The list of labels, wherever the converter wrote it."""
    (argument,) = op(block).inputs["classes"].arguments
    if argument.WhichOneof("binding") == "value":
        return argument.value
    return next(one for one in block.operations if one.outputs[0].name == argument.name).attributes["val"]


def fewer(_: Any, block: Any) -> None:
    del classes(block).immediateValue.list.values[2]
    classes(block).type.listType.length.constant.size = 2


def cut(_: Any, block: Any) -> None:
    del classes(block).immediateValue.list.values[2]


def mixed(_: Any, block: Any) -> None:
    one = classes(block).immediateValue.list.values[0]
    one.type.tensorType.dataType = INT64
    one.immediateValue.tensor.longInts.values[:] = [4]


def of_tensors(_: Any, block: Any) -> None:
    held = classes(block)
    held.type.listType.type.tensorType.dataType = INT32
    for one in held.immediateValue.list.values:
        one.type.tensorType.dataType = INT32
        one.immediateValue.tensor.ints.values[:] = [4]


def other_label(_: Any, block: Any) -> None:
    op(block).outputs[0].type.tensorType.dataType = INT64


def other_keys(_: Any, block: Any) -> None:
    op(block).outputs[1].type.dictionaryType.keyType.tensorType.dataType = INT64


def other_values(_: Any, block: Any) -> None:
    op(block).outputs[1].type.dictionaryType.valueType.tensorType.dataType = FLOAT16


def one_result(_: Any, block: Any) -> None:
    del op(block).outputs[1]
    del block.outputs[1]


def more(_: Any, block: Any) -> None:
    op(block).inputs["threshold"].CopyFrom(op(block).inputs["probabilities"])


def computed(_: Any, block: Any) -> None:
    op(block).inputs["classes"].CopyFrom(op(block).inputs["probabilities"])


def long_tensor(_: Any, block: Any) -> None:
    block.operations[-2].outputs[0].type.tensorType.dataType = INT64


def label_given(model: Any, block: Any) -> None:
    kind = next(iter(model.mlProgram.functions.values())).inputs[0].type
    kind.tensorType.dataType, kind.tensorType.rank = STRING, 0
    del kind.tensorType.dimensions[:]


FLOAT16, INT32, INT64, STRING = 10, 23, 24, 2


@pytest.mark.parametrize(
    ("edit", "error", "text"),
    [
        (fewer, BrokenEvidence, "3 probabilities of 2 labels"),
        (cut, BrokenEvidence, "a list does not hold its string elements"),
        (mixed, BrokenEvidence, "a list does not hold its string elements"),
        (of_tensors, UnsupportedOp, "a constant list of int32 is not modelled"),
        (other_label, BrokenEvidence, "op classify declares .* of labels of string"),
        (other_keys, BrokenEvidence, "op classify declares .*int64 dictionary.* of labels of string"),
        (other_values, UnsupportedOp, "a dictionary that is no classifier's is not modelled"),
        (one_result, BrokenEvidence, r"op classify declares \['string'\]"),
        (more, UnsupportedOp, "op classify: parameters .*threshold"),
        (computed, BrokenEvidence, "float32 where a list is expected"),
        (long_tensor, UnsupportedOp, "dtype INT64 is not modelled"),
        (label_given, UnsupportedOp, "'x' is a string, which no caller can give"),
    ],
)
def test_a_broken_classifier_is_told(
    edit: Edit, error: type[Refusal], text: str, tmp_path: Path, converter_folders: None
) -> None:
    where = saved(classifier(LABELS[0]), tmp_path / "c.mlpackage")
    file = where / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model = ct.models.MLModel(str(where), skip_model_load=True).get_spec()
    edit(model, model.mlProgram.functions["main"].block_specializations["CoreML7"])
    file.write_bytes(model.SerializeToString())
    with pytest.raises(error, match=text):
        Interpreter(package.open(where)).run({"x": np.ones((1, 4), np.float32)})


def test_a_description_of_other_labels_is_found(tmp_path: Path, converter_folders: None) -> None:
    where = saved(classifier(LABELS[0]), tmp_path / "c.mlpackage")
    file = where / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model = ct.models.MLModel(str(where), skip_model_load=True).get_spec()
    for one in model.description.output:
        if one.type.WhichOneof("Type") == "dictionaryType":
            one.type.dictionaryType.int64KeyType.SetInParent()
        else:
            one.type.int64Type.SetInParent()
    file.write_bytes(model.SerializeToString())
    found = Interpreter(package.open(where)).run({"x": np.ones((1, 4), np.float32)}).findings.mismatches
    assert {(one.value, one.what, one.actual.split(" ")[0]) for one in found} == {
        ("classLabel", "description", "int64"),
        ("classLabel_probs", "description", "int64"),
    }
