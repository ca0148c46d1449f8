"""The verb claims: documents and answers × their evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcompiler import project
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT, show_diagnostics
from kcompiler.cli.writing import write

if TYPE_CHECKING:
    from kcompiler.claims import Policy


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--policy", "policy_path", type=click.Path(path_type=Path), help="What counts as a claim; YAML.")
@click.option(
    "--renew",
    is_flag=True,
    help="First take quoted reports anew from generated/NAME/evidence, where the last apply left them.",
)
@FORMAT
def claims(files: tuple[Path, ...], policy_path: Path | None, renew: bool, form: str) -> None:
    """Compare what documents (markdown) and answers (*.jsonl) claim with the evidence they name.

    `708 of 987 <!-- evidence: report.json#data.exact.student -->`; `kcompiler explain KC5601` says more. Exit 1 when
    something is not what its evidence says, or when too few claims have any (`coverage_minimum` of the policy; above
    it, a claim without evidence is a warning), or when evidence is of another plan than the committed one; 3 when a
    file of answers has none.
    """
    from kcompiler.claims import check_answers, check_document, policy
    from kcompiler.claims.evidence import Unresolved, text_of
    from kcompiler.diagnostic import has_errors

    wrong = False
    try:
        rules = policy.read(str(policy_path), policy_path.read_bytes()) if policy_path else policy.shipped()
        for path in files:
            home = project.find(path)
            shown = home.shown(path)
            text = text_of(path, path.resolve().parent)
            if path.suffix.lower() == ".jsonl":
                found = check_answers(shown, text, policy=rules)
                if not found.answers:
                    click.echo(f"{shown}: no line of it is an answer", err=True)
                    raise Outcome(3, "no-answers", f"kcompiler claims {path}")
            else:
                folder = path.resolve().parent
                if renew:
                    _renew(home, text, folder, rules)
                found = check_document(shown, text, folder=folder, root=home.root, policy=rules, documents=files)
            show_diagnostics(list(found.diagnostics), form, {shown: text.encode()})
            wrong |= has_errors(found.diagnostics)
            counted = {"anchored": found.anchored, "told": found.told, "without": found.bare, "wrong": found.wrong}
            if found.earlier:
                counted["earlier"] = found.earlier
            if form == "json":
                click.echo(json.dumps({"file": shown, "coverage": f"{found.coverage:.4f}", **counted}, sort_keys=True))
            else:
                words = ", ".join(f"{count} {name}" for name, count in counted.items())
                click.echo(f"{shown}: {words}; coverage {found.coverage:.2f}")
    except (Unresolved, ValueError) as reason:
        where = path if isinstance(reason, Unresolved) else policy_path
        click.echo(f"{where}: {reason}", err=True)
        raise Outcome(2, "unreadable", f"kcompiler claims {files[0]}") from None
    if wrong:
        raise Outcome(1, "claims-without-evidence", f"mend them, then kcompiler claims {' '.join(map(str, files))}")


def _renew(home: project.Project, text: str, folder: Path, rules: Policy) -> None:
    """Writes what was taken anew, and says what was not."""
    from kcompiler.claims.renew import renewed

    found = renewed(text, folder=folder, root=home.root, policy=rules)
    for path, content in found.texts.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            write(home, path, content)
            click.echo(f"renewed  {home.shown(path)}", err=True)
    for sentence in found.left:
        click.echo(f"left     {sentence}", err=True)
