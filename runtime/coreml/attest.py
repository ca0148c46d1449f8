"""A delivery × Core ML → the data of report `coreml.device`: outputs against the golden vectors, on the CPU alone and
on the target units, where the operations run, how long a call takes, and the level that all of it gives.

Nothing is skipped over: what cannot be had stands in the report with its reason, and the level stays below it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from runtime import digest
from runtime.contract import BrokenEvidence, Unavailable, delivery, ondevice
from runtime.contract import program as programs
from runtime.contract import report as facts
from runtime.contract.delivery import Contract, Golden, Package
from runtime.coreml.api import CoreML
from runtime.coreml.plan import Part, placed
from runtime.coreml.predict import NotPredicted, Predictor
from runtime.mil import package as packages
from runtime.mil import pieces
from runtime.mil.golden import Index, Tensors, Watched, compared, goldens_of
from runtime.mil.loop import Host

Clock = Callable[[], int]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is measured: which package, on which units besides the CPU, how often after how many calls."""

    precision: delivery.Precision
    units: ondevice.Units
    repetitions: int = 30
    warm_up: int = 5
    clock: Clock = time.perf_counter_ns
    told: Callable[[str], None] = field(default=lambda _: None)


def attest(folder: Path, wanted: Wanted, machine: Mapping[str, str], coreml: CoreML | Unavailable) -> dict[str, Any]:
    """The data of the report. `coreml` is what this machine has, or why it has none: then nothing is measured.

    Raises BrokenEvidence for a delivery that is not what its contract says, or was made without golden vectors.
    """
    contract = delivery.load(folder)
    saved, golden = packaged(contract, wanted.precision), vectors(contract)
    delivery.measurable(folder, contract)
    why = str(coreml) if isinstance(coreml, Unavailable) else ""
    functions = [*(name for name, _ in contract.prefills()), _decode(contract)]
    data: dict[str, Any] = {
        "package": {"precision": wanted.precision, "sha256": _saved(folder, saved), "sha256_after": ""},
        "goldens_sha256": _digest(folder / golden.path),
        "plan_sha256": contract.plan_sha256,
        "units": wanted.units,
        "functions": functions,
        "tolerances": golden.tolerances[wanted.precision].told(),
        "machine": {**machine, "cannot": why},
        "toolchain": {"coremltools": "", "coreml": ""},
        "runs": [],
        "residency": ondevice.no_residency(wanted.units, why),
        "latency": ondevice.no_latency(wanted.units, why),
    }
    # what is broken is told on every machine, not only where Core ML would stumble over it
    _fitting(contract, folder, saved)
    _golden(folder / golden.path, contract)
    if isinstance(coreml, CoreML):
        data["toolchain"] = dict(coreml.versions)
        data |= _measured(coreml, contract, folder, wanted, golden)
    data["package"]["sha256_after"] = _saved(folder, saved)
    return {**data, **ondevice.attested(data)}


def packaged(contract: Contract, precision: str) -> dict[str, Package]:
    """The packages of this precision by their parts, as the pieces of the functions name them. Raises BrokenEvidence
    where the delivery has one of them not."""
    there = {one.part: one for one in contract.packages if one.precision == precision}
    for part in programs.parts(contract):
        if part not in there:
            named = f" `{part}`" if part else ""
            raise BrokenEvidence(f"the delivery has no package{named} `{precision}`", subject=delivery.CONTRACT)
    return {part: there[part] for part in programs.parts(contract)}


def _fitting(contract: Contract, folder: Path, saved: Mapping[str, Package]) -> None:
    """Raises BrokenEvidence for a package that cannot be read, or is not what the contract says that it runs."""
    held = {part: packages.open(folder / one.path) for part, one in saved.items()}
    for name in contract.functions:
        for piece in programs.pieces(contract, name):
            if why := pieces.misfit(held[piece.package], piece):
                raise BrokenEvidence(
                    f"it does not run {name} as {delivery.CONTRACT} says: {why}", subject=saved[piece.package].path
                )


def _saved(folder: Path, saved: Mapping[str, Package]) -> str:
    return delivery.whole({part: _digest(folder / one.path) for part, one in saved.items()})


def vectors(contract: Contract) -> Golden:
    """What a delivery says of its golden vectors. Raises BrokenEvidence where it has none."""
    if contract.golden is None:
        raise BrokenEvidence("the delivery has no golden vectors to compare with", subject=delivery.CONTRACT)
    return contract.golden


def _digest(folder: Path) -> str:
    try:
        return facts.hex_of(digest.of_folder(folder))
    except ValueError as strange:
        raise BrokenEvidence(str(strange), subject=folder.name) from None


