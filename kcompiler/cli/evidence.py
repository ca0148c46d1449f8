"""The verbs of reviewers: gate, show."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli.answer import Answer, answers
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import PROFILE, called, located
from kcompiler.cli.worst import show_items, written

if TYPE_CHECKING:
    from kcompiler.project import Project


@click.command()
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--lock",
    "lock_path",
    type=click.Path(path_type=Path),
    required=True,
    help="plan.lock (or spec) whose obligations are judged.",
)
@click.option(
    "--as-of", metavar="TIME", help="Judge as of this UTC time, such as 2026-01-31T00:00:00Z; else as of now."
)
@click.option("--release", is_flag=True, help="Rules of phase release block, too, as they do in deliver.")
@click.option("--only-given", is_flag=True, help="Judge only the steps whose reports are given.")
@PROFILE
@answers("gate", of="lock_path")
def gate(
    answer: Answer,
    reports: tuple[Path, ...],
    lock_path: Path,
    as_of: str | None,
    release: bool,
    only_given: bool,
    profile: str,
) -> None:
    """Judge report files by the obligations of a lock. A report that is left out blocks."""
    from kcompiler import lock
    from kcompiler.cli import clock, excuses
    from kcompiler.judge import gate_files
    from kcompiler.render import human_run
    from kcompiler.verifier import facts

    made, home, _ = located(lock_path, profile)
    answer.plan = lock.plan_digest(made)
    asked = made.get("obligations", [])
    waivers, _ = excuses.at_hand(made, home)
    try:
        verdict = gate_files(
            reports,
            asked,
            as_of=as_of or clock.as_of(asked, waivers.given),
            lock=answer.plan,
            only_given=only_given,
            release=release,
            waivers=waivers,
            own=facts.reports(made),
        )
    except OSError as reason:
        raise Outcome(
            2, "unreadable", "kcompiler gate REPORT --lock LOCK", f"cannot read {reason.filename}: {reason.strerror}"
        ) from None
    except ValueError as reason:
        raise click.UsageError(str(reason)) from None
    if verdict.unjudged:
        strays = ", ".join(f"`{name}`" for name in verdict.unjudged)
        click.echo(f"no rule of this plan is about {strays}: damaged, or from another plan", err=True)
    found = verdict.to_json()
    answer.data = found
    files = _files(reports)
    answer.judged(found, str(made["asked"]["name"]), files.get)
    answer.about(home, made, found, files)
    answer.say(human_run.gates(found, full=True))
    if verdict.exit_code:
        raise Outcome(verdict.exit_code, verdict.verdict.lower(), f"mend what blocks, then {_apply(made, home)}")


def _apply(made: Mapping[str, Any], home: Project) -> str:
    """The command that carries out the spec of a plan, as it is typed where one stands."""
    spec = Path(os.path.relpath(home.root / made["asked"]["spec"]))
    return f"kcompiler apply {called(spec, str(made['asked'].get('profile', '')))}"


def _files(reports: tuple[Path, ...]) -> dict[str, Path]:
    """Step → the file that is its report: by the step it names, else by its own name, as the judge has it."""
    from kcompiler.policy import evidence

    found = {}
    for path in reports:
        report = evidence.read(path.read_bytes()).report
        found[str(report["step"]) if report is not None else path.stem] = path
    return found


def _read(what: str, text: str, root: Path, *, parsed: bool) -> Any:
    """What a part of the evidence says. A file that is only printed is read where its content is asked for (`parsed`):
    whoever looks may see a damaged one as it is. ValueError and the like: it is damaged."""
    from runtime.contract import strict_json

    if what == "verdict":
        from kcompiler.audit.schema import problem_with

        verdict = strict_json.loads(text)
        if problem := problem_with("verdict", verdict):
            raise ValueError(problem)
        return verdict
    if what == "artifacts":
        from kcompiler.render import artifacts

        lines: list[Any] = [strict_json.loads(line) for line in text.splitlines()]
        return artifacts.listed([line["data"] for line in lines], root)
    if not parsed:
        return None
    if what == "journal":
        return [strict_json.loads(line) for line in text.splitlines()]
    return strict_json.loads(text)


def _explained(
    made: Mapping[str, Any], home: Project, verdict: Mapping[str, Any], rule: str | None
) -> list[dict[str, Any]]:
    """Each outcome explained; of one rule alone where it is named, in full or by the end of its name."""
    from kcompiler.policy.binding import RUN
    from kcompiler.policy.evidence import read
    from kcompiler.render.explaining import explained

    folder = home.evidence(made["asked"]["name"])
    files = {path.stem: path for path in sorted((folder / "reports").glob("*.json"))} | {RUN: folder / "run.json"}
    reports = {name: read(path.read_bytes()).report for name, path in files.items() if path.is_file()}
    known = {name: report for name, report in reports.items() if report is not None}
    found = explained(made, home, verdict, known)
    chosen = [one for one in found if rule is None or one["rule"] == rule or one["rule"].endswith(f"/{rule}")]
    if rule is not None and not chosen:
        from kcompiler.diagnostic import did_you_mean

        names = {name for one in found for name in (one["rule"], one["rule"].rpartition("/")[2])}
        raise click.UsageError(f"no such rule: `{rule}`; {did_you_mean(rule, sorted(names))}")
    return chosen


#: what of the evidence `show` prints
PARTS = ("lock", "run", "report", "verdict", "rules", "journal", "artifacts", "items")
#: those that an apply writes about a plan as a whole: of another plan they answer nothing
_OF_A_PLAN = ("verdict", "rules", "run")


class _Show(click.Command):
    """`show SPEC` alone is `show verdict SPEC`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        what, target = ctx.params.get("what"), ctx.params.get("target")
        if what in PARTS and target is None:
            raise click.UsageError("Missing argument 'TARGET'.", ctx)
        if what not in PARTS and target is not None:
            raise click.UsageError(f"{what!r} is not one of {', '.join(PARTS)}.", ctx)
        if target is None:
            ctx.params |= {"what": "verdict", "target": Path(str(what))}
        return rest


