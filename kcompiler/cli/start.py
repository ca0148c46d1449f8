"""The verb of people who begin: init. The role library, and a project that starts from one of its specs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from kcompiler import assets, project
from kcompiler.cli.outcome import Outcome

SCHEMA = "spec.draft07.schema.json"
#: what YAML language servers read: completion, hover and errors while typing
MODELINE = f"# yaml-language-server: $schema=../schemas/{SCHEMA}\n"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--template", "--role", default="eight-ball", show_default=True, help="Name of a shipped spec.")
@click.option("--list", "listed", is_flag=True, help="Show the shipped specs: roles, sizes, teachers.")
def init(folder: Path, template: str, listed: bool) -> None:
    """Copy a shipped spec with everything it refers to. Never overwrites a file."""
    shipped = assets.folder("specs")
    if listed:
        click.echo(_library(shipped), nl=False)
        return
    if not folder.exists() and (shipped / f"{folder}.yaml").is_file():
        raise click.UsageError(f"`{folder}` is a shipped spec, no folder: kcompiler init --role {folder}")
    source = shipped / f"{template}.yaml"
    if not source.is_file():
        from kcompiler.diagnostic import did_you_mean

        known = did_you_mean(template, [path.stem for path in shipped.glob("*.yaml")])
        raise click.UsageError(f"no such template: `{template}`; {known}")
    _write_new(folder / "specs" / source.name, MODELINE + source.read_text(encoding="utf-8"))
    for relative in _referenced(source, shipped):
        if (shipped / relative).exists():
            _copy_new(shipped / relative, folder / "specs" / relative)
        else:
            # pinned by its digest and not ours to pass on
            click.echo(f"absent   {folder / 'specs' / relative}: put it there, the spec says what it is", err=True)
    _copy_new(assets.folder("schemas") / SCHEMA, folder / "schemas" / SCHEMA)
    if not (folder / ".kcompiler" / ".gitignore").exists():
        _write_new(folder / ".kcompiler" / ".gitignore", "*\n")
    if not (folder / ".gitattributes").exists():
        # evidence is compared byte by byte: a checkout must not change its line ends
        _write_new(folder / ".gitattributes", "generated/** -text\n")
    spec = folder / "specs" / source.name
    click.echo(f"next: kcompiler {_following(spec)} {spec}")


def _library(shipped: Path) -> str:
    """One line per shipped spec: what it makes, how large, from which teacher."""
    from kcompiler.facts.models import total
    from kcompiler.front import compile_spec
    from kcompiler.render.human_run import table

    rows = [["name", "role", "parameters", "teacher", "what for"]]
    for path in sorted(shipped.glob("*.yaml")):
        spec = compile_spec(path, shipped).spec
        if spec is None:
            raise RuntimeError(f"a shipped spec does not compile: {path.name}")
        named = getattr(spec.teacher.params, "model", "")
        teacher = f"{spec.teacher.source} {named}".strip()
        count = f"{total(spec.student.architecture):,}"
        rows.append([spec.metadata.name, spec.student.role, count, teacher, spec.metadata.description])
    return "\n".join([*table(rows, indent=""), "", "next: kcompiler init --template NAME"]) + "\n"


def _following(spec: Path) -> str:
    """What to do with a new spec: one that a small machine trains by itself is applied, any other is planned."""
    from kcompiler.front import compile_spec

    made = compile_spec(spec, project.find(spec).root).spec
    return "apply" if made is not None and made.teacher.source == "bootstrap" else "plan"


def _referenced(source: Path, shipped: Path) -> list[Path]:
    """Every file and folder that a shipped spec names, with the licences that lie beside them."""
    from kcompiler import plan
    from kcompiler.front import compile_spec

    front = compile_spec(source, shipped)
    made = plan.make(front, project.Project(shipped))[0] if front.spec is not None else None
    if front.spec is None or made is None:
        raise RuntimeError(f"a shipped spec does not compile: {source.name}")
    paths = [Path(entry["path"]) for entry in made["inputs"]] + [Path(one.path) for one in front.fragments]
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
