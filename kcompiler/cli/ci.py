"""The verb that a pipeline calls: ci. Every stage of every spec, their outputs in one folder, one exit code."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kcompiler.cli.answer import Answer, answers, rendered
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import PROFILE, called
from kcompiler.cli.writing import no_key

if TYPE_CHECKING:
    from kcompiler.cli.asked import Compared
    from kcompiler.cli.change import Bounds
    from kcompiler.render.html.run import Run
    from kcompiler.result import Result

STAGES = ("validate", "plan", "change", "policy", "apply", "gate", "audit")
#: the files beside the folders of the specs, each in its form
FILES = {
    "result.json": "json",
    "results.sarif": "sarif",
    "junit.xml": "junit",
    "summary.md": "markdown",
    "report.html": "html",
}
VERDICT, BUNDLE = "verdict.json", "bundle.zip"
#: what became of the packs since a revision
PACKS = "packs.json"


@click.command()
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--to",
    "out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the outputs: a new one, or that of an earlier ci.",
)
@click.option("--bundle", is_flag=True, help="Also the evidence of each as a bundle, once it was found sound.")
@click.option(
    "--sign-key",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="Of --bundle: sign it with this OpenSSH private key.",
)
@click.option(
    "--base",
    metavar="REVISION",
    help="No pack, and nothing that a spec is asked, may be weaker than in this revision of git.",
)
@click.option(
    "--allow-weaker",
    "allowed",
    nargs=2,
    multiple=True,
    metavar="PACK/RULE WHY",
    help="Of --base: this rule (or PACK/pack.yaml, NAME/risk_tier, NAME/budgets.usd, NAME/budgets.files, NAME/spec, "
    "waivers/ID, links/PLACE) may be, for this reason; it stands in the outputs.",
)
@click.option(
    "--plan-only", is_flag=True, help="Apply nothing, as for a pull request: the stages before `apply` alone."
)
@PROFILE
@answers("ci", of="specs")
def ci(
    answer: Answer,
    specs: tuple[Path, ...],
    out: Path,
    bundle: bool,
    sign_key: tuple[Path, ...],
    base: str | None,
    allowed: tuple[tuple[str, str], ...],
    plan_only: bool,
    profile: str,
) -> None:
    """Validate, plan --check, policy lint and test, apply, gate and audit each of SPECS; all outputs in one folder, and
    one exit code.

    The code is the worst of all stages (70, a signal, 3, 2, 4, 5, 6, 1, 7, 0). A stage that must not follow is not run,
    and that is no pass: without a valid spec and an unchanged committed lock nothing is applied, without a verdict
    nothing is judged again. Run again, it goes on from what is there and writes the same files.

    Stage `policy` asks the project's own packs that the plan names what `policy lint` and `policy test` ask: nothing is
    applied under a rule of which no case shows that it fails.

    With --base, the first stage is `policy diff` of every pack of the project, and of what the committed lock of each
    spec asked then, also where the spec has another name or another file, or is gone: where a rule is weaker or no
    longer asked, or a budget is higher, or a waiver is no longer revoked, and nobody says why, nothing else is done.

    A spec with `budgets.files` or `budgets.lines` has a stage `change`: how much of its own sources is another since
    the history left --base, held to the bound that the base has. Without --base nobody counts, which is no pass.
    """
    from kcompiler import project
    from kcompiler.cli import change
    from kcompiler.render import human_plan, markdown
    from kcompiler.result import Result, worst

    if bundle and plan_only:
        raise click.UsageError("--bundle is of a run; --plan-only has none")
    if sign_key and not bundle:
        raise click.UsageError("--sign-key signs a bundle; say --bundle, too")
    if allowed and base is None:
        raise click.UsageError("--allow-weaker is about a revision; say which by --base")
    no_key("--allow-weaker", *(word for pair in allowed for word in pair))
    blank = next((rule for rule, reason in allowed if len(reason.strip()) < 5), None)
    if blank is not None:
        raise click.UsageError(f"--allow-weaker {blank}: say why it may be weaker")
    _claim(out, Result(verb="ci", subject=answer.subject, code=3, word="unfinished", message="it did not end"))
    names: list[str] = []
    runs: dict[str, Run] = {}
    weaker, known = None, None
    if base is not None:
        part, known = _compared(base, dict(allowed), specs, profile)
        answer.parts.append(part)
        _write(out / PACKS, rendered(part, "json"))
        weaker = part if part.code else None
    for spec in specs:
        wanted = _Bundle(out, tuple(names), sign_key) if bundle else None
        then = base if weaker is None else None
        bounds = change.bounds(project.find(spec), spec, profile, then, {rule for rule, _ in allowed}, known)
        verbs = STAGES[: STAGES.index("apply")] if plan_only else STAGES
        parts, name = _stages(spec, profile, weaker or _stopped(answer.parts), wanted, (bounds, base), verbs)
        folder = _folder(name, names)
        names.append(folder)
        answer.parts += parts
        _lay_down(out / folder, parts, spec, name)
        runs |= _run_of(parts, spec, name)
    code = worst([part.code for part in answer.parts])
    first = next(part for part in answer.parts if part.code == code)
    answer.data = {"to": out.as_posix(), "specs": dict(zip(names, map(str, specs), strict=True))}
    said = "\n".join(f"{part.verb} {part.subject}: {part.word}" for part in answer.parts if part.code)
    ended = Outcome(code, first.word if code else "ok", first.next if code else "", said)
    made = answer.made(ended)
    for file, form in FILES.items():
        _write(out / file, rendered(made, form, runs))
    answer.say(human_plan.text(markdown.view(made)))
    if code:
        raise ended


def _claim(out: Path, unfinished: Result) -> None:
    """Make the folder, or take one that an earlier ci wrote; what that said is gone before anything begins. Raises
    Outcome for a folder of somebody else."""
    result = out / "result.json"
    if out.is_dir() and any(out.iterdir()):
        try:
            ours = json.loads(result.read_text(encoding="utf-8"))["verb"] == "ci"
        except (OSError, ValueError, LookupError, TypeError):
            ours = False
        if not ours:
            raise Outcome(2, "unusable-path", "name another folder by --to", f"{out} holds what no ci has written")
        for file in (*(out / name for name in (*FILES, PACKS)), *(path for path in out.glob("*/*") if _is_stage(path))):
            file.unlink(missing_ok=True)
    _write(result, rendered(unfinished, "json"))


def _is_stage(path: Path) -> bool:
    return path.name in (VERDICT, BUNDLE) or (path.suffix == ".json" and path.stem in STAGES)


def _stopped(parts: Sequence[Result]) -> Result | None:
    """The stage that a signal or a defect of ours ended: nothing follows, of no spec."""
    return next((part for part in parts if part.code == 70 or part.code > 128), None)


def _folder(name: str, taken: Sequence[str]) -> str:
    """Of the outputs of one spec."""
    return name if name not in taken else f"{name}-{len(taken) + 1}"


class _Bundle(NamedTuple):
    """Where the bundle of a spec goes (the folders that are `taken` are those of specs before it), and who signs it."""

    out: Path
    taken: Sequence[str]
    keys: tuple[Path, ...]

    def asked(self, name: str) -> dict[str, Any]:
        """What the audit is asked beside the spec."""
        folder = self.out / _folder(name, self.taken)
        _made(folder)
        return {"bundle": folder / BUNDLE, "sign_key": self.keys}


def _stages(
    spec: Path,
    profile: str,
    stopped: Result | None,
    bundle: _Bundle | None,
    change: tuple[Bounds, str | None],
    verbs: Sequence[str],
) -> tuple[list[Result], str]:
    """The result of every stage of one spec, and what the spec is called. `change`: what bounds one, and since when."""
    from kcompiler import project
    from kcompiler.cli import auditing, author, evidence, proving, run

    subject, found, name = called(spec, profile), [], spec.stem
    for verb in verbs:
        if verb == "change" and not change[0].held:
            continue
        if stopped is not None:
            found.append(_not_run(verb, subject, stopped))
            continue
        home = project.find(spec)
        folder = home.evidence(name)
        given: Mapping[str, tuple[click.Command, dict[str, Any]]] = {
            "validate": (author.validate, {"specs": (spec,), "profile": profile}),
            "plan": (
                author.plan,
                {
                    "check": True,
                    "detailed_exitcode": False,
                    "full": False,
                    "targets": (),
                    "spec": spec,
                    "profile": profile,
                },
            ),
            "apply": (
                run.apply,
                {"locked": True, "only": (), "force": (), "backend": None, "full": False, "sinks": ()}
                | {"target": spec, "profile": profile},
            ),
            "gate": (
                evidence.gate,
                {"reports": _reports(folder), "lock_path": home.lock(name), "as_of": None}
                | {"release": False, "only_given": False, "profile": ""},
            ),
            "audit": (
                auditing.audit,
                {"target": spec, "profile": profile}
                | (bundle.asked(name) if bundle is not None and verb == "audit" else {}),
            ),
        }
        if verb == proving.VERB:
            result = _proven(subject, spec, name)
        elif verb == "change":
            result = _measured(subject, spec, name, *change)
        else:
            command, arguments = given[verb]
            result = _stage(verb, command, subject, spec, arguments)
        found.append(result)
        click.echo(f"{verb} {subject}: {result.word}", err=True)
        if verb == "plan":
            name = str(result.data.get("name", name))
        # a verdict that is no yes is still judged again and audited
        if result.code and not (verb in ("apply", "gate") and result.verdict and _stopped([result]) is None):
            stopped = result if verb != "audit" else None
    return found, name


def _reports(folder: Path) -> tuple[Path, ...]:
    return (*sorted((folder / "reports").glob("*.json")), folder / "run.json")


def _told(answer: Answer, ask: Callable[[], object]) -> Result:
    """What a stage answers, however it ends; nothing of it is printed on stdout."""
    try:
        with answer.told():
            ask()
    except (Exception, KeyboardInterrupt):
        # how it ended is part of the result
        pass
    assert answer.result is not None
    return answer.result


def _stage(verb: str, command: click.Command, subject: str, spec: Path, arguments: dict[str, Any]) -> Result:
    """What a verb answers."""
    answer = Answer(verb, subject, "", spec)
    assert command.callback is not None
    return _told(answer, partial(inspect.unwrap(command.callback), answer=answer, **arguments))


def _proven(subject: str, spec: Path, name: str) -> Result:
    """What the project's own packs are worth that the plan of a spec names."""
    from kcompiler import lock
    from kcompiler.cli import proving

    answer = Answer(proving.VERB, subject, "", spec)
    return _told(answer, lambda: proving.held_to(answer, lock.read(answer.home.lock(name))))


