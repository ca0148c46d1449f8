"""The verbs that only look: status, diff, graph."""

from __future__ import annotations

import io
import shlex
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli.answer import Answer, answers
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import (
    LAID_OUT,
    PROFILE,
    accounts,
    begun,
    called,
    delta_of,
    exhausted,
    lay_out,
    located,
    no_such_step,
    planned,
)
from kcompiler.cli.revision import git, is_revision, place_in, unmistaken

if TYPE_CHECKING:
    from kcompiler.diagnostic import RefusalLike
    from kcompiler.status import Stage


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@PROFILE
@answers("status", of="spec")
def status(answer: Answer, spec: Path, profile: str) -> None:
    """Say where SPEC stands: per stage what it waits for, whether it is done, and what to do next.

    The verdict is shown as it was given. That its own text and its reports are still the same bytes is looked at (exit
    3 where they are not), and no more: `audit` recomputes.
    """
    from kcompiler import lock
    from kcompiler.render import human_plan, json
    from kcompiler.render.stages import view
    from kcompiler.status import stages
    from runtime.contract import places

    made, home = planned(spec, answer.form, profile=profile)
    # a model that this machine has no place for is no plan at all
    absent = {
        str(item["path"]) for item in made["inputs"] if not places.place_of(home.root, str(item["path"])).exists()
    }
    entries = delta_of(made, home)
    found = stages(made, entries, _dates(home, made["asked"]["name"]), absent, begun(made, home, entries))
    judged = _verdict(home, made)
    spent, accounted = exhausted(made, home, entries), accounts(made, home, entries)
    changed = [] if judged is None else _changed(made, home, judged)
    told = {"evidence": changed, **_told(made, home, judged)}
    audit = f"kcompiler audit {called(spec, profile)}"
    answer.next = audit if changed else _next(called(spec, profile), found, judged, spent)
    answer.plan, answer.data, answer.steps = (
        lock.plan_digest(made),
        json.status(found, spent, told, accounted),
        json.states(entries),
    )
    if judged is not None:
        answer.judged(judged, str(made["asked"]["name"]))
        answer.about(home, made)
    shown = view(made["asked"]["name"], found, answer.next, judged, spent, told, accounted)
    answer.laid_out(shown)
    answer.say(human_plan.text(shown))
    if changed:
        raise Outcome(3, "evidence-broken", audit, "the evidence is not what the verdict was given on")


def _changed(made: Mapping[str, Any], home: project.Project, judged: Mapping[str, Any]) -> list[str]:
    """Reports that are not the bytes that the verdict names, and a verdict that is not the text that the journal of
    this machine, where there is one, says was given; in words."""
    from kcompiler import lock
    from kcompiler.audit.evidence import REPORTS, RUN
    from kcompiler.plan import APPLY
    from kcompiler.verifier import facts
    from kcompiler.verifier.records import pinned
    from runtime import digest
    from runtime.contract import chain

    name, own = str(made["asked"]["name"]), facts.reports(made)
    folder, verdict, journal = home.evidence(name), home.verdict(name), home.root / ".kcompiler" / "journal.jsonl"
    # what the lock says of itself lies in no file
    pins = {key: pin for key, pin in judged["reports"].items() if key not in own}
    due = {folder / RUN if key == APPLY else folder / REPORTS / f"{key}.json": pin for key, pin in pins.items()}
    lines = chain.read(journal.read_bytes()).lines if journal.is_file() else []
    contents = ({"type": line.type, "run": line.run, "data": line.data} for line in lines)
    if pin := pinned(contents, lock.plan_digest(made)):
        due[verdict] = pin
    gone = {path: f"{home.shown(path)} is gone" for path in due if not path.is_file()}
    return [
        gone.get(path, f"{home.shown(path)} is not what it was when the verdict was given")
        for path, pin in due.items()
        if path in gone or digest.of_file(path) != pin
    ]


