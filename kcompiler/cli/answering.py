"""A spec that was applied, or a folder → the folders that hold weights, words and packages; and how failures end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli import threads
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import called, evidence_broken, instead, planned

if TYPE_CHECKING:
    from kcompiler.project import Project
    from runtime.generate.opening import Sources

#: how a model may be run; the last two say what they lack
RUNNERS = ("torch", "mil", "gguf", "coreml")
RUNNER = click.option(
    "--runner",
    type=click.Choice(RUNNERS),
    default="torch",
    show_default=True,
    help="The checkpoint in torch, or the saved package (as it ships) in our interpreter.",
)


def environment() -> None:
    """What must stand before any tensor library is loaded."""
    threads.settle()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@contextlib.contextmanager
def explained(again: str, target: Path | None = None) -> Iterator[None]:
    """What the machine cannot do as an outcome; `again` is the command that would do it, `target` what was named.
    Refusals go on to `main`."""
    from runtime.contract import BrokenEvidence, Unavailable
    from runtime.generate.grammar import Broken

    try:
        yield
    except Unavailable as absent:
        click.echo(absent.message, err=True)
        raise Outcome(2, "unavailable", absent.needs or again) from None
    except BrokenEvidence as broken:
        raise (_given(broken) if target is not None and target.is_dir() else evidence_broken(broken)) from None
    except Broken as broken:
        click.echo(f"{broken}", err=True)
        raise Outcome(1, "broken-answer", f"{again}, with a simpler schema or more tokens") from None
    except KeyboardInterrupt:
        raise Outcome(130, "interrupted", again) from None


def _given(broken: Any) -> Outcome:
    """A folder that somebody was given is not what was made; whoever has no more than it can audit no spec."""
    said = f"the delivery is broken: {broken.subject}: {broken.message}"
    return Outcome(3, "evidence-broken", "copy the delivery again, or have it made again: kcompiler deliver", said)


def sources(target: Path, profile: str, runner: str) -> Sources:
    """The parts of what somebody named. Raises Outcome for a spec whose results are not here."""
    from runtime.contract import BrokenEvidence
    from runtime.generate.opening import of_folder

    if target.is_dir():
        if profile:
            raise click.UsageError("--profile belongs to a spec; a folder holds one model")
        try:
            return of_folder(target)
        except BrokenEvidence as broken:
            raise _given(broken) from None
    if target.suffix not in (".yaml", ".yml"):
        click.echo(f"{target}: neither a spec nor a folder", err=True)
        raise Outcome(2, "unreadable", "kcompiler generate SPEC or kcompiler generate DIR")
    return _applied(target, profile, runner)


def _applied(spec: Path, profile: str, runner: str) -> Sources:
    """What the last apply of a spec has made, verified by its digests."""
    from runtime.generate.opening import Sources

    made, home = planned(spec, "human", profile=profile)
    name = str(made["asked"]["name"])
    again = f"kcompiler apply {called(spec, profile)}{instead(home, name)}"
    exports = [step for step in made["steps"] if step["kind"].startswith("export@")]
    if len(exports) != 1:
        click.echo(f"{spec} makes {len(exports)} students; only a spec of one can be asked", err=True)
        raise Outcome(2, "several-students" if exports else "no-student", "write a spec of one cell of its matrix")
    stored = _Stored(made, home, again)
    takes = exports[0]["takes"]
    packages = None
    if runner == "mil":
        step = next((one["id"] for one in made["steps"] if one["kind"].startswith("convert@")), "")
        packages = stored.folder(f"step:{step}#package") if step else None
    model, words = stored.folder(takes["checkpoint"]), stored.folder(takes["tokenizer"])
    _say_verdict(made, home)
    return Sources(name=name, model=model, words=words, packages=packages)


class _Stored:
    """References of a plan → folders of this machine, each with the digest it must have."""

    def __init__(self, made: Mapping[str, Any], home: Project, again: str) -> None:
        from runtime.contract import keys
        from runtime.machine import apply as machine
        from runtime.machine import devices

        self._made, self._home, self._again = made, home, again
        try:
            history, self._store = machine.look(home.root)
        except machine.BrokenEvidence as broken:
            raise evidence_broken(broken) from None
        decisions = keys.predict(
            made,
            requires=machine.requirements(made),
            host=devices.words(),
            history=history,
            present=self._store.present,
        )
        self._records = {item.step: item.record for item in decisions if item.action == "reuse"}

    def folder(self, reference: str) -> Path:
        """Where that artifact or input lies. Raises Outcome when it was not made, or not for this spec as it is now."""
        from runtime.contract.keys import parse_reference
        from runtime.machine.stale import place_of

        room, name, port = parse_reference(reference)
        if room == "input":
            path = next(entry["path"] for entry in self._made["inputs"] if entry["name"] == name)
            return place_of(self._home.root, path)
        record = self._records.get(name)
        if record is None:
            click.echo(f"step `{name}` of {self._made['asked']['spec']} has no result that is up to date", err=True)
            raise Outcome(4, "not-applied", self._again)
        return self._store.read(str(record["gives"][port]["digest"]))


def _say_verdict(made: Mapping[str, Any], home: Project) -> None:
    """A model that did not pass may be asked, and whoever asks is told."""
    import json

    from kcompiler import lock

    name = str(made["asked"]["name"])
    try:
        found = json.loads(home.verdict(name).read_text(encoding="utf-8"))
        verdict = found["verdict"] if found["lock"] == lock.plan_digest(made) else "of another plan"
    except (OSError, ValueError, KeyError, TypeError):
        verdict = "unknown"
    if verdict != "PASS":
        click.echo(f"note: the verdict on {name} is {verdict}", err=True)
