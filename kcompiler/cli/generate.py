"""The verb that lets a model write: generate. Answers go to stdout as they grow, everything else to stderr."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli.answering import RUNNER, environment, explained, sources
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import PROFILE

if TYPE_CHECKING:
    from runtime.generate.dialogue import Dialogue

#: what a schema or registry file may hold; far more than any model can follow
_LARGEST = 8 << 20


class _Real(click.FloatRange):
    """A range of numbers; `nan` lies in every range of click's, and `inf` is no temperature."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return found


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--prompt", help="Answer this.")
@click.option("--chat", is_flag=True, help="Answer line after line of stdin, in one conversation.")
@RUNNER
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True, help="Longest answer.")
@click.option("--temperature", type=_Real(0), default=0.0, show_default=True, help="0: the likeliest token.")
@click.option("--top-p", type=_Real(0, 1, min_open=True), default=1.0, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same answer.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; repeatable.")
@click.option("--halt", type=_Real(0, 1, min_open=True), help="End also where the head `halt` is so sure.")
@click.option("--schema", type=click.Path(path_type=Path), help="JSON Schema that the answer must keep.")
@click.option("--tools", type=click.Path(path_type=Path), help="Registry of tools that the answer may call.")
@PROFILE
def generate(
    target: Path,
    prompt: str | None,
    chat: bool,
    runner: str,
    max_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop: tuple[str, ...],
    halt: float | None,
    schema: Path | None,
    tools: Path | None,
    profile: str,
) -> None:
    """Let the student of TARGET write: a spec that was applied, a delivery, or a Transformers folder."""
    if chat == (prompt is not None):
        raise click.UsageError("either --prompt TEXT or --chat")
    if schema and tools:
        raise click.UsageError("either --schema or --tools: an answer is one or the other")
    for text in (prompt or "", *stop):
        _readable(text)
    asked_schema, asked_tools = _file(schema), _file(tools)
    environment()
    with explained(f"kcompiler generate {target}", target):
        from runtime.generate import opening
        from runtime.generate.dialogue import Dialogue, Settings

        settings = Settings(
            max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed, stop=stop, halt=halt
        )
        engine = opening.engine(sources(target, profile, runner), runner)
        dialogue = Dialogue(engine, settings, schema=asked_schema, tools=asked_tools)
        if prompt is not None:
            _answer(dialogue, prompt)
            return
        for line in _lines():
            _answer(dialogue, line)


def _file(path: Path | None) -> Any:
    """The JSON value of a file, read strictly; None without one. Raises Outcome for one that is none."""
    from runtime.contract.strict_json import loads

    if path is None:
        return None
    data = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
    try:
        return loads(data)
    except ValueError as error:
        why = error if data else f"larger than {_LARGEST >> 20} MiB, or empty"
        click.echo(f"{path}: cannot be read as JSON: {why}", err=True)
        raise Outcome(2, "unreadable", "mend it, then the same command again") from None


def _readable(text: str) -> None:
    """Raises Outcome for bytes of the command line that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        click.echo(f"the text is not UTF-8 at character {error.start + 1}", err=True)
        raise Outcome(2, "unreadable", "the same command with text in UTF-8") from None


def _lines() -> Iterator[str]:
    """What the person says, line by line, until the end of stdin; empty lines say nothing."""
    terminal = sys.stdin.isatty()
    while True:
        if terminal:
            click.echo("> ", err=True, nl=False)
        try:
            line = sys.stdin.readline()
        except UnicodeDecodeError as error:
            click.echo(f"stdin is not UTF-8 at byte {error.start + 1} of what was read", err=True)
            raise Outcome(2, "unreadable", "the same command with text in UTF-8") from None
        if not line:
            return
        _readable(line)
        if line.strip():
            yield line.rstrip("\n")


def _answer(dialogue: Dialogue, text: str) -> None:
    """Print one answer as it grows. Raises Outcome for one that was to keep a schema and was cut."""
    shown = _inert() if sys.stdout.isatty() else str
    answer = dialogue.ask(text)
    for note in dialogue.notes():
        click.echo(f"note: {note}", err=True)
    for piece in answer:
        click.echo(shown(piece), nl=False)
        sys.stdout.flush()
    click.echo()
    if dialogue.cut and dialogue.constrained:
        click.echo("the answer was cut before it was whole", err=True)
        raise Outcome(1, "incomplete", "the same command with more --max-tokens")
    if dialogue.cut:
        click.echo("note: the answer was cut at its longest; --max-tokens gives it more room", err=True)


def _inert() -> Callable[[str], str]:
    """What a model writes, made harmless for a terminal: its escapes and controls are spelled out."""
    from kcompiler.render.human import inert

    return lambda text: "\n".join(inert(line).replace("\\t", "\t") for line in text.split("\n"))
