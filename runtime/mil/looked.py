"""A saved package → what the verb `mil` says of it: its ops, one run, and what a checked run of each function finds.

Data out, no printing. `run` computes; `check` says whether the package is what it declares to be.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime.contract import Refusal
from runtime.mil import census, given
from runtime.mil import package as packages
from runtime.mil.errors import UnsupportedOp
from runtime.mil.findings import Findings
from runtime.mil.interpreter import Interpreter
from runtime.mil.numerics import Array, Mode
from runtime.mil.package import Package
from runtime.mil.program import Function

#: every value of the function, among the names of those that are kept
EVERY = "*"


class Wanted(NamedTuple):
    """What a run is given: files of inputs, shapes and a seed of what is drawn, the numeric mode, and whether large
    constants are `streamed` (None: as memory asks)."""

    files: Mapping[str, Path]
    shapes: Mapping[str, tuple[int, ...]]
    seed: int | None
    mode: Mode
    streamed: bool | None = None

    def interpreter(self, package: Package, function: str, *, check: bool = True) -> Interpreter:
        """The function, compiled so."""
        return Interpreter(package, function, self.mode, check=check, streamed=self.streamed)


class Ran(NamedTuple):
    """One run: its function, inputs, outputs, the state afterwards, values that were asked for, and its findings."""

    function: str
    inputs: dict[str, Array]
    outputs: dict[str, Array]
    state: dict[str, Array]
    values: dict[str, Array]
    findings: Findings

    def arrays(self) -> dict[str, Array]:
        """Outputs and values by their names, states as `state/NAME`."""
        return self.values | self.outputs | {f"state/{name}": array for name, array in self.state.items()}


def ops(path: Path, function: str = "") -> tuple[list[census.Used], str]:
    """The ops of a package, and why it cannot be read as a whole although each op is modelled ("" where it can).

    Raises what opening a package raises, but for what is not modelled.
    """
    _, model = packages.parsed(path)
    found = [one for one in census.census(model.mlProgram) if not function or one.function == function]
    if function and not found:
        raise packages.no_function(path.name, function, model.mlProgram.functions)
    why = ""
    if all(one.modelled for one in found):
        try:
            packages.open(path)
        except UnsupportedOp as error:
            why = error.message
    return found, why


def run(package: Package, function: str, wanted: Wanted, keep: Sequence[str] = ()) -> Ran:
    """One run from zeroed state, checked. `keep` names values inside the function that are wanted, too.

    Raises Refusal for inputs or names that do not fit, UnsupportedOp for what is not modelled, BrokenEvidence for a
    package that contradicts itself.
    """
    machine = wanted.interpreter(package, function)
    inputs = given.inputs(package, machine.function, wanted.files, shapes=wanted.shapes, seed=wanted.seed)
    values: dict[str, Array] = {}
    if keep:
        values = machine.values(inputs, None if EVERY in keep else list(keep))
    result = machine.run(inputs)
    return Ran(machine.function.name, inputs, result.outputs, dict(machine.state), values, result.findings)


def check(package: Package, functions: Sequence[str], wanted: Wanted) -> list[Ran]:
    """A checked run of each named function, of all when none is named. Raises as `run` does."""
    return [
        run(package, name, wanted._replace(**_of(package, name, wanted))) for name in functions or package.functions
    ]


def _of(package: Package, function: str, wanted: Wanted) -> dict[str, Any]:
    """The files and shapes that are of this function's inputs, or of no function's: one command line is of all."""
    names = {feature.name for feature in package.function(function).inputs}
    every = {feature.name for one in package.functions.values() for feature in one.inputs}
    return {
        key: {name: one for name, one in getattr(wanted, key).items() if name in names or name not in every}
        for key in ("files", "shapes")
    }


def pair(
    first: Package, second: Package, name: str, wanted: Wanted, names: Sequence[str]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The named values of one function of two packages, over the inputs that are drawn or loaded for the first. Raises
    Refusal where there is no name: nothing would have been compared."""
    if not names:
        raise Refusal(
            f"no value has one name in {first.path.name} and {second.path.name}",
            place=name,
            action="compare two packages of one model, or one of them with a reference: kcompiler mil bisect",
        )
    inputs = given.inputs(first, first.function(name), wanted.files, shapes=wanted.shapes, seed=wanted.seed)
    a, b = (wanted.interpreter(one, name, check=False).values(inputs, names) for one in (first, second))
    return a, b