@click.command(cls=_Show)
@click.argument("what", metavar=f"[{'|'.join(PARTS)}]")
@click.argument("target", type=click.Path(path_type=Path), required=False, metavar="TARGET")
@click.argument("step", required=False)
@click.option("--worst", type=click.IntRange(1), default=10, show_default=True, help="Of `items`: how many.")
@click.option("--runner", metavar="NAME", default="", help="Of `items`: one runner's alone.")
@PROFILE
@answers("show", of="target")
def show(answer: Answer, what: str, target: Path, step: str | None, worst: int, runner: str, profile: str) -> None:
    """Print one part of the evidence of TARGET, which is a spec, a lock or a folder of generated/; the verdict, where
    no part is named. `--format html` is one page about the whole run.

    `artifacts` says where the package, the checkpoints and the rest lie, and what each is for; `items` the worst
    answers of an evaluation STEP, with what was asked (by digest), the output and the reason; TARGET may be the folder
    that `evaluate --to` wrote as well, and STEP one of its SUITE-RUNNER. `rules` explains each outcome of the
    verdict, or that of the rule named in place of STEP: its line, the place in the report, how far from the bound, and
    what would change it. For people the other parts are files and printed as they are; the forms of --format hold the
    same as data.

    Evidence of another plan than the lock says so in every form: the verdict, its rules and the run end with 3, as they
    are about nothing that is asked now.
    """
    answer.subject = " ".join((what, answer.subject, *([step] if step else [])))
    answer.data = {"what": what, "step": step, "content": None}
    if what == "items":
        found, text = show_items(target, profile, step, worst, runner)
        if not written(target):
            made, home, _ = located(target, profile)
            _warned(answer, _stranger(made, home, what))
        _shown(answer, found, text)
        return
    from kcompiler import lock

    made, home, path = located(target, profile)
    evidence = home.evidence(made["asked"]["name"])
    answer.plan = lock.plan_digest(made)
    answer.about(home, made)
    if what == "lock":
        _shown(answer, made, path.read_text(encoding="utf-8"))
        return
    if what == "report" and not step:
        known = ", ".join(sorted(item.stem for item in (evidence / "reports").glob("*.json"))) or "none yet"
        raise click.UsageError(f"say which step's report: {known}")
    files = {"run": "run.json", "verdict": "verdict.json", "rules": "verdict.json", "report": f"reports/{step}.json"}
    files |= {"journal": "journal.jsonl", "artifacts": "journal.jsonl"}
    file = evidence / files[what]
    if not file.is_file() or not file.resolve().is_relative_to(evidence.resolve()):
        raise Outcome(
            2,
            "no-evidence",
            f"kcompiler apply {called(target, profile)}",
            f"{home.shown(evidence / files[what])} does not exist",
        )
    try:
        text = file.read_text(encoding="utf-8")
        found = _read("verdict" if what == "rules" else what, text, home.root, parsed=not answer.human)
    except (ValueError, LookupError, TypeError, AttributeError) as reason:
        raise Outcome(
            3,
            "evidence-broken",
            f"kcompiler apply {called(target, profile)}",
            f"{home.shown(file)} is damaged: {str(reason)[:200]}",
        ) from None
    strange = _stranger(made, home, what)
    if what not in _OF_A_PLAN:
        _warned(answer, strange)
    elif what != "run" and not strange:
        answer.judged(found, str(made["asked"]["name"]))
    before = f"! {strange}\n\n" if strange else ""
    if what == "verdict":
        from kcompiler.render import human_run

        _shown(answer, found, before + human_run.gates(found, full=True))
    elif what == "rules":
        from kcompiler.render import human_run

        explained = _explained(made, home, found, step)
        _shown(answer, explained, before + human_run.explanations(explained))
    elif what == "artifacts":
        from kcompiler.render import artifacts

        entries: list[dict[str, Any]] = found
        chosen = [entry for entry in entries if not step or entry["artifact"].partition(".")[0] == step]
        if step and not chosen:
            from kcompiler.cli.plans import no_such_step

            raise no_such_step(step, [entry["artifact"].partition(".")[0] for entry in entries])
        _shown(answer, chosen, artifacts.text(chosen))
    else:
        _shown(answer, found, text)
    if strange and what in _OF_A_PLAN:
        raise Outcome(3, "other-plan", _apply(made, home), strange)


