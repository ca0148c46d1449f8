"""The verb of a Mac that only got a delivery: verify --on-device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT

if TYPE_CHECKING:
    from runtime.contract import Unavailable
    from runtime.contract.delivery import Contract
    from runtime.coreml.api import CoreML

_AGAIN = "kcompiler deliver SPEC --goldens --to DIR"
INSTALL = "pip install 'kcompiler[device]'"
UNITS = ("all", "cpu_and_gpu", "cpu_and_ne")


@click.command()
@click.option(
    "--on-device",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="A delivery that was made with --goldens.",
)
@click.option(
    "--to",
    "out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("device-report.json"),
    show_default=True,
    help="The report to write, outside of DIR.",
)
@click.option("--precision", type=click.Choice(["quantized", "fp16"]), help="Which package; else the first of DIR.")
@click.option(
    "--units",
    type=click.Choice(UNITS),
    help="Where Core ML may compute, with the CPU; else what the contract of DIR says.",
)
@click.option(
    "--level", type=click.IntRange(3, 5), default=4, show_default=True, help="The attestation level that is asked for."
)
@click.option(
    "--residency",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="More than this share of the operations is to run on the accelerators of --units (from level 4 on).",
)
@click.option(
    "--tokens-per-second", "speed", type=click.FloatRange(min=0), metavar="N", help="The decode is to be this fast."
)
@click.option(
    "--repetitions", type=click.IntRange(1, 10_000), default=30, show_default=True, help="Calls that are timed."
)
@click.option("--warm-up", type=click.IntRange(0, 1000), default=5, show_default=True, help="Calls before them.")
@FORMAT
def verify(
    folder: Path,
    out: Path,
    precision: str | None,
    units: str | None,
    level: int,
    residency: float,
    speed: float | None,
    repetitions: int,
    warm_up: int,
    form: str,
) -> None:
    """Predict the package of a delivery in Core ML itself and write a report, on the Mac that is to run it.

    Its outputs are held against the golden vectors of DIR, on the CPU alone and on --units; Core ML's plan says which
    operation runs where; calls are timed. A spec takes the report in by `device: {report: FILE}`. Exit 1: less than
    --level, --residency or --tokens-per-second. Exit 3: a file of DIR is not as its checksums say. Exit 4: this machine
    cannot predict; the report says so, and no gate passes on it.
    """
    from runtime.contract import BrokenEvidence

    try:
        contract = _whole(folder)
    except BrokenEvidence as broken:
        said = f"{folder} is not the delivery that was made: {broken.subject}: {broken.message}"
        raise Outcome(3, "evidence-broken", "copy the delivery again", said) from None
    if contract.golden is None:
        said = f"{folder} has no golden vectors to compare with"
        raise Outcome(2, "no-goldens", _AGAIN, said)
    known = list(dict.fromkeys(one.precision for one in contract.packages))
    chosen = precision or known[0]
    if chosen not in known:
        raise click.UsageError(f"the delivery has no package `{chosen}`, only {', '.join(known)}")
    if units is None and contract.compute_units not in UNITS:
        said = "the delivery is for the CPU alone, of which no level above 3 speaks"
        raise click.UsageError(f"{said}: name --units to measure it elsewhere")
    units = units or contract.compute_units
    if out.resolve().is_relative_to(folder.resolve()):
        raise click.UsageError(f"--to: {out} lies in the delivery, whose checksums it would break")
    report = _report(folder, {"precision": chosen, "units": units, "repetitions": repetitions, "warm_up": warm_up})
    _write(out, report)
    _answer(report, out, {"level": level, "residency": residency, "speed": speed}, form)


def _whole(folder: Path) -> Contract:
    """The contract of a delivery, each file of which is as its checksums say. Raises BrokenEvidence, Outcome."""
    from runtime.contract import delivery
    from runtime.machine import delivery as machine

    if not delivery.is_delivery(folder):
        raise Outcome(
            2, "no-delivery", _AGAIN, f"{folder} is no delivery: contract.json, packages or huggingface is missing"
        )
    machine.unchanged(folder)
    return delivery.load(folder)


def _told(text: str) -> None:
    click.echo(f"  {text}", err=True)


def _report(folder: Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The report on this machine. Raises Outcome where what reads packages is not installed."""
    from runtime.contract import BrokenEvidence
    from runtime.contract.ondevice import KIND
    from runtime.contract.report import envelope
    from runtime.machine import host

    hardware = {name: str(value) for name, value in host.hardware().items()}
    machine = {**hardware, "release": host.release(), "memory": host.timing()["memory"]}
    try:
        from runtime.coreml.attest import Wanted, attest

        data = attest(folder, Wanted(**wanted, told=_told), machine, _coreml())
    except ModuleNotFoundError as lacking:
        if (lacking.name or "").split(".")[0] in ("kcompiler", "runtime"):
            raise
        said = f"packages cannot be read here: no module `{lacking.name}`"
        raise Outcome(4, "toolchain-differs", INSTALL, said) from None
    except BrokenEvidence as broken:
        said = f"{broken.subject}: {broken.message}"
        raise Outcome(3, "evidence-broken", "copy the delivery again", said) from None
    package, goldens = data["package"]["sha256"], data["goldens_sha256"]
    return envelope(
        kind=KIND,
        step="device",
        subject={"goldens": f"sha256:{goldens}", "package": f"sha256:{package}"},
        fingerprints={},
        environment={"forged": False, "backend": "coreml", "versions": dict(data["toolchain"])},
        data=data,
    )


