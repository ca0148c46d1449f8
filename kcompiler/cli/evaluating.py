"""The verb that asks a model that exists: evaluate. What it was asked and answered is written down, and not judged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli.answering import environment, explained
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import PROFILE, called, refused, show_diagnostics
from kcompiler.cli.run import aside

if TYPE_CHECKING:
    from kcompiler.diagnostic import Diagnostic
    from kcompiler.front import Front
    from kcompiler.project import Project
    from runtime.contract import RunnerKind


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--runner",
    "written",
    multiple=True,
    metavar="KIND[=WHERE][,KEY=VALUE…]",
    help="Ask this: torch=FOLDER, gguf=FILE, openai=URL,model=NAME, recorded=FILE,runner=NAME, mil,variant=fp16; "
    "repeatable. The spec's own evaluation.runners when absent.",
)
@click.option("--suite", "suites", multiple=True, metavar="NAME", help="Only this suite of the spec; repeatable.")
@click.option(
    "--to", "out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for items and reports."
)
@PROFILE
def evaluate(spec: Path, written: tuple[str, ...], suites: tuple[str, ...], out: Path, profile: str) -> None:
    """Ask a model that exists what the suites of SPEC ask, over its rows: a folder, a file, or a server.

    Writes DIR/SUITE-RUNNER.items.jsonl (a line for each row) and DIR/SUITE-RUNNER.report.json. Nothing is trained but
    what a runner of the spec's own student needs; verdict and evidence of the spec stay as they are.
    """
    environment()
    from kcompiler import plan, project
    from kcompiler.cli import clock
    from kcompiler.front import compile_spec

    home = project.find(spec)
    said = [_read(one, spec) for one in written]
    front = compile_spec(spec, home.root, profile=profile, words=_text(said))
    words = [*(f"--runner {one}" for one in written), *(f"--suite {one}" for one in suites), f"--to {out}"]
    again = f"kcompiler evaluate {called(spec, profile)} {' '.join(words)}"
    # what was wrong is not advised again
    mended = " ".join([f"kcompiler evaluate {called(spec, profile)} --runner …", *words[len(written) :]])
    _show_wrong(front.diagnostics, front)
    if front.spec is None:
        raise refused(front.diagnostics, _mended(front.diagnostics, spec, profile, mended))
    made, found = plan.make(front, home, as_of=clock.now())
    _show_wrong(found, front)
    if made is None:
        raise refused(found, _mended(found, spec, profile, mended))
    for name in suites:
        if name not in (known := [one.name for one in front.spec.evaluation.suites]):
            raise click.UsageError(f"no suite of {spec} is called `{name}`; there are {', '.join(known)}")
    names = {str(one.get("name", one["use"])) for one in said}
    steps = [
        step
        for step in made["steps"]
        if step["kind"].startswith("ask@")
        and (not said or step["params"]["runner"] in names)
        and (not suites or _suite(step) in suites)
    ]
    if not steps:
        click.echo(f"{spec} declares no evaluation.runners that answer {', '.join(suites) or 'a suite'}", err=True)
        raise Outcome(2, "no-runner", f"kcompiler evaluate {called(spec, profile)} --runner torch=FOLDER --to {out}")
    with explained(again):
        run = aside(plan.restrict(made, [step["id"] for step in steps]), home, again)
    rows = _written(steps, run, home, out)
    _show(rows, out)
    if any(report["data"]["right"]["tag"] != "measured" for _, _, report in rows):
        raise Outcome(1, "unavailable", again)


def _show_wrong(found: list[Diagnostic], front: Front) -> None:
    """Diagnostics; what was asked on the command line is advised in its words: it is already asked aside."""
    from dataclasses import replace

    from kcompiler.front import WORDS

    here = {
        "KC4401": "paths of --runner start at the working folder, those of a spec at its own",
        "KC4907": "here no verdict is asked for: read in its report what gold is worth, and leave it out of the spec",
    }
    shown = [replace(one, help=here[one.code]) if one.file == WORDS and one.code in here else one for one in found]
    show_diagnostics(shown, "human", front.sources, front.tree)


def _mended(found: list[Diagnostic], spec: Path, profile: str, again: str) -> str:
    """What comes next where something is wrong: of the spec its own check tells more, of --runner it knows nothing."""
    from kcompiler.front import WORDS

    wrong = {one.file == WORDS for one in found if one.severity == "error"}
    return f"mend --runner, then {again}" if wrong == {True} else f"kcompiler validate {called(spec, profile)}"


def _suite(step: Mapping[str, Any]) -> str:
    """What the suite of a step is called."""
    return str(step["id"]).removeprefix("ask-").removesuffix(f"-{step['params']['runner']}")


def _read(text: str, spec: Path) -> dict[str, Any]:
    """One runner as the section `evaluation.runners` has it. Paths start here, those of a spec at its folder."""
    import yaml

    from runtime import catalog

    head, *pairs = text.split(",")
    use, mark, where = head.partition("=")
    if use not in catalog.names("runners"):
        raise click.UsageError(f"no runner is called `{use}`; there are {', '.join(catalog.names('runners'))}")
    kind: RunnerKind = catalog.load("runners", use)
    found: dict[str, Any] = {"use": use}
    if mark:
        key = kind.place or kind.address
        if not key or not where:
            why = f"runner `{use}` asks no file, folder or address" if where else "nothing stands behind the `=`"
            raise click.UsageError(f"`{head}`: {why}")
        found[key] = _path(where, spec) if kind.place else where
        if use == "torch" and Path(where).is_dir() and not (Path(where) / "config.json").is_file():
            raise click.UsageError(f"`{head}`: no model lies there: a folder of one has a config.json")
    for pair in pairs:
        key, mark, value = pair.partition("=")
        if not key or not mark:
            raise click.UsageError(f"`{pair}` is not KEY=VALUE")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            found[key] = value
    return found


def _path(written: str, spec: Path) -> str:
    from runtime.contract.places import elsewhere

    if elsewhere(written):
        return written
    return Path(os.path.relpath(Path(written).absolute(), spec.resolve().parent)).as_posix()


def _text(runners: list[dict[str, Any]]) -> str:
    """The runners as a text of YAML that messages can quote; "" without any."""
    import json

    return "".join(f"- {json.dumps(one, ensure_ascii=False)}\n" for one in runners)


def _written(
    steps: list[Mapping[str, Any]], run: Any, home: Project, out: Path
) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(suite's step, runner, report) of each; items and report are written."""
    from runtime.contract.items import FILE
    from runtime.contract.report import dump
    from runtime.machine import apply as machine
    from runtime.machine import durable

    store = machine.look(home.root)[1]
    rows = []
    try:
        durable.DISK.folder(out.absolute())
        for step in steps:
            name = step["id"].removeprefix("ask-")
            report = run.reports[step["id"]]
            items = store.read(run.digests[f"{step['id']}#items"]) / FILE
            durable.copy(items, out.absolute() / f"{name}.items.jsonl")
            durable.write(out.absolute() / f"{name}.report.json", dump(report))
            rows.append((_suite(step), str(step["params"]["runner"]), report))
    except durable.StorageFailed as failed:
        click.echo(str(failed), err=True)
        raise Outcome(6, "storage-failed", "free space or mend the disk, then the same command again") from None
    return rows


def _show(rows: list[tuple[str, str, Mapping[str, Any]]], out: Path) -> None:
    from kcompiler.render.human_run import table

    lines = [["suite", "runner", "right"]]
    for suite, runner, report in rows:
        right, environment = report["data"]["right"], report["environment"]
        told = f"{right['k']} of {right['n']}" if right["tag"] == "measured" else f"unavailable: {right['reason']}"
        if environment["forged"]:
            told += "  (forged: what the rows want to hear; no gate passes on it)"
        if environment.get("cut"):
            told += f"  ({len(environment['cut'])} answers were cut)"
        if environment.get("served_as", environment.get("model")) not in ("", environment.get("model")):
            told += f"  (answered as {environment['served_as']})"
        lines.append([suite, runner, told])
    click.echo("\n".join(table(lines, indent="")))
    click.echo(f"items and reports  {out}")
