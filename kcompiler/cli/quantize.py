"""The verb `quantize`: what storing each part of a student in fewer bits costs, and a recipe that keeps a budget."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kcompiler.cli.answering import environment, explained
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT, PROFILE, called, plan_of
from kcompiler.cli.run import aside
from runtime.contract.splits import TEST

#: scaled integers, and palettes, which take minutes to find
FORMS = ("int8", "int4-64", "int4-32", "lut8", "lut6", "lut4")
_QUICK = FORMS[:3]
#: of these splits the first that the spec feeds
_SPLITS = ("validation", "train", "test")


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--suggest", is_flag=True, help="Also find a recipe that keeps the budget, and measure it.")
@click.option("--max-bytes", type=click.IntRange(1), metavar="N", help="Most bytes of weights that it may take.")
@click.option(
    "--max-kl",
    type=click.FloatRange(0, min_open=True),
    metavar="X",
    help="Most nats a token that it may cost, as measured; alone: the fewest bytes within that are sought.",
)
@click.option(
    "--by",
    type=click.Choice(["kind", "layer", "tensor"]),
    default="kind",
    show_default=True,
    help="What is stored alike: all that are called alike, all of a layer, or each tensor for itself.",
)
@click.option(
    "--form",
    "forms",
    type=click.Choice(FORMS),
    multiple=True,
    help="Try this form, beside float16; repeatable. The palettes lut8, lut6 and lut4 take minutes to find.  "
    f"[default: {', '.join(_QUICK)}]",
)
@click.option("--split", type=click.Choice(_SPLITS), help="Rows to measure on.  [default: the first that is fed]")
@click.option("--rows", type=click.IntRange(1, 10_000), default=16, show_default=True, help="So many, evenly spaced.")
@click.option("--tokens", type=click.IntRange(1, 1_000_000), default=1024, show_default=True, help="At most, in all.")
@FORMAT
@PROFILE
def quantize(
    spec: Path,
    suggest: bool,
    max_bytes: int | None,
    max_kl: float | None,
    by: str,
    forms: tuple[str, ...],
    split: str | None,
    rows: int,
    tokens: int,
    form: str,
    profile: str,
) -> None:
    """Measure what storing each part of the student of SPEC in fewer bits costs, one part at a time.

    Costs are KL divergences of the next token from the checkpoint in float32, in nats a token, over rows of the spec,
    with the weights that the nearest stored ones stand for; nothing is converted, and `quantization.calibration` and
    `activations` are not carried out here: they stay in what is suggested. With --suggest a recipe is put together, the
    least cost for each byte first, and measured as a whole: the sum of single costs is an estimate, and both are said.
    What the rows and the student need is made in the project's state, or reused. Exit 1: no recipe keeps the budget.
    """
    budget = max_bytes is not None or max_kl is not None
    if suggest and not budget:
        raise click.UsageError("--suggest needs a budget: --max-bytes N, --max-kl X, or both")
    if budget and not suggest:
        raise click.UsageError("--max-bytes and --max-kl are the budget of --suggest")
    if max_kl is not None and not math.isfinite(max_kl):
        raise click.UsageError("--max-kl is a number of nats a token")
    environment()
    made, home, front = plan_of(spec, form, profile=profile)
    assert front.spec is not None
    fed = [name for name in _SPLITS if name in front.spec.data.fed]
    again = f"kcompiler quantize {called(spec, profile)}"
    if split is not None and split not in fed:
        click.echo(f"no source of {spec} feeds the split `{split}`; there are {', '.join(fed)}", err=True)
        raise Outcome(2, "no-such-split", f"{again} --split {fed[0]}")
    chosen = split or fed[0]
    if suggest and chosen == TEST:
        click.echo("a recipe is not chosen by the rows that judge what is made of it: those of split test", err=True)
        others = [name for name in fed if name != TEST]
        raise Outcome(
            2, "test-rows", f"{again} --suggest --split {others[0]}" if others else "add a source with `split: train`"
        )
    section = front.spec.quantization
    with explained(again):
        from runtime.models import suggesting as machine

        folders = _folders(made, home, spec, again)
        found = machine.suggest(
            folders["checkpoint"],
            folders["tokenizer"],
            folders["dataset"] / f"{chosen}.jsonl",
            recipe={"default": section.default.model_dump(), "rules": [rule.model_dump() for rule in section.rules]},
            islands=list(section.islands),
            kept={
                key: part.model_dump()
                for key in ("calibration", "activations")
                if (part := getattr(section, key)) is not None
            },
            by=by,
            forms=list(forms or _QUICK),
            most_rows=rows,
            most_tokens=tokens,
            max_bytes=max_bytes,
            max_kl=max_kl,
            threads=front.spec.execution.threads,
            told=_told,
        )
    found = {"split": chosen, "max_bytes": max_bytes, "max_kl": max_kl, **found}
    _show(found, form)
    if found["refused"]:
        raise Outcome(1, "no-recipe", _wider(found, again), found["refused"])


def _folders(made: dict[str, Any], home: Any, spec: Path, again: str) -> dict[str, Path]:
    """What the export would take: checkpoint, tokenizer and rows. Raises Outcome for a sweep, which has several."""
    from kcompiler import plan
    from runtime.contract.keys import parse_reference
    from runtime.machine import apply as machine

    exports = [step for step in made["steps"] if step["kind"].startswith("export@")]
    if len(exports) != 1:
        click.echo(f"{spec} has {len(exports)} students; the parts of one can be measured", err=True)
        raise Outcome(2, "several-students", "write a spec of one cell of its matrix")
    wanted = {port: parse_reference(exports[0]["takes"][port]) for port in ("checkpoint", "tokenizer", "dataset")}
    run = aside(plan.restrict(made, sorted({name for _, name, _ in wanted.values()})), home, again)
    store = machine.look(home.root)[1]
    return {port: store.read(run.digests[f"{name}#{given}"]) for port, (_, name, given) in wanted.items()}


def _told(done: int, total: int, what: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[Kmeasuring {done + 1} of {total}: {what}", err=True, nl=done + 1 == total)


def _wider(found: Mapping[str, Any], again: str) -> str:
    """The command that asks less."""
    if found["max_bytes"] is not None and found["max_bytes"] < found["least_bytes"]:
        return f"{again} --suggest --max-bytes {found['least_bytes']}, or more forms: --form lut4"
    return f"{again} --suggest with a larger budget, more forms (--form), or finer parts (--by tensor)"


def _show(found: Mapping[str, Any], form: str) -> None:
    from kcompiler.render import sensitivity

    click.echo(json.dumps(found) if form == "json" else sensitivity.text(found), nl=form == "json")
