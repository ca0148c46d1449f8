"""The verb that works: apply. Reads specs or locks, hands the judge to the machine, renders what happens."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler import project
from kcompiler.cli import threads
from kcompiler.cli.answer import Answer, answers, say
from kcompiler.cli.outcome import Outcome, locked, refused_by_machine
from kcompiler.cli.plans import PROFILE, begun, called, delta_of, evidence_broken, planned
from kcompiler.cli.standing import spare
from kcompiler.cli.writing import write

if TYPE_CHECKING:
    from kcompiler.diagnostic import Diagnostic, RefusalLike
    from kcompiler.render.progress import Watch
    from runtime.machine.apply import Difference, Run

#: how a run ended → exit code and word
_ENDS = {"failed": (6, "step-failed")}


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--locked", is_flag=True, help="Refuse (exit 4) when the committed lock would change.")
@click.option("--only", multiple=True, metavar="STEP", help="Only this step and what it needs; repeatable.")
@click.option("--force", multiple=True, metavar="STEP", help="Run this step although it could be reused; repeatable.")
@click.option(
    "--backend",
    type=click.Choice(["null"]),
    help="Forge every artifact; no gate can pass on that. Refused where the evidence of a real run stands.",
)
@PROFILE
@click.option("--full", is_flag=True, help="List each report a rule passed on.")
@click.option(
    "--sink",
    "sinks",
    multiple=True,
    metavar="KIND:TARGET",
    help="Send the curves of trainings there, too: tensorboard:DIR, mlflow:URI, trackio:DIR; repeatable. No part of "
    "the plan.",
)
@answers("apply", of="target")
def apply(
    answer: Answer,
    target: Path,
    locked: bool,
    only: tuple[str, ...],
    force: tuple[str, ...],
    backend: str | None,
    profile: str,
    full: bool,
    sinks: tuple[str, ...],
) -> None:
    """Carry out TARGET, a spec or a plan.lock. Steps whose result is there are reused; an interrupted run resumes."""
    threads.settle()
    made, home, spec = _target(target, backend, profile)
    if backend is None:
        settle(made, home, spec, locked)
    else:
        spare(home, str(made["asked"]["name"]))
    with watched(made, sinks) as watch:
        run, verdict, signal = carried_out(made, home, list(only) or None, list(force), watch)
    answer.about(home, made)
    _summary(answer, run, verdict, str(made["asked"]["name"]), full)
    alone = _asked_alone(made, only)
    if alone is not None:
        # what other steps lack blocks the whole, not the part
        answer.outcomes = [one for one in answer.outcomes if one.step in alone]
    leave(run, verdict, called(target, profile), signal, alone)
    if not only and sum(step["kind"].startswith("export@") for step in made["steps"]) == 1:
        answer.next = f'kcompiler generate {spec} --prompt "…", or kcompiler deliver {spec} --to DIR'
        answer.say(f"next     {answer.next}\n")


def _asked_alone(made: Mapping[str, Any], only: Sequence[str]) -> frozenset[str] | None:
    """The steps that --only stands for; None when the whole plan was asked for."""
    from runtime.contract.keys import needed

    return frozenset(needed(made["steps"], only)) if only else None


def _target(target: Path, backend: str | None, profile: str) -> tuple[dict[str, Any], project.Project, str]:
    """The plan to carry out, and the spec it came from. A lock must still be what its spec compiles to."""
    from kcompiler import lock

    if target.suffix != ".lock":
        made, home = planned(target, "human", backend, profile=profile)
        return made, home, called(target, profile)
    if profile:
        raise click.UsageError("a lock is of one profile already: name the spec, or leave --profile out")
    try:
        committed = lock.read(target)
        spec = project.of_lock(target).root / str(committed["asked"]["spec"])
        targets = [str(name) for name in committed["asked"].get("targets", [])]
        overlay = str(committed["asked"].get("profile", ""))
    except (lock.UnreadableLock, KeyError, TypeError) as reason:
        raise Outcome(2, "unreadable", "kcompiler plan SPEC", f"{target}: cannot be read as a lock: {reason}") from None
    made, home = planned(spec, "human", backend, targets, overlay)
    if backend is None and made != committed:
        raise _stale(lock.difference(committed, made), called(spec, overlay))
    return made, home, called(spec, overlay)


def target_of(spec: Path, profile: str) -> tuple[dict[str, Any], project.Project, str]:
    """The plan of a spec or a lock as it stands, and how it is called."""
    return _target(spec, None, profile)


def settle(made: dict[str, Any], home: project.Project, spec: str, locked: bool) -> None:
    """Bring the committed lock up to date, or refuse to."""
    from kcompiler import lock

    path = home.lock(made["asked"]["name"])
    committed = None
    if path.exists():
        try:
            committed = lock.read(path)
        except lock.UnreadableLock as reason:
            click.echo(f"{home.shown(path)} cannot be read and is written anew: {reason}", err=True)
    if committed == made:
        return
    if locked:
        raise _stale(lock.difference(committed, made) if committed else [f"{home.shown(path)} does not exist"], spec)
    write(home, path, lock.dump(made))
    for line in lock.difference(committed, made) if committed else ["new"]:
        click.echo(f"lock    {line}", err=True)


def _world_differs(differences: Sequence[Difference], spec: str) -> Outcome:
    """An input that is not here is mended by putting it there, a toolchain by installing it, the rest by planning."""
    lines = [str(item) for item in differences]
    if all(item.absent for item in differences):
        places = "\n".join(f"  {item.absent}  {item.locked}" for item in differences)
        return Outcome(
            4,
            "input-absent",
            f"put it there, then kcompiler apply {spec}",
            f"what the lock pins is not here:\n{places}",
        )
    if any(item.kind != "toolchain" for item in differences):
        return _stale(lines, spec)
    return Outcome(
        4,
        "toolchain-differs",
        f"pip install 'kcompiler[{','.join(_extras(item.name for item in differences))}]'",
        "the toolchain is not the one the lock pins:\n" + "\n".join(f"  {line}" for line in lines),
    )


def _extras(distributions: Iterable[str]) -> list[str]:
    """The extras that install these: the common one, and those of backends that need more."""
    from runtime import catalog

    own = [name for name in catalog.names("backends") if catalog.distribution("backends", name) is None]
    backends = [catalog.load("backends", name) for name in own]
    common = {name for backend in backends if backend.extra == "run" for name in backend.requires}
    more = sorted((one for one in backends if one.extra != "run"), key=lambda one: (len(one.requires), one.extra))
    # several may hold it: the smallest is enough
    least = {name: next(one.extra for one in more if name in one.requires) for name in set(distributions) - common}
    return ["run", *sorted(set(least.values()))]


def _stale(differences: Sequence[str], spec: str) -> Outcome:
    return Outcome(
        4,
        "lock-stale",
        f"kcompiler plan {spec}",
        "the lock is stale:\n" + "\n".join(f"  {line}" for line in differences),
    )


def judge_of(made: Mapping[str, Any], home: project.Project) -> Callable[..., Any]:
    """The judge of a plan's obligations: reports → verdict; of those about some steps alone, when they are named. What
    a waiver excuses for one of them counts for the next."""
    from kcompiler import lock
    from kcompiler.cli import clock, excuses
    from kcompiler.judge import judge
    from kcompiler.policy.binding import RUN
    from kcompiler.verifier import facts

    identity, at_hand, own = lock.plan_digest(made), excuses.Held(made, home), facts.reports(made)

    def verdict_of(reports: Mapping[str, bytes], steps: Collection[str] | None = None) -> Any:
        # between steps there is no report on the run yet, and everything was made for this plan
        pin, held = identity if RUN in reports else None, at_hand.waivers
        if steps is None:
            at = clock.as_of(made["obligations"], held.given)
            return at_hand.after(judge({**reports, **own}, made["obligations"], lock=pin, as_of=at, waivers=held))
        asked = [one for one in made["obligations"] if one["from"].removeprefix("step:") in steps]
        beside = {one.get(key, "").removeprefix("step:") for one in asked for key in ("against", "judged_by")}
        given = {key: value for key, value in reports.items() if key in beside | set(steps)}
        at = clock.as_of(asked, held.given)
        return at_hand.after(judge(given, asked, lock=pin, every=made["obligations"], as_of=at, waivers=held))

    return verdict_of


def carried_out(
    made: dict[str, Any], home: project.Project, only: list[str] | None, force: list[str], watch: Watch
) -> tuple[Run, Mapping[str, Any], int]:
    from kcompiler.cli import excuses
    from kcompiler.cli.approving import require

    require(made, home)
    excuses.remember(home)
    run, verdict, signal = _carried_out(made, home, only, force, watch)
    # also after an interruption: an old PASS must not stand beside the evidence of a part
    write(home, home.verdict(made["asked"]["name"]), verdict.dump())
    excuses.keep(made, home)
    return run, {**verdict.to_json(), "exit_code": verdict.exit_code}, signal


def aside(part: dict[str, Any], home: project.Project, again: str) -> Run:
    """What the steps of a part of a plan make, for who looks at it: verdict and evidence of the spec stay as they are.

    Raises Outcome unless every step has a result; `again` is the command that asked.
    """
    from kcompiler.cli.approving import require

    require(part, home)
    with watched(part) as watch:
        run, _, signal = _carried_out(part, home, None, [], watch, evidence=False)
    errors(run)
    if run.outcome == "interrupted":
        raise Outcome(128 + (signal or 2), "interrupted", again)
    if any(item.record is None for item in run.steps):
        raise Outcome(6, "step-failed", f"mend what was refused, then {again}")
    return run


def _carried_out(
    made: dict[str, Any],
    home: project.Project,
    only: list[str] | None,
    force: list[str],
    watch: Watch,
    *,
    evidence: bool = True,
) -> tuple[Run, Any, int]:
    """What became of it, the verdict on everything, which the journal names, and the signal that stopped it."""
    from dataclasses import asdict

    from runtime import digest
    from runtime.machine import apply as machine

    verdict_of = judge_of(made, home)
    last: list[Any] = []

    if not gc.isenabled():
        # what compiling has made stays to the end: only what comes now is looked at
        gc.freeze()
        gc.enable()

    def judged(reports: Mapping[str, bytes], steps: Collection[str] | None) -> list[dict[str, Any]]:
        last[:] = [verdict_of(reports, steps)]
        return [
            {**asdict(item), "blocking": item.mode == "block" and not item.advisory and item.outcome != "waived"}
            for item in last[0].outcomes
        ]

    try:
        with machine.stoppable(_heard, _dying) as stop:
            try:
                run = machine.apply(
                    made,
                    root=home.root,
                    judge=judged,
                    watch=watch,
                    only=only,
                    force=force,
                    stop_requested=stop,
                    evidence=evidence,
                    verdict=lambda: digest.of_bytes(last[0].dump().encode()),
                )
            except KeyboardInterrupt:
                raise _cut(made, home, stop.signal) from None
    except machine.Refusal as refusal:
        raise _refusal(refusal) from None
    except machine.Stale as stale:
        raise _world_differs(
            stale.differences, called(Path(made["asked"]["spec"]), str(made["asked"].get("profile", "")))
        ) from None
    except machine.Locked as holder:
        raise locked(holder) from None
    except machine.BrokenEvidence as broken:
        raise evidence_broken(broken) from None
    except machine.StorageFailed as failed:
        raise Outcome(6, "storage-failed", "free space or mend the disk, then kcompiler apply", f"{failed}") from None
    return run, last[0], stop.signal


def _cut(made: Mapping[str, Any], home: project.Project, signal: int) -> Outcome:
    """The second signal: what was under way is left as it is."""
    left = [f"{step}: {words}" for step, words in begun(made, home, delta_of(made, home)).items()]
    spec = called(Path(made["asked"]["spec"]), str(made["asked"].get("profile", "")))
    return Outcome(128 + (signal or 2), "interrupted", f"kcompiler apply {spec}", "\n".join(left))


def _heard(signal: int) -> None:
    click.echo("stopping at the next safe point; once more to stop now, a third time to die", err=True)


def _dying(signal: int) -> None:
    # by a thread, while the main one may hold the lock of any stream
    os.write(2, f"outcome=killed code={128 + signal} next=the same command, which goes on from there\n".encode())


def _refusal(refusal: RefusalLike) -> Outcome:
    return refused_by_machine(refusal, "mend it, then the same command again")


@contextlib.contextmanager
def watched(made: Mapping[str, Any], sinks: Sequence[str] = ()) -> Iterator[Watch]:
    """What looks on while a plan is carried out: the person's view, and the sinks that were asked for. Raises Outcome
    for a sink that cannot be opened, before anything is done."""
    view = _view(len(made["steps"]))
    try:
        watch = _with_sinks(view, sinks, str(made["asked"]["name"]))
        try:
            yield watch
        finally:
            watch.close()
    finally:
        view.close()


def _with_sinks(view: Watch, sinks: Sequence[str], run: str) -> Watch:
    from kcompiler.render.progress import Several
    from runtime.contract import Refusal
    from runtime.machine import sinks as room

    windows = []
    try:
        for text in dict.fromkeys(sinks):
            windows.append(room.opened(text, run, lambda line: click.echo(line, err=True)))
    except Refusal as refusal:
        raise _refusal(refusal) from None
    return Several(view, windows)


def _view(total: int) -> Watch:
    from kcompiler.render.progress import Live, Plain

    if sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        return Live(sys.stderr, total)
    return Plain(lambda line: click.echo(line, err=True), total)


def _summary(answer: Answer, run: Run, verdict: Mapping[str, Any], name: str, full: bool) -> None:
    """What became of each step, what was measured, what the judge said: into the answer, and for people in print."""
    from kcompiler.render import human_run
    from kcompiler.result import StepState

    answer.wall_s = run.wall_s
    answer.steps = [
        StepState(
            step=item.step,
            action=item.status,
            reason=item.reason,
            why=item.detail or item.reason,
            wall_s=item.record["wall_s"] if item.record else None,
        )
        for item in run.steps
    ]
    answer.data = {
        "run": run.outcome,
        "counts": dict(run.counts),
        "evidence": answer.home.shown(run.evidence),
        "metrics": human_run.measured(run.reports),
    }
    if run.outcome != "interrupted":
        answer.judged(verdict, name)
    answer.say(human_run.steps([{**vars(one)} for one in answer.steps]))
    answer.found(errors(run))
    answer.say(human_run.metrics(run.reports))
    if run.outcome != "interrupted":
        answer.say(human_run.gates(verdict, full=full))
    answer.say(f"evidence {_shown(run.evidence)}   {run.wall_s:.1f} s\n")


def _shown(path: Path) -> str:
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()


def errors(run: Run) -> list[Diagnostic]:
    """What refused a step, printed before the gates that wait because of it."""
    from kcompiler.diagnostic import Diagnostic, from_refusal
    from kcompiler.render import human
    from runtime.contract import Refusal

    found = []
    for item in run.steps:
        if item.error is not None:
            click.echo(f"step {item.step} refused:", err=True)
            if isinstance(item.error, Refusal):
                found.append(from_refusal(item.error))
                click.echo(human.diagnostics(found[-1:], {}), err=True, nl=False)
            else:
                found.append(Diagnostic(code="", summary=f"step {item.step}: {item.error}"))
                click.echo(f"  {item.error}", err=True)
    return found


def leave(run: Run, verdict: Mapping[str, Any], target: str, signal: int, alone: frozenset[str] | None) -> None:
    """The exit code. Of a part (`alone`) only its own steps are asked: the verdict on the whole stays what it is."""
    if run.outcome == "interrupted":
        stopped = [f"{item.step}: {item.detail}" for item in run.steps if item.status == "interrupted"]
        raise Outcome(128 + (signal or 2), "interrupted", f"kcompiler apply {target}", "\n".join(stopped))
    if run.outcome in _ENDS:
        from runtime.contract import Refusal

        code, word = _ENDS[run.outcome]
        # the same again would be refused again
        refused = any(isinstance(item.error, Refusal) for item in run.steps)
        raise Outcome(code, word, f"{'mend what was refused, then ' if refused else ''}kcompiler apply {target}")
    if held := [item for item in run.steps if item.reason == "held_back"]:
        told = "\n".join(f"{item.step} did not begin: {item.detail}" for item in held)
        raise Outcome(1, "held-back", f"mend it, then kcompiler apply {target}", told)
    if alone is not None and not any(one["blocks"] and one["step"] in alone for one in verdict["outcomes"]):
        say(f"part    the steps asked for are done; the whole plan is judged by kcompiler apply {target}")
        return
    if verdict["exit_code"] != 0:
        if anew := _begun_otherwise(run, verdict):
            words = " ".join(f"--force {step}" for step in anew)
            raise Outcome(verdict["exit_code"], _word(verdict), f"kcompiler apply {target} {words}")
        # other rules may block only because nothing came after this one
        rule = next((one["rule"] for one in verdict["outcomes"] if one.get("waivable")), "")
        following = f"mend what blocks, or kcompiler waiver new {target} --rule {rule}"
        raise Outcome(verdict["exit_code"], _word(verdict), following if rule else f"kcompiler show verdict {target}")


def _word(verdict: Mapping[str, Any]) -> str:
    return str(verdict["verdict"]).lower().replace("_", "-")


def _begun_otherwise(run: Run, verdict: Mapping[str, Any]) -> list[str]:
    """The reused steps that alone block, by how they once began: a rule asks that now, and only a new beginning can be
    another. Empty where anything else blocks."""
    from kcompiler.verifier.facts import START, start_of

    reused = {start_of(one.step): one.step for one in run.steps if one.status == "reused"}
    found = {one["step"] if one["report"] == START else "" for one in verdict["outcomes"] if one["blocks"]}
    return [step for key, step in reused.items() if key in found] if found <= reused.keys() else []
