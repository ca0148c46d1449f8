"""The verbs of people who write specs: validate, plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli.answer import Answer, answers
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import (
    PROFILE,
    accounts,
    begun_otherwise,
    called,
    delta_of,
    exhausted,
    plan_of,
    refused,
    show_diagnostics,
)
from kcompiler.cli.writing import write

if TYPE_CHECKING:
    from kcompiler.delta import Entry
    from kcompiler.diagnostic import Diagnostic
    from kcompiler.front import Front
    from kcompiler.plan.silent import Silent
    from kcompiler.render.accounts import Accounts


@click.command()
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=Path))
@PROFILE
@answers("validate", of="specs")
def validate(answer: Answer, specs: tuple[Path, ...], profile: str) -> None:
    """Parse, check the schema and the meaning of each spec; print every mistake at once.

    Without --profile, a spec is checked in the form of each of its profiles, too.
    """
    from kcompiler.diagnostic import has_errors

    found: list[Diagnostic] = []
    failed: list[Path] = []
    checked: list[dict[str, Any]] = []
    answer.data = {"specs": checked}
    for spec in specs:
        diagnostics, front, forms = validated(spec, profile)
        show_diagnostics(diagnostics, answer.form, front.sources, front.tree)
        found += diagnostics
        wrong = has_errors(diagnostics)
        shown = project.find(spec).shown(spec)
        checked.append({"spec": shown, "valid": not wrong, "forms": forms.removeprefix(", ")})
        if wrong:
            failed.append(spec)
        else:
            answer.say(f"{shown}: valid{forms}\n")
    if failed:
        raise refused(found, f"kcompiler validate {called(failed[0], profile)}")


def validated(spec: Path, profile: str) -> tuple[list[Diagnostic], Front, str]:
    """Every mistake of a spec and of its profiles, what its text said, and in how many forms it was checked.

    What only a profile gets wrong says so.
    """
    from dataclasses import replace

    from kcompiler import plan as stage
    from kcompiler.diagnostic import has_errors, ordered
    from kcompiler.front import compile_spec

    home = project.find(spec)
    front = compile_spec(spec, home.root, profile=profile)
    found = list(front.diagnostics)
    if not has_errors(found):
        # the graph and the policies can be wrong, too
        found += stage.problems(front, home)
    others = [] if profile else front.profiles
    for name in others:
        other = compile_spec(spec, home.root, profile=name)
        more = list(other.diagnostics)
        if not has_errors(more):
            more += stage.problems(other, home)
        found += [replace(one, notes=(*one.notes, f"with profile {name}")) for one in more if one not in found]
    cells = f"{len(front.forms)} cells of its sweep" if len(front.forms) > 1 else ""
    named = f"profile{'s' if len(others) > 1 else ''} {', '.join(others)}" if others else ""
    forms = ", with " + " and ".join(part for part in (cells, named) if part) if cells or named else ""
    return ordered(found), front, forms


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when the committed lock would change.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 10 when something would run here.")
@click.option("--full", is_flag=True, help="List everything: nothing folded, counted or cut.")
@click.option(
    "--target", "targets", multiple=True, metavar="STEP", help="Only this step and what it needs; repeatable."
)
@PROFILE
@answers("plan", of="spec")
def plan(
    answer: Answer,
    spec: Path,
    check: bool,
    detailed_exitcode: bool,
    full: bool,
    targets: tuple[str, ...],
    profile: str,
) -> None:
    """Write generated/<name>/plan.lock when its content changed, and print what would run here and why."""
    from kcompiler import lock
    from kcompiler.plan import kept, lock_path, silent, told, undecidable

    made, home, front = plan_of(spec, answer.form, targets=targets, profile=profile)
    path = lock_path(home, made)
    committed = _committed(path)
    entries = delta_of(made, home)
    if not check and committed != made:
        write(home, path, lock.dump(made))
    spent, accounted = exhausted(made, home, entries), accounts(made, home, entries)
    would_change = check and committed != made
    first = f"kcompiler plan {called(spec, profile)}, then " if would_change else ""
    _show_plan(
        answer,
        made,
        committed,
        entries,
        undecidable(front, home),
        [*told(front, home), *begun_otherwise(made, home, entries)],
        kept(front, home, made),
        silent(front, home, made),
        where=home.shown(path),
        spec=called(spec, profile),
        raised=first if spent is None else f"raise {spent.place} in {called(spec, profile)}, then {first}",
        full=full,
        accounted=accounted,
    )
    if would_change:
        from kcompiler.diff.difference import compare
        from kcompiler.render.view import rows_of

        changes = rows_of(compare(committed, made)) if committed else [f"{home.shown(path)} does not exist"]
        raise Outcome(1, "lock-would-change", f"kcompiler plan {called(spec, profile)}", "\n".join(changes))
    if detailed_exitcode and any(entry.action != "reuse" for entry in entries):
        raise Outcome(10, "work", f"kcompiler apply {called(spec, profile)}")


def _committed(path: Path) -> dict[str, Any] | None:
    from kcompiler import lock

    if not path.exists():
        return None
    try:
        return lock.read(path)
    except lock.UnreadableLock as reason:
        click.echo(f"{path.name} cannot be read and is written anew: {reason}", err=True)
        return None


def _show_plan(
    answer: Answer,
    made: dict[str, Any],
    committed: dict[str, Any] | None,
    entries: Sequence[Entry],
    doubts: Sequence[Diagnostic],
    told: Sequence[str],
    kept: Mapping[str, str],
    silent: Sequence[Silent],
    *,
    where: str,
    spec: str,
    raised: str,
    full: bool,
    accounted: Accounts,
) -> None:
    """`raised`: what is to be done before the next apply can do anything."""
    from kcompiler import lock
    from kcompiler.render import human_plan, json
    from kcompiler.render.view import plan_view

    answer.plan = digest = lock.plan_digest(made)
    answer.steps = json.states(entries)
    answer.data = json.plan(made, committed, doubts, told, kept, silent, accounted)
    if answer.form == "json":
        return
    view = plan_view(
        made,
        committed,
        entries,
        where=where,
        digest=digest,
        old_digest=lock.plan_digest(committed) if committed else "",
        doubts=doubts,
        told=told,
        kept=kept,
        silent=silent,
        accounted=accounted,
        full=full,
        # `apply SPEC` makes everything; a part is carried out by its lock
        next_command=f"{raised}kcompiler apply {where if made['asked'].get('targets') else spec}",
    )
    answer.laid_out(view)
    answer.say(human_plan.text(view))


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a pin would change.")
def pin(spec: Path, check: bool) -> None:
    """Write into SPEC the digests of what it names: rows, folders of weights, fragments. Comments and layout stay.

    Exit 0 when every pin is as it should be, 1 with --check when one would change, 2 when a text or a folder cannot be
    read, 4 when something without a pin is not here.
    """
    from kcompiler.facts import World
    from kcompiler.pin import Unstable, Unwritable, pinned

    home = project.find(spec)
    shown = home.shown(spec)
    try:
        found = pinned(shown, spec.read_bytes(), World(home.root, spec.resolve().parent))
    except Unstable as reason:
        raise Outcome(2, "unreadable", f"kcompiler pin {spec}", str(reason)) from None
    except Unwritable as reason:
        raise Outcome(2, "unreadable", f"kcompiler validate {spec}", str(reason)) from None
    for one in found.pins:
        place = ":".join(str(part) for part in (one.file, one.line, one.column) if part)
        old = "(nothing)" if one.old is None else one.old
        click.echo(f"{place}: {one.pointer[1:].replace('/', '.')}\n- {old}\n+ {one.new}")
    if check and found.pins:
        raise Outcome(1, "pins-would-change", f"kcompiler pin {spec}")
    for name, text in found.texts.items():
        write(home, home.root / name, text)
    if found.absent:
        raise Outcome(
            4,
            "input-absent",
            f"put it there, then kcompiler pin {spec}",
            "not here, and without a pin:\n" + "\n".join(f"  {name}" for name in found.absent),
        )
    count = len(found.pins)
    click.echo(
        f"{shown}: {count} pin{'s' if count != 1 else ''} written" if count else f"{shown}: every pin is as it is"
    )
