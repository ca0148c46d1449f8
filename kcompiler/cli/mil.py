"""The verbs of Core ML packages, whoever made them: mil ops, run, check, lint, diff, bisect. No Mac is needed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from kcompiler.cli import threads
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT
from kcompiler.render import mil as text

if TYPE_CHECKING:
    from runtime.mil.compared import Parted
    from runtime.mil.looked import Wanted

_PACKAGE = click.Path(path_type=Path, exists=True, file_okay=False)
FUNCTION = click.option("--function", metavar="NAME", default="", help="This function, not the package's default.")
MODES = ("exact32", "fp16_round", "fp16_strict")
ALLOWED = click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="The relative L2 up to which two values agree.",
)


def given(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what a run is given."""
    for option in (
        click.option(
            "--mode",
            type=click.Choice(MODES),
            default="fp16_round",
            show_default=True,
            help="exact32 never rounds to float16, fp16_round each result, fp16_strict also inside ops.",
        ),
        click.option(
            "--shape", "shapes", multiple=True, metavar="NAME=1,8", help="The shape of a drawn input that may vary."
        ),
        click.option("--input", "files", multiple=True, metavar="NAME=FILE.npy", help="An input."),
        click.option(
            "--streamed",
            is_flag=True,
            help="Keep no large weight in memory: read and dequantize each anew. The same bits, slower. Also done where"
            " the weights would take more than half of what is free.",
        ),
    ):
        command = option(command)
    return command


@click.group()
def mil() -> None:
    """Look into a Core ML package (.mlpackage, an ML Program) and run it, on any machine.

    A reference interpreter computes what the saved program says. What it does not model is refused by name; of a
    device's kernels, speed and memory it says nothing.
    """


@mil.command()
@click.argument("package", type=_PACKAGE)
@FUNCTION
@FORMAT
def ops(package: Path, function: str, form: str) -> None:
    """List the ops of PACKAGE: in which opset, how often, whether the interpreter has them. Exit 1: one it has not."""
    with _explained(f"kcompiler mil ops {package}"):
        from runtime.mil import looked

        found, why = looked.ops(package, function)
    strange = sorted({one.op for one in found if not one.modelled})
    if form == "json":
        rows = [dataclasses.asdict(one) for one in found]
        click.echo(json.dumps({"ops": rows, "unmodelled": strange, "refused": why}))
    else:
        width = max((len(one.op) for one in found), default=0)
        for name in dict.fromkeys(one.function for one in found):
            mine = [one for one in found if one.function == name]
            click.echo(f"{name}   {mine[0].opset}, {sum(one.count for one in mine):,} ops of {len(mine)} types")
            for one in sorted(mine, key=lambda one: (-one.count, one.op)):
                click.echo(f"  {one.op:<{width}}  {one.count:>7,}{'' if one.modelled else '   not modelled'}")
    if strange or why:
        told = why or f"not modelled: {', '.join(strange)}"
        raise Outcome(1, "not-modelled", "kcompiler explain KR0610", told)


@mil.command()
@click.argument("package", type=_PACKAGE)
@FUNCTION
@given
@click.option("--random", "seed", type=click.IntRange(min=0), metavar="SEED", help="Draw each input without a file.")
@click.option("--value", "keep", multiple=True, metavar="NAME", help="Keep this value inside, too; '*' keeps all.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.npz", help="Write all arrays there."
)
@FORMAT
def run(
    package: Path,
    function: str,
    files: tuple[str, ...],
    shapes: tuple[str, ...],
    mode: str,
    streamed: bool,
    seed: int | None,
    keep: tuple[str, ...],
    out: Path | None,
    form: str,
) -> None:
    """Run PACKAGE once, from zeroed state, and say what it yields.

    An image is its pixels, 0 to 255, in the shape (1, channels, height, width). A drawn index is one of the table that
    it looks up. A classifier says its label, and what it says of every label stands in the order of its labels. OUT.npz
    holds outputs and kept values by their names and states as `state/NAME`; floats are float32, whatever they are
    declared, as the numbers were computed.
    """
    if out is not None and out.suffix != ".npz":
        raise click.UsageError(f"--out: {out} does not end with .npz")
    with _explained(f"kcompiler mil run {package}"):
        from runtime.mil import looked
        from runtime.mil import package as packages

        ran = looked.run(packages.open(package), function, _wanted(files, shapes, seed, mode, streamed), keep)
        data = {
            "function": ran.function,
            "mode": mode,
            "inputs": looked.summary(ran.inputs),
            "outputs": looked.summary(ran.outputs),
            "state": looked.summary(ran.state),
            "findings": looked.facts(ran.findings),
        }
    if out is not None:
        _save(out, looked.archive(ran.arrays()))
    click.echo(json.dumps(data) if form == "json" else text.ran(data))


