"""The verb claims: documents and answers × their evidence."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kcompiler import project
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT, show_diagnostics


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--policy", "policy_path", type=click.Path(path_type=Path), help="What counts as a claim; YAML.")
@FORMAT
def claims(files: tuple[Path, ...], policy_path: Path | None, form: str) -> None:
    """Compare what documents (markdown) and answers (*.jsonl) claim with the evidence they name.

    `708 of 987 <!-- evidence: report.json#data.exact.student -->`; `kcompiler explain KC5601` says more. Exit 1 when
    something is not what its evidence says, or when too few claims have any (`coverage_minimum` of the policy; above
    it, a claim without evidence is a warning); 3 when a file of answers has none.
    """
    from kcompiler.claims import answers, check_answers, check_document, policy
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
                found = check_document(shown, text, folder=folder, root=home.root, policy=rules, documents=files)
            show_diagnostics(list(found.diagnostics), form, {shown: text.encode()})
            wrong |= has_errors(found.diagnostics)
            counted = {"anchored": found.anchored, "told": found.told, "without": found.bare, "wrong": found.wrong}
            if form == "json":
                click.echo(json.dumps({"file": shown, "coverage": f"{found.coverage:.4f}", **counted}, sort_keys=True))
            else:
                words = ", ".join(f"{count} {name}" for name, count in counted.items())
                click.echo(f"{shown}: {words}; coverage {found.coverage:.2f}")
    except (Unresolved, answers.BadLine, ValueError) as reason:
        where = path if isinstance(reason, Unresolved | answers.BadLine) else policy_path
        click.echo(f"{where}: {reason}", err=True)
        raise Outcome(2, "unreadable", f"kcompiler claims {files[0]}") from None
    if wrong:
        raise Outcome(1, "claims-without-evidence", f"mend them, then kcompiler claims {' '.join(map(str, files))}")
