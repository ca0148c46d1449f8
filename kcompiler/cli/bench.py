"""The verb `bench`: measure how fast the student of a spec answers on this machine, and pin what was measured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kcompiler import project
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import PROFILE, called
from kcompiler.cli.run import carried_out, errors, leave, settle, target_of, watched
from kcompiler.cli.writing import write

_PASTE = """  benchmarks:
    - {runners: [torch, mil], new_tokens: 32, repetitions: 30}"""

#: how a slower student becomes the baseline, where somebody decides that
_ACCEPT = "where that is accepted, take `baseline:` out of the benchmark, pin again, and write it back"


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--id", "wanted", metavar="NAME", help="Only the benchmark of this id.")
@click.option(
    "--pin",
    type=click.Path(path_type=Path),
    help="Keep the report, and that on its run, in this file, as a baseline, unless a rule blocks what was measured, "
    "or finds it worse than the baseline of the spec.",
)
@PROFILE
def bench(spec: Path, wanted: str | None, pin: Path | None, profile: str) -> None:
    """Measure the benchmarks of SPEC anew, on this machine: what they need is made, or reused as in apply.

    Exit 0 when no rule about speed blocks; the verdict on the whole stays with apply.
    """
    from kcompiler.cli import threads
    from kcompiler.policy.binding import RUN
    from runtime.contract.regression import pin as pinned
    from runtime.contract.speed import KIND

    threads.settle()
    made, home, name = target_of(spec, profile)
    measures = [step for step in made["steps"] if step["gives"].get("report", {}).get("report") == KIND]
    asked = {step["params"]["id"]: step["id"] for step in measures}
    if not asked:
        click.echo(f"{name} names no benchmark; this under `evaluation` does:\n{_PASTE}", err=True)
        raise Outcome(2, "no-benchmark", f"kcompiler bench {name}")
    if wanted is not None and wanted not in asked:
        raise click.UsageError(f"no such benchmark: `{wanted}`; there are {', '.join(sorted(asked))}")
    chosen = sorted(asked) if wanted is None else [wanted]
    if pin is not None and len(chosen) > 1:
        raise click.UsageError(f"--pin keeps one report: choose it with --id, of {', '.join(chosen)}")
    if pin is not None and not _inside(home, pin):
        raise click.UsageError("--pin is a file of the project: a spec can name no other")
    force = [asked[one] for one in chosen]
    only = [step["id"] for step in made["steps"] if step["id"] in force or _compares(step, force)]
    settle(made, home, name, False)
    with watched(made) as watch:
        run, verdict, signal = carried_out(made, home, only, force, watch)
    errors(run)
    _show(run.reports, force, verdict, only)
    if pin is not None and force[0] in run.texts:
        _pin(home, made, pin, pinned(run.reports[force[0]], run.reports[RUN]), _blocks(verdict, force[0], only))
    leave(run, verdict, called(spec, profile), signal, frozenset(only))


def _compares(step: Mapping[str, Any], benchmarks: list[str]) -> bool:
    """Whether a step compares one of these with its baseline."""
    return any(step["takes"].get("now") == f"step:{one}#report" for one in benchmarks)


def _inside(home: project.Project, path: Path) -> bool:
    return path.resolve().is_relative_to(home.root.resolve())


def _from_spec(home: project.Project, made: Mapping[str, Any], path: Path) -> str:
    """The file as the spec writes it."""
    folder = (home.root / str(made["asked"]["spec"])).resolve().parent
    return Path(os.path.relpath(path.resolve(), folder)).as_posix()


def _blocks(verdict: Mapping[str, Any], step: str, steps: list[str]) -> list[str]:
    """Rules that block what a step measured here, and those of `steps`, which compare it, that find it worse: no pin
    hides that. What the machine that is meant would do is in no baseline of this one; of another machine, or of other
    lengths, a comparison says nothing, and pinning anew is the way on."""
    mine = [
        f"{one['rule']}: {one['reason']}"
        for one in verdict["outcomes"]
        if one["step"] == step and one["blocks"] and not one["pointer"].startswith("/data/target/")
    ]
    return mine + [
        f"{one['rule']}: {one['reason']}; {_ACCEPT}"
        for one in verdict["outcomes"]
        if one["step"] in steps and one["step"] != step and one["blocks"] and one["outcome"] == "fail"
    ]


def _pin(home: project.Project, made: Mapping[str, Any], path: Path, text: str, blocks: list[str]) -> None:
    if blocks:
        click.echo(f"not pinned: {blocks[0]}", err=True)
        return
    write(home, path, text)
    click.echo(f"pinned   baseline: {_from_spec(home, made, path)}")


def _show(
    reports: Mapping[str, Mapping[str, Any]], benchmarks: list[str], verdict: Mapping[str, Any], steps: list[str]
) -> None:
    """What was measured, and what the rules say of it."""
    from kcompiler.render import human_run, speed

    for step in benchmarks:
        if step in reports:
            click.echo(speed.table(reports[step]["data"]), nl=False)
    rows = human_run.outcomes([one for one in verdict["outcomes"] if one["step"] in steps])
    if rows:
        click.echo(rows, nl=False)
