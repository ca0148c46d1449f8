"""Another process, another folder, another hash seed: the same program, goldens and packages, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import digest
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

root, *folders = map(Path, sys.argv[1:])
takes = dict(zip(("dataset", "tokenizer", "checkpoint"), folders))
export(takes, EXPORT, Stage(root / "exported", takes))
# what a conversion that was refused leaves behind in a process: numbers of names that go on
for name in ("cast", "const", "dtype", "shape", "x", "y", "axis", "axes", "begin", "end", "mul", "add"):
    Builder.name_count[name] = 33
program = {"program": root / "exported" / "program"}
convert(program, CONVERT, Stage(root / "converted", program))
"""


@pytest.mark.slow
def test_another_process_makes_the_same_bytes(converted: Converted, tmp_path: Path) -> None:
    folders = [str(converted.takes[port]) for port in ("dataset", "tokenizer", "checkpoint")]
    environment = {**os.environ, "PYTHONHASHSEED": "271828", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), *folders],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    made = {
        "exported/program": converted.program,
        "exported/goldens": converted.takes["goldens"],
        "converted/package": converted.takes["package"],
    }
    for name, folder in made.items():
        assert digest.of_folder(tmp_path / name) == digest.of_folder(folder), name
