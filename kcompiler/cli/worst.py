"""`show items`: the worst answers of a step of a plan, or of what `evaluate --to DIR` wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import called, located
from kcompiler.project import Project

#: how the files of `evaluate` end, after the name of the suite and of the runner
ITEMS, REPORT = ".items.jsonl", ".report.json"


def written(folder: Path) -> list[str]:
    """The names of what `evaluate` wrote into a folder; none of a folder that is none."""
    return sorted(path.name.removesuffix(ITEMS) for path in folder.glob(f"*{ITEMS}")) if folder.is_dir() else []


def show_items(target: Path, profile: str, step: str | None, count: int, runner: str, form: str) -> None:
    """Print the `count` worst; of one runner where it is named."""
    names = written(target)
    if names:
        _of_folder(target, names, step, count, runner, form)
    else:
        made, home, _ = located(target, profile)
        _of_plan(made, home, called(target, profile), step, count, runner, form)


def _chosen(step: str | None, known: Iterable[str]) -> str:
    if step is None or step not in known:
        raise click.UsageError(f"say which evaluation's items: {', '.join(known) or 'this plan has none'}")
    return step


def _of_folder(folder: Path, names: list[str], name: str | None, count: int, runner: str, form: str) -> None:
    from runtime.contract import items, strict_json

    name = _chosen(name, names)
    again = f"kcompiler evaluate SPEC --runner … --to {folder}"
    try:
        lines = items.read((folder / f"{name}{ITEMS}").read_bytes())
        report: Any = strict_json.loads((folder / f"{name}{REPORT}").read_bytes())
        suite = str(report["data"]["suite"])
    except OSError as reason:
        click.echo(f"{reason.filename}: {reason.strerror}", err=True)
        raise Outcome(2, "no-evidence", again) from None
    except (ValueError, LookupError, TypeError) as reason:
        click.echo(f"{folder / name}{ITEMS} or its report is damaged: {reason}", err=True)
        raise Outcome(3, "evidence-broken", again) from None
    _print(f"{folder / name}{ITEMS}", lines, suite, count, runner, form, again)


def _of_plan(
    made: Mapping[str, Any], home: Project, target: str, step: str | None, count: int, runner: str, form: str
) -> None:
    from kcompiler.audit import items, records

    known = {one["id"]: one for one in made["steps"] if items.left(one)}
    step = _chosen(step, known)
    folder = home.evidence(made["asked"]["name"])
    used, _ = records.in_use(folder / records.JOURNAL, home.shown(folder / records.JOURNAL), None)
    again = f"kcompiler apply {target}"
    if step not in used:
        click.echo(f"step `{step}` has no result yet", err=True)
        raise Outcome(2, "no-evidence", again)
    try:
        lines = items.lines(home.root, used[step])
    except (OSError, LookupError) as reason:
        click.echo(f"the items of step `{step}` are not in the store of this project: {reason}", err=True)
        raise Outcome(2, "no-evidence", again) from None
    except (ValueError, TypeError) as reason:
        click.echo(f"the items of step `{step}` are damaged: {reason}", err=True)
        raise Outcome(3, "evidence-broken", f"kcompiler audit {target}") from None
    suite = str(known[step]["params"]["suite"])
    _print(f"step `{step}`", lines, suite, count, runner, form, f"kcompiler audit {target}", title=step)


def _print(
    whose: str,
    lines: list[dict[str, Any]],
    suite: str,
    count: int,
    runner: str,
    form: str,
    mend: str,
    *,
    title: str = "",
) -> None:
    from kcompiler.render import items as rendered
    from runtime import catalog

    runners = list(dict.fromkeys(one["runner"] for one in lines))
    if runner and runner not in runners:
        raise click.UsageError(f"no items of runner `{runner}` there: {', '.join(runners) or 'nobody was asked'}")
    cost = catalog.load("suites", suite).cost if suite in catalog.names("suites") else None
    try:
        found = rendered.worst(lines, cost, count, runner)
    except (ValueError, LookupError, TypeError) as reason:
        click.echo(f"the items of {whose} are damaged: {reason}", err=True)
        raise Outcome(3, "evidence-broken", mend) from None
    click.echo(rendered.dump(found) if form == "json" else rendered.text(title or whose, lines, found), nl=False)
