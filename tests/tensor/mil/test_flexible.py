"""Flexible shapes and images are read back as the package declares them, and inputs outside of them are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch

from kcompiler.cli import _main
from runtime.contract import BrokenEvidence, Refusal
from runtime.contract import program as contracts
from runtime.mil import interface_readback, package
from runtime.mil.description import Described, excluded
from runtime.mil.interpreter import Interpreter
from runtime.mil.package import Package
from tests.tensor.mil import models
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.tamper import edited

FLOAT16 = {"dtype": np.float16}


class Two(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return a * 2, b + 1


def opened(zoo: Zoo, name: str, a: Any, b: Any) -> Package:
    """a·2 and b + 1 with these shapes of the inputs, converted by coremltools."""
    sizes = {"a": {1: torch.export.Dim("n", min=2, max=64)}, "b": {1: torch.export.Dim("m", min=2, max=64)}}
    program = models.exported(Two(), (torch.zeros(1, 4), torch.zeros(1, 6)), dynamic_shapes=sizes)
    model = ct.convert(
        program,
        inputs=[ct.TensorType(name="a", shape=a, **FLOAT16), ct.TensorType(name="b", shape=b, **FLOAT16)],
        outputs=[ct.TensorType(name="x", **FLOAT16), ct.TensorType(name="y", **FLOAT16)],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    )
    return zoo.opened(name, model)


@pytest.fixture(scope="module")
def enumerated(zoo: Zoo) -> Package:
    choices = [(1, 4), (1, 8)]
    return opened(zoo, "enumerated", ct.EnumeratedShapes(choices), ct.EnumeratedShapes(choices))


@pytest.fixture(scope="module")
def ranged(zoo: Zoo) -> Package:
    return opened(zoo, "ranged", (1, ct.RangeDim(2, 32, default=4)), (1, 6))


def run(made: Package, a: tuple[int, ...], b: tuple[int, ...]) -> Any:
    inputs = {"a": np.ones(a, np.float32), "b": np.ones(b, np.float32)}
    return Interpreter(made).run(inputs)


def test_enumerated_shapes_are_read_back(enumerated: Package) -> None:
    a, b, *outputs = enumerated.description["main"]
    assert a == Described("a", (1, None), "float16", choices=((1, 4), (1, 8)), default=(1, 4))
    assert b == a._replace(name="b")
    assert a.declared == "(1, 4) or (1, 8)"
    assert [item.shape for item in outputs] == [(), ()]


def test_a_range_is_read_back_with_its_bounds(ranged: Package) -> None:
    a, b, *_ = ranged.description["main"]
    assert a == Described("a", (1, None), "float16", bounds=((1, 1), (2, 32)), default=(1, 4))
    assert a.declared == "(1, 2..32)"
    assert b == Described("b", (1, 6), "float16", default=(1, 6))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((1, 5), (1, 4), r"input a has shape \(1, 5\), the package declares \(1, 4\) or \(1, 8\)"),
        ((1, 4), (1, 5), r"input b has shape \(1, 5\)"),
        ((2, 4), (1, 4), r"input a has shape \(2, 4\)"),
        ((4,), (1, 4), r"input a has shape \(4\)"),
        ((1, 4), (1, 8), r"a \(1, 4\), b \(1, 8\) are of different rows of their enumerated shapes"),
        ((1, 8), (1, 4), r"different rows"),
    ],
)
def test_what_the_enumeration_excludes_is_refused(
    enumerated: Package, a: tuple[int, ...], b: tuple[int, ...], message: str
) -> None:
    with pytest.raises(Refusal, match=message) as caught:
        run(enumerated, a, b)
    assert "declares" in caught.value.action


@pytest.mark.parametrize("size", [4, 8])
def test_what_is_enumerated_runs_and_is_clean(enumerated: Package, size: int) -> None:
    result = run(enumerated, (1, size), (1, size))
    assert result.findings.clean
    np.testing.assert_array_equal(result.outputs["x"], np.full((1, size), 2))
    assert result.outputs["y"].shape == (1, size)


def test_enumerations_of_different_length_are_independent() -> None:
    made = {
        "a": Described("a", (1, None), "float16", choices=((1, 4), (1, 8))),
        "b": Described("b", (1, None), "float16", choices=((1, 4), (1, 8), (1, 9))),
    }
    assert excluded([(made["a"], (1, 4)), (made["b"], (1, 9))]) == ""
    assert excluded([(made["a"], (1, 9)), (made["b"], (1, 9))]).startswith("input a")


@pytest.mark.parametrize("size", [2, 3, 32])
def test_a_size_within_the_range_runs(ranged: Package, size: int) -> None:
    assert run(ranged, (1, size), (1, 6)).findings.clean


@pytest.mark.parametrize(("a", "b"), [((1, 1), (1, 6)), ((1, 33), (1, 6)), ((1, 99), (1, 6)), ((2, 4), (1, 6))])
def test_a_size_outside_the_range_is_refused(ranged: Package, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(Refusal, match=r"the package declares \(1, 2\.\.32\)"):
        run(ranged, a, b)


def test_a_fixed_input_of_a_flexible_package_stays_fixed(ranged: Package) -> None:
    with pytest.raises(Refusal, match=r"input b has shape \(1, 7\), the package declares \(1, 6\)"):
        run(ranged, (1, 4), (1, 7))


def test_a_wrong_range_is_a_finding_of_the_interface(ranged: Package) -> None:
    values = [contracts.Value(name="a", shape=[1, 4], dtype="float16")]
    function = contracts.Function.model_construct(inputs=values, outputs=[])
    contract = contracts.Contract.model_construct(functions={"main": function})
    said = {item.message for item in interface_readback.interface(ranged, contract) if item.subject == "a"}
    assert said >= {"(1, 4) float16 only in the contract", "(1, 2..32) float16 only in the description"}


def test_a_description_that_offers_more_than_the_program_takes_is_a_mismatch(zoo: Zoo, tmp_path: Path) -> None:
    """The program takes (1, 16) only."""

    def edit(model: Any, _: Any) -> None:
        array = model.description.input[0].type.multiArrayType
        for low, high in ((1, 1), (2, 32)):
            array.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)

    path = edited(zoo.package("llama", "prefill").path, tmp_path, edit)
    found = Interpreter(package.open(path)).run(zoo.sample("llama", "prefill").inputs).findings.mismatches
    assert [(item.what, item.declared, item.actual) for item in found] == [
        ("description", "int32 (1, 16)", "int32 (1, 2..32)")
    ]


def no_range(array: Any) -> None:
    array.shapeRange.SetInParent()


def empty_range(array: Any) -> None:
    array.shapeRange.sizeRanges.add(lowerBound=8, upperBound=2)


def two_ranks(array: Any) -> None:
    for shape in ([1, 4], [4]):
        array.enumeratedShapes.shapes.add(shape=shape)


def foreign_default(array: Any) -> None:
    array.enumeratedShapes.shapes.add(shape=[1, 99])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (no_range, "no range for a size"),
        (empty_range, r"the range 8\.\.2"),
        (two_ranks, "shapes of 2 ranks"),
        (foreign_default, r"default shape \(1, 16\), declared \(1, 99\)"),
    ],
)
def test_flexible_shapes_that_contradict_themselves_are_broken(
    zoo: Zoo, tmp_path: Path, edit: Any, message: str
) -> None:
    def change(model: Any, _: Any) -> None:
        edit(model.description.input[0].type.multiArrayType)

    with pytest.raises(BrokenEvidence, match=message):
        package.open(edited(zoo.package("llama", "prefill").path, tmp_path, change))


def test_a_range_without_an_end_admits_every_larger_size(zoo: Zoo, ranged: Package, tmp_path: Path) -> None:
    def edit(model: Any, _: Any) -> None:
        model.description.input[0].type.multiArrayType.shapeRange.sizeRanges[1].upperBound = -1

    made = package.open(edited(ranged.path, tmp_path, edit))
    assert made.description["main"][0].declared == "(1, 2..)"
    assert run(made, (1, 99), (1, 6)).findings.clean
    with pytest.raises(Refusal, match=r"declares \(1, 2\.\.\)"):
        run(made, (1, 1), (1, 6))


# --- images ------------------------------------------------------------------------------------------------------


class Double(torch.nn.Module):
    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return a * 2


def image(zoo: Zoo, name: str, layout: Any, channels: int, size: Any = (4, 6), output: bool = True) -> Package:
    shape = ct.EnumeratedShapes([(1, channels, *item) for item in size]) if isinstance(size, list) else None
    flexible = not all(isinstance(item, int) for item in size)
    sizes = {2: torch.export.Dim("h", min=2, max=64), 3: torch.export.Dim("w", min=2, max=64)} if flexible else {}
    program = models.exported(Double(), (torch.zeros(1, channels, 4, 6),), dynamic_shapes={"a": sizes})
    model = ct.convert(
        program,
        inputs=[ct.ImageType(name="a", shape=shape or (1, channels, *size), color_layout=layout)],
        outputs=[ct.ImageType(name="o", color_layout=layout)] if output else None,
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=True,
    )
    return zoo.opened(name, model)


@pytest.mark.parametrize(
    ("layout", "channels", "dtype"),
    [("RGB", 3, "float32"), ("BGR", 3, "float32"), ("GRAYSCALE", 1, "float32"), ("GRAYSCALE_FLOAT16", 1, "float16")],
)
def test_an_image_is_described_and_clean(zoo: Zoo, layout: str, channels: int, dtype: str) -> None:
    made = image(zoo, f"image_{layout}", getattr(ct.colorlayout, layout), channels)
    size = (1, channels, 4, 6)
    assert made.description["main"] == (
        Described("a", size, dtype, colour=layout, default=size),
        Described("o", size, dtype, colour=layout, default=size),
    )
    pixels = np.arange(channels * 24, dtype=np.float32).reshape(1, channels, 4, 6)
    result = Interpreter(made).run({"a": pixels})
    assert result.findings.clean
    np.testing.assert_array_equal(result.outputs["o"], 2 * pixels)
    with pytest.raises(Refusal, match=rf"input a has shape \(1, {channels}, 6, 4\)"):
        Interpreter(made).run({"a": pixels.transpose(0, 1, 3, 2)})


def test_images_of_several_sizes_are_enumerated(zoo: Zoo) -> None:
    made = image(zoo, "image_sizes", ct.colorlayout.RGB, 3, [(4, 6), (8, 12)], output=False)
    assert made.description["main"][0].declared == "(1, 3, 4, 6) or (1, 3, 8, 12)"
    assert Interpreter(made).run({"a": np.zeros((1, 3, 8, 12), np.float32)}).findings.clean
    with pytest.raises(Refusal, match=r"\(1, 3, 5, 6\)"):
        Interpreter(made).run({"a": np.zeros((1, 3, 5, 6), np.float32)})


def test_images_within_a_range_of_sizes(zoo: Zoo) -> None:
    size = (ct.RangeDim(4, 9, default=4), ct.RangeDim(6, 20, default=6))
    made = image(zoo, "image_range", ct.colorlayout.RGB, 3, size)
    assert [item.declared for item in made.description["main"]] == ["(1, 3, 4..9, 6..20)", "(1, 3, 1.., 1..)"]
    assert Interpreter(made).run({"a": np.zeros((1, 3, 9, 20), np.float32)}).findings.clean
    with pytest.raises(Refusal, match=r"declares \(1, 3, 4\.\.9, 6\.\.20\)"):
        Interpreter(made).run({"a": np.zeros((1, 3, 10, 20), np.float32)})


def test_an_image_of_another_size_or_depth_than_the_program_is_a_mismatch(zoo: Zoo, tmp_path: Path) -> None:
    made = image(zoo, "image_honest", ct.colorlayout.RGB, 3)

    def edit(model: Any, _: Any) -> None:
        model.description.output[0].type.imageType.width = 7
        model.description.input[0].type.imageType.colorSpace = 40  # GRAYSCALE_FLOAT16

    found = Interpreter(package.open(edited(made.path, tmp_path, edit)))._compiled.watch.mismatches
    assert [(item.value, item.actual) for item in found] == [
        ("a", "float16 (1, 1, 4, 6)"),
        ("o", "float32 (1, 3, 4, 7)"),
    ]


def test_an_image_without_a_colour_space_is_broken(zoo: Zoo, tmp_path: Path) -> None:
    def edit(model: Any, _: Any) -> None:
        model.description.input[0].type.imageType.colorSpace = 0

    with pytest.raises(BrokenEvidence, match="image a has no colour space"):
        package.open(edited(image(zoo, "image_plain", ct.colorlayout.RGB, 3).path, tmp_path, edit))


def test_a_drawn_input_has_a_shape_that_the_package_declares(
    ranged: Package, enumerated: Package, capsys: pytest.CaptureFixture[str]
) -> None:
    """The default, or another by --shape; the verb refuses what lies outside, and a pair of two rows."""
    for made, shapes, code in (
        (ranged, [], 0),
        (ranged, ["a=1,32"], 0),
        (ranged, ["a=1,33"], 2),
        (enumerated, [], 0),
        (enumerated, ["a=1,8", "b=1,8"], 0),
        (enumerated, ["a=1,8"], 2),
        (enumerated, ["a=1,5", "b=1,5"], 2),
    ):
        given = [word for shape in shapes for word in ("--shape", shape)]
        assert _main(["mil", "run", str(made.path), "--random", "1", *given]) == code
        assert ("input" in capsys.readouterr().err) == (code == 2)