def _measured(subject: str, spec: Path, name: str, bounds: Bounds, base: str | None) -> Result:
    """How large the change to a spec's sources is."""
    from kcompiler import lock
    from kcompiler.cli import change

    answer = Answer(change.VERB, subject, "", spec)
    return _told(answer, lambda: change.held_to(answer, bounds, spec, base, lock.read(answer.home.lock(name))))


def _compared(
    base: str, allowed: Mapping[str, str], specs: Sequence[Path], profile: str
) -> tuple[Result, Compared | None]:
    """The packs of the project and what its specs are asked, against a revision of git; and what became of its locks,
    where nothing stopped it."""
    from kcompiler.cli import since

    answer = Answer(since.VERB, base, "", specs[0])
    found: list[Compared] = []
    result = _told(answer, lambda: found.append(since.held_to(answer, base, allowed, specs, profile)))
    click.echo(f"{since.VERB} {base}: {result.word}", err=True)
    if result.code == 2 and result.message:  # nothing was compared, so that no row says why
        click.echo(result.message, err=True)
    return result, next(iter(found), None)


def _not_run(verb: str, subject: str, because: Result) -> Result:
    """What stands in the place of a stage that must not follow: never a pass."""
    from kcompiler.result import Result

    why = f"not run, because {because.verb} {because.subject} ended with code {because.code}, {because.word}"
    return Result(
        verb=verb, subject=subject, root=because.root, code=because.code, word="not-run", next=because.next, message=why
    )


