"""A function run as its large constants may wait: all widened, narrow, streamed; with torch loaded and without."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch

from runtime.mil import held
from runtime.mil.interpreter import Interpreter, Result
from runtime.mil.numerics import Array, Mode
from runtime.mil.package import Package


@contextmanager
def large(elements: int) -> Iterator[None]:
    """Constants from so many elements on are large."""
    with patch.object(held, "LARGE", elements):
        yield


@contextmanager
def without_torch() -> Iterator[None]:
    """As in a process that never loaded it."""
    with patch.dict(sys.modules, {"torch": None}):
        yield


def agree(found: Result, wanted: Result) -> None:
    """The same bits of every output, and the same findings."""
    assert found.findings == wanted.findings
    assert found.outputs.keys() == wanted.outputs.keys()
    for name, value in wanted.outputs.items():
        assert found.outputs[name].tobytes() == value.tobytes(), name


def agrees_however_held(
    package: Package, inputs: Mapping[str, Array], function: str = "", mode: Mode = "fp16_round"
) -> None:
    """Whatever is narrow or streamed, the results are those of constants that are all widened beforehand."""
    package.cache.clear()
    with large(sys.maxsize):
        machine = Interpreter(package, function, mode)
        assert not machine._compiled.held
        wanted, every = machine.run(inputs), machine.values(inputs)
    package.cache.clear()
    for streamed in (True, False):
        with large(1):
            machine = Interpreter(package, function, mode, streamed=streamed)
        for check in (True, False):
            found = machine.run(inputs, check=check)
            agree(found, wanted if check else Result(wanted.outputs, found.findings))
        values = machine.values(inputs)
        assert {name: one.tobytes() for name, one in values.items()} == {k: v.tobytes() for k, v in every.items()}
    package.cache.clear()