def _told(made: Mapping[str, Any], home: project.Project, judged: Mapping[str, Any] | None) -> dict[str, Sequence[str]]:
    """Who has approved the plan, and where the waivers stand that its verdict was given with."""
    from kcompiler import approval
    from kcompiler.cli import clock, excuses

    now, folder = clock.now(), home.generated(str(made["asked"]["name"])) / approval.FOLDER
    standing = [] if judged is None else excuses.standing(made, home, judged, now)
    return {"approvals": approval.words(made, folder, now), "standing": standing}


def _verdict(home: project.Project, made: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The recorded verdict of this very plan; None when there is none, or it is of another plan or cannot be read."""
    from kcompiler import lock
    from kcompiler.audit.schema import problem_with
    from runtime.contract import strict_json

    path = home.verdict(made["asked"]["name"])
    try:
        found = strict_json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("lock") != lock.plan_digest(made):
        return None
    return None if problem_with("verdict", found) else found


def _next(spec: str, found: Sequence[Stage], judged: Mapping[str, Any] | None, spent: RefusalLike | None) -> str:
    """What carries on: what is not here, what is used up, what is ready, why it did not pass, or whether what is done
    holds."""
    lacks = sorted({path for stage in found for path in stage.lacks})
    if lacks:
        return f"put {', '.join(lacks)} there, then kcompiler apply {spec}"
    if spent is not None:
        return f"raise {spent.place} in {spec}, then kcompiler apply {spec}"
    if any(stage.state in ("ready", "waits") for stage in found):
        return f"kcompiler apply {spec}"
    return f"kcompiler {'audit' if judged and judged.get('verdict') == 'PASS' else 'show verdict'} {spec}"


def _dates(home: project.Project, name: str) -> dict[str, str]:
    """Step → when the journal says it was committed last. For people: nothing is decided by it."""
    from runtime.contract import BrokenEvidence, chain

    path = home.root / ".kcompiler" / "journal.jsonl"
    try:
        lines = chain.read(path.read_bytes()).lines if path.is_file() else []
    except BrokenEvidence:
        # the delta has already said so, with exit 3
        return {}
    committed = [line for line in lines if line.type == "step_committed" and line.data.get("spec") == name]
    return {str(line.data["step"]): line.ts for line in committed}


@click.command()
@click.argument("old")
@click.argument("new")
@click.option(
    "--exit-code", is_flag=True, help="Exit 1 when a gate, or what it is measured on, is weaker or cannot be compared."
)
@LAID_OUT
def diff(old: str, new: str, exit_code: bool, form: str) -> None:
    """Compare two plans by meaning. OLD and NEW are each a lock, a spec, or REVISION:PATH of either in git."""
    from kcompiler import lock
    from kcompiler.diff.difference import compare
    from kcompiler.render import json
    from kcompiler.render.view import diff_view

    before, after = (_side(one, (old, new), form) for one in (old, new))
    digests = (lock.plan_digest(before), lock.plan_digest(after))
    if form == "json":
        click.echo(json.diff(before, after, digests), nl=False)
    else:
        lay_out(diff_view(before, after, (old, new), digests), form, f"kcompiler diff {old} {new}")
    weaker = [item for item in compare(before, after) if item.direction in ("weaker", "incomparable")]
    if exit_code and weaker:
        raise Outcome(1, "weaker", f"kcompiler diff {old} {new}")


def _side(name: str, both: tuple[str, str], form: str) -> dict[str, Any]:
    """The plan that one side of both stands for."""
    revision, colon, inside = name.partition(":")
    if colon and not Path(name).exists():
        return _of_revision(revision, inside, both, form)
    path = Path(name)
    if not path.exists() and not path.suffix:
        there = next((one for one in both if Path(one).exists()), "")
        if not is_revision(name):
            raise Outcome(2, "no-lock", "kcompiler diff --help", f"{name}: neither a file nor a revision of git")
        said = f"{name} is a revision: a side is a lock or a spec, here {name}:PATH"
        raise Outcome(2, "no-lock", _typed(name, name, there, both), said)
    if path.is_dir():
        path = path / "plan.lock"
    if path.suffix in (".yaml", ".yml"):
        return planned(path, form)[0]
    return readable(located(path)[0], name)


def _typed(side: str, revision: str, path: str, both: tuple[str, str]) -> str:
    """The command in which one side is a path that is here, as it was in a revision; or which lists those that were."""
    place = place_in(revision, Path(path) / "plan.lock" if Path(path).is_dir() else Path(path)) if path else ""
    if not place:
        return shlex.join(["git", "ls-tree", "-r", "--name-only", revision])
    return shlex.join(["kcompiler", "diff", *(f"{revision}:{place}" if one == side else one for one in both)])


def readable(plan: dict[str, Any], name: str) -> dict[str, Any]:
    """A lock whose parts are where they belong. Raises Outcome: somebody has edited it into something else."""
    from kcompiler.audit.schema import problem_with

    problem = problem_with("plan", plan)
    if problem:
        raise Outcome(
            2, "unreadable", "kcompiler plan SPEC", f"{name}: not a lock by schemas/plan.schema.json: {problem}"
        )
    return plan


def _of_revision(revision: str, inside: str, both: tuple[str, str], form: str) -> dict[str, Any]:
    """A lock as it was committed, or the plan of a spec among the files that were committed with it."""
    from kcompiler import lock

    unmistaken(revision, Path.cwd())
    if Path(inside).suffix not in (".yaml", ".yml"):
        try:
            return readable(lock.load(git("show", f"{revision}:{inside}").decode("utf-8")), f"{revision}:{inside}")
        except (lock.UnreadableLock, UnicodeDecodeError) as reason:
            raise Outcome(
                2, "unreadable", "kcompiler diff --help", f"{revision}:{inside}: cannot be read as a lock: {reason}"
            ) from None
    top = git("rev-parse", options=["--show-toplevel"]).decode().strip()
    # as git reads such a path: from the top of the repository, or from here when it starts with a dot
    here = git("rev-parse", options=["--show-prefix"]).decode().strip() if inside.startswith("./") else ""
    archive = git("archive", revision, options=["--format=tar"], at=top)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(folder, filter="data")
        except tarfile.TarError as reason:
            # a link that leads out of the repository, a device
            raise Outcome(
                2, "unreadable", "kcompiler diff --help", f"{revision} holds what cannot be laid out: {reason}"
            ) from None
        (Path(folder) / ".kcompiler").mkdir(exist_ok=True)
        spec, name = Path(folder) / here / inside, f"{revision}:{inside}"
        if not spec.is_file():
            said = f"{name}: there is no such file in that revision"
            raise Outcome(2, "unreadable", _typed(name, revision, inside if Path(inside).exists() else "", both), said)
        try:
            return planned(spec, form)[0]
        except Outcome as refused:
            # what was advised stands in a folder that is gone
            again = shlex.join(["git", "log", "--oneline", revision, "--", f":/{here}{inside.removeprefix('./')}"])
            said = "\n".join(one for one in (refused.message, f"{name} is no spec that compiles today") if one)
            raise Outcome(refused.code, refused.word, again, said, refused.found) from None


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "dot", "mermaid", "json", "svg"]), default="text")
@click.option("--focus", metavar="STEP", default="", help="Only this step and its neighbourhood.")
@click.option(
    "--depth", type=click.IntRange(0), default=1, show_default=True, help="How far the neighbourhood reaches."
)
@click.option("--full", is_flag=True, help="Draw each step of a sweep.")
@PROFILE
def graph(spec: Path, form: str, focus: str, depth: int, full: bool, profile: str) -> None:
    """Draw the steps of a spec: what each takes, what it waits for, what would run here, and the critical path."""
    from kcompiler.render import drawing
    from kcompiler.render.picture import picture

    made, home = planned(spec, "human", profile=profile)
    known = [step["id"] for step in made["steps"]]
    if focus and focus not in known:
        raise no_such_step(focus, known)
    drawn = picture(made["steps"], delta_of(made, home), focus=focus, depth=depth, full=full)
    click.echo(drawing.draw(drawn, form), nl=False)
