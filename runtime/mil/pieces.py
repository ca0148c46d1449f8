"""The saved packages of a variant → the functions of a contract, whatever pieces run them. Numpy only.

A contract may leave a function to pieces (`runtime.contract.program.Piece`): a package of its own, some layers each.
Whoever calls a function does not see them. What a run found in a piece is told under the piece's name, so that two
pieces may call two values alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from runtime.contract import BrokenEvidence
from runtime.contract import program as contracts
from runtime.contract.program import WRITTEN, Called, Piece
from runtime.mil import held
from runtime.mil import package as packages
from runtime.mil.description import shape_text
from runtime.mil.fed import fed
from runtime.mil.findings import Findings, merged
from runtime.mil.interpreter import Interpreter, Result
from runtime.mil.kept import Array, Inputs, Runs
from runtime.mil.numerics import Mode
from runtime.mil.package import Package

#: name of a package in its variant → the package
Opened = Mapping[str, Package]
Made = TypeVar("Made", bound=Runs)
#: hands the keys and values of a function's layers on
_CACHES = frozenset(WRITTEN["decode"])


def opened(folder: Path, variant: str, contract: Called) -> dict[str, Package]:
    """The packages of one variant. Raises what `package.open` raises, and BrokenEvidence for a package, of several,
    that cannot stand where it does: what it takes and gives is not what the contract says."""
    found = {part: packages.open(folder / contracts.filename(variant, part)) for part in contracts.parts(contract)}
    for name, function in contract.functions.items():
        for piece in function.pieces or ():
            if why := misfit(found[piece.package], piece):
                place = contracts.filename(variant, piece.package)
                raise BrokenEvidence(f"{place} is not the piece of {name} that its contract says: {why}", subject=place)
    return found


def fit(found: Opened, contract: Called) -> None:
    """Raises BrokenEvidence for a function that its package has otherwise than the contract says, in pieces or not."""
    for name in contract.functions:
        for piece in contracts.pieces(contract, name):
            if why := misfit(found[piece.package], piece):
                raise BrokenEvidence(f"{name} is not that of its package: {why}", subject="contract.json")


def misfit(package: Package, piece: Piece) -> str:
    """The first value of a piece that its package has otherwise, or ""."""
    function = package.functions.get(piece.function)
    if function is None:
        return f"it has no function {piece.function}"
    for side, declared, present in (
        ("take", piece.inputs, function.inputs),
        ("keep", piece.states or (), function.states),
        ("give", piece.outputs, function.outputs),
    ):
        due = {value.name: tuple(value.shape) for value in declared}
        there = {value.name: tuple(value.shape) for value in present}
        for name in sorted(due.keys() | there.keys()):
            if name not in due:
                return f"it {side}s {name} {shape_text(there[name])}"
            if name not in there or not _fits(there[name], due[name]):
                return f"it does not {side} {name} {shape_text(due[name])}"
    return ""


def _fits(shape: Sequence[int | None], due: Sequence[int]) -> bool:
    """Whether a shape is the one that is due, as far as it is known."""
    return len(shape) == len(due) and all(size in (None, wanted) for size, wanted in zip(shape, due, strict=True))


def interpreted(found: Opened, contract: Called, mode: Mode = "fp16_round", *, check: bool) -> dict[str, Runs]:
    """The functions of a contract in the interpreter. Raises what `Interpreter` raises."""
    return functions(contract, interpreters(found, contract, mode, check=check))


def interpreters(
    found: Opened, contract: Called, mode: Mode = "fp16_round", *, check: bool
) -> dict[str, list[Interpreter]]:
    """Function → what interprets each of its pieces. Where the packages would not fit in memory together none of them
    keeps its large constants. Raises what `Interpreter` raises."""
    streamed = streams(found)
    return runs(
        contract,
        lambda piece: Interpreter(found[piece.package], piece.function, mode, check=check, streamed=streamed),
    )


def streams(found: Opened) -> bool | None:
    """`streamed` of an interpreter of one of these packages: whether the constants of all of them are too much for the
    memory together, and else as each one asks for itself. The functions of a package share theirs."""
    if len(found) == 1:
        return None
    size = sum(max(map(held.bytes_of, package.functions.values())) for package in found.values())
    return True if held.is_too_much(size) else None


def runs(contract: Called, run: Callable[[Piece], Made]) -> dict[str, list[Made]]:
    """Function → what runs each of its pieces, as `run` makes it: once for each function of a package."""
    made: dict[tuple[str, str], Made] = {}
    found: dict[str, list[Made]] = {}
    for name in contract.functions:
        found[name] = []
        for piece in contracts.pieces(contract, name):
            key = piece.package, piece.function
            if key not in made:
                made[key] = run(piece)
            found[name].append(made[key])
    return found


def functions(contract: Called, made: Mapping[str, Sequence[Runs]]) -> dict[str, Runs]:
    """Function → what runs it as a whole, of what runs its pieces."""
    return {
        name: made[name][0] if function.pieces is None else Chain(contract, name, made[name])
        for name, function in contract.functions.items()
    }


def label(piece: Piece) -> str:
    """How a piece is told from the others of its function."""
    return piece.package or piece.function


class States:
    """The states of a text in every package; read by name they are whole."""

    def __init__(self, of: Mapping[str, Any]) -> None:
        """`of`: package → its state, in the order of the layers."""
        self.of = of

    def __getitem__(self, name: str) -> Array:
        return np.concatenate([np.asarray(state[name]) for state in self.of.values()])


class Chain:
    """One function, run piece by piece."""

    def __init__(self, contract: Called, name: str, made: Sequence[Runs]) -> None:
        self._declared = contract.functions[name]
        self._authoring = contract.authoring
        self._steps = list(zip(contracts.pieces(contract, name), made, strict=True))

    def make_state(self) -> Any:
        """The states of all pieces; any function of the same packages takes them."""
        return States({piece.package: one.make_state() for piece, one in self._steps if piece.states})

    def run(self, inputs: Inputs, /, *, state: Any = None) -> Result:
        """As `Runs.run`. Raises what the pieces raise."""
        values: dict[str, Array] = dict(inputs)
        grown: dict[str, list[Array]] = {name: [] for name in WRITTEN[self._declared.kind].values()}
        seen: list[Findings] = []
        for piece, one in self._steps:
            given = {value.name: _cut(values, value.name, piece) for value in piece.inputs if value.name in values}
            if self._authoring is not None:
                given = fed({**values, **given}, piece.inputs, self._authoring)
            own = state.of.get(piece.package) if isinstance(state, States) else state
            result = one.run(given, state=own)
            for name, value in result.outputs.items():
                if name in grown:
                    grown[name].append(value)
                else:
                    values[name] = value
            seen.append(named(result.findings, label(piece)) if len(self._steps) > 1 else result.findings)
        values |= {name: np.concatenate(found) for name, found in grown.items() if found}
        declared = {value.name for value in self._declared.outputs}
        return Result({name: value for name, value in values.items() if name in declared}, merged(seen))


def _cut(values: Mapping[str, Array], name: str, piece: Piece) -> Array:
    first, end = piece.layers
    return values[name][first:end] if name in _CACHES else values[name]


def named(findings: Findings, piece: str) -> Findings:
    """The same, every value and operation under the name of a piece."""

    def under(name: str) -> str:
        return f"{piece}/{name}"

    counts: dict[str, Any] = {
        key: tuple(one._replace(value=under(one.value), op_name=under(one.op_name)) for one in getattr(findings, key))
        for key in ("mismatches", "nan", "inf", "saturated", "flushed", "out_of_range")
    }
    peaks = {
        under(name): peak._replace(value=under(peak.value), op_name=under(peak.op_name))
        for name, peak in findings.peaks.items()
    }
    return replace(findings, **counts, peaks=peaks, first=under(findings.first) if findings.first else "")
