"""The verb explain: a code, a field of the spec, a step, a gate or a plug-in → its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcompiler.cli.outcome import Outcome

if TYPE_CHECKING:
    from kcompiler.render.pages import Asked


@click.command()
@click.argument("words", nargs=-1, metavar="[SUBJECT]")
@click.option(
    "--spec", type=click.Path(path_type=Path), help="Also what this spec says of it: a field's value, a step's delta."
)
def explain(words: tuple[str, ...], spec: Path | None) -> None:
    """Explain SUBJECT: a code (KC2104), field:path, step:name, gate:pack/id, report:kind, loss:name, … or a bare name.
    `report eval.tool_use` is `report:eval.tool_use`: every datum a report holds, for whoever writes a rule.
    `form:wanted` and `form:fixtures` are what people write beside a spec: what a row wants, how a tool works.

    Without SUBJECT: every kind there is, with its names. `losses`, `gates`, `codes`, …: all names of that kind.

    With --spec, step:ID says why a step of the plan runs or is reused, and gate:ID what the plan asks of it.
    """
    from kcompiler import project
    from kcompiler.render import index, pages

    if len(words) > 2:
        raise click.UsageError(f"explain one subject, or a kind and a name; `{words[2]}` is one too many")
    subject = ":".join(words)
    if not subject:
        click.echo(index.overview(), nl=False)
        return
    try:
        # a code needs nothing of a spec, and is what people ask for most
        asked = _asked(subject, spec) if spec is not None and not pages.is_code(subject) else None
        own = project.find(spec or Path.cwd()).root / "policies"
        click.echo(pages.explain(subject, asked, own), nl=False)
    except index.Unknown as unknown:
        click.echo(str(unknown), err=True)
        raise Outcome(2, "unknown-subject", "kcompiler explain --help") from None


def _asked(subject: str, spec: Path) -> Asked:
    """What a spec adds. A field is looked up in the text even when the spec is refused; the rest needs a plan."""
    from kcompiler import project
    from kcompiler.render.pages import Asked

    if subject.startswith("field:"):
        from kcompiler.front import compile_spec

        home = project.find(spec)
        return Asked(front=compile_spec(spec, home.root), shown=home.shown(spec))
    from kcompiler.cli.plans import delta_of, plan_of

    made, home, front = plan_of(spec, "human")
    return Asked(front=front, shown=home.shown(spec), plan=made, entries=delta_of(made, home))
