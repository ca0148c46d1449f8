"""`init --teacher … --data …`: looks, asks on a terminal what it cannot know, and writes a spec that validates."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click

from kcompiler import assets, project
from kcompiler.cli.outcome import Outcome

if TYPE_CHECKING:
    from kcompiler.begin import File, Model, Rows
    from kcompiler.begin.rows import Read
    from kcompiler.facts import World


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The flags. Each "" is a question on a terminal, or a default that the spec explains."""

    teacher: str
    data: Path
    judge: Path | None
    out: Path | None
    columns: Mapping[str, str]
    license: str
    teacher_license: str
    owner: str


def begin(wanted: Wanted) -> Path:
    """Write the spec; where it is. Raises Outcome."""
    from kcompiler import begin as stage
    from kcompiler.begin import model, rows
    from kcompiler.cli.start import lay
    from kcompiler.facts import World
    from runtime.contract import Refusal, Unavailable

    out = wanted.out or Path("specs") / f"{rows.word(wanted.data.name.partition('.')[0])}.yaml"
    if out.suffix not in (".yaml", ".yml"):
        raise click.UsageError(f"--out names a spec, which ends in .yaml: `{out}`")
    if os.path.lexists(out):
        click.echo(f"{out} is there already, and nothing is overwritten", err=True)
        raise Outcome(2, "unusable-path", "name another file by --out")
    root = project.find(out).root
    world = World(root, out.absolute().parent, (root / "policies", assets.folder("policies")))
    try:
        teacher = model.look(_here(wanted.teacher, root), world)
        measuring = _measuring()
        # before anything is asked: what the rows are
        data = _look(wanted.data, wanted, world, alone=wanted.judge is not None)
        judge = None if wanted.judge is None else _look(wanted.judge, wanted, world)
        owner = wanted.owner or _ask("Who answers for the student?", _user())
        license = wanted.license or _ask("Licence of the rows, as SPDX writes it?", stage.OWN)
        asked = stage.Asked(
            name=rows.word(out.stem),
            owner=owner,
            said=" ".join(["kcompiler", *map(shlex.quote, sys.argv[1:])]),
            model=teacher,
            teacher_license=wanted.teacher_license or teacher.license,
            rows=_counted(data, teacher, license, measuring),
            judges=None if judge is None else _counted(judge, teacher, license, measuring),
            memory=_memory(),
            processors=os.cpu_count() or 1,
            speed=measuring.speed(),
        )
        text = stage.spec(asked)
    except stage.Unable as reason:
        click.echo(str(reason), err=True)
        raise Outcome(2, "unusable-input", reason.action) from None
    except Refusal as refusal:
        click.echo(f"{refusal.place or wanted.data}: {refusal.message}", err=True)
        raise Outcome(2, "unusable-input", refusal.action) from None
    except Unavailable as lacking:
        click.echo(lacking.message, err=True)
        raise Outcome(4, "toolchain-differs", lacking.needs) from None
    _place(root, teacher.place)
    _write(out, text, world)
    lay(root)
    return out


@dataclass(frozen=True)
class _Found:
    """A file of rows, how a spec in its folder names it, and what it holds."""

    file: File
    path: str
    fields: Mapping[str, str]
    read: Read


def _look(path: Path, wanted: Wanted, world: World, *, alone: bool = False) -> _Found:
    """What a file of rows is. Raises Unable; `alone` takes prompts without responses."""
    from kcompiler.begin import Unable, rows

    file = rows.look(path)
    if not path.resolve().is_relative_to(world.root.resolve()):
        raise Unable(
            f"{path} lies outside of the project, whose root is {world.root}",
            "copy the rows into the project; a spec must mean the same on every machine",
        )
    # a flag is about whichever file has its column
    given = {part: name for part, name in wanted.columns.items() if name in file.names or wanted.judge is None}
    fields = rows.mapped(file.names, _columns(file.names, given, alone=alone), path, alone=alone)
    fields = rows.identified(file, fields)
    named = Path(os.path.relpath(path.resolve(), world.folder.resolve())).as_posix()
    return _Found(file, named, fields, rows.read(file, fields))


def _counted(found: _Found, teacher: Model, license: str, measuring: ModuleType) -> Rows:
    from kcompiler.begin import Rows

    sample = found.read.sample
    return Rows(
        file=found.file,
        path=found.path,
        fields=found.fields,
        license=license,
        count=found.read.total,
        lengths=measuring.lengths(teacher.words, teacher.template, teacher.tokens, sample),
        sample=sample,
    )