def _stranger(made: Mapping[str, Any], home: Project, what: str) -> str:
    """What is to be said of evidence that an apply of another plan than the lock left here; "" where it is of this one,
    or nothing says of which."""
    from kcompiler import lock
    from runtime.contract import strict_json

    evidence, plan = home.evidence(str(made["asked"]["name"])), ""
    places = {"verdict.json": ("lock",), "run.json": ("subject", "plan")}
    for name in sorted(places, key=lambda one: (what == "run") != one.startswith("run")):
        try:
            value: Any = strict_json.loads((evidence / name).read_bytes())
            for key in places[name]:
                value = value[key]
        except (OSError, ValueError, LookupError, TypeError):
            continue  # it is not there, or is damaged, which is said where it is shown
        if isinstance(value, str):
            plan = value
            break
    if plan in ("", lock.plan_digest(made)):
        return ""
    shown = home.shown(home.lock(str(made["asked"]["name"])))
    return f"{home.shown(evidence)} is of another plan than {shown}: what it says is not about this spec as it is"


def _warned(answer: Answer, said: str) -> None:
    """What was made under another plan may be right under this one, too: it is shown, and every form says of what."""
    if said:
        from kcompiler.diagnostic import Diagnostic

        answer.found([Diagnostic(code="", severity="warning", summary=said)])
        if answer.human:
            click.echo(f"note: {said}", err=True)


def _shown(answer: Answer, content: Any, text: str) -> None:
    """One part of the evidence as data and as text."""
    answer.data["content"] = content
    answer.sections = [(str(answer.data["what"]), text.splitlines())]
    answer.say(text)
