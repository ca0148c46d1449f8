"""The verb that shows rows before anything is trained on them: data look."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from kcompiler.cli.answering import environment, explained
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT, PROFILE, called, plan_of
from kcompiler.cli.run import aside

if TYPE_CHECKING:
    from kcompiler.project import Project


@click.group()
def data() -> None:
    """Look at the rows of a spec."""


@data.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(0, 1000), default=10, show_default=True, help="So many are shown whole.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="train", show_default=True)
@FORMAT
@PROFILE
def look(spec: Path, rows: int, split: str, form: str, profile: str) -> None:
    """Show rows of SPEC as the student will read them, what it learns of each, how long they are, what is left out.

    Runs what the rows need (data, and what brings the tokenizer) in the project's state, or reuses it.
    """
    environment()
    made, home, front = plan_of(spec, form, profile=profile)
    assert front.spec is not None
    if split not in front.spec.data.fed:
        fed = [name for name in ("train", "validation", "test") if name in front.spec.data.fed]
        click.echo(f"no source of {spec} feeds the split `{split}`; there are {', '.join(fed)}", err=True)
        raise Outcome(2, "no-such-split", f"kcompiler data look {called(spec, profile)} --split {fed[0]}")
    again = f"kcompiler data look {called(spec, profile)}"
    rows_of, words_of = (_only(made, kind, spec) for kind in ("data", "tokenizer"))
    with explained(again):
        from runtime.models import look as machine

        stored = _Stored(made, home, rows_of, words_of, again)
        found = machine.look(
            stored.rows,
            stored.words or machine.tokenizer_of(stored.taken, words_of["params"], stored.digests),
            split=split,
            count=rows,
            masks=list(dict.fromkeys(["response", *front.spec.data.targets])),
            buckets=front.spec.shapes.prefill,
            params=words_of["params"],
        )
    found |= _before_the_split(stored.report, rows_of["params"])
    _show(found, form)
    if found["too_long"]["rows"] and found["too_long"]["policy"] == "refuse":
        raise Outcome(1, "rows-too-long", f"mend them, then {again}")


def _only(made: Mapping[str, Any], kind: str, spec: Path) -> Mapping[str, Any]:
    """The one step of a kind. Raises Outcome for a sweep whose cells have several."""
    found = [step for step in made["steps"] if step["kind"].startswith(f"{kind}@")]
    if len(found) != 1:
        click.echo(f"{spec} has {len(found)} steps `{kind}`; only rows that are read in one way can be shown", err=True)
        raise Outcome(2, "several-readings", "write a spec of one cell of its matrix")
    return cast(Mapping[str, Any], found[0])


class _Stored:
    """The rows of a plan, and the tokenizer where it was made already; what it takes where it was not."""

    def __init__(
        self, made: dict[str, Any], home: Project, rows_of: Mapping[str, Any], words_of: Mapping[str, Any], again: str
    ) -> None:
        from kcompiler import plan
        from runtime.contract.keys import parse_reference
        from runtime.machine import apply as machine
        from runtime.machine.stale import place_of

        references = dict(words_of["takes"])
        needed = [rows_of["id"], *(parse_reference(one)[1] for one in references.values() if one.startswith("step:"))]
        run = aside(plan.restrict(made, needed), home, again)
        store = machine.look(home.root)[1]
        done = next(
            one.record
            for one in machine.forecast(made, root=home.root, only=[words_of["id"]], verify=False)
            if one.step == words_of["id"]
        )
        pins = {entry["name"]: entry for entry in made["inputs"]}
        self.rows = store.read(run.digests[f"{rows_of['id']}#dataset"])
        self.report = run.reports[rows_of["id"]]["data"]
        self.words = store.read(str(done["gives"]["tokenizer"]["digest"])) if done else None
        self.taken: dict[str, Path] = {}
        self.digests: dict[str, str] = {}
        for port, reference in references.items():
            room, name, given = parse_reference(reference)
            if room == "input":
                self.taken[port], pin = place_of(home.root, pins[name]["path"]), pins[name]["digest"]
            else:
                pin = run.digests[f"{name}#{given}"]
                self.taken[port] = store.read(pin)
            self.digests[port] = pin


def _before_the_split(report: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """What the data step left out, by its own report and by the spec's limits."""
    return {
        "duplicates_dropped": report["duplicates_dropped"]["value"],
        "fields_unused": {name: datum["value"] for name, datum in report["fields_unused"].items()},
        "limits": {source["name"]: source["limit"] for source in params["sources"] if source["limit"]},
    }


def _show(found: Mapping[str, Any], form: str) -> None:
    from kcompiler.render import looked

    if form == "json":
        click.echo(json.dumps(found, ensure_ascii=False))
    elif sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb":
        looked.coloured(found, sys.stdout)
    else:
        click.echo(looked.text(found), nl=False)