def _here(typed: str, root: Path) -> str:
    """A model of the Hub is loaded into the project's own state before it is looked at; any other is where it is."""
    from runtime.contract import Unavailable
    from runtime.contract.weights import REMOTE

    if not typed.startswith(REMOTE):
        return typed
    repository, _, revision = typed.removeprefix(REMOTE).partition("@")
    folder = root / ".kcompiler" / "models" / repository.rpartition("/")[2]
    if folder.is_dir():
        click.echo(f"kept     {folder}", err=True)
        return str(folder)
    try:
        from runtime.data import fetch
        from runtime.machine.durable import erase
    except ModuleNotFoundError as lacking:
        click.echo(f"nothing can be loaded from the Hub here: {lacking}", err=True)
        raise Outcome(4, "toolchain-differs", "pip install 'kcompiler[run,http]'") from None
    click.echo(f"loading  {repository} into {folder}", err=True)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        fetch.snapshot(repository, revision or "main", partial, [*fetch.WANTED, "README.md"])
    except Unavailable as absent:
        click.echo(absent.message, err=True)
        raise Outcome(4, "input-absent", f"{absent.needs}, then the same command again") from None
    # the library's own notes on what it has loaded
    erase(partial / ".cache")
    partial.rename(folder)
    return str(folder)


def _ask(question: str, default: str) -> str:
    """An answer: asked for where a person sits, else the default."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return default
    return str(click.prompt(question, default=default, err=True)).strip() or default


def _columns(names: tuple[str, ...], given: Mapping[str, str], *, alone: bool) -> dict[str, str]:
    """The columns that were named; a person is asked for those that cannot be guessed."""
    from kcompiler.begin import rows

    found = {part: name for part, name in given.items() if name}
    if found or not (sys.stdin.isatty() and sys.stderr.isatty()) or rows.guessed(names, alone=alone):
        return found
    click.echo(f"columns: {', '.join(names)}", err=True)
    asked = ("prompt",) if alone else ("prompt", "response")
    return {part: str(click.prompt(f"Which of them is the {part}?", err=True)) for part in asked}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "me"


def _memory() -> int:
    """Bytes of this machine's memory, or of what its container may take of it."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            whole = min(whole, int(Path(place).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return whole


def _measuring() -> ModuleType:
    """What counts tokens and measures this machine. Raises Outcome where nothing here can."""
    try:
        from runtime.models import measuring
    except ModuleNotFoundError as lacking:
        click.echo(f"tokens cannot be counted here: {lacking}", err=True)
        raise Outcome(4, "toolchain-differs", "pip install 'kcompiler[run]'") from None
    return measuring


def _place(root: Path, place: tuple[str, Path] | None) -> None:
    """Say in models.toml where this machine keeps a teacher that lies outside of the project."""
    from runtime.contract.places import FILE

    if place is None:
        return
    name, path = place
    listed = root / FILE
    text = listed.read_text(encoding="utf-8") if listed.is_file() else ""
    known = tomllib.loads(text).get(name)
    if known is None:
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text(f"{text}{name} = {json.dumps(str(path))}\n", encoding="utf-8")
        click.echo(f"created  {listed}: {name} is {path}", err=True)
    elif known != str(path):
        click.echo(f"{listed} says that `{name}` is {known}, not {path}", err=True)
        raise Outcome(2, "unusable-path", "rename one of the two")


def _write(out: Path, text: str, world: World) -> None:
    """Pin, check and write a spec: what is written validates, or nothing is. Raises Outcome."""
    from kcompiler.cli.author import validated
    from kcompiler.cli.plans import refused, show_diagnostics
    from kcompiler.cli.start import MODELINE, SCHEMA
    from kcompiler.diagnostic import has_errors
    from kcompiler.pin import pinned

    new = [folder for folder in out.absolute().parents if not folder.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    # beside the spec to be: what it names starts from the same folder
    draft = out.with_name(f".kc-begin-{os.getpid()}-{out.name}")
    try:
        shown = project.Project(world.root).shown(draft)
        schema = Path(os.path.relpath(world.root.resolve() / "schemas" / SCHEMA, world.folder.resolve())).as_posix()
        text = f"{MODELINE}{schema}\n{text}"
        found = pinned(shown, text.encode(), world)
        draft.write_text(found.texts.get(shown, text), encoding="utf-8")
        diagnostics, front, forms = validated(draft, "")
        if has_errors(diagnostics):
            show_diagnostics(diagnostics, "human", front.sources, front.tree)
            click.echo("these choices give no valid spec, and none is written", err=True)
            raise refused(diagnostics, "mend what is said of the rows or the flags, then the same command again")
        # not by a rename, which would replace what somebody put there meanwhile
        os.link(draft, out)
    except FileExistsError:
        click.echo(f"{out} is there already, and nothing is overwritten", err=True)
        raise Outcome(2, "unusable-path", "name another file by --out") from None
    finally:
        draft.unlink(missing_ok=True)
        if not out.exists():
            for folder in new:
                folder.rmdir()
    click.echo(f"created  {out}: valid{forms}", err=True)
    for warning in diagnostics:
        click.echo(f"         {warning.severity}[{warning.code}]: {warning.summary}", err=True)