def _coreml() -> CoreML | Unavailable:
    from runtime.contract import Unavailable
    from runtime.coreml import found

    try:
        return found.coreml()
    except Unavailable as reason:
        return reason


def _write(out: Path, report: Mapping[str, Any]) -> None:
    from runtime.contract.report import dump
    from runtime.machine import durable

    out.parent.mkdir(parents=True, exist_ok=True)
    durable.write(out, dump(report).encode())


def _answer(report: Mapping[str, Any], out: Path, asked: Mapping[str, Any], form: str) -> None:
    """Print it. Raises Outcome unless all that was asked for is there."""
    from runtime.contract.report import dump

    data = report["data"]
    if form == "json":
        click.echo(dump(report), nl=False)
    else:
        for line in _lines(data):
            click.echo(line)
    click.echo(f"wrote {out}", err=True)
    if data["level"]["value"] is None:
        said = f"nothing was measured here: {data['level']['reason']}"
        raise Outcome(4, "unavailable", f"the same command on a Mac, after {INSTALL}", said)
    wrong = list(_short(data, asked))
    if wrong:
        raise Outcome(1, "not-attested", f"read {out}", "\n".join(wrong))


def _short(data: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
    """What is less than was asked for, in words."""
    if data["level"]["value"] < asked["level"]:
        yield f"level {data['level']['value']} of {asked['level']}:"
        yield from (f"  {one}" for one in data["lacks"])
    share = data["residency"]["on_target"]
    if asked["level"] >= 4 and (share["value"] is None or not share["value"] > asked["residency"]):
        found = share.get("reason") or f"{share['k']} of {share['n']}"
        yield f"residency on {data['units']}: {found}, asked for more than {asked['residency']:g}"
        for one in data["residency"]["functions"]:
            yield from (f"  {one['function']}: {word}" for word in [*one["elsewhere"], *one["unplanned"]])
    speed = data["latency"]["decode"]
    if asked["speed"] is not None and (speed["value"] is None or speed.get("low", 0) < asked["speed"]):
        found = speed.get("reason") or f"{speed['value']:.4g} token/s, its lower end {speed.get('low', 0):.4g}"
        yield f"decode: {found}, asked for {asked['speed']:g}"


def _lines(data: Mapping[str, Any]) -> Any:
    machine, level = data["machine"], data["level"]["value"]
    yield f"{data['package']['precision']} on {machine['processor']}, {machine['system']} {machine['release']}"
    yield f"  level      {'unavailable' if level is None else f'L{level}'}"
    for run in data["runs"]:
        parts = [*run["shapes"], *([run["decode"]] if run["decode"] else [])]
        cosines = [one["cosine"]["value"] for one in parts]
        known = [one for one in cosines if one is not None]
        worst = f"worst cosine {min(known):.6f}" if known and len(known) == len(cosines) else "no cosine"
        yield f"  {run['units']:<10} {run['failed'] or worst}"
    share, speed = data["residency"]["on_target"], data["latency"]["decode"]
    yield f"  residency  {share.get('reason') or '{k} of {n} operations'.format(**share)}"
    yield f"  decode     {speed.get('reason') or '{value:.4g} token/s'.format(**speed)}"
