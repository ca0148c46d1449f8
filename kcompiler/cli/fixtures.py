"""The verbs of answers that tools were recorded to give: fixtures record, check, accept, stats."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT
from kcompiler.cli.writing import no_key

if TYPE_CHECKING:
    from runtime.tools.broker.recording import Episode

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path)
TOOLS = click.option("--tools", type=_FILE, required=True, help="The registry of tools, as data.tools names it.")
TRIALS = click.option("--trials", default="", metavar="0,1", help="Only these trials of the conversations.")


@click.group()
def fixtures() -> None:
    """Answer tools from recordings, never from the network.

    A folder of fixtures holds one JSON Lines file per tool, and `world.jsonl` for tools that read and change a small
    world. A suite that lets a model call tools is answered by it, and a call it does not know is a miss.
    """


def _episodes(path: Path, trials: str) -> list[Episode]:
    from runtime.tools.broker import recording

    found = recording.load(path)
    if not trials:
        return found
    wanted = set(trials.split(","))
    there = sorted({str(one.trial) for one in found})
    if not wanted <= set(there):
        click.echo(
            f"{path} has no trial {', '.join(sorted(wanted - set(there)))}; there are {', '.join(there)}", err=True
        )
        raise Outcome(2, "no-such-trial", f"the same command with --trials {there[0]}")
    return [one for one in found if str(one.trial) in wanted]


@fixtures.command()
@click.argument("conversations", type=_FILE)
@TOOLS
@click.option("--to", "folder", type=_FOLDER, required=True, help="Folder to make: none yet, or an empty one.")
@click.option(
    "--declare",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Lines that say how tools work (pure, stateful, matcher, ignore_args; `kcompiler explain fixtures`), each "
    "held against every recorded call.",
)
@TRIALS
@click.option("--redact", is_flag=True, help="Put a word in the place of credentials, instead of refusing them.")
@click.option(
    "--keep-personal",
    metavar="WHY",
    default="",
    help="Keep addresses of mail, cards and the like, for this reason (such as: made up); it stands in every line.",
)
def record(
    conversations: Path, tools: Path, folder: Path, declare: Path | None, trials: str, redact: bool, keep_personal: str
) -> None:
    """Write fixtures of the calls in CONVERSATIONS and their real results, each with where it comes from.

    CONVERSATIONS is JSON Lines (or a JSON list) of {"id", "trial", "messages"} in the form of OpenAI's API; those of
    tau-bench are read as they are. Each line is `unreviewed` until `kcompiler fixtures accept`.
    """
    from runtime import digest
    from runtime.data.clean import Cleaner
    from runtime.machine import durable
    from runtime.tools import registry
    from runtime.tools.broker import recording

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        click.echo(f"{folder} is there already, and not empty", err=True)
        raise Outcome(2, "unusable-path", "name a folder that is not there yet, then the same command again")
    no_key("--keep-personal", keep_personal)
    if keep_personal and not keep_personal.strip():
        raise click.UsageError("--keep-personal: say why they may be kept")
    known = registry.load(tools)
    provenance: dict[str, Any] = {"file": conversations.name, "sha256": digest.of_file(conversations)[7:]}
    if keep_personal:
        provenance["personal"] = keep_personal
    declared = recording.declared(declare, known) if declare else {}
    episodes = _episodes(conversations, trials)
    left = [place for one in episodes for place in one.unfinished]
    if left:
        told = "1 recorded call has" if len(left) == 1 else f"{len(left)} recorded calls have"
        click.echo(f"{told} no result and no fixture, the first at {left[0]}")
    if not declared and not any(one.calls for one in episodes):
        click.echo(f"{conversations.name} has no call with a result: there is nothing to record", err=True)
        raise Outcome(3, "nothing-evaluated", "give conversations in which tools are called and answer")
    made = recording.record(
        episodes,
        known,
        declared,
        provenance=provenance,
        clean=Cleaner(conversations.name, redact=redact, keep_personal=bool(keep_personal)),
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in made.files.items():
        durable.DISK.write(folder / name, recording.written(lines).encode())
    answered = ", ".join(f"{count} {kind}" for kind, count in sorted(made.by_kind.items()))
    click.echo(f"{folder}: {len(made.files)} files; recorded calls answered: {answered or 'none'}")
    if made.unanswered:
        first = made.unanswered[0]
        click.echo(
            f"{len(made.unanswered)} recorded calls are not answered by what is declared, the first at {first.place} "
            f"(`{first.tool}`): what they need was never recorded",
        )
    if made.unshown:
        told = "1 declared line answers" if len(made.unshown) == 1 else f"{len(made.unshown)} declared lines answer"
        click.echo(
            f"{told} no recorded call, the first at {made.unshown[0]}: nothing here shows that the tool works so"
        )
    click.echo(f"next: read them, then kcompiler fixtures accept {folder} --tools {tools}")


def _held(folder: Path, tools: Path, word: str) -> Any:
    """The set of a folder; what is wrong in it is printed. Raises Outcome."""
    from kcompiler.diagnostic import from_refusal, ordered
    from kcompiler.render import human
    from runtime.contract import Refusal
    from runtime.contract import fixtures as reader
    from runtime.tools import registry

    wrong: list[Refusal] = []
    held = None
    known = registry.load(tools)
    try:
        held = reader.load(folder, known, wrong=wrong)
    except Refusal as refusal:
        wrong.append(refusal)
    if wrong:
        click.echo(human.diagnostics(ordered(map(from_refusal, wrong)), {}), err=True, nl=False)
        raise Outcome(1, word, f"mend them, then kcompiler fixtures check {folder} --tools {tools}")
    if held is None or not held.lines():
        click.echo(f"{folder} has no fixture: there is nothing to look at", err=True)
        raise Outcome(3, "nothing-evaluated", f"kcompiler fixtures record CONVERSATIONS --tools {tools} --to {folder}")
    return held


@fixtures.command()
@click.argument("folder", type=_FOLDER)
@TOOLS
@click.option("--calls", type=_FILE, help="Conversations; a line that none of their calls uses is an error then.")
@TRIALS
def check(folder: Path, tools: Path, calls: Path | None, trials: str) -> None:
    """Say everything that is wrong in FOLDER: malformed, duplicate, ambiguous or unused lines, with file and line."""
    held = _held(folder, tools, "fixtures-wrong")
    lines = held.lines()
    if calls is not None:
        from runtime.tools.broker.statistics import measure, unused

        idle = unused(held, measure(held, _episodes(calls, trials)))
        if idle:
            from kcompiler.diagnostic import from_refusal
            from kcompiler.render import human

            click.echo(human.diagnostics([from_refusal(one) for one in idle], {}), err=True, nl=False)
            raise Outcome(1, "fixtures-unused", "remove these lines, or record what calls them")
    click.echo(f"{folder}: {len(lines)} fixtures of {len(held.tools)} tools, {held.unreviewed} lines unreviewed")
    if held.unreviewed:
        raise Outcome(1, "fixtures-unreviewed", f"read them, then kcompiler fixtures accept {folder} --tools {tools}")


@fixtures.command()
@click.argument("folder", type=_FOLDER)
@TOOLS
def accept(folder: Path, tools: Path) -> None:
    """Mark every line of FOLDER as read and accepted."""
    from runtime.contract import fixtures as reader
    from runtime.contract import rows
    from runtime.machine import durable
    from runtime.tools.broker import recording

    held = _held(folder, tools, "fixtures-wrong")
    for path in sorted(folder.glob("*.jsonl")):
        first, *rest = [line for _, line in rows.objects(path, max_bytes=reader.MOST_LINE_BYTES)]
        done = [first, *({**line, "review": "accepted"} for line in rest)]
        durable.DISK.write(path, recording.written(done).encode())
    click.echo(f"{folder}: {held.unreviewed} lines accepted")


@fixtures.command()
@click.argument("folder", type=_FOLDER)
@TOOLS
@click.option("--calls", type=_FILE, required=True, help="Recorded conversations whose calls are asked.")
@TRIALS
@click.option("--least", default="0.95", show_default=True, metavar="RATE", help="Hit rate below which this fails.")
@FORMAT
def stats(folder: Path, tools: Path, calls: Path, trials: str, least: str, form: str) -> None:
    """Say how much of what was called FOLDER answers: by call, by item, by tool; each miss with what would mend it."""
    from runtime.tools.broker.statistics import measure, told

    try:
        asked = Fraction(least)
    except (ValueError, ZeroDivisionError):
        asked = Fraction(-1)
    if not 0 <= asked <= 1:
        raise click.UsageError(f"--least {least}: a rate is a number from 0 to 1")
    held = _held(folder, tools, "fixtures-wrong")
    found = measure(held, _episodes(calls, trials))
    whole = told(found)
    click.echo(json.dumps(whole, ensure_ascii=False) if form == "json" else _text(whole), nl=form == "json")
    if not found.run.calls:
        raise Outcome(3, "nothing-evaluated", "give conversations in which tools are called")
    if found.wrong:
        raise Outcome(1, "wrong-answers", f"correct the lines named above, then kcompiler fixtures check {folder}")
    if found.run.served < asked * found.run.calls:
        raise Outcome(1, "hit-rate-too-low", f"add lines for the misses to {folder}, then the same command again")


def _of(some: Mapping[str, Any]) -> str:
    rate = some["hit_rate"]["value"]
    shown = "" if rate is None else f"{rate:7.1%}"
    return f"{some['served']:>5} of {some['calls']:<5} {shown}  {some['equal']} as recorded"


def _text(whole: Mapping[str, Any]) -> str:
    rate = whole["fixture_hit_rate"]
    shown = "none" if rate["value"] is None else f"{rate['k']} of {rate['n']} ({rate['value']:.1%})"
    lines = [
        f"fixture_hit_rate    {shown}   an item ends with its first miss",
        f"fixture_miss_count  {whole['fixture_miss_count']} of {whole['episodes']} items",
        f"every call          {_of(whole['calls'])}",
        f"by kind             {', '.join(f'{kind} {count}' for kind, count in whole['by_kind'].items()) or 'none'}",
        "by tool",
        *(f"  {name:<32}{_of(some)}" for name, some in whole["by_tool"].items()),
        *(["items with a miss"] if whole["misses"] else []),
        *(f"  {name:<32}{_of(some)}" for name, some in whole["by_item"].items() if some["served"] < some["calls"]),
        *_misses(whole["misses"]),
        *_wrong(whole["wrong"]),
    ]
    return "\n".join(lines) + "\n"


def _misses(misses: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["misses"] if misses else []
    for one in misses:
        lines.append(f"  {one['tool']} in item {one['item']}, {one['place']}: {one['why']}")
        lines += [f"    nearest {one['near']}"] if one["near"] else []
        for name, some in one["add"].items():
            lines += [f"    add to {name}: {json.dumps(line, ensure_ascii=False)}" for line in some]
    return lines


def _wrong(wrong: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["wrong answers"] if wrong else []
    for one in wrong:
        lines.append(f"  {one['tool']}, {one['place']}: recorded {one['recorded'][:120]!r}")
        lines.append(f"    {one['by']} says {one['served'][:120]!r}")
    return lines