def _decode(contract: Contract) -> str:
    for name, one in contract.functions.items():
        if one.kind == "decode" and contract.prefills():
            return name
    raise BrokenEvidence("the contract has no prefill and decode", subject=delivery.CONTRACT)


def _golden(folder: Path, contract: Contract) -> tuple[Index, Tensors]:
    try:
        return goldens_of(folder, contract)
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as strange:
        raise BrokenEvidence(f"they cannot be read: {strange}", subject=delivery.GOLDENS) from None


def _measured(coreml: CoreML, contract: Contract, folder: Path, wanted: Wanted, golden: Golden) -> dict[str, Any]:
    """Sections `runs`, `residency` and `latency`."""
    runs = list[dict[str, Any]]()
    ready: Mapping[str, list[Predictor]] = {}
    for units in (ondevice.CPU, wanted.units):
        wanted.told(f"golden vectors on {units}")
        run, ready = _run(coreml, contract, folder, wanted, golden, units)
        runs.append(run)
    wanted.told("compute plan")
    residency = _residency(coreml, contract, folder, wanted, ready)
    wanted.told(f"{wanted.repetitions} calls of each function on {wanted.units}")
    return {"runs": runs, "residency": residency, "latency": _latency(contract, wanted, ready, runs[-1]["failed"])}


def _run(
    coreml: CoreML, contract: Contract, folder: Path, wanted: Wanted, golden: Golden, units: str
) -> tuple[dict[str, Any], Mapping[str, list[Predictor]]]:
    """One run over all golden vectors, and the functions that it loaded, piece by piece; none where it failed."""
    nothing: dict[str, Any] = {"units": units, "failed": "", "shapes": [], "decode": {}}
    saved = packaged(contract, wanted.precision)
    index, tensors = _golden(folder / golden.path, contract)
    try:
        loaded = pieces.runs(
            contract,
            lambda piece: Predictor(
                coreml,
                folder / saved[piece.package].path,
                piece.function,
                units,
                dtypes={value.name: value.dtype for value in piece.inputs},
                states=[value.name for value in piece.states or ()],
            ),
        )
        host = Host(pieces.functions(contract, loaded), contract)
        return {**nothing, **compared(host, index, tensors, golden, _health)}, loaded
    except (NotPredicted, BrokenEvidence) as reason:
        return {**nothing, "failed": str(reason)}, {}
    except (LookupError, TypeError, ValueError) as strange:
        # an output or vector that is missing, or of another shape or kind than any array of numbers
        return {**nothing, "failed": f"outputs and golden vectors do not fit: {type(strange).__name__}: {strange}"}, {}


def _health(name: str, seen: Watched) -> dict[str, Any]:
    return {"shape_mismatches": facts.measured(seen.misshapen, "value")}


def _residency(
    coreml: CoreML, contract: Contract, folder: Path, wanted: Wanted, ready: Mapping[str, list[Predictor]]
) -> dict[str, Any]:
    units = wanted.units
    if coreml.no_plans or not ready:
        return ondevice.no_residency(units, coreml.no_plans or f"nothing was loaded on {units}")
    there = packaged(contract, wanted.precision)
    saved = {part: packages.open(folder / one.path) for part, one in there.items()}
    try:
        found = [
            placed(
                coreml,
                name,
                [
                    Part(
                        pieces.label(piece),
                        one.model.get_compiled_model_path(),
                        saved[piece.package].function(piece.function),
                    )
                    for piece, one in zip(programs.pieces(contract, name), made, strict=True)
                ],
                units,
            )
            for name, made in ready.items()
        ]
    except NotPredicted as reason:
        return ondevice.no_residency(units, str(reason))
    except Exception as error:  # coremltools raises Exception itself where a model was not compiled
        return ondevice.no_residency(units, f"{type(error).__name__}: {error}")
    return ondevice.residency(units, found)


def _latency(contract: Contract, wanted: Wanted, ready: Mapping[str, list[Predictor]], failed: str) -> dict[str, Any]:
    """Calls one after the other, each on what its pieces were given last by the golden vectors."""
    if failed:
        return ondevice.no_latency(wanted.units, failed)
    found = []
    try:
        for name, one in ready.items():
            ns = []
            for number in range(wanted.warm_up + wanted.repetitions):
                began = wanted.clock()
                for piece in one:
                    piece.call(piece.last)
                ended = wanted.clock()
                ns += [ended - began] if number >= wanted.warm_up else []
            found.append(ondevice.timed(name, contract.functions[name].length, ns))
    except NotPredicted as reason:
        return ondevice.no_latency(wanted.units, str(reason))
    return ondevice.latency(wanted.units, wanted.warm_up, wanted.repetitions, found, _decode(contract))