@mil.command()
@click.argument("package", type=_PACKAGE)
@click.option("--function", "functions", metavar="NAME", multiple=True, help="This function alone; else every one.")
@given
@click.option("--random", "seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="SEED")
@FORMAT
def check(
    package: Path,
    functions: tuple[str, ...],
    files: tuple[str, ...],
    shapes: tuple[str, ...],
    mode: str,
    streamed: bool,
    seed: int,
    form: str,
) -> None:
    """Hold PACKAGE against itself: what each op declares against what it yields, in one run of every function.

    Named are: a value of another shape or type than declared, or than coremltools' own loader infers; NaN, infinities,
    what float16 or an integer type cannot hold. Inputs without a file are drawn. Exit 1: something was found; 3: the
    package is damaged.
    """
    with _explained(f"kcompiler mil check {package}"):
        from runtime.mil import crossed, looked
        from runtime.mil import package as packages

        opened = packages.open(package)
        found = looked.check(opened, functions, _wanted(files, shapes, seed, mode, streamed))
        second = crossed.crossed(opened)
        data = [
            {
                "function": one.function,
                "mode": mode,
                "inputs": looked.summary(one.inputs),
                **looked.facts(one.findings),
                "coremltools": second[one.function]._asdict(),
            }
            for one in found
        ]
    click.echo(json.dumps({"functions": data}) if form == "json" else "\n".join(text.checked(one) for one in data))
    count = sum(len(text.wrong(one)) for one in data)
    if count:
        told = "1 thing is" if count == 1 else f"{count} things are"
        raise Outcome(
            1, "wrong", f"kcompiler mil run {package} --random {seed} --value '*' --out all.npz", f"{told} wrong"
        )


@mil.command()
@click.argument("package", type=_PACKAGE)
@click.option("--function", "functions", metavar="NAME", multiple=True, help="This function alone; else every one.")
@click.option(
    "--unit",
    type=click.Choice(["ane", "gpu"]),
    help="The unit it is meant for; else the one of the contract.json beside it or of its delivery, else `ane`.",
)
@given
@click.option(
    "--random", "seed", type=click.IntRange(min=0), metavar="SEED", help="Also run it, for its float16 headroom."
)
@FORMAT
def lint(
    package: Path,
    functions: tuple[str, ...],
    unit: str | None,
    files: tuple[str, ...],
    shapes: tuple[str, ...],
    mode: str,
    streamed: bool,
    seed: int | None,
    form: str,
) -> None:
    """Say what would keep PACKAGE off the Neural Engine or the GPU, or make it wrong there, each with who says so.

    Nothing is measured: which unit an operator really gets, MLComputePlan says on the device. Exit 1: an error; what
    users alone have reported is never one.
    """
    from kcompiler import tables
    from runtime.contract import targets

    unit = unit or targets.meant(package) or "ane"
    rows = {one.id: one for one in tables.placement().rules if unit in one.units}
    with _explained(f"kcompiler mil lint {package}"):
        from runtime.mil import lint as rules
        from runtime.mil import looked
        from runtime.mil import package as packages

        opened = packages.open(package)
        called = {name: opened.function(name) for name in functions or opened.functions}
        run = seed is not None or bool(files)
        ran = looked.check(opened, list(called), _wanted(files, shapes, seed, mode, streamed)) if run else []
        findings = {one.function: one.findings for one in ran}
        asked = {name: rules.Rule(name, row.limit, frozenset(row.ops)) for name, row in rows.items()}
        found = [
            {**dataclasses.asdict(one), "function": name}
            for name, function in called.items()
            for one in rules.lint(opened, function, asked, findings.get(name))
        ]
    for one in found:
        row = rows[one["rule"]]
        grave = "error" if one.pop("grave") else row.severity
        one.update(says=row.says, severity=grave, do=row.do, systems=row.systems, source=row.source, kind=row.kind)
    told = text.linted(found) or f"nothing of {len(rows)} rules for {unit}"
    click.echo(json.dumps({"unit": unit, "run": run, "found": found}) if form == "json" else told)
    errors = sum(one["severity"] == "error" for one in found)
    if errors:
        said = f"{errors:,} of {len(found):,} findings are errors"
        raise Outcome(1, "wrong", "author it otherwise, or mean it for another unit: --unit gpu", said)


@mil.command()
@click.argument("package", type=_PACKAGE)
@click.argument("other", type=_PACKAGE)
@FUNCTION
@given
@click.option("--random", "seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="SEED")
@ALLOWED
@FORMAT
def diff(
    package: Path,
    other: Path,
    function: str,
    files: tuple[str, ...],
    shapes: tuple[str, ...],
    mode: str,
    streamed: bool,
    seed: int,
    tolerance: float,
    form: str,
) -> None:
    """Run PACKAGE and OTHER on the same inputs and say where they part: the first value, by its name, that differs.

    Exit 1: one differs by more than the tolerance.
    """
    with _explained(f"kcompiler mil diff {package} {other}"):
        from runtime.mil import compared, looked
        from runtime.mil import package as packages

        first, second = packages.open(package), packages.open(other)
        wanted = _wanted(files, shapes, seed, mode, streamed)
        name = function or first.default_function
        names = compared.shared(first.function(name), second.function(name))
        a, b = looked.pair(first, second, name, wanted, names)
        parts = compared.parted(first.functions[name], a, b, tolerance)
    _parted(parts, tolerance, form, f"{package.name} and {other.name}")


@mil.command()
@click.argument("package", type=_PACKAGE)
@click.argument("reference", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@FUNCTION
@given
@ALLOWED
@FORMAT
def bisect(
    package: Path,
    reference: Path,
    function: str,
    files: tuple[str, ...],
    shapes: tuple[str, ...],
    mode: str,
    streamed: bool,
    tolerance: float,
    form: str,
) -> None:
    """Find the first value of PACKAGE that is not as REFERENCE.npz has it, and the ops that may be the cause.

    REFERENCE.npz holds the inputs by their names and some values, from wherever they come (torch, ONNX, another mode),
    named as the package names them. Exit 1: one differs by more than the tolerance.
    """
    with _explained(f"kcompiler mil bisect {package} {reference}"):
        from runtime.mil import compared, looked
        from runtime.mil import package as packages

        opened = packages.open(package)
        held = looked.arrays(reference)
        called = opened.function(function)
        found = looked.values_of(opened, called, held, _wanted(files, shapes, None, mode, streamed))
        parts = compared.parted(called, held, found, tolerance)
    _parted(parts, tolerance, form, f"{package.name} and {reference.name}")


# --- the command line ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _explained(again: str) -> Iterator[None]:
    """What cannot be done as an outcome; refusals go on to `main`."""
    threads.settle()
    from runtime.contract import BrokenEvidence, Unavailable
    from runtime.mil.errors import DoesNotFit

    try:
        yield
    except DoesNotFit as beyond:
        told = f"the package does not run on what it was given: {beyond.message}"
        advice = f"give other inputs, or make the package again, then {again}"
        raise Outcome(3, "evidence-broken", advice, told) from None
    except Unavailable as absent:
        raise Outcome(2, "unavailable", f"pip install {absent.needs}", absent.message) from None
    except BrokenEvidence as broken:
        told = f"the package is damaged: {broken.subject}: {broken.message}"
        raise Outcome(3, "evidence-broken", f"take or make the package again, then {again}", told) from None
    except ModuleNotFoundError as absent:
        told = f"{absent.name} is not installed"
        raise Outcome(2, "unavailable", "pip install 'kcompiler[run]'", told) from None


def _wanted(files: Sequence[str], shapes: Sequence[str], seed: int | None, mode: str, streamed: bool) -> Wanted:
    from runtime.mil import looked

    paths = {name: Path(value) for name, value in _named(files, "--input", "FILE.npy").items()}
    lost = next((path for path in paths.values() if not path.is_file()), None)
    if lost is not None:
        raise click.UsageError(f"--input: there is no file {lost}")
    sizes = {name: _sizes(name, text) for name, text in _named(shapes, "--shape", "1,8").items()}
    both = next((name for name in sizes if name in paths), None)
    if both is not None:
        raise click.UsageError(f"--shape {both}: its file has a shape of its own; --shape is of what is drawn")
    return looked.Wanted(paths, sizes, seed, cast(Any, mode), streamed or None)


def _named(items: Sequence[str], option: str, form: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"{option}: `{item}` is not NAME={form}")
        if name in found:
            raise click.UsageError(f"{option}: {name} is given twice")
        found[name] = value
    return found


def _sizes(name: str, text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if not all(size.isascii() and size.isdecimal() and 0 < int(size) < 1 << 31 for size in sizes):
        raise click.UsageError(f"--shape: `{name}={text}` is not NAME=1,8: sizes from 1 up, with commas between them")
    return tuple(int(size) for size in sizes)


def _save(path: Path, data: bytes) -> None:
    """One file, whole or not at all."""
    from runtime.machine.durable import StorageFailed, write

    try:
        write(path, data)
    except StorageFailed as failed:
        raise Outcome(6, "storage-failed", "free space or mend the disk", str(failed)) from None


def _parted(parts: Parted, tolerance: float, form: str, whose: str) -> None:
    """Print where two runs part. Raises Outcome when they do."""
    first = parts.first
    worst = sorted(parts.compared, key=lambda one: -one.error)[:5]
    if form == "json":
        rows = [dict(zip(one._fields, one, strict=True)) | {"error": _number(one.error)} for one in parts.compared]
        data = {
            "compared": rows,
            "tolerance": tolerance,
            "first": first and first.value,
            "agree": list(parts.agree),
            "between": list(parts.between),
        }
        click.echo(json.dumps(data))
    else:
        click.echo(f"{len(parts.compared)} values compared")
        for one in worst:
            click.echo(f"  {one.value}   {one.op}   {one.why or f'relative L2 {one.error:.3g}'}")
        if first is not None:
            click.echo(f"first  {first.value}   {first.op}   {first.why or f'relative L2 {first.error:.3g}'}")
            click.echo(f"made of what agrees, {', '.join(parts.agree) or 'nothing that was compared'}, by")
            for line in parts.between:
                click.echo(f"  {line}")
    if first is not None:
        raise Outcome(
            1, "parted", "mend what stands between, then the same command again", f"{whose} part at {first.value}"
        )


def _number(error: float) -> float | None:
    """JSON has no infinity."""
    return error if error < float("inf") else None