def arrays(path: Path) -> dict[str, Array]:
    """The arrays of an `.npz` file. Raises Refusal for what is none, or holds Python objects."""
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Refusal(
            f"holds no arrays: {error}", place=path.name, action="write it with numpy.savez, without Python objects"
        ) from None


def archive(held: Mapping[str, Array]) -> bytes:
    """The bytes of an `.npz` file; the same arrays are the same bytes."""
    written = io.BytesIO()
    np.savez(written, allow_pickle=False, **dict(sorted(held.items())))
    return written.getvalue()


def values_of(package: Package, called: Function, held: Mapping[str, Array], wanted: Wanted) -> dict[str, Array]:
    """What the package makes of the inputs in `held`, for every value that is named there, too."""
    missing = [one.name for one in called.inputs if one.name not in held and one.name not in wanted.files]
    if missing:
        raise Refusal(f"the reference has no input {missing[0]}", action="put each input there, by its name")
    inputs = {one.name: held[one.name] for one in called.inputs if one.name in held}
    inputs |= {name: given.load(path) for name, path in wanted.files.items()}
    made = {name for operation in called.operations for name, kind in operation.outputs if kind.form != "list"}
    return wanted.interpreter(package, called.name, check=False).values(inputs, sorted(made & held.keys()))


def wrong(findings: Findings) -> list[str]:
    """What a run found that should not be, one line each, in words."""
    lines = [
        f"{one.op_type or 'description'} {one.op_name or one.value}: {one.what} is declared {one.declared}, "
        f"found {one.actual}"
        for one in findings.mismatches
    ]
    for what, counts in (
        ("NaN", findings.nan),
        ("infinite", findings.inf),
        ("beyond float16 (rounds to infinity)", findings.saturated),
        ("outside its integer type", findings.out_of_range),
    ):
        lines += [f"{one.op_type} {one.op_name}: {one.elements} elements of {one.value} {what}" for one in counts]
    return lines


def summary(arrays: Mapping[str, Array]) -> dict[str, dict[str, Any]]:
    """Shape, dtype, and the finite least, greatest and mean of each array; None where no element is finite. Of a label,
    which is a text, the text."""
    return {name: _summary(array) for name, array in arrays.items()}


def _summary(array: Array) -> dict[str, Any]:
    finite = array[np.isfinite(array)].astype(np.float64) if array.dtype.kind in "fiub" else np.zeros(0)
    numbers: dict[str, float | None] = {"least": None, "greatest": None, "mean": None}
    if finite.size:
        numbers = {"least": float(finite.min()), "greatest": float(finite.max()), "mean": float(finite.mean())}
    text = {"text": array.item()} if array.dtype.kind == "U" and array.ndim == 0 else {}
    return {"shape": list(array.shape), "dtype": str(array.dtype), **numbers, "finite": int(finite.size), **text}


def facts(findings: Findings) -> dict[str, Any]:
    """Findings as data: what is wrong, how many elements vanished in float16, and where the least room is left."""
    return {
        "wrong": wrong(findings),
        "flushed": sum(one.elements for one in findings.flushed),
        "first": findings.first,
        "tightest": [
            {"value": peak.value, "op": peak.op_type, "magnitude": peak.magnitude, "headroom": peak.headroom}
            for peak in findings.tightest(3)
            if peak.magnitude
        ],
    }
