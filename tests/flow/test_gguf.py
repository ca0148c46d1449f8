"""The real command line and GGUF files: one teaches and starts a student from end to end, others are refused at once."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kcompiler.cli import _main
from runtime import digest
from tests import gguf_files as made
from tests.flow.world import LIGHT, Home
from tests.longer import longer

NEEDED = pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="needs pip install '.[gguf]'")


def taught_by(home: Home, start: bool = False, **teacher: Any) -> None:
    def edit(data: dict[str, Any]) -> None:
        data["teacher"] = {"license": "Apache-2.0", "signals": ["logits"], **teacher}
        data["tokenizer"] = {"source": "teacher", "template": data["tokenizer"]["template"]}
        data["shapes"] = {"prefill": [128], "decode": {"context": 128}}
        if start:
            data["student"] = {"role": "toy", "checkpoint": {"license": "Apache-2.0", **teacher}}

    home.change(edit)


@pytest.mark.slow
@NEEDED
@longer
def test_a_gguf_file_teaches_and_starts_a_student(fresh: Home) -> None:
    (fresh.root / "specs/small.gguf").write_bytes(made.small())
    taught_by(fresh, start=True, source="gguf", model="./small.gguf")
    fresh.change(lambda data: data["teacher"].update(dtype="bf16"))
    fresh.run("pin", "specs/tiny.yaml", code=LIGHT).ended(0, "")
    fresh.run("validate", "specs/tiny.yaml", code=LIGHT).ended(0, "")
    # far too small to answer: a sound run of it ends with a sound FAIL
    result = fresh.apply().ended(1, "fail")
    assert set(result.steps().values()) == {"committed"}
    assert result.steps()["read-teacher"] == "committed"
    contract = json.loads((fresh.stored("tokenizer", "tokenizer") / "contract.json").read_text(encoding="utf-8"))
    assert {name: one["text"] for name, one in contract["special"].items()} == {
        "pad": "<|endoftext|>",
        "bos": "<|im_start|>",
        "eos": "<|im_end|>",
    }
    # nothing runs again, and a file that changed is no longer the plan's
    assert set(fresh.apply().ended(1, "fail").steps().values()) == {"reused"}
    (fresh.root / "specs/small.gguf").write_bytes(made.small(general__name="another"))
    assert "error[KC4408]" in fresh.apply().ended(1, "invalid").err
    fresh.run("pin", "specs/tiny.yaml").ended(0, "")
    fresh.run("validate", "specs/tiny.yaml").ended(0, "")


@pytest.mark.slow
@NEEDED
@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs pip install '.[torchao]'")
def test_a_teacher_of_eight_bits_is_measured_before_it_teaches_and_teaches_the_same_twice(fresh: Home) -> None:
    """In processes of their own: the lock promises the bytes."""
    (fresh.root / "specs/small.gguf").write_bytes(made.small())
    taught_by(fresh, start=True, source="gguf", model="./small.gguf")
    fresh.change(lambda data: data["teacher"].update(dtype="int8"))
    fresh.run("pin", "specs/tiny.yaml", code=LIGHT).ended(0, "")
    result = fresh.apply("--only", "train-kd")
    steps = result.steps()
    assert (steps["teacher-rounded"], steps["train-kd"]) == ("committed", "committed"), result.err
    locked = {step["id"]: step for step in json.loads(fresh.lock.read_text(encoding="utf-8"))["steps"]}
    assert locked["train-kd"]["backend"] == locked["teacher-rounded"]["backend"] == "torchao"
    assert locked["train-kd"]["promise"] == "bitwise"
    assert json.loads(fresh.lock.read_text(encoding="utf-8"))["toolchain"]["torchao"] == "0.18.0"
    report = json.loads((fresh.stored("teacher-rounded", "report") / "report.json").read_text(encoding="utf-8"))["data"]
    assert 0 < report["bytes"]["value"] < report["bytes_plain"]["value"]
    assert report["divergence"]["n"] == report["tokens"]["value"] > 0
    first = fresh.stored("train-kd", "checkpoint")
    again = fresh.apply("--only", "train-kd", "--force", "train-kd", anew=True)
    assert again.steps()["train-kd"] == "committed"
    assert fresh.stored("train-kd", "checkpoint") == first
    assert "did not give again" not in again.err


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(made.small()[:20_000], "KC4320", id="cut short"),
        pytest.param(b"GGML" + made.small()[4:], "KC4320", id="wrong magic"),
        pytest.param(made.written(made.keys(), made.shapes(), counts=(2**60, None)), "KC4320", id="forged count"),
        pytest.param(b"\x80\x04\x95cos\nsystem\n(S'touch ran'\ntR.", "KC4320", id="pickle"),
        pytest.param(made.small(llama__expert_count=8), "KC4322", id="experts"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_at_its_place(
    fresh: Home, data: bytes, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fresh.root / "specs/bad.gguf"
    path.write_bytes(data)
    taught_by(fresh, source="gguf", model="./bad.gguf", revision=digest.of_file(path))
    line = next(
        n for n, text in enumerate(fresh.spec.read_text(encoding="utf-8").splitlines(), 1) if "bad.gguf" in text
    )
    for verb in ("validate", "plan", "apply"):
        assert _main([verb, str(fresh.spec)]) == 1
        said = capsys.readouterr().err
        assert f"error[{code}]" in said
        assert f"specs/tiny.yaml:{line}:" in said
        assert said.count("error[") == 1
    assert not (fresh.root / "ran").exists()


SHIPPED = """
from pathlib import Path
(Path(__file__).parent / "imported").touch()
"""


def installed(site: Path, data: bytes) -> None:
    """A distribution `tiny-weights` as pip leaves it; importing it leaves a trace."""
    package, info = site / "tiny_weights", site / "tiny_weights-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text(SHIPPED, encoding="utf-8")
    (package / "small.Q8_0.gguf").write_bytes(data)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n", encoding="utf-8")
    files = (
        "tiny_weights/__init__.py",
        "tiny_weights/small.Q8_0.gguf",
        "../../etc/passwd.gguf",
        "tiny_weights/gone.gguf",
    )
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in files), encoding="utf-8")


@longer
def test_weights_of_a_package_are_found_without_importing_it(fresh: Home, tmp_path: Path) -> None:
    site = tmp_path / "site"
    wanted = {"source": "package", "distribution": "tiny-weights", "file": "small.Q8_0.gguf"}
    taught_by(fresh, start=True, **wanted)
    installed(site, made.small())
    fresh.run("pin", "specs/tiny.yaml", path=[site], code=LIGHT).ended(0, "")
    assert digest.of_file(site / "tiny_weights/small.Q8_0.gguf") in fresh.spec.read_text(encoding="utf-8")
    fresh.run("plan", "specs/tiny.yaml", path=[site], code=LIGHT).ended(0, "")
    lock = fresh.lock.read_text(encoding="utf-8")
    assert '"path": "package:tiny-weights/small.Q8_0.gguf"' in lock
    assert str(site) not in lock
    # a machine that has not installed it is told how
    result = fresh.run("plan", "specs/tiny.yaml").ended(4, "input-absent")
    assert "error[KC4321]" in result.err
    assert "`pip install --no-deps tiny-weights`" in result.err
    for file, says in (
        ("small.Q9.gguf", "did you mean `small.Q8_0.gguf`"),
        ("passwd.gguf", "lies outside of the installation"),
        ("gone.gguf", "lists `gone.gguf`, and it is not there"),
        ("gguf", "ships no file `gguf`"),
    ):
        fresh.change(lambda data, file=file: data["teacher"].update(file=file))  # type: ignore[misc]
        assert says in fresh.run("validate", "specs/tiny.yaml", path=[site]).ended(4, "input-absent").err
    assert not (site / "tiny_weights/imported").exists()
    assert sys.modules.get("tiny_weights") is None
