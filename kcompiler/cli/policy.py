"""The verbs of whoever writes rules: policy test, policy diff."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kcompiler.cli.outcome import Outcome
from kcompiler.cli.plans import FORMAT

if TYPE_CHECKING:
    from kcompiler.policy.load import LoadedPack, LoadedRule
    from kcompiler.policy.score import Lived


@click.group()
def policy() -> None:
    """Write policy packs: prove by cases that a rule decides as it should, and compare two versions."""


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
    from kcompiler.policy import cases, score

    told: list[dict[str, Any]] = []
    with _named(packs) as found:
        for pack in found:
            for rule in pack.rules:
                wrong = cases.check(rule, judge)
                made = None if wrong or no_mutants else score.scored(rule, judge)
                lived = [] if made is None else [one for one in made.lived if one.mutant.asked]
                wrote = score.write(rule, lived) if add and lived else []
                wrong = cases.check(rule, judge) if wrote else wrong
                still = [one for one in lived if one.case is None] if wrote else lived
                told.append(_told(rule, wrong, 0 if made is None else made.mutants, still, wrote))
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
        again = "" if any(one["wrong"] for one in bad) else " --add"
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
    help="This rule may be weaker, for this reason; it stands in the output.",
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
    blank = next((rule for rule, reason in allowed if len(reason.strip()) < 5), None)
    if blank is not None:
        raise click.UsageError(f"--allow-weaker {blank}: say why it may be weaker")
    with _named((old,)) as before, _named((new,)) as after:
        moved = compare(before[0], after[0])
    strange = sorted(set(why) - {one.rule for one in moved if one.weakens})
    if strange:
        raise click.UsageError(f"--allow-weaker {strange[0]}: that rule is not weaker")
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


@contextmanager
def _named(packs: tuple[str, ...]) -> Iterator[list[LoadedPack]]:
    """Packs by their names, folders or revisions. Raises Outcome with every diagnostic printed."""
    from kcompiler import assets, project
    from kcompiler.policy import available, load

    home = project.find(Path.cwd())
    own, shipped = home.root / "policies", assets.folder("policies")
    with tempfile.TemporaryDirectory() as scratch:
        found: list[LoadedPack] = []
        for number, name in enumerate(packs or (available([own]) if own.is_dir() else ())):
            roots, called = _placed(name, [own, shipped], Path(scratch) / str(number), home.root)
            found.append(_loaded(load([called], roots), home.root))
        if not found:
            click.echo(f"{home.shown(own)} has no pack", err=True)
            raise Outcome(2, "no-such-pack", "kcompiler policy test caws/core")
        yield found


def _placed(name: str, roots: list[Path], scratch: Path, root: Path) -> tuple[list[Path], str]:
    """Where to look for a pack, and by which name."""
    revision, colon, inside = name.partition(":")
    if colon and not Path(name).exists():
        return [_of_revision(revision, scratch, root)], inside.removeprefix("policies/").rstrip("/")
    folder = Path(name)
    if not (folder / "pack.yaml").is_file():
        return roots, name
    called = _called(folder)
    place = scratch / "policies" / called
    if folder.resolve().parts[-len(Path(called).parts) :] == Path(called).parts:
        return [folder.resolve().parents[len(Path(called).parts) - 1]], called
    shutil.copytree(folder, place)
    return [scratch / "policies"], called


def _called(folder: Path) -> str:
    """The name that a pack gives itself; its folder's where that cannot be read, which the loader then says."""
    import re

    from kcompiler import source
    from kcompiler.policy.rule import PACK_NAME

    tree, _ = source.load("pack.yaml", (folder / "pack.yaml").read_bytes())
    name = tree.get("/name") if tree is not None and isinstance(tree.data, dict) and "name" in tree.data else None
    return name if isinstance(name, str) and re.fullmatch(PACK_NAME, name) else folder.resolve().name


def _of_revision(revision: str, scratch: Path, root: Path) -> Path:
    from kcompiler.cli.views import git

    archive = git("archive", revision, "policies", options=["--format=tar"], at=str(root))
    try:
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            tar.extractall(scratch, filter="data")
    except tarfile.TarError as reason:
        click.echo(f"{revision} holds what cannot be laid out: {reason}", err=True)
        raise Outcome(2, "unreadable", "kcompiler policy diff --help") from None
    return scratch / "policies"


def _loaded(found: Any, root: Path) -> LoadedPack:
    from kcompiler.cli.plans import show_diagnostics

    if found.problems or not found.packs:
        files = {one.file: root / one.file for one in found.problems if one.file}
        show_diagnostics(
            list(found.problems), "human", {name: path.read_bytes() for name, path in files.items() if path.is_file()}
        )
        raise Outcome(2, "no-such-pack" if not found.packs else "unreadable", "mend it, then the same command again")
    pack: LoadedPack = found.packs[0]
    return pack
