"""The verbs of reviewers: gate, show, audit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT, PROFILE, called, located
from kcompiler.cli.worst import show_items


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
@FORMAT
def gate(
    reports: tuple[Path, ...],
    lock_path: Path,
    as_of: str | None,
    release: bool,
    only_given: bool,
    profile: str,
    form: str,
) -> None:
    """Judge report files by the obligations of a lock. A report that is left out blocks."""
    from kcompiler import lock
    from kcompiler.cli import clock
    from kcompiler.judge import gate_files

    made, _, _ = located(lock_path, profile)
    asked = made.get("obligations", [])
    try:
        verdict = gate_files(
            reports,
            asked,
            as_of=as_of or clock.as_of(asked),
            lock=lock.plan_digest(made),
            only_given=only_given,
            release=release,
        )
    except OSError as reason:
        click.echo(f"cannot read {reason.filename}: {reason.strerror}", err=True)
        raise Outcome(2, "unreadable", "kcompiler gate REPORT --lock LOCK") from None
    except ValueError as reason:
        raise click.UsageError(str(reason)) from None
    if verdict.unjudged:
        strays = ", ".join(f"`{name}`" for name in verdict.unjudged)
        click.echo(f"no rule of this plan is about {strays}: damaged, or from another plan", err=True)
    _show_verdict(verdict.to_json(), form)
    if verdict.exit_code:
        raise Outcome(verdict.exit_code, verdict.verdict.lower(), "mend what blocks, then kcompiler apply")


def _read(what: str, text: str, root: Path) -> Any:
    """What a part of the evidence says, where it is more than printed. ValueError and the like: it is damaged."""
    if what == "verdict":
        from kcompiler.audit.schema import problem_with
        from runtime.contract import strict_json

        verdict = strict_json.loads(text)
        if problem := problem_with("verdict", verdict):
            raise ValueError(problem)
        return verdict
    if what == "artifacts":
        from kcompiler.render import artifacts
        from runtime.contract import strict_json

        lines: list[Any] = [strict_json.loads(line) for line in text.splitlines()]
        return artifacts.listed([line["data"] for line in lines], root)
    return None


def _show_verdict(verdict: Mapping[str, Any], form: str) -> None:
    from kcompiler.render import human_run

    if form == "json":
        click.echo(json.dumps(verdict, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        click.echo(human_run.gates(verdict, full=True), nl=False)


@click.command()
@click.argument("what", type=click.Choice(["lock", "run", "report", "verdict", "journal", "artifacts", "items"]))
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("step", required=False)
@click.option("--worst", type=click.IntRange(1), default=10, show_default=True, help="Of `items`: how many.")
@click.option("--runner", metavar="NAME", default="", help="Of `items`: one runner's alone.")
@PROFILE
@FORMAT
def show(what: str, target: Path, step: str | None, worst: int, runner: str, profile: str, form: str) -> None:
    """Print one part of the evidence of TARGET, which is a spec, a lock or a folder of generated/.

    `artifacts` says where the package, the checkpoints and the rest lie, and what each is for; `items` the worst
    answers of an evaluation STEP, with what was asked (by digest), the output and the reason; TARGET may be the folder
    that `evaluate --to` wrote as well, and STEP one of its SUITE-RUNNER. With --format json these and the verdict are
    for programs; the other parts are files and printed as they are.
    """
    if what == "items":
        show_items(target, profile, step, worst, runner, form)
        return
    made, home, path = located(target, profile)
    evidence = home.evidence(made["asked"]["name"])
    if what == "lock":
        click.echo(path.read_text(encoding="utf-8"), nl=False)
        return
    if what == "report" and not step:
        known = ", ".join(sorted(item.stem for item in (evidence / "reports").glob("*.json"))) or "none yet"
        raise click.UsageError(f"say which step's report: {known}")
    files = {"run": "run.json", "verdict": "verdict.json", "report": f"reports/{step}.json"}
    files |= {"journal": "journal.jsonl", "artifacts": "journal.jsonl"}
    file = evidence / files[what]
    if not file.is_file() or not file.resolve().is_relative_to(evidence.resolve()):
        click.echo(f"{home.shown(evidence / files[what])} does not exist", err=True)
        raise Outcome(2, "no-evidence", f"kcompiler apply {called(target, profile)}")
    try:
        text = file.read_text(encoding="utf-8")
        found = _read(what, text, home.root)
    except (ValueError, LookupError, TypeError, AttributeError) as reason:
        click.echo(f"{home.shown(file)} is damaged: {str(reason)[:200]}", err=True)
        raise Outcome(3, "evidence-broken", f"kcompiler apply {called(target, profile)}") from None
    if what == "verdict":
        _show_verdict(found, form)
    elif what == "artifacts":
        from kcompiler.render import artifacts

        entries: list[dict[str, Any]] = found
        chosen = [entry for entry in entries if not step or entry["artifact"].partition(".")[0] == step]
        if step and not chosen:
            from kcompiler.cli.plans import no_such_step

            raise no_such_step(step, [entry["artifact"].partition(".")[0] for entry in entries])
        click.echo(artifacts.dump(chosen) if form == "json" else artifacts.text(chosen), nl=False)
    else:
        click.echo(text, nl=False)


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@PROFILE
@FORMAT
def audit(target: Path, profile: str, form: str) -> None:
    """Recompute digests, journal, reports and verdict of TARGET (spec, lock or generated folder), and compare."""
    from kcompiler.audit import audit as recompute
    from kcompiler.render import human_run
    from kcompiler.render import json as render_json

    made, home, _ = located(target, profile)
    result = recompute(home.root, made["asked"]["name"])
    if form == "json":
        click.echo(render_json.audit(result), nl=False)
    else:
        click.echo(human_run.audit(result), nl=False)
    if result.exit_code:
        raise Outcome(result.exit_code, result.word, f"kcompiler apply {called(target, profile)}")
