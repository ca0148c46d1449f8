"""The verb explain: a code, a field of the spec, a step of the catalog or a rule → its page."""

from __future__ import annotations

import click

from kcompiler.cli.outcome import Outcome


@click.command()
@click.argument("subject")
def explain(subject: str) -> None:
    """Explain SUBJECT: a code (KC2104), field:path, step:name, loss:name, suite:name, or rule:pack/id."""
    from kcompiler.render import pages

    try:
        click.echo(pages.explain(subject), nl=False)
    except pages.Unknown as unknown:
        click.echo(str(unknown), err=True)
        raise Outcome(2, "unknown-subject", "kcompiler explain --help") from None
