"""The verbs of whoever writes rules: policy new, test, lint, doc, diff."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli import authoring
from kcompiler.cli.outcome import Outcome
from kcompiler.cli.packs import named
from kcompiler.cli.plans import FORMAT
from kcompiler.cli.since import refuse_others
from kcompiler.cli.writing import no_key

if TYPE_CHECKING:
    from kcompiler.policy.load import LoadedRule
    from kcompiler.policy.score import Lived


@click.group()
def policy() -> None:
    """Write policy packs: prove by cases that a rule decides as it should, and compare two versions."""


policy.add_command(authoring.new)
policy.add_command(authoring.lint)
policy.add_command(authoring.doc)


@policy.command()
@click.argument("packs", nargs=-1, metavar="[PACK]...")
@click.option("--add", is_flag=True, help="Write the cases that are missing; nothing that a case says is replaced.")
@click.option("--no-mutants", is_flag=True, help="Only decide the cases; ask no slip.")
@FORMAT
def test(packs: tuple[str, ...], add: bool, no_mutants: bool, form: str) -> None:
    """Decide every case of each PACK (its name or its folder; without one, every pack of the project).

    Each rule is then asked with one slip in it (operator, threshold by one item, path, unit, mode, and what its kind
    has): the cases of a blocking rule must notice every one. Exit 1 when a case is decided otherwise than it says, or
    a slip of a blocking rule goes unnoticed; the case that would notice it is shown.
    """
    import json

    from kcompiler.judge import judge
    from kcompiler.policy import cases, draft, score

    lacks = False
    told: list[dict[str, Any]] = []
    with named(packs) as found:
        for pack in found:
            # what a pack takes over has its cases where it lies
            for rule in pack.own:
                lacks |= not all((rule.folder / f"{name}.json").exists() for name in cases.CASES)
                drafted: list[str] = []
                hint = []
                try:
                    drafted = draft.completed(rule, judge) if add else []
                except ValueError as why:
                    hint = [f"{rule.name}: {why}"]
                wrong = [*cases.check(rule, judge), *hint]
                made = None if wrong or no_mutants else score.scored(rule, judge)
                lived = [] if made is None else [one for one in made.lived if one.asked]
                wrote = score.write(rule, lived) if add and lived else []
                wrong = cases.check(rule, judge) if wrote else wrong
                still = [one for one in lived if one.case is None] if wrote else lived
                every = sorted({*drafted, *wrote})
                told.append(_told(rule, wrong, 0 if made is None else made.mutants, still, every))
    if form == "json":
        click.echo(json.dumps({"rules": told}, indent=2, ensure_ascii=False))
    else:
        for one in told:
            _print(one)
    slips, unnoticed = sum(one["mutants"] for one in told), sum(len(one["lived"]) for one in told)
    bad = [one for one in told if one["wrong"] or (one["mode"] == "block" and one["lived"])]
    if form == "human":
        click.echo(
            f"{len(told)} rules, {sum(one['cases'] for one in told)} cases, {slips} slips, {unnoticed} unnoticed"
        )
    if bad:
        again = " --add" if not any(one["wrong"] for one in bad) or (lacks and not add) else ""
        raise Outcome(1, "cases", f"kcompiler policy test {' '.join(packs)}{again}".replace("  ", " "))


def _told(rule: LoadedRule, wrong: list[str], mutants: int, lived: list[Lived], wrote: list[str]) -> dict[str, Any]:
    return {
        "rule": rule.name,
        "mode": rule.rule.mode,
        "cases": len(list(rule.folder.glob("*.json"))),
        "wrong": wrong,
        "mutants": mutants,
        "lived": [{"slip": one.mutant.what, "case": one.name, "says": one.case} for one in lived],
        "wrote": wrote,
    }


def _print(one: Mapping[str, Any]) -> None:
    from kcompiler.policy import cases

    for line in one["wrong"]:
        click.echo(line)
    for name in one["wrote"]:
        click.echo(f"wrote {one['rule']}/{name}.json")
    shown: set[str] = set()
    for item in one["lived"]:
        click.echo(f"{one['rule']}: no case notices {item['slip']}")
        if item["says"] is None:
            click.echo("  no change of one datum would: write a case from a whole report")
        elif item["case"] not in shown:
            shown.add(item["case"])
            click.echo(f"  {item['case']}.json would, with")
            click.echo("".join(f"    {line}\n" for line in cases.text(item["says"]).splitlines()), nl=False)


@policy.command()
@click.argument("old")
@click.argument("new")
@click.option(
    "--allow-weaker",
    "allowed",
    nargs=2,
    multiple=True,
    metavar="RULE WHY",
    help="This rule (or pack.yaml) may be weaker, for this reason; it stands in the output.",
)
@FORMAT
def diff(old: str, new: str, allowed: tuple[tuple[str, str], ...], form: str) -> None:
    """Say of each rule of two packs whether NEW asks more than OLD, less, or something else.

    OLD and NEW are each a pack's name, its folder, or REVISION:PACK in git. Exit 1 when a rule is weaker, cannot be
    compared or is gone, unless it is named by --allow-weaker.
    """
    import json

    from kcompiler.diff.packs import compare

    why = dict(allowed)
    no_key("--allow-weaker", *(word for pair in allowed for word in pair))
    blank = next((rule for rule, reason in allowed if len(reason.strip()) < 5), None)
    if blank is not None:
        raise click.UsageError(f"--allow-weaker {blank}: say why it may be weaker")
    with named((old,)) as before, named((new,)) as after:
        moved = compare(before[0], after[0])
    refuse_others(why, {one.rule for one in moved if one.weakens})
    if form == "json":
        rows = [
            {"rule": one.rule, "way": one.way, "what": one.what, "weakens": one.weakens, "allowed": why.get(one.rule)}
            for one in moved
        ]
        click.echo(json.dumps({"rules": rows}, indent=2, ensure_ascii=False))
    else:
        for one in moved:
            if one.way != "same":
                reason = f"  allowed: {why[one.rule]}" if one.rule in why else ""
                click.echo(f"{one.way:<12}  {one.rule}  {one.what}{reason}")
        click.echo(f"{sum(one.way == 'same' for one in moved)} rules are the same")
    if any(one.weakens and one.rule not in why for one in moved):
        raise Outcome(1, "weaker", f"kcompiler policy diff {old} {new} --allow-weaker RULE WHY")