def _lay_down(folder: Path, parts: Sequence[Result], spec: Path, name: str) -> None:
    """The result of each stage, and the verdict where one was reached."""
    from kcompiler import project

    for part in parts:
        _write(folder / f"{part.verb}.json", rendered(part, "json"))
    applied = next((part for part in parts if part.verb == "apply"), None)
    if applied is not None and applied.verdict:
        _write(folder / VERDICT, project.find(spec).verdict(name).read_text(encoding="utf-8"))


def _run_of(parts: Sequence[Result], spec: Path, name: str) -> dict[str, Run]:
    """Subject of the stages → the run that they were about; none where nothing was judged now: what an earlier run left
    there is not theirs."""
    from kcompiler import lock, project
    from kcompiler.render.html.run import look

    applied = next((part for part in parts if part.verb == "apply" and part.verdict), None)
    home = project.find(spec)
    try:
        return {applied.subject: look(home, lock.read(home.lock(name)))} if applied is not None else {}
    except lock.UnreadableLock:
        return {}


def _made(folder: Path) -> None:
    """The folder. Raises Outcome where the disk refuses."""
    from runtime.machine import durable

    try:
        durable.DISK.folder(folder.absolute())
    except durable.StorageFailed as failed:
        raise Outcome(6, "storage-failed", "free space or mend the disk, then the same command", str(failed)) from None


def _write(path: Path, text: str) -> None:
    from runtime.machine import durable

    _made(path.parent)
    try:
        durable.write(path.absolute(), text)
    except durable.StorageFailed as failed:
        raise Outcome(6, "storage-failed", "free space or mend the disk, then the same command", str(failed)) from None
