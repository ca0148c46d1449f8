"""Another process, another folder, another hash seed: the same program, goldens and packages, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from coremltools.converters.mil.mil import Builder as mb

from runtime import digest
from runtime.contract import program as contracts
from runtime.mil.convert import _name_moves
from tests.longer import longer
from tests.tensor.coreml.conftest import Converted

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import sys
from pathlib import Path
from tests.tensor.coreml.conftest import CONVERT, EXPORT
from tests.tensor.export.world import Stage
from coremltools.converters.mil.mil import Builder
from runtime.mil.convert import convert
from runtime.models.export import export

profile, root, *folders = sys.argv[1:]
root, folders = Path(root), map(Path, folders)
takes = dict(zip(("dataset", "tokenizer", "checkpoint"), folders))
asked = {"profile": profile, "prefill": [16]} if profile == "ane" else {}
export(takes, EXPORT.model_copy(update=asked), Stage(root / "exported", takes))
# what a conversion that was refused leaves behind in a process: numbers of names that go on
for name in ("cast", "const", "dtype", "shape", "x", "y", "axis", "axes", "begin", "end", "mul", "add"):
    Builder.name_count[name] = 33
program = {"program": root / "exported" / "program"}
convert(program, CONVERT.model_copy(update={"islands": []} if profile == "ane" else {}), Stage(root / "converted", program))
"""


def started(profile: str, converted: Converted, root: Path, seed: int) -> subprocess.Popen[str]:
    root.mkdir(exist_ok=True)
    folders = [str(converted.takes[port]) for port in ("dataset", "tokenizer", "checkpoint")]
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", SCRIPT, profile, str(root), *folders]
    return subprocess.Popen(
        words, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(process: subprocess.Popen[str]) -> None:
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said[-4000:]


@pytest.mark.slow
def test_another_process_makes_the_same_bytes(converted: Converted, tmp_path: Path) -> None:
    ended(started("gpu", converted, tmp_path, 271828))
    made = {
        "exported/program": converted.program,
        "exported/goldens": converted.takes["goldens"],
        "converted/package": converted.takes["package"],
    }
    for name, folder in made.items():
        assert digest.of_folder(tmp_path / name) == digest.of_folder(folder), name


@longer
def test_the_profile_ane_makes_the_same_bytes_whatever_the_hash_seed(converted: Converted, tmp_path: Path) -> None:
    folders = [tmp_path / str(seed) for seed in (1, 2, 3)]
    for process in [started("ane", converted, folder, int(folder.name)) for folder in folders]:
        ended(process)
    assert len({digest.of_folder(folder / "converted") for folder in folders}) == 1


def moved(first: str, second: str) -> Any:
    """A program with two transposes that have these names."""

    @mb.program(input_specs=[mb.TensorSpec(shape=(2, 3)), mb.TensorSpec(shape=(2, 3))])
    def made(x: Any, y: Any) -> Any:
        one = mb.transpose(x=x, perm=[1, 0], name=first)
        other = mb.transpose(x=y, perm=[1, 0], name=second)
        return mb.reshape(x=mb.add(x=one, y=other, name="sum"), shape=[6], name="reshape_9")

    return made


def test_moves_are_named_by_where_they_stand_and_not_by_the_order_of_a_set() -> None:
    function = contracts.Function(
        kind="decode", length=1, inputs=[], outputs=[], parameters={}, modules={"residual": {"layer": ["transpose_5"]}}
    )
    names = []
    for program in (moved("transpose_0", "transpose_1"), moved("transpose_1", "transpose_0")):
        _name_moves(program, function)
        names.append([op.name for op in program.functions["main"].operations])
    assert names[0] == names[1]
    assert {"transpose_at_0", "transpose_at_1", "sum", "reshape_at_2"} < set(names[0])
    known = moved("transpose_5", "transpose_0")
    _name_moves(known, function)
    assert {"transpose_5", "transpose_at_0"} < {op.name for op in known.functions["main"].operations}
