"""`kcompiler mil` on a package that this project did not make: what it says, what it refuses, how it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

from kcompiler.cli import _main
from runtime.mil import crossed, held
from runtime.mil.numerics import Array
from tests.tensor.mil.holding import large
from tests.tensor.mil.tamper import WEIGHTS, edited, op_of, rewrite

ROWS = 11
TABLE = np.arange(ROWS * 64, dtype=np.float16).reshape(ROWS, 64) / 1024
IDS = np.array([[0, 3, 10, 3]], np.int32)
X = np.full((1, 4, 64), 0.5, np.float16)


def made(folder: Path, table: Array = TABLE) -> Path:
    """ids (1, 4), x (1, 4, 64) → total (1, 4): the sum of exp(table[ids] + x)."""

    @mb.program(
        input_specs=[mb.TensorSpec((1, 4), types.int32), mb.TensorSpec((1, 4, 64), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(ids: Any, x: Any) -> Any:
        looked = mb.gather(x=table, indices=ids, axis=0, name="looked")
        total = mb.add(x=looked, y=x, name="shifted")
        return mb.reduce_sum(x=mb.exp(x=total, name="grown"), axes=[2], name="total")

    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16,
        outputs=[ct.TensorType(name="total", dtype=np.float16)],
        skip_model_load=True,
    )
    path = folder / "made.mlpackage"
    model.save(str(path))
    return path


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("made"))


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The inputs, as they are given on the command line."""
    for name, array in (("ids", IDS), ("x", X)):
        np.save(tmp_path / f"{name}.npy", array)
    return ["--input", f"ids={tmp_path / 'ids.npy'}", "--input", f"x={tmp_path / 'x.npy'}"]


def expected() -> Array:
    shifted = (TABLE[IDS] + X).astype(np.float32)
    return np.exp(shifted).astype(np.float16).astype(np.float32).sum(2)


def ends(code: int, *arguments: str) -> None:
    assert _main(["mil", *arguments]) == code


def loaded(path: Path) -> Mapping[str, Array]:
    with np.load(path) as held:
        return dict(held)


