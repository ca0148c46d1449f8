"""`show items`: the worst answers of a step of a plan, or of what `evaluate --to DIR` wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def show_items(
    target: Path, profile: str, step: str | None, count: int, runner: str
) -> tuple[list[dict[str, Any]], str]:
    """The `count` worst, as lines and as text for people; of one runner where it is named."""
    names = written(target)
    if names:
        return _of_folder(target, names, step, count, runner)
    if target.is_dir() and not (target / "plan.lock").is_file():
        raise Outcome(
            2,
            "no-evidence",
            f"kcompiler evaluate SPEC --runner … --to {target}, or name a spec: kcompiler show items SPEC STEP",
            f"{target} holds no SUITE-RUNNER{ITEMS}, as `evaluate --to` writes them, and is no folder of a plan",
        )
    made, home, _ = located(target, profile)
    return _of_plan(made, home, called(target, profile), step, count, runner)


def _chosen(step: str | None, known: Iterable[str]) -> str:
    if step is None or step not in known:
        raise click.UsageError(f"say which evaluation's items: {', '.join(known) or 'this plan has none'}")
    return step


def _of_folder(
    folder: Path, names: list[str], name: str | None, count: int, runner: str
) -> tuple[list[dict[str, Any]], str]:
    from runtime.contract import items, strict_json

    name = _chosen(name, names)
    again = f"kcompiler evaluate SPEC --runner … --to {folder}"
    try:
        lines = items.load(folder / f"{name}{ITEMS}")
        report: Any = strict_json.loads((folder / f"{name}{REPORT}").read_bytes())
        suite = str(report["data"]["suite"])
    except OSError as reason:
        raise Outcome(2, "no-evidence", again, f"{reason.filename}: {reason.strerror}") from None
    except (ValueError, LookupError, TypeError) as reason:
        raise Outcome(
            3, "evidence-broken", again, f"{folder / name}{ITEMS} or its report is damaged: {reason}"
        ) from None
    return _worst(f"{folder / name}{ITEMS}", lines, suite, count, runner, again)


def _of_plan(
    made: Mapping[str, Any], home: Project, target: str, step: str | None, count: int, runner: str
) -> tuple[list[dict[str, Any]], str]:
    from kcompiler.audit import items, records

    known = {one["id"]: one for one in made["steps"] if items.left(one)}
    step = _chosen(step, known)
    folder = home.evidence(made["asked"]["name"])
    used, _ = records.in_use(folder / records.JOURNAL, home.shown(folder / records.JOURNAL), None)
    again = f"kcompiler apply {target}"
    if step not in used:
        raise Outcome(2, "no-evidence", again, f"step `{step}` has no result yet")
    try:
        lines = items.lines(home.root, used[step])
    except (OSError, LookupError) as reason:
        raise Outcome(
            2, "no-evidence", again, f"the items of step `{step}` are not in the store of this project: {reason}"
        ) from None
    except (ValueError, TypeError) as reason:
        raise Outcome(
            3, "evidence-broken", f"kcompiler audit {target}", f"the items of step `{step}` are damaged: {reason}"
        ) from None
    suite = str(known[step]["params"]["suite"])
    return _worst(f"step `{step}`", lines, suite, count, runner, f"kcompiler audit {target}", title=step)


def _worst(
    whose: str,
    lines: Sequence[dict[str, Any]],
    suite: str,
    count: int,
    runner: str,
    mend: str,
    *,
    title: str = "",
) -> tuple[list[dict[str, Any]], str]:
    from kcompiler.render import items as rendered
    from runtime import catalog
    from runtime.contract import items

    runners = list(items.by_runner(lines))
    if runner and runner not in runners:
        raise click.UsageError(f"no items of runner `{runner}` there: {', '.join(runners) or 'nobody was asked'}")
    cost = catalog.load("suites", suite).cost if suite in catalog.names("suites") else None
    try:
        found = rendered.worst(lines, cost, count, runner)
    except (ValueError, LookupError, TypeError) as reason:
        raise Outcome(3, "evidence-broken", mend, f"the items of {whose} are damaged: {reason}") from None
    return found, rendered.text(title or whose, lines, found)
