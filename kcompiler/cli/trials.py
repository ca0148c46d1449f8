"""The verb of repeated trials: how often a task is right each time it is tried."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT

#: how far a reward may be from 1, as tau-bench has it
_CLOSE = 1e-6
#: suites that score texts: of no item they say that it is right
_SCORED = ("language_model",)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--runner", metavar="NAME", default="", help="Of items: one runner's alone.")
@FORMAT
def trials(files: tuple[Path, ...], runner: str, form: str) -> None:
    """Say how often a task is right in all of k trials: pass^k, from 1 to as many as each task was tried.

    FILES are recorded conversations ({"id", "trial", "reward", "messages"}, as tau-bench writes them; right is reward
    1), or the SUITE-RUNNER.items.jsonl of several runs of `evaluate` over the same rows, each file one trial, with the
    report that `evaluate` writes beside it: of one model, one runner and one suite, and each row once. A task counts
    once, however often it was tried: the interval is over tasks.
    """
    from runtime.contract.statistics import repeated

    again = f"kcompiler trials {' '.join(map(str, files))}"
    items = [path for path in files if path.name.endswith(".items.jsonl")]
    if items and len(items) < len(files):
        other = next(path for path in files if path not in items)
        raise click.UsageError(f"{other} is no SUITE-RUNNER.items.jsonl, as the others are")
    if runner and not items:
        raise click.UsageError("--runner is of items; recorded conversations have none")
    if len({path.resolve() for path in files}) < len(files):
        raise click.UsageError("a file stands there twice: it is one trial")
    tried = _of_items(files, runner, again) if items else _of_conversations(files)
    tasks = repeated.by_task(tried)
    counts = sorted({count for _, count in tasks.values()})
    curve = list(repeated.curve(tasks))
    data = {"tasks": len(tasks), "trials": {"fewest": counts[0], "most": counts[-1]}, "pass": curve}
    click.echo(json.dumps(data, ensure_ascii=False) if form == "json" else _text(data), nl=form == "json")


def _of_conversations(files: Sequence[Path]) -> list[tuple[str, bool]]:
    """(task, whether it was right) of each recorded trial. Raises Refusal."""
    from runtime.contract import Refusal
    from runtime.tools.broker import recording

    found: dict[tuple[str, int], bool] = {}
    for path in files:
        for one in recording.load(path):
            here, action = f"{path.name}: item `{one.item}`, trial {one.trial}", "record what each trial was worth"
            if one.reward is None:
                raise Refusal("has no `reward`", place=here, action=action)
            if not 0 <= one.reward <= 1 + _CLOSE:
                raise Refusal(f"`reward` is {one.reward}, not from 0 to 1", place=here, action=action)
            if (one.item, one.trial) in found:
                raise Refusal("stands in two files", place=here, action="leave one of them out")
            found[one.item, one.trial] = one.reward >= 1 - _CLOSE
    return [(item, right) for (item, _), right in found.items()]


def _of_items(files: Sequence[Path], runner: str, again: str) -> list[tuple[str, bool]]:
    """(row, whether it was right) of each file's lines. Raises Outcome or UsageError where they are not of the same
    questions."""
    from runtime.contract import items, parity

    found, first, known = [], dict[str, str](), dict[_Of, Path]()
    for path in files:
        try:
            lines = [one for one in items.load(path) if not runner or one["runner"] == runner]
        except ValueError as error:
            raise Outcome(3, "evidence-broken", again, f"{path} is damaged: {error}") from None
        names = sorted({str(one["runner"]) for one in lines})
        if len(names) != 1:
            there = ", ".join(names) or f"nobody called `{runner}`" if runner else ", ".join(names) or "nobody"
            raise click.UsageError(f"{path} must hold the lines of one runner, there {there}; name it with --runner")
        known.setdefault(_of(path, names[0], again), path)
        if len(known) > 1:
            told = " and ".join(
                f"{there} of suite `{of.name}`, runner `{of.runner}`, {of.model}" for of, there in known.items()
            )
            raise click.UsageError(f"{told}: trials are of one suite, one runner and one model")
        lost = next((one for one in lines if one["reason"] == parity.NOT_RECORDED), None)
        if lost is not None:
            raise click.UsageError(f"{path}: row `{lost['row']}` is not recorded: nobody knows whether it is right")
        asked = {str(one["row"]): str(one["prompt"]) for one in lines}
        if len(asked) < len(lines):
            twice = next(row for row, count in Counter(str(one["row"]) for one in lines).items() if count > 1)
            raise click.UsageError(f"{path}: row `{twice}` stands there twice; a file is one trial")
        first = first or asked
        odd = sorted(first.keys() ^ asked.keys()) or [row for row in first if first[row] != asked[row]]
        if odd:
            raise click.UsageError(f"{path} and {files[0]} were not asked the same: row `{odd[0]}`")
        found += [(str(one["row"]), parity.right(one)) for one in lines]
    return found


@dataclass(frozen=True)
class _Of:
    """Whose answers a file of items holds, and to what."""

    step: str
    name: str
    runner: str
    model: str


def _of(path: Path, runner: str, again: str) -> _Of:
    """What the report beside a file of items says that they are. Raises UsageError, and Outcome for a report that is
    none, or that is of other items."""
    from runtime import digest
    from runtime.contract import items, strict_json

    beside = path.with_name(path.name.removesuffix(".items.jsonl") + ".report.json")
    try:
        report: Any = strict_json.loads(beside.read_bytes())
        data, environment, subject = report["data"], report["environment"], report["subject"]
        of = [report["kind"], report["step"], data["suite"], data["runner"], data["use"], subject["gives.items"]]
        model = [environment.get("model", ""), environment.get("served_as", ""), subject.get("takes.model", "")]
        if not all(isinstance(one, str) for one in [*of, *model]):
            raise TypeError("a name in it is no text")
    except FileNotFoundError:
        why = "`kcompiler evaluate` writes it beside the items, and it says which suite and model they are of"
        raise click.UsageError(f"{beside} is not there: {why}; put it there") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Outcome(3, "evidence-broken", again, f"{beside} is damaged: {error}") from None
    kind, step, suite, named, use, held = of
    asked, served, weights = model
    if kind != "asked":
        raise click.UsageError(f"{beside} is no report of one runner's items, as `kcompiler evaluate` writes it")
    if held != digest.of_one_file(items.FILE, path.read_bytes()):
        raise Outcome(3, "evidence-broken", again, f"{beside} is not of these items: {path} has another digest")
    if environment.get("forged") is not False:
        raise click.UsageError(f"{path}: what runner `{runner}` said are nobody's answers")
    if named != runner:
        raise Outcome(3, "evidence-broken", again, f"{beside} is of runner `{named}`, {path} of `{runner}`")
    if suite in _SCORED:
        raise click.UsageError(f"{path}: items of suite `{suite}` are scored, and none is right or wrong")
    if use == "recorded":
        raise click.UsageError(
            f"{path}: answers that were recorded do not say whose they are; name the files that were"
        )
    told = f"model `{asked}`" + (f" served as `{served}`" if served else "") if asked else f"weights {weights}"
    return _Of(step, suite, runner, told)


def _text(data: Mapping[str, Any]) -> str:
    fewest, most = data["trials"]["fewest"], data["trials"]["most"]
    told = f"{fewest} trials" if fewest == most else f"{fewest} to {most} trials"
    lines = [f"{data['tasks']} tasks, {told} each"]
    for k, one in enumerate(data["pass"], start=1):
        if one["tag"] == "measured":
            ends = f"[{one['low']:.4f}, {one['high']:.4f}]"
            lines.append(f"pass^{k}  {one['value']:.4f}  95 % in {ends}  ({one['interval']})")
        else:
            lines.append(f"pass^{k}  unavailable: {one['reason']}")
    return "\n".join(lines) + "\n"