def test_ops_are_listed_with_the_unknown_ones_named(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(0, "ops", str(package))
    out = capsys.readouterr().out
    assert {"CoreML8,", "gather"} <= set(out.split())
    assert "not modelled" not in out

    def strange(_: Any, block: Any) -> None:
        op_of(block, "exp").type = "mish"
        op_of(block, "add").blocks.add().operations.add().type = "inner"

    ends(1, "ops", str(edited(package, tmp_path, strange)), "--format", "json")
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["unmodelled"] == ["inner", "mish"]
    assert {"function": "main", "op": "gather", "opset": "CoreML8", "count": 1, "modelled": True} in found["ops"]
    assert "outcome=not-modelled code=1" in err


def test_a_form_that_is_not_modelled_is_told_where_every_op_is(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def attribute(_: Any, block: Any) -> None:
        block.attributes["pipeline"].CopyFrom(op_of(block, "exp").attributes["name"])

    ends(1, "ops", str(edited(package, tmp_path, attribute)))
    assert "attributes are not modelled" in capsys.readouterr().err


def test_a_run_is_what_the_program_says(package: Path, tmp_path: Path, files: list[str]) -> None:
    ends(0, "run", str(package), *files, "--value", "grown", "--out", str(tmp_path / "out.npz"))
    found = loaded(tmp_path / "out.npz")
    assert sorted(found) == ["grown", "total"]
    np.testing.assert_allclose(found["total"], expected(), rtol=1e-3)
    ends(0, "run", str(package), *files, "--value", "*", "--out", str(tmp_path / "all.npz"))
    assert {"shifted", "grown", "total", "ids", "x"} <= set(loaded(tmp_path / "all.npz"))


def test_a_streamed_run_is_the_same_bytes_and_reads_its_table_where_it_stands(
    package: Path, tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    narrow = held.Stored.narrow
    monkeypatch.setattr(held.Stored, "narrow", lambda self: read.append(self.count) or narrow(self))
    outs = [tmp_path / name for name in ("kept.npz", "streamed.npz")]
    with large(1):
        for out, streamed in zip(outs, ([], ["--streamed"]), strict=True):
            ends(0, "run", str(package), *files, "--value", "*", "--out", str(out), *streamed)
            assert read == ([TABLE.size] if streamed else [])
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_the_same_seed_is_the_same_bytes_and_an_index_is_one_of_its_table(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outs = [tmp_path / f"{name}.npz" for name in "abc"]
    drawn = []
    for out, seed in zip(outs, ("1", "1", "2"), strict=True):
        ends(0, "run", str(package), "--random", seed, "--out", str(out), "--format", "json", "--mode", "exact32")
        drawn.append(json.loads(capsys.readouterr().out)["inputs"]["ids"])
    assert outs[0].read_bytes() == outs[1].read_bytes() != outs[2].read_bytes()
    assert all(one["least"] >= 0 and 1 < one["greatest"] < ROWS for one in drawn)


def objects(folder: Path, _: list[str]) -> list[str]:
    np.save(folder / "ids.npy", np.array([{"a": 1}]), allow_pickle=True)
    return ["--random", "1", "--input", f"ids={folder / 'ids.npy'}"]


def text(folder: Path, _: list[str]) -> list[str]:
    (folder / "ids.npy").write_text("1 2 3", encoding="utf-8")
    return ["--random", "1", "--input", f"ids={folder / 'ids.npy'}"]


def floats(folder: Path, _: list[str]) -> list[str]:
    np.save(folder / "ids.npy", IDS.astype(np.float32))
    return ["--random", "1", "--input", f"ids={folder / 'ids.npy'}"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda _, files: files[:2], "no file is given for x (float16 (1, 4, 64))"),
        (lambda _, __: [], "--random SEED"),
        (lambda _, files: ["--random", "1", "--input", "y=" + files[1][4:]], "has no input 'y'"),
        (lambda _, __: ["--random", "1", "--input", "ids=absent.npy"], "there is no file absent.npy"),
        (lambda _, files: ["--random", "1", *files, *files], "ids is given twice"),
        (lambda _, __: ["--random", "1", "--input", "ids"], "`ids` is not NAME=FILE.npy"),
        (lambda _, __: ["--random", "1", "--shape", "ids=1,0"], "sizes from 1 up"),
        (lambda _, __: ["--random", "1", "--shape", "ids=1,5"], "input ids has shape (1, 5), the package declares"),
        (lambda _, files: [*files, "--shape", "ids=1,4"], "its file has a shape of its own"),
        (lambda _, files: [*files, "--function", "decode"], "the package has no function 'decode'"),
        (lambda _, files: [*files, "--value", "nowhere"], "defines no value 'nowhere'"),
        (lambda _, files: [*files, "--out", "out.txt"], "does not end with .npz"),
        (objects, "holds no array"),
        (text, "holds no array"),
        (floats, "input ids has dtype float32, declared int32"),
    ],
)
def test_wrong_inputs_are_refused_with_what_is_right(
    package: Path,
    tmp_path: Path,
    files: list[str],
    given: Callable[[Path, list[str]], list[str]],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ends(2, "run", str(package), *given(tmp_path, files))
    out, err = capsys.readouterr()
    assert said in err
    assert not out
    assert not list(tmp_path.glob("*.npz"))


def test_what_is_no_package_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["ops"], ["run"], ["check"]):
        ends(2, *verb, str(tmp_path))
        assert "is not an .mlpackage folder" in capsys.readouterr().err


def test_a_sound_package_passes_and_what_float16_cannot_hold_is_named(
    package: Path, tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ends(0, "check", str(package))
    out = capsys.readouterr().out
    assert out.startswith("ok   main")
    assert "coremltools reads the same: 10 values" in out
    np.save(tmp_path / "x.npy", X + 20)
    ends(1, "check", str(package), *files)
    out, err = capsys.readouterr()
    assert "! exp grown: 256 elements of grown beyond float16" in out
    assert "outcome=wrong code=1" in err


def test_a_declared_shape_that_is_not_the_real_one_is_wrong(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def wider(_: Any, block: Any) -> None:
        op_of(block, "exp").outputs[0].type.tensorType.dimensions[2].constant.size = 65

    ends(1, "check", str(edited(package, tmp_path, wider)))
    out = capsys.readouterr().out
    assert "! exp grown: shape is declared (1, 4, 65), found (1, 4, 64)" in out
    # the other loader holds its own inference against what is written, and stops there
    assert "not read a second time: coremltools cannot load it: AssertionError: Mismatch between var types" in out


def test_a_package_that_the_other_loader_cannot_read_was_read_once_and_says_so(
    package: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no such op")

    monkeypatch.setattr("coremltools.converters.mil.frontend.milproto.load.load", load)
    ends(0, "check", str(package))
    assert "not read a second time: coremltools cannot load it: NotImplementedError: no such op" in (
        capsys.readouterr().out
    )


def cut(path: Path) -> None:
    stored = path / WEIGHTS
    stored.write_bytes(stored.read_bytes()[:-200])


def nothing(path: Path) -> None:
    (path / "Data/com.apple.CoreML/model.mlmodel").write_bytes(b"\x0a\xff")


def lost(path: Path) -> None:
    (path / WEIGHTS).unlink()


def renamed(path: Path) -> None:
    rewrite(path, lambda _, block: block.outputs.__setitem__(0, "sum"))


@pytest.mark.parametrize("damage", [cut, nothing, lost, renamed])
def test_a_damaged_package_is_code_3_and_leaves_nothing(
    package: Path, tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copytree(package, tmp_path / "copy.mlpackage"))
    damage(path)
    for verb in (["run", "--random", "1", "--out", str(tmp_path / "out.npz")], ["check"]):
        ends(3, verb[0], str(path), *verb[1:])
        assert "the package is damaged" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["copy.mlpackage"]


def test_an_input_beyond_the_package_is_not_called_its_damage(
    package: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "ids.npy", np.full((1, 4), ROWS, np.int32))
    ends(3, "run", str(package), *files, "--out", str(tmp_path / "out.npz"))
    said = capsys.readouterr().err
    assert "the package does not run on what it was given: op gather" in said
    assert "next=give other inputs, or make the package again" in said
    np.save(tmp_path / "ids.npy", IDS)
    ends(0, "run", str(package), *files, "--out", str(tmp_path / "out.npz"))


def test_two_packages_part_where_one_was_changed(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(0, "diff", str(package), str(package), "--tolerance", "0")
    assert capsys.readouterr().out.startswith("10 values compared")
    other = TABLE.copy()
    other[:, 7] *= 3
    ends(1, "diff", str(package), str(made(tmp_path, other)))
    out, err = capsys.readouterr()
    # the converter has given the op a longer name than its author
    (first,) = [line.split()[1] for line in out.splitlines() if line.startswith("first  ")]
    assert first.startswith("looked")
    assert f"\n  gather {first}" in out
    assert f"part at {first}" in err


def test_packages_that_name_nothing_alike_are_not_called_equal(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def strange(_: Any, block: Any) -> None:
        changed = {value.name: f"{value.name}_2" for op in block.operations for value in op.outputs}
        for op in block.operations:
            for value in op.outputs:
                value.name = changed[value.name]
            for group in op.inputs.values():
                for argument in group.arguments:
                    if argument.WhichOneof("binding") == "name":
                        argument.name = changed.get(argument.name, argument.name)
        block.outputs[0] = changed[block.outputs[0]]

    ends(2, "diff", str(package), str(edited(package, tmp_path, strange)))
    assert "no value has one name in made.mlpackage and copy.mlpackage" in capsys.readouterr().err


def test_the_ops_between_what_agrees_and_what_does_not_are_named(
    package: Path, tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    held = tmp_path / "held.npz"
    np.savez(held, ids=IDS, x=X, shifted=TABLE[IDS].astype(np.float32) + X, total=expected())
    ends(0, "bisect", str(package), str(held))
    np.savez(held, ids=IDS, x=X, shifted=TABLE[IDS].astype(np.float32) + X, total=expected() * 2)
    capsys.readouterr()
    ends(1, "bisect", str(package), str(held), "--format", "json")
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], found["agree"]) == ("total", ["shifted"])
    assert found["between"] == ["exp grown", "reduce_sum total"]
    np.savez(held, ids=IDS, x=X, logits=expected())
    ends(2, "bisect", str(package), str(held))
    said = capsys.readouterr().err
    assert "nothing to compare" in said
    assert "--value '*' --out ALL.npz" in said
    # the advice, followed
    ends(0, "run", str(package), *files, "--value", "*", "--out", str(tmp_path / "ALL.npz"))
    ends(0, "bisect", str(package), str(tmp_path / "ALL.npz"), "--tolerance", "0")
    np.savez(held, ids=IDS, total=expected())
    ends(2, "bisect", str(package), str(held))
    assert "the reference has no input x" in capsys.readouterr().err
    ends(2, "bisect", str(package), str(tmp_path / "x.npy"))
    assert "holds no arrays" in capsys.readouterr().err


def test_a_value_that_only_one_of_two_loaders_knows_is_wrong() -> None:
    ours = {"a": ("float16", (1, None)), "b": ("int32", ()), "c": ("bool", (2,))}
    theirs = {"a": ("float16", (1, 8)), "b": ("float32", ()), "d": ("bool", (2,))}
    found = crossed.compared(ours, theirs)
    assert found.differ == (
        "c: read here alone",
        "d: read by coremltools alone",
        "b: int32 (), by coremltools float32 ()",
    )


def test_what_a_unit_would_not_take_is_told_with_its_source(
    package: Path, tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ends(1, "lint", str(package))
    out, err = capsys.readouterr()
    assert "error  alignment" in out
    assert "main: output total   last axis 4 of (1, 4)" in out
    assert "note: Apple's authoring rules" in out
    assert "1 of 4 findings are errors" in err
    # the advice, followed; and what is named for no unit alone
    ends(0, "lint", str(package), "--unit", "gpu")
    assert capsys.readouterr().out == "nothing of 5 rules for gpu\n"
    # and so does the contract of its artifact, or of its delivery
    for below, units in (
        ("a", {"package": {"compute_units": "cpu_and_gpu"}}),
        ("b/packages", {"compute_units": "cpu_and_gpu"}),
    ):
        copied = tmp_path / below / package.name
        shutil.copytree(package, copied)
        (tmp_path / below.split("/")[0] / "contract.json").write_text(json.dumps(units))
        ends(0, "lint", str(copied))
        assert capsys.readouterr().out == "nothing of 5 rules for gpu\n"
        (tmp_path / below.split("/")[0] / "contract.json").write_text(json.dumps(units).replace("gpu", "tpu"))
        ends(1, "lint", str(copied))
        assert "1 of 4 findings are errors" in capsys.readouterr().err
    np.save(tmp_path / "x.npy", X + 20)
    ends(1, "lint", str(package), "--unit", "gpu", *files, "--format", "json")
    found = json.loads(capsys.readouterr().out)
    assert [(one["rule"], one["severity"], one["value"]) for one in found["found"]] == [("headroom", "error", "grown")]
