"""The verbs of whoever writes rules that write or read text: policy new, policy lint, policy doc."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kcompiler.cli.outcome import Outcome
from kcompiler.cli.packs import named, read
from kcompiler.cli.plans import FORMAT

if TYPE_CHECKING:
    from kcompiler.policy.draft import Asked
    from kcompiler.policy.load import LoadedPack
    from kcompiler.project import Project


@click.command()
@click.argument("pack")
@click.option("--rule", "name", default="", metavar="ID", help="What the rule is called; by default after its datum.")
@click.option("--on", "kind", default="", metavar="REPORT", help="The kind of report; `explain report` lists them.")
@click.option("--metric", default="", metavar="PATH", help="The datum in it; `explain report KIND` lists them.")
@click.option("--op", type=click.Choice([">=", "<=", ">", "<", "=="]), default=">=", show_default=True)
@click.option("--threshold", default="0.99", show_default=True, metavar="NUMBER", help="In the unit of the datum.")
def new(pack: str, name: str, kind: str, metric: str, op: str, threshold: str) -> None:
    """Write policies/PACK with one rule and its three cases, which run; a PACK that is there gets a further rule.

    Without --on and --metric the rule asks how many rows survive the tokenizer. Nothing is overwritten.
    """
    from kcompiler import project
    from kcompiler.policy import draft, shape
    from kcompiler.policy.rule import PACK_NAME

    if not re.fullmatch(PACK_NAME, pack):
        raise click.UsageError(f"`{pack}`: a pack is called by lower-case words joined by `/`, such as acme/floors")
    if bool(kind) != bool(metric):
        raise click.UsageError("give both --on REPORT and --metric PATH: `kcompiler explain report KIND` lists them")
    kind, metric = kind or "tokenizer.contract", metric or "round_trip"
    home = project.find(Path.cwd())
    folder = home.root / "policies" / pack
    _free(home, pack, folder)
    unit = _unit(kind, metric)
    rule = name or draft.named(metric)
    if (folder / rule).exists():
        raise Outcome(2, "is-there", f"kcompiler policy new {pack} --rule ID", f"{home.shown(folder / rule)} is there")
    asked = draft.Asked(
        rule=rule,
        kind=kind,
        metric=metric,
        op=op,
        threshold=threshold,
        unit=unit,
        on=draft.end_of(kind, metric, op) if unit == "ratio" and threshold not in ("0", "1") else "point",
        since=_version(folder),
    )
    with tempfile.TemporaryDirectory() as scratch:
        made = _made(pack, asked, Path(scratch), folder)
    for place, text in made.items():
        _write(home, folder / place, text)
    click.echo(f"next: kcompiler policy test {pack}")
    click.echo(f"then name `{pack}` under `policies` of a spec")
    if shape.opens(kind, metric):
        click.echo(f"whether a plan has that name: kcompiler policy lint {pack} --spec SPEC")


def _free(home: Project, pack: str, folder: Path) -> None:
    """Raises Outcome where a pack of this name would hide a shipped one, or lie outside the project."""
    from kcompiler import assets

    shipped = assets.folder("policies") / pack
    if (shipped / "pack.yaml").is_file() and shipped.resolve() != folder.resolve():
        raise Outcome(
            2, "is-shipped", "give it another name", f"kcompiler ships a pack `{pack}`: rules are added to it"
        )


def _unit(kind: str, metric: str) -> str:
    """The unit of a datum by the schema of its report. Raises UsageError: nothing stands there, or no number."""
    from kcompiler.diagnostic import did_you_mean
    from kcompiler.policy import path, shape

    start = shape.of_report(kind)
    if start is None:
        raise click.UsageError(f"no report is called `{kind}`; {did_you_mean(kind, shape.kinds())}")
    try:
        places = shape.follow(path.parse(metric), start)
    except path.BadPath as reason:
        raise click.UsageError(str(reason)) from None
    if isinstance(places, shape.Lost):
        raise click.UsageError(
            f"no report `{kind}` has anything at `{metric}`: `{places.step}` is not in it; "
            f"{did_you_mean(places.step, places.known) or f'kcompiler explain report {kind}'}"
        )
    units = shape.units(places)
    if len(units) != 1 or not any(shape.reads(one, ("number",)) for one in places):
        raise click.UsageError(f"`{metric}` of `{kind}` is no number; kcompiler explain report {kind} says what is")
    return units.pop()


def _version(folder: Path) -> int:
    """The version of a pack that is there, for a rule that comes to it; 1 of a new one."""
    if not (folder / "pack.yaml").is_file():
        return 1
    return read(folder).pack.version


def _made(pack: str, asked: Asked, scratch: Path, folder: Path) -> dict[str, str]:
    """Place below the pack's folder → text of a file. Raises UsageError where the loader refuses the rule, or nothing
    that is shipped passes it."""
    from kcompiler.judge import judge
    from kcompiler.policy import cases, draft, load, score

    texts = {} if (folder / "pack.yaml").is_file() else {"pack.yaml": _pack_text(pack)}
    texts[f"{asked.rule}/rule.yaml"] = asked.text()
    here = scratch / pack
    for place, text in {"pack.yaml": _pack_text(pack, asked.since), **texts}.items():
        (here / place).parent.mkdir(parents=True, exist_ok=True)
        (here / place).write_text(text, encoding="utf-8")
    found = load([pack], [scratch])
    if wrong := [problem.summary for problem in found.problems if problem.severity == "error"]:
        raise click.UsageError(wrong[0])
    loaded = found.packs[0].rules[0]
    try:
        drafted = draft.drafted(loaded, judge)
    except ValueError as reason:
        raise click.UsageError(f"{reason} ({draft.seen(asked.kind, asked.metric)})") from None
    if "fail.json" not in drafted:
        seen = draft.seen(asked.kind, asked.metric)
        raise click.UsageError(f"no example of a report `{asked.kind}` fails this rule: look at the threshold ({seen})")
    for place, text in drafted.items():
        (here / asked.rule / place).write_text(text, encoding="utf-8")
    lived = [one for one in score.scored(loaded, judge).lived if one.asked]
    score.write(loaded, lived)
    for one in (one for one in lived if one.case is None):
        click.echo(f"no change of one datum notices {one.mutant.what}: write a case from a whole report", err=True)
    names = [f"{name}.json" for name in cases.names(loaded)]
    return texts | {f"{asked.rule}/{name}": (here / asked.rule / name).read_text(encoding="utf-8") for name in names}


def _pack_text(pack: str, version: int = 1) -> str:
    return (
        f"# What these rules are for, and who answers for them. A change of meaning raises the version.\n"
        f"name: {pack}\nversion: {version}\ntitle: Rules of {pack}\nowner: say who\nrisk_tiers: [1, 2, 3]\nmin_n: 20\n"
    )


def _write(home: Project, file: Path, text: str) -> None:
    from kcompiler.cli.writing import write

    file.parent.mkdir(parents=True, exist_ok=True)
    write(home, file, text)
    click.echo(f"created  {home.shown(file)}", err=True)


@click.command()
@click.argument("packs", nargs=-1, metavar="[PACK]...")
@click.option("--no-mutants", is_flag=True, help="Do not ask which slips in a rule its cases notice.")
@click.option(
    "--spec",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Ask also what a plan of this spec, which need not name PACK, would have for each rule to read.",
)
@FORMAT
def lint(packs: tuple[str, ...], no_mutants: bool, spec: Path | None, form: str) -> None:
    """Say what nobody should trust in each PACK (its name or its folder; without one, every pack of the project).

    A rule without cases or that they do not prove, a share compared without its interval, a number without a source, a
    condition that no spec can meet, a rule that stands twice, a slip that no case notices, a rule that is weaker than
    the pack's own promise. With --spec also a report that no step of its plan makes, and a name that it does not have.
    Exit 1 when there is any.
    """
    from kcompiler.cli.plans import compiled, show_diagnostics
    from kcompiler.diagnostic import ordered
    from kcompiler.diff.strengthens import weaker
    from kcompiler.judge import judge
    from kcompiler.policy import Policy
    from kcompiler.policy import lint as stage

    with named(packs) as found:
        wrong = ordered([*stage.findings(found, judge, mutants=not no_mutants), *weaker(found)])
        if spec is not None:
            from kcompiler import plan

            wrong = ordered([*wrong, *plan.asked_by(*compiled(spec, form), Policy(packs=found, problems=()))])
        rules = [rule for pack in found for rule in pack.own]
        sources = {rule.tree.file_of(""): (rule.folder / "rule.yaml").read_bytes() for rule in rules}
        show_diagnostics(wrong, form, sources)
        if form == "human":
            click.echo(f"{len(rules)} rules, {len(wrong)} findings")
    if wrong:
        raise Outcome(1, "findings", f"mend them, then kcompiler policy lint {' '.join(packs)}".rstrip())


@click.command()
@click.argument("packs", nargs=-1, metavar="[PACK]...")
@click.option("--to", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write the page to this file.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when the file is not the page.")
def doc(packs: tuple[str, ...], target: Path | None, check: bool) -> None:
    """Print a page about each PACK: every rule with what it asks, when, and what helps. Markdown.

    Without PACK: the gates that the project's founding texts name, each with the rule, the code or the report that it
    waits for.
    """
    from kcompiler import project
    from kcompiler.render import gates

    if check and target is None:
        raise click.UsageError("--check compares with a file: name it by --to")
    if packs:
        with named(packs) as found:
            text = gates.packs(found)
    else:
        text = gates.register(_shipped())
    if target is None:
        click.echo(text, nl=False)
        return
    again = f"kcompiler policy doc {' '.join((*packs, '--to', str(target)))}"
    if not check:
        home = project.find(target)
        _write(home, home.root / home.shown(target), text)
        return
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        raise Outcome(1, "page-would-change", again, f"{target} is not what the packs say now")


def _shipped() -> list[LoadedPack]:
    from kcompiler import assets, policy

    roots = [assets.folder("policies")]
    return list(policy.load(policy.available(roots), roots).packs)
