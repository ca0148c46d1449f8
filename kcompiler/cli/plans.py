"""What somebody named on the command line → its plan, its project, and what this machine would run of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli.outcome import Outcome

if TYPE_CHECKING:
    from kcompiler.delta import Entry
    from kcompiler.diagnostic import Diagnostic, RefusalLike
    from kcompiler.front import Front
    from kcompiler.render.view import View
    from kcompiler.source import Tree

LAID_OUT = click.option(
    "--format", "form", type=click.Choice(["human", "json", "markdown"]), default="human", show_default=True
)
FORMAT = click.option("--format", "form", type=click.Choice(["human", "json"]), default="human", show_default=True)
PROFILE = click.option("--profile", default="", metavar="NAME", help="The spec with this overlay of its `profiles`.")


def compiled(spec: Path, form: str, profile: str = "") -> tuple[Front, project.Project]:
    """A spec without errors. Prints every diagnostic; raises Outcome when one is an error."""
    from kcompiler.front import compile_spec

    home = project.find(spec)
    front = compile_spec(spec, home.root, profile=profile)
    show_diagnostics(front.diagnostics, form, front.sources, front.tree)
    if front.spec is None or any(item.severity == "error" for item in front.diagnostics):
        raise refused(front.diagnostics, f"kcompiler validate {called(spec, profile)}")
    return front, home


def called(spec: Path, profile: str) -> str:
    """How a spec with a profile is named on the command line."""
    return f"{spec} --profile {profile}" if profile else str(spec)


def instead(home: project.Project, name: str) -> str:
    """What may be named instead of a spec that was not applied: its profiles that were."""
    lying = sorted(home.generated(name).parent.glob(f"{name}@*/evidence/verdict.json"))
    profiles = [path.parent.parent.name.removeprefix(f"{name}@") for path in lying]
    return f"; or add --profile {' or '.join(profiles)}, which was applied" if profiles else ""


def refused(diagnostics: list[Diagnostic], next_command: str) -> Outcome:
    """Exit 2 when the text could not be read at all, 1 when it was read and is wrong; 4 when nothing is wrong but that
    a model which the text pins has no place on this machine."""
    unreadable = any(item.code.startswith("KC1") for item in diagnostics)
    wrong = {item.code for item in diagnostics if item.severity == "error"}
    if wrong and wrong <= {"KC4321", "KC4441"}:
        return Outcome(4, "input-absent", next_command)
    return Outcome(2, "unreadable", next_command) if unreadable else Outcome(1, "invalid", next_command)


def show_diagnostics(
    diagnostics: list[Diagnostic], form: str, sources: dict[str, bytes], tree: Tree | None = None
) -> None:
    """Into the answer that is being made; for people also to stderr, with sections to paste behind them. Of a verb that
    makes none they are data in JSON, and go to stdout."""
    from kcompiler.cli.answer import current
    from kcompiler.render import human, json

    answer = current()
    if answer is not None:
        answer.found(diagnostics)
        if not answer.human:
            return
    if form == "json":
        click.echo(json.diagnostics(diagnostics), nl=False)
    elif diagnostics:
        click.echo(human.diagnostics(diagnostics, sources), err=True, nl=False)
        if tree is not None:
            from kcompiler.render import paste

            click.echo(paste.snippet(paste.lacking(tree, diagnostics)), err=True, nl=False)


def planned(
    spec: Path, form: str, backend: str | None = None, targets: Sequence[str] = (), profile: str = ""
) -> tuple[dict[str, Any], project.Project]:
    """The plan of a spec, in memory; only the part that makes `targets` when there are any."""
    made, home, _ = plan_of(spec, form, backend, targets, profile)
    return made, home


def plan_of(
    spec: Path, form: str, backend: str | None = None, targets: Sequence[str] = (), profile: str = ""
) -> tuple[dict[str, Any], project.Project, Front]:
    """The same with what the text said."""
    from kcompiler import plan as stage
    from kcompiler.cli import clock

    front, home = compiled(spec, form, profile)
    made, found = stage.make(front, home, backend, clock.now())
    show_diagnostics(found, form, front.sources)
    if made is None:
        raise refused(found, f"kcompiler validate {called(spec, profile)}")
    made = _dated(made, home)
    return (part_of(made, targets) if targets else made), home, front


def _dated(made: dict[str, Any], home: project.Project) -> dict[str, Any]:
    """The plan with the time at which its waivers and dated rules were looked at: that of the committed lock while they
    stand as they stood then, else now. A plan that nothing dated speaks in has none."""
    from kcompiler import lock, waiver
    from kcompiler.cli import clock

    now = clock.as_of(made["obligations"], made.get("waivers", ()))
    if now is None:
        return made
    try:
        before = str(lock.read(home.lock(str(made["asked"]["name"])))["asked"].get("policy_as_of", ""))
    except lock.UnreadableLock:
        before = ""
    loaded, _ = waiver.load(home.root / waiver.FOLDER)
    law = [waiver.law(made["obligations"], loaded, made.get("waivers", ()), at) for at in (before, now) if at]
    as_of = before if len(law) == 2 and before <= now and law[0] == law[1] else now
    return {**made, "asked": {**made["asked"], "policy_as_of": as_of}}


def part_of(made: dict[str, Any], targets: Sequence[str]) -> dict[str, Any]:
    """The part of a plan that makes `targets`. Raises UsageError for a step that is not there."""
    from kcompiler import plan as stage

    known = [step["id"] for step in made["steps"]]
    for target in targets:
        if target not in known:
            raise no_such_step(target, known)
    return stage.restrict(made, targets)


def no_such_step(name: str, known: Sequence[str]) -> click.UsageError:
    """A name that no step has, and those that were perhaps meant."""
    from kcompiler.diagnostic import did_you_mean

    return click.UsageError(f"no such step: `{name}`; {did_you_mean(name, known)}")


def delta_of(
    made: Mapping[str, Any], home: project.Project, only: Sequence[str] | None = None, force: Sequence[str] = ()
) -> Sequence[Entry]:
    """What this machine would run of a plan. Raises Outcome 3 when the journal is damaged."""
    from kcompiler.delta import delta
    from runtime.machine import apply as machine
    from runtime.machine import devices

    try:
        history, store = machine.look(home.root)
    except machine.BrokenEvidence as broken:
        raise evidence_broken(broken) from None
    host = devices.recorded(history, made["asked"]["name"])
    return delta(made, host=host, history=history, present=store.present, only=only, force=force)


def begun(made: Mapping[str, Any], home: project.Project, entries: Sequence[Entry]) -> dict[str, str]:
    """Step → what became of its last attempt, when that gave no result, and what the next apply does."""
    from runtime.machine import apply as machine

    found = machine.unfinished(home.root)
    total = {step["id"]: machine.steps_of(step) for step in made["steps"]}
    return {one.step: found[one.key].words(total[one.step]) for one in entries if one.key in found}


def begun_otherwise(made: Mapping[str, Any], home: project.Project, entries: Sequence[Entry]) -> list[str]:
    """What blocks of the rules about the beginning of a step, where the step is used again as it began then: the next
    apply would find the same."""
    from runtime.machine import apply as machine
    from runtime.machine import starting

    again = {starting.key_of(one.step): one for one in entries if one.action == "reuse"}
    asked = starting.asked(made) & again.keys()
    if not asked:
        return []
    from kcompiler.cli.run import judge_of

    history, _ = machine.look(home.root)
    texts: dict[str, bytes] = {}
    for key in asked:
        texts |= starting.texts(made, again[key].step, history.of_key(again[key].key)[0])
    return [
        f"! {one.rule} is {one.outcome} of `{again[one.step].step}`, which is used again as it began: {one.reason}; "
        f"`apply --force {again[one.step].step}` begins it anew"
        for one in judge_of(dict(made), home)(texts, asked).outcomes
        if one.blocks and one.step in asked
    ]


def exhausted(made: Mapping[str, Any], home: project.Project, entries: Sequence[Entry]) -> RefusalLike | None:
    """Which budget of the run is used up, so that the next apply could do nothing of what is left; None for none."""
    from runtime.machine import apply as machine

    done = [one.key for one in entries if one.action == "reuse"]
    return machine.used_up(home.root, made, done, [one.key for one in entries if one.action != "reuse"])


def accounts(made: Mapping[str, Any], home: project.Project, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """What is spent of each budget that stops a run, set aside and left. Raises Outcome 3 for a damaged record."""
    from runtime.machine import apply as machine

    done = [one.key for one in entries if one.action == "reuse"]
    try:
        found = machine.accounts(home.root, made, done, [one.key for one in entries if one.action != "reuse"])
    except machine.BrokenEvidence as broken:
        raise evidence_broken(broken) from None
    return [one.data() for one in found]


def evidence_broken(broken: Any) -> Outcome:
    """The journal or the store is not what was written."""
    return Outcome(
        3, "evidence-broken", "kcompiler state verify", f"evidence is broken: {broken.subject}: {broken.message}"
    )


def _lock(path: Path) -> dict[str, Any]:
    from kcompiler import lock

    try:
        return lock.read(path)
    except lock.UnreadableLock as reason:
        raise Outcome(2, "unreadable", "kcompiler plan SPEC", f"{path}: cannot be read as a lock: {reason}") from None


def located(target: Path, profile: str = "") -> tuple[dict[str, Any], project.Project, Path]:
    """The committed lock that a spec, a lock or a folder of generated/ stands for."""
    if profile and target.suffix not in (".yaml", ".yml"):
        raise click.UsageError("--profile belongs to a spec; a lock and its folder are of one profile already")
    if target.is_dir():
        path = target / "plan.lock"
    elif target.suffix in (".yaml", ".yml"):
        front, home = compiled(target, "human", profile)
        path = home.lock(front.name)
    else:
        path = target
    if not path.is_file():
        named = called(target, profile) if target.suffix in (".yaml", ".yml") else "SPEC"
        raise Outcome(2, "no-lock", f"kcompiler plan {named}", f"{path} does not exist")
    return _lock(path), project.of_lock(path), path


def lay_out(view: View, form: str, whole: str) -> None:
    """Print a view as text or as markdown that fits into a comment."""
    from kcompiler.render import human_plan, markdown

    click.echo(markdown.text(view, whole=whole) if form == "markdown" else human_plan.text(view), nl=False)
